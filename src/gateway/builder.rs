//! How a gateway is set up.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Gateway;
use super::access::{Access, Action, Decision};
use super::feed::Feeds;
use super::handshake::{Handshake, Refusal, Session};
use super::limits::Limits;
use super::origin::{Origin, Origins};
use super::registry::Registry;
use super::shared::{Authenticate, CheckToken, Shared};
use crate::bus::Bus;
use crate::sync::counters::AtomicU64;
use crate::topic::{Pattern, TopicError};

/// The error of [`GatewayBuilder::build`].
///
/// # Examples
///
/// ```
/// use tramline::Bus;
/// use tramline::gateway::Gateway;
///
/// let error = Gateway::builder(&Bus::<String>::new()).allow_origin("example.com").build().unwrap_err();
/// assert_eq!(error.to_string(), "`example.com` is not a valid origin: expected the form `https://example.com`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// A pattern to be allowed is not valid.
    #[error("`{list}`: {error}")]
    #[non_exhaustive]
    Topic {
        /// The method of the builder that got the pattern, such as `allow_subscribe`.
        list: &'static str,
        /// The rule that the pattern breaks.
        error: TopicError,
    },
    /// An origin to be allowed is not valid.
    #[error("`{0}` is not a valid origin: expected the form `https://example.com`")]
    Origin(String),
    /// A limit is out of its range.
    #[error("limit `{limit}` must be {rule}, got {value}")]
    #[non_exhaustive]
    Limit {
        /// The method of [`Limits`] that set the value, such as `capacity`.
        limit: &'static str,
        /// The value.
        value: String,
        /// The range, such as `between 1 and 16777216`.
        rule: String,
    },
}

impl GatewayError {
    /// Returns `true` if a pattern is not valid.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// let gateway = tramline::gateway::Gateway::builder(&bus).allow_subscribe("public..news");
    /// assert!(gateway.build().unwrap_err().is_invalid_topic());
    /// ```
    pub fn is_invalid_topic(&self) -> bool {
        matches!(self, Self::Topic { .. })
    }

    /// Returns `true` if an origin is not valid.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<String>::new();
    /// let gateway = tramline::gateway::Gateway::builder(&bus).allow_origin("example.com/page");
    /// assert!(gateway.build().unwrap_err().is_invalid_origin());
    /// ```
    pub fn is_invalid_origin(&self) -> bool {
        matches!(self, Self::Origin(_))
    }

    /// Returns `true` if a limit is out of its range.
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::gateway::{Gateway, Limits};
    ///
    /// let bus = tramline::Bus::<String>::new();
    /// let error = Gateway::builder(&bus).limits(Limits::default().capacity(0)).build().unwrap_err();
    /// assert!(error.is_invalid_limit());
    /// assert_eq!(error.to_string(), "limit `capacity` must be between 1 and 16777216, got 0");
    /// ```
    pub fn is_invalid_limit(&self) -> bool {
        matches!(self, Self::Limit { .. })
    }
}

/// Sets up a [`Gateway`]. By default it allows nothing, checks origins, and has the default [`Limits`].
///
/// # Examples
///
/// ```
/// use tramline::Bus;
/// use tramline::gateway::{Action, Decision, Gateway, Limits, Refusal};
///
/// let bus = Bus::<String>::new();
/// let gateway = Gateway::builder(&bus)
///     .allow_subscribe("public.>")
///     .allow_subscribe("users.*.inbox")
///     .allow_publish("public.chat.*")
///     .allow_request("weather.*")
///     .allow_origin("https://app.example.com")
///     .authenticate(|handshake| match handshake.cookie("session") {
///         Some("s3cret") => Ok(Some("ann".to_owned())),
///         Some(_) => Err(Refusal::Unauthorized),
///         None => Ok(None),
///     })
///     .authorize(|session, action| match action {
///         // Everyone has an inbox, and reads no other.
///         Action::Subscribe { pattern, .. } if pattern.as_str().starts_with("users.") => {
///             // Literal: a user called `*` has no more rights than others.
///             let own = session.user().filter(|_| pattern.is_literal()).map(|user| format!("users.{user}.inbox"));
///             if own.as_deref() == Some(pattern.as_str()) { Decision::Allow } else { Decision::Deny }
///         }
///         _ => Decision::Allow,
///     })
///     .limits(Limits::default().connections(500))
///     .build()?;
/// # drop(gateway);
/// # Ok::<(), tramline::gateway::GatewayError>(())
/// ```
#[must_use = "nothing is served before it is built"]
pub struct GatewayBuilder<T, R = T> {
    bus: Bus<T, R>,
    access: Access,
    origins: Origins,
    limits: Limits,
    authenticate: Option<Box<Authenticate>>,
    token: Option<Box<CheckToken>>,
    /// The first mistake.
    error: Option<GatewayError>,
}

impl<T, R> GatewayBuilder<T, R> {
    pub(super) fn new(bus: &Bus<T, R>) -> Self {
        Self {
            bus: bus.clone(),
            access: Access::default(),
            origins: Origins::default(),
            limits: Limits::default(),
            authenticate: None,
            token: None,
            error: None,
        }
    }

    fn pattern(
        &mut self,
        list: &'static str,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
    ) -> Option<Pattern> {
        match pattern.try_into() {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.error.get_or_insert(GatewayError::Topic { list, error: error.into() });
                None
            }
        }
    }

    /// Allows clients to publish on the topics that match.
    ///
    /// # Examples
    ///
    /// ```
    /// # let bus = tramline::Bus::<String>::new();
    /// # use tramline::gateway::Gateway;
    /// let gateway = Gateway::builder(&bus).allow_publish("chat.*").build()?;
    /// # drop(gateway);
    /// # Ok::<(), tramline::gateway::GatewayError>(())
    /// ```
    pub fn allow_publish(mut self, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> Self {
        let pattern = self.pattern("allow_publish", pattern);
        self.access.publish.extend(pattern);
        self
    }

    /// Allows clients to subscribe to this pattern, and to patterns that match no topic beyond it: `chat.*` allows
    /// `chat.lobby`, and not `chat.>`. Clients get the requests there too, and may answer them.
    ///
    /// # Examples
    ///
    /// ```
    /// # let bus = tramline::Bus::<String>::new();
    /// # use tramline::gateway::Gateway;
    /// let gateway = Gateway::builder(&bus).allow_subscribe("chat.*").build()?;
    /// # drop(gateway);
    /// # Ok::<(), tramline::gateway::GatewayError>(())
    /// ```
    pub fn allow_subscribe(mut self, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> Self {
        let pattern = self.pattern("allow_subscribe", pattern);
        self.access.subscribe.extend(pattern);
        self
    }

    /// Allows clients to join groups for this pattern, and for patterns that match no topic beyond it. A member takes
    /// messages that no other member gets, in this process or at any client, so
    /// [`allow_subscribe`](Self::allow_subscribe) does not include this right.
    ///
    /// # Examples
    ///
    /// ```
    /// # let bus = tramline::Bus::<String>::new();
    /// # use tramline::gateway::Gateway;
    /// let gateway = Gateway::builder(&bus).allow_group("jobs.*").build()?;
    /// # drop(gateway);
    /// # Ok::<(), tramline::gateway::GatewayError>(())
    /// ```
    pub fn allow_group(mut self, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> Self {
        let pattern = self.pattern("allow_group", pattern);
        self.access.group.extend(pattern);
        self
    }

    /// Allows clients to send requests on the topics that match.
    ///
    /// # Examples
    ///
    /// ```
    /// # let bus = tramline::Bus::<String>::new();
    /// # use tramline::gateway::Gateway;
    /// let gateway = Gateway::builder(&bus).allow_request("weather.*").build()?;
    /// # drop(gateway);
    /// # Ok::<(), tramline::gateway::GatewayError>(())
    /// ```
    pub fn allow_request(mut self, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> Self {
        let pattern = self.pattern("allow_request", pattern);
        self.access.request.extend(pattern);
        self
    }

    /// Sets the hook that runs before each action that the lists allow; both have to allow it. It runs on the task of the
    /// connection, so it must not block. If it panics, the action is denied.
    ///
    /// # Examples
    ///
    /// See [`Action`].
    pub fn authorize(mut self, hook: impl Fn(&Session, &Action<'_>) -> Decision + Send + Sync + 'static) -> Self {
        self.access.authorize = Some(Box::new(hook));
        self
    }

    /// Sets the hook that runs before a connection is made. Returns the user's name for [`Session::user`], or `None` for an
    /// anonymous client. It runs on the task of the HTTP request, so it must not block. If it panics, the client gets HTTP
    /// status 500.
    ///
    /// # Examples
    ///
    /// See [`Handshake`].
    pub fn authenticate(
        mut self,
        hook: impl Fn(&Handshake<'_>) -> Result<Option<String>, Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.authenticate = Some(Box::new(hook));
        self
    }

    /// Sets the hook that runs at the `connect` of each client, with the token of the client. Returns the user's name for
    /// [`Session::user`]; `None` leaves the name as it is. Every [`Refusal`] gives the client `unauthorized` and close code
    /// 3500. Without this hook tokens are ignored. If it panics, the client is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// # let bus = tramline::Bus::<String>::new();
    /// # use tramline::gateway::{Gateway, Refusal};
    /// let gateway = Gateway::builder(&bus)
    ///     .token(|_session, token| match token {
    ///         Some("s3cret") => Ok(Some("ann".to_owned())),
    ///         _ => Err(Refusal::Unauthorized),
    ///     })
    ///     .build()?;
    /// # drop(gateway);
    /// # Ok::<(), tramline::gateway::GatewayError>(())
    /// ```
    pub fn token(
        mut self,
        hook: impl Fn(&Session, Option<&str>) -> Result<Option<String>, Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.token = Some(Box::new(hook));
        self
    }

    /// Allows pages of this origin to connect, besides those of the host that the client names in its handshake. An
    /// origin has the form `https://example.com` or `https://example.com:8443`; the case of the host makes no
    /// difference.
    ///
    /// # Examples
    ///
    /// ```
    /// # let bus = tramline::Bus::<String>::new();
    /// # use tramline::gateway::Gateway;
    /// let gateway = Gateway::builder(&bus).allow_origin("https://app.example.com").build()?;
    /// # drop(gateway);
    /// # Ok::<(), tramline::gateway::GatewayError>(())
    /// ```
    pub fn allow_origin(mut self, origin: impl AsRef<str>) -> Self {
        let origin = origin.as_ref();
        match Origin::parse(origin) {
            Some(origin) => self.origins.listed.push(origin),
            None => _ = self.error.get_or_insert_with(|| GatewayError::Origin(origin.to_owned())),
        }
        self
    }

    /// Allows pages of any site to connect. This is safe only where no cookie, address or certificate identifies a client: a
    /// foreign page could use those of its visitor.
    ///
    /// # Examples
    ///
    /// ```
    /// # let bus = tramline::Bus::<String>::new();
    /// # use tramline::gateway::Gateway;
    /// let public = Gateway::builder(&bus).allow_subscribe("news.>").allow_any_origin().build()?;
    /// # drop(public);
    /// # Ok::<(), tramline::gateway::GatewayError>(())
    /// ```
    pub fn allow_any_origin(mut self) -> Self {
        self.origins.any = true;
        self
    }

    /// Refuses handshakes without an `Origin`. By default they are allowed, because programs other than browsers send none;
    /// such a program could also send any `Origin`.
    ///
    /// # Examples
    ///
    /// ```
    /// # let bus = tramline::Bus::<String>::new();
    /// # use tramline::gateway::Gateway;
    /// let gateway = Gateway::builder(&bus).require_origin().build()?;
    /// # drop(gateway);
    /// # Ok::<(), tramline::gateway::GatewayError>(())
    /// ```
    pub fn require_origin(mut self) -> Self {
        self.origins.missing = false;
        self
    }

    /// Takes the server's own origin to be an `https` one, for a server behind a proxy that does the encryption. The
    /// default is an `http` origin.
    ///
    /// # Examples
    ///
    /// ```
    /// # let bus = tramline::Bus::<String>::new();
    /// # use tramline::gateway::Gateway;
    /// let gateway = Gateway::builder(&bus).behind_https().build()?;
    /// # drop(gateway);
    /// # Ok::<(), tramline::gateway::GatewayError>(())
    /// ```
    pub fn behind_https(mut self) -> Self {
        self.origins.scheme = "https";
        self
    }

    /// Sets the limits; the default is `Limits::default()`.
    ///
    /// # Examples
    ///
    /// See [`Limits`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

impl<T, R> GatewayBuilder<T, R>
where
    T: Clone + Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    /// Creates the gateway.
    ///
    /// # Errors
    ///
    /// [`GatewayError`]: the first pattern or origin that is invalid, or else the first limit out of its range.
    ///
    /// # Examples
    ///
    /// See [`GatewayBuilder`].
    pub fn build(self) -> Result<Gateway<T, R>, GatewayError> {
        let Self { bus, access, origins, limits, authenticate, token, error } = self;
        if let Some(error) = error {
            return Err(error);
        }
        limits.check()?;
        let (feeds, registry) = (Arc::new(Feeds::new(bus.clone(), &limits)), Arc::new(Registry::new()));
        let slow_clients = AtomicU64::new(0);
        let shared = Shared { bus, access, origins, limits, authenticate, token, feeds, registry, slow_clients };
        Ok(Gateway { shared: Arc::new(shared) })
    }
}

impl<T, R> fmt::Debug for GatewayBuilder<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayBuilder")
            .field("publish", &self.access.publish)
            .field("subscribe", &self.access.subscribe)
            .field("group", &self.access.group)
            .field("request", &self.access.request)
            .field("origins", &self.origins)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
