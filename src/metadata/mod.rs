//! What a message can have beside its topic and its payload: headers, and the time at which it expires.

use std::sync::Arc;

use crate::spans::Carried;
use crate::sync::Instant;

mod error;
mod headers;

pub use error::HeaderError;
pub use headers::Headers;

/// What the copies of a message share. A bare message has none.
#[derive(Clone, Default)]
pub(crate) struct Properties {
    pub(crate) headers: Headers,
    /// It is not delivered from this time on; `None` if that never comes.
    pub(crate) expires: Option<Instant>,
    /// The end of the time that the caller of a request waits for the reply; `None` if it has no limit.
    pub(crate) reply_until: Option<Instant>,
    /// How often handlers have tried it before it was a dead letter that was sent back to one.
    pub(crate) attempts: u32,
    /// The span in which it was published, if messages carry theirs.
    pub(crate) published_in: Option<Carried>,
}

impl Properties {
    /// Whether the message is not to be delivered any more.
    pub(crate) fn is_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= Instant::now())
    }

    /// The same for a message that is published once more: without an end, for that may be why it is.
    pub(crate) fn to_publish_again(&self) -> Option<Arc<Self>> {
        (!self.headers.is_empty()).then(|| Arc::new(Self { headers: self.headers.clone(), ..Self::default() }))
    }

    /// The headers of a message that may have none.
    pub(crate) fn headers(properties: Option<&Arc<Self>>) -> &Headers {
        properties.map_or(Headers::none(), |properties| &properties.headers)
    }
}
