//! Which mailboxes get a message.

mod backlog;
mod entry;
mod error;
mod journals;
mod kept;
mod route;
mod subscriptions;
mod topic_map;
mod trie;

pub(crate) use backlog::{Backlogs, InBacklog};
pub(crate) use entry::TopicEntry;
pub use error::SubscribeError;
pub(crate) use journals::JournalHandle;
pub(crate) use kept::Collected;
pub(crate) use route::{Route, RouteGuard};
pub(crate) use subscriptions::Unmade;
pub(crate) use topic_map::{DeferredDrops, NewMember, TopicMap};
