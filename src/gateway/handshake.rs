//! The handshake before a connection, and the session of the client.

use std::net::SocketAddr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};

/// One connection, for the hooks of a gateway.
///
/// # Examples
///
/// ```
/// use tramline::gateway::Session;
///
/// fn name(session: &Session) -> String {
///     session.user().unwrap_or("a stranger").to_owned()
/// }
/// # let _ = name;
/// ```
#[derive(Debug)]
pub struct Session {
    pub(super) id: String,
    pub(super) address: Option<SocketAddr>,
    pub(super) user: Option<String>,
}

impl Session {
    /// Returns the session of the client's `connected` event: 16 hexadecimal digits, different for each connection.
    ///
    /// # Examples
    ///
    /// ```
    /// fn log(session: &tramline::gateway::Session) {
    ///     println!("session {}", session.id());
    /// }
    /// # let _ = log;
    /// ```
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the address of the client, or of the last proxy before this server; `None` if the server of the route
    /// does not pass addresses on, see [`Gateway::route`](super::Gateway::route).
    ///
    /// # Examples
    ///
    /// ```
    /// fn is_local(session: &tramline::gateway::Session) -> bool {
    ///     session.address().is_some_and(|address| address.ip().is_loopback())
    /// }
    /// # let _ = is_local;
    /// ```
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns the user's name, if a hook has returned one.
    ///
    /// # Examples
    ///
    /// ```
    /// fn is_admin(session: &tramline::gateway::Session) -> bool {
    ///     session.user() == Some("admin")
    /// }
    /// # let _ = is_admin;
    /// ```
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

/// The HTTP request that asks for a connection, for the hook of
/// [`GatewayBuilder::authenticate`](super::GatewayBuilder::authenticate).
///
/// # Examples
///
/// ```
/// use tramline::gateway::{Handshake, Refusal};
///
/// fn user(handshake: &Handshake<'_>) -> Result<Option<String>, Refusal> {
///     match handshake.cookie("session") {
///         Some("s3cret") => Ok(Some("ann".to_owned())),
///         Some(_) => Err(Refusal::Unauthorized),
///         None => Ok(None), // a guest
///     }
/// }
/// # let _ = user;
/// ```
#[derive(Debug)]
pub struct Handshake<'a> {
    pub(super) parts: &'a Parts,
    pub(super) address: Option<SocketAddr>,
}

impl<'a> Handshake<'a> {
    /// Returns the headers.
    ///
    /// # Examples
    ///
    /// ```
    /// fn agent<'a>(handshake: &tramline::gateway::Handshake<'a>) -> Option<&'a str> {
    ///     handshake.headers().get("user-agent")?.to_str().ok()
    /// }
    /// # let _ = agent;
    /// ```
    pub fn headers(&self) -> &'a HeaderMap {
        &self.parts.headers
    }

    /// Returns the path and the query.
    ///
    /// # Examples
    ///
    /// ```
    /// fn is_beta(handshake: &tramline::gateway::Handshake<'_>) -> bool {
    ///     handshake.uri().query() == Some("beta")
    /// }
    /// # let _ = is_beta;
    /// ```
    pub fn uri(&self) -> &'a Uri {
        &self.parts.uri
    }

    /// Returns the value of a cookie, as the client sent it.
    ///
    /// # Examples
    ///
    /// ```
    /// fn token<'a>(handshake: &tramline::gateway::Handshake<'a>) -> Option<&'a str> {
    ///     handshake.cookie("token")
    /// }
    /// # let _ = token;
    /// ```
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        let headers = self.parts.headers.get_all(header::COOKIE).into_iter();
        let pairs = headers.filter_map(|header| header.to_str().ok()).flat_map(|header| header.split(';'));
        pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Returns the address of the client, as [`Session::address`].
    ///
    /// # Examples
    ///
    /// ```
    /// fn is_local(handshake: &tramline::gateway::Handshake<'_>) -> bool {
    ///     handshake.address().is_some_and(|address| address.ip().is_loopback())
    /// }
    /// # let _ = is_local;
    /// ```
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

/// The reason for which a hook refuses a connection.
///
/// The status is that of a refusal by [`GatewayBuilder::authenticate`](super::GatewayBuilder::authenticate). From
/// [`GatewayBuilder::token`](super::GatewayBuilder::token) each becomes `unauthorized` and close code 3500.
///
/// # Examples
///
/// ```
/// use tramline::gateway::Refusal;
///
/// let refusal = Refusal::TooManyRequests; // this client gets HTTP status 429
/// assert_eq!(format!("{refusal:?}"), "TooManyRequests");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The client did not authenticate: HTTP status 401.
    Unauthorized,
    /// The client is known but not permitted: HTTP status 403.
    Forbidden,
    /// The client connects too often: HTTP status 429.
    TooManyRequests,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}
