//! Subscriptions: their builder, and the handle that receives.

mod builder;
mod bus;
#[cfg(feature = "async")]
mod handle_async;
#[cfg(feature = "async")]
mod recv_async;
mod subscriber;

pub use builder::{ManyWorkers, OneWorker, SubscriptionBuilder};
pub use subscriber::{Iter, Subscriber, TryIter};
