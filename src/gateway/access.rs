//! Who may do what: nobody anything, until a pattern says so.

use std::fmt;

use super::handshake::Session;
use crate::topic::{Pattern, Topic};

/// What a client is about to do, for the hook of [`GatewayBuilder::authorize`](super::GatewayBuilder::authorize). The allow
/// lists have allowed it already.
///
/// # Examples
///
/// ```
/// use tramline::gateway::{Action, Decision, Session};
///
/// /// Everyone reads; who has a name writes.
/// fn decide(session: &Session, action: &Action<'_>) -> Decision {
///     match action {
///         Action::Subscribe { .. } => Decision::Allow,
///         _ if session.user().is_some() => Decision::Allow,
///         _ => Decision::Deny,
///     }
/// }
/// # let _ = decide;
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Action<'a> {
    /// To publish a message.
    #[non_exhaustive]
    Publish {
        /// Where.
        topic: &'a Topic,
    },
    /// To subscribe, and to be asked: a subscriber gets requests too, and may answer those.
    #[non_exhaustive]
    Subscribe {
        /// To which topics.
        pattern: &'a Pattern,
        /// As a member of this group, whose messages nobody else gets.
        group: Option<&'a str>,
    },
    /// To ask for a reply.
    #[non_exhaustive]
    Request {
        /// Where.
        topic: &'a Topic,
    },
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish { topic } => write!(f, "publishing on {topic}"),
            Self::Subscribe { pattern, .. } => write!(f, "subscribing to {pattern}"),
            Self::Request { topic } => write!(f, "requests on {topic}"),
        }
    }
}

/// What a hook says to an [`Action`].
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
    /// It may.
    Allow,
    /// It may not; the client gets `denied`.
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
            Action::Publish { topic } => self.publish.iter().any(|allowed| allowed.matches(topic)),
            Action::Subscribe { pattern, group } => {
                let allowed = if group.is_some() { &self.group } else { &self.subscribe };
                allowed.iter().any(|allowed| pattern.is_subset_of(allowed))
            }
            Action::Request { topic } => self.request.iter().any(|allowed| allowed.matches(topic)),
        };
        listed && self.authorize.as_ref().is_none_or(|authorize| authorize(session, action) == Decision::Allow)
    }
}
