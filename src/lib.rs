//! A typed message bus within one process.

mod bus;
mod core;
mod dead_letter;
mod error;
mod handler;
mod lifecycle;
mod mailbox;
mod message;
mod publisher;
mod queue;
mod request;
mod retained;
mod route;
mod stats;
mod subscriber;
mod text;
mod topic;
mod topic_map;

pub use crate::bus::{Bus, BusBuilder, WeakBus};
pub use crate::core::DrainReport;
pub use crate::dead_letter::{DeadLetter, DeadLetterReason, DeadLetters};
pub use crate::error::{
    InvalidToken, PublishError, RecvError, RecvTimeoutError, RequestError, SubscribeError, TopicError, TryRecvError,
};
pub use crate::handler::{Handler, Outcome, Retry, StopReport};
pub use crate::mailbox::Overflow;
pub use crate::message::Message;
pub use crate::publisher::Publisher;
pub use crate::request::{GatherError, PendingReply, Replies, ReplyError, ReplyRecvError, Responder};
pub use crate::route::Delivery;
pub use crate::stats::{BusStats, SubscriptionStats};
pub use crate::subscriber::{Iter, ManyWorkers, OneWorker, Subscriber, SubscriptionBuilder, TryIter};
pub use crate::topic::{Pattern, Topic};
