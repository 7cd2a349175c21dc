//! Which mailboxes get a message.

mod error;
mod topic_map;

pub use error::SubscribeError;
pub(crate) use topic_map::{Leftovers, TopicEntry, TopicMap};
