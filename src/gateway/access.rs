//! Who may do what: nobody anything, until a pattern says so.

use std::fmt;

use super::handshake::Session;
use crate::metadata::Headers;
use crate::topic::{Pattern, Topic};

/// What a client is about to do, for the hook of [`GatewayBuilder::authorize`](super::GatewayBuilder::authorize). The allow
/// lists have allowed it already.
///
/// # Examples
///
/// ```
/// use tramline::gateway::{Action, Decision, Session};
///
/// /// Every client reads; a client with a name writes. None of them says for which tenant.
/// fn decide(session: &Session, action: &Action<'_>) -> Decision {
///     match action {
///         Action::Subscribe { .. } => Decision::Allow,
///         Action::Publish { headers, .. } | Action::Request { headers, .. } if headers.get("tenant").is_some() => {
///             Decision::Deny
///         }
///         _ if session.user().is_some() => Decision::Allow,
///         _ => Decision::Deny,
///     }
/// }
/// # let _ = decide;
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Action<'a> {
    /// The client publishes a message.
    #[non_exhaustive]
    Publish {
        /// The topic.
        topic: &'a Topic,
        /// The headers that the client sets.
        headers: &'a Headers,
    },
    /// The client subscribes. A subscriber gets requests too, and may answer them.
    #[non_exhaustive]
    Subscribe {
        /// The pattern of the subscription.
        pattern: &'a Pattern,
        /// The group that the client joins; each of its messages goes to one member.
        group: Option<&'a str>,
    },
    /// The client sends a request.
    #[non_exhaustive]
    Request {
        /// The topic.
        topic: &'a Topic,
        /// The headers that the client sets.
        headers: &'a Headers,
    },
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish { topic, .. } => write!(f, "publishing on {topic}"),
            Self::Subscribe { pattern, .. } => write!(f, "subscribing to {pattern}"),
            Self::Request { topic, .. } => write!(f, "requests on {topic}"),
        }
    }
}

/// The answer of a hook to an [`Action`].
///
/// # Examples
///
/// ```
/// use tramline::gateway::Decision;
///
/// assert_ne!(Decision::Allow, Decision::Deny);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Allows the action.
    Allow,
    /// Denies the action; the client gets `denied`.
    Deny,
}

pub(super) type Authorize = dyn Fn(&Session, &Action<'_>) -> Decision + Send + Sync;

/// The allow lists, and the hook that is asked after them.
#[derive(Default)]
pub(super) struct Access {
    pub(super) publish: Vec<Pattern>,
    pub(super) subscribe: Vec<Pattern>,
    pub(super) group: Vec<Pattern>,
    pub(super) request: Vec<Pattern>,
    pub(super) authorize: Option<Box<Authorize>>,
}

impl Access {
    /// A subscription needs all of its pattern within one that is allowed: one that is wider would match more.
    pub(super) fn allows(&self, session: &Session, action: &Action<'_>) -> bool {
        let listed = match *action {
            Action::Publish { topic, .. } => self.publish.iter().any(|allowed| allowed.matches(topic)),
            Action::Subscribe { pattern, group } => {
                let allowed = if group.is_some() { &self.group } else { &self.subscribe };
                allowed.iter().any(|allowed| pattern.is_subset_of(allowed))
            }
            Action::Request { topic, .. } => self.request.iter().any(|allowed| allowed.matches(topic)),
        };
        listed && self.authorize.as_ref().is_none_or(|authorize| authorize(session, action) == Decision::Allow)
    }
}
