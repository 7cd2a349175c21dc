//! The life of one bus: open, draining, closed; and everything that must hear of its end.
//!
//! It outlives the last `Bus` handle, because replies and handler threads do.

use crossbeam_utils::CachePadded;

use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Mutex, counters};

mod close_listeners;
mod count_guard;
mod end_signal;
mod serving;
mod workers;

use close_listeners::CloseListeners;
pub(crate) use close_listeners::{CloseListener, Registration};
pub(crate) use count_guard::CountGuard;
pub(crate) use end_signal::{EndSignal, EndTrigger};
use serving::serving;
pub(crate) use serving::{Serving, this_thread_runs, this_thread_serves};
use workers::Workers;

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Open = 0,
    /// New messages are refused, except from the handlers of this bus: theirs belong to the work to be finished.
    Draining = 1,
    Closed = 2,
}

/// The number of a bus, never used again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BusId(u64);

impl BusId {
    pub(crate) fn new() -> Self {
        static NEXT: counters::AtomicU64 = counters::AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Buses that are drained as one: each takes what a handler of any of them publishes meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DrainGroup(u64);

impl DrainGroup {
    pub(crate) fn new() -> Self {
        static NEXT: counters::AtomicU64 = counters::AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

pub(crate) struct Lifecycle {
    id: BusId,
    drain_group: DrainGroup,
    /// Read for every message, so that its line must not be one that is written: beside it lie the workers, and in front
    /// of it the count of the `Arc`, which changes with every request.
    phase: CachePadded<AtomicU8>,
    closed: EndSignal,
    closer: EndTrigger,
    close_listeners: Mutex<CloseListeners>,
    workers: CachePadded<Workers>,
    pub(crate) callback_panics: counters::AtomicU64,
}

impl Lifecycle {
    pub(crate) fn new(id: BusId, drain_group: DrainGroup) -> Self {
        let (closer, closed) = EndTrigger::new();
        Self {
            id,
            drain_group,
            phase: CachePadded::new(AtomicU8::new(Phase::Open as u8)),
            closed,
            closer,
            close_listeners: Mutex::default(),
            workers: CachePadded::default(),
            callback_panics: counters::AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        // Acquire pairs with the store in `advance`: who sees the bus closed sees what was done before.
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Open,
            1 => Phase::Draining,
            _ => Phase::Closed,
        }
    }

    /// Moves on to `phase`; the life of a bus never goes back.
    pub(crate) fn advance(&self, phase: Phase) {
        // SeqCst pairs with `worker_ended`: `close` advances and then looks at `workers`, a worker counts down and then
        // looks at the phase. At least one of them sees the other.
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
        if phase == Phase::Closed {
            self.closer.fire();
        }
    }

    /// Whether a message may be published now, by this thread.
    #[inline]
    pub(crate) fn accepts(&self) -> bool {
        self.phase() == Phase::Open || self.accepts_from_handler()
    }

    #[inline(never)]
    fn accepts_from_handler(&self) -> bool {
        self.phase() != Phase::Closed && self.is_served_by_this_thread()
    }

    /// Ends when the bus is closed.
    pub(crate) fn closed(&self) -> &EndSignal {
        &self.closed
    }

    pub(crate) fn is_served_by_this_thread(&self) -> bool {
        serving().is_some_and(|serving| serving.drain_group == self.drain_group)
    }
}
