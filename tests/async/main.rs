//! Async: what the sections P, O and R say, from tasks of several runtimes; and what only futures can do: be cancelled, or
//! be forgotten.
//!
//! The cases of other sections that make no sense here:
//!
//! - O6, a publisher whose time passes, and O7, publishers that do not wait: a future has no time limit of its own, and
//!   what does not wait needs no future. Dropping the future is what ends a wait, see `a02`.
//! - O10, a capacity of 0: is refused where the mailbox is made, which is not async.
//! - R2, the time of a silent responder: a runtime's time limit drops or keeps the pending reply; it can be awaited again.
//! - R14, a million requests: `memory.rs` has them, and `async_memory.rs` what futures leave behind.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod cancelled_futures;
mod forgotten_futures;
mod overflow;
mod pubsub;
mod reference_model;
mod request;
mod runtime;
mod stream;
mod stress;
mod threads_and_tasks;
mod wakers;
mod wakes_between_polls;
