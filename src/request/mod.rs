//! Requests and their replies.

mod error;
#[cfg(feature = "async")]
mod futures;
mod gather;
mod pending_reply;
mod slot;

pub use error::RequestError;
pub(crate) use gather::EachReply;
pub use gather::{GatherError, Replies};
pub(crate) use pending_reply::OneReply;
pub use pending_reply::{PendingReply, ReplyError};
pub(crate) use slot::{Answer, Callback, Collector, NoReply, ReplySlot, ReplySource, Sleeper, call};
pub use slot::{RespondError, Responder};
