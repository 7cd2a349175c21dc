//! The handshake before a connection, and who it turns out to be.

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
    /// What the client is told in `connected`: 16 letters and digits, another for each connection.
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

    /// Where the connection comes from: the last proxy, if there are any. `None` if the server of the route does not tell,
    /// see [`Gateway::route`](super::Gateway::route).
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

    /// Who it is, if one of the hooks has said so.
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
/// fn who(handshake: &Handshake<'_>) -> Result<Option<String>, Refusal> {
///     match handshake.cookie("session") {
///         Some("s3cret") => Ok(Some("ann".to_owned())),
///         Some(_) => Err(Refusal::Unauthorized),
///         None => Ok(None), // a guest
///     }
/// }
/// # let _ = who;
/// ```
#[derive(Debug)]
pub struct Handshake<'a> {
    pub(super) parts: &'a Parts,
    pub(super) address: Option<SocketAddr>,
}

impl<'a> Handshake<'a> {
    /// The headers.
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

    /// The path and the query.
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

    /// The value of a cookie, as it was sent.
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

    /// Where the connection comes from, as [`Session::address`].
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

/// Why a hook refuses a connection.
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
    /// Who it is cannot be told: HTTP status 401.
    Unauthorized,
    /// It is known, and may not: HTTP status 403.
    Forbidden,
    /// It comes too often: HTTP status 429.
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
