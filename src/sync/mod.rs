//! Where locks, atomics, channels, threads and the time come from, so that a model checker can stand in.
//!
//! Usually these are other names for what the standard library and a few crates have, and nothing more. With `--cfg loom`
//! and `--cfg shuttle` they are stand-ins (`sync/model/`) that tell the checker of every step, and `tests/loom.rs` and
//! `tests/shuttle.rs` run the bus in all orders of steps, or in very many.
//!
//! `Arc` and `Weak` are always those of the standard library, because loom has no `Weak`. That the last one is dropped is
//! part of the step before it.

use std::convert::Infallible;

#[cfg(feature = "async")]
pub(crate) mod wait_list;
#[cfg(not(any(loom, shuttle)))]
mod weak_link;
#[cfg(not(any(loom, shuttle)))]
mod write_once;

#[cfg(not(any(loom, shuttle)))]
pub(crate) use {weak_link::WeakLink, write_once::WriteOnce};

#[cfg(not(any(loom, shuttle)))]
pub(crate) use {
    arc_swap::{ArcSwap, Guard},
    crossbeam_channel as channel,
    crossbeam_utils::Backoff,
    parking_lot::{Mutex, MutexGuard, ReentrantMutex, RwLock},
    std::sync::atomic,
    std::thread,
    std::thread_local,
    std::time::Instant,
};

#[cfg(all(feature = "async", not(any(loom, shuttle))))]
pub(crate) use futures_timer::Delay;
#[cfg(all(feature = "async", any(loom, shuttle)))]
pub(crate) use model::Delay;

#[cfg(any(loom, shuttle))]
mod model;
#[cfg(any(loom, shuttle))]
pub(crate) use model::{
    ArcSwap, Backoff, Guard, InitOnce, Instant, Mutex, MutexGuard, ReentrantMutex, RwLock, WeakLink, WriteOnce, atomic,
    channel, checker, thread, thread_local,
};

/// Atomics for sums, statistics and guesses, which order nothing: no step of its own in a model, where each would
/// multiply the orders of steps. Also for `static`s, which outlive the single run of a model.
pub(crate) use std::sync::atomic as counters;

/// A cell that is set once, and under a lock: who finds it empty takes the lock, and that is the step that a model sees.
pub(crate) use std::sync::OnceLock;

/// A cell that whoever needs it first makes, under no lock: as many may look at the same time, each look is a step of a model.
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::OnceLock as InitOnce;

/// Nothing that a model runs waits like this.
#[cfg(all(feature = "testkit", not(any(loom, shuttle))))]
pub(crate) use parking_lot::Condvar;

/// Sleeps until there is something in the channel, and takes it out; `None` when that has ended, or `end` has, or the time
/// is over.
#[cfg(not(any(loom, shuttle)))]
// Never: who comes here is about to sleep, and its callers have a short way that does not come here.
#[inline(never)]
pub(crate) fn recv_before<A>(
    channel: &channel::Receiver<A>,
    end: &channel::Receiver<Infallible>,
    deadline: Option<Instant>,
) -> Option<A> {
    use crossbeam_channel::select;

    match deadline {
        None => select! {
            recv(channel) -> item => item.ok(),
            recv(end) -> _ => None,
        },
        Some(deadline) => select! {
            recv(channel) -> item => item.ok(),
            recv(end) -> _ => None,
            default(deadline.saturating_duration_since(Instant::now())) => None,
        },
    }
}

#[cfg(any(loom, shuttle))]
pub(crate) fn recv_before<A>(
    channel: &channel::Receiver<A>,
    end: &channel::Receiver<Infallible>,
    deadline: Option<Instant>,
) -> Option<A> {
    let mut select = channel::Select::new();
    select.recv(channel);
    select.recv(end);
    match deadline {
        None => _ = select.ready(),
        Some(deadline) => _ = select.ready_deadline(deadline),
    }
    channel.try_recv().ok()
}
