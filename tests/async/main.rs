//! A: the cases of the sections P, O and R from tasks of several runtimes, and cases that only futures have: a future can be
//! cancelled, or forgotten.
//!
//! The cases of other sections that make no sense here:
//!
//! - O6, the publisher whose timeout passes, and O7, publishers that do not wait: a future has no timeout of its own, and a
//!   call that does not wait needs no future. Dropping the future ends the wait, see `a02`.
//! - O10, a capacity of 0: the mailbox refuses it when it is made, which is not async.
//! - R2, the timeout of a silent responder: the runtime's timeout drops or keeps the pending reply, which can be awaited
//!   again.
//! - R14, a million requests: `memory.rs` has them, and `async_memory.rs` measures what futures leave behind.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod cancelled_futures;
mod dead_letters;
mod forgotten_futures;
mod messages;
mod order_of_wakes;
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
