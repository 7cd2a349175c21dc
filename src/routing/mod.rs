//! Which mailboxes get a message.

mod error;
mod route;
mod topic_map;
mod trie;

pub use error::SubscribeError;
pub(crate) use route::{Route, RouteGuard};
pub(crate) use topic_map::{DeferredDrops, TopicEntry, TopicMap};
