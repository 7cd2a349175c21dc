//! Requests and their replies: the caller's side, the responder's side, and the slot between them.

mod error;
#[cfg(feature = "async")]
mod futures;
mod gather;
mod metadata;
mod pending_reply;
mod responder;
mod slot;

pub use error::{GatherError, ReplyError, RequestError, RespondError};
pub(crate) use gather::EachReply;
pub use gather::Replies;
pub(crate) use metadata::{Metadata, MetadataSource, NoMetadata, SharedMetadata};
pub use pending_reply::PendingReply;
pub use responder::Responder;
use slot::{Answer, Callback, Collector, ReplySlot, Sleeper, call};
