//! The life of one bus: open, draining, closed; and everything that must hear of its end.
//!
//! It outlives the last `Bus` handle, because replies and handler threads do.

use crossbeam_utils::CachePadded;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, counters};

mod close_listeners;
mod count_guard;
mod end_signal;
mod serving;
mod steps;
mod workers;

use close_listeners::CloseListeners;
pub(crate) use close_listeners::{CloseListener, Registration};
pub(crate) use count_guard::CountGuard;
pub(crate) use end_signal::{EndSignal, EndTrigger};
use serving::serving;
pub(crate) use serving::{Serving, this_thread_runs, this_thread_serves};
#[cfg(feature = "async")]
pub(crate) use steps::take_steps_async;
pub(crate) use steps::{Step, take_steps};
use workers::Workers;
pub(crate) use workers::{HandlerWorkers, Moment, WorkerActivity, WorkerCounts};

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Open = 0b000,
    /// New messages are refused, except from the handlers of this bus: theirs belong to the work to be finished.
    Draining = 0b010,
    Closed = 0b100,
}

/// Some thread's next publish, or present one, makes no dead letters: the look that a publisher takes at its bus shows it
/// too.
const WATCHED: u64 = 0b001;

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

/// Of the subscriptions of a bus: a route that was right in one is looked at again in the next. It is the
/// [state](Lifecycle) of the bus then, if that is open.
pub(crate) type Generation = u64;

/// The bits of the state that tell what is not simply open; the others count the generations.
const FLAGS: u64 = 0b111;

pub(crate) struct Lifecycle {
    id: BusId,
    drain_group: DrainGroup,
    /// The phase and the generation in one, so that one look tells a publisher that the bus is open and its route right.
    ///
    /// Read for every message, so that its line must not be one that is written: beside it lie the workers, and in front
    /// of it the count of the `Arc`, which changes with every request.
    state: CachePadded<AtomicU64>,
    closed: EndSignal,
    closer: EndTrigger,
    close_listeners: Mutex<CloseListeners>,
    /// The number of reasons for [`WATCHED`].
    watches: Mutex<usize>,
    workers: CachePadded<Workers>,
    pub(crate) callback_panics: counters::AtomicU64,
}

impl Lifecycle {
    pub(crate) fn new(id: BusId, drain_group: DrainGroup) -> Self {
        let (closer, closed) = EndTrigger::new();
        Self {
            id,
            drain_group,
            state: CachePadded::new(AtomicU64::new(Phase::Open as u64)),
            closed,
            closer,
            close_listeners: Mutex::default(),
            watches: Mutex::default(),
            workers: CachePadded::default(),
            callback_panics: counters::AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        // Acquire pairs with `advance`: who sees the bus closed sees what was done before.
        match self.state.load(Ordering::Acquire) & (FLAGS & !WATCHED) {
            0b000 => Phase::Open,
            0b010 => Phase::Draining,
            _ => Phase::Closed,
        }
    }

    /// Moves on to `phase`; the life of a bus never goes back.
    pub(crate) fn advance(&self, phase: Phase) {
        // SeqCst pairs with `worker_ended`: `close` advances and then looks at `workers`, a worker counts down and then
        // looks at the phase. At least one of them sees the other.
        self.state.fetch_or(phase as u64, Ordering::SeqCst);
        if phase == Phase::Closed {
            self.closer.fire();
        }
    }

    pub(crate) fn generation(&self) -> Generation {
        // Relaxed: it changes under the lock of the map, under which this is called.
        self.state.load(Ordering::Relaxed) & !FLAGS
    }

    /// All routes are to be looked at again. Called under the lock of the map.
    pub(crate) fn next_generation(&self) {
        // Release pairs with `is_open_in`. A publisher that was told of the subscription sees it without: it was told later.
        self.state.fetch_add(FLAGS + 1, Ordering::Release);
    }

    /// Whether the bus is open, and routes that were right in this generation still are.
    #[inline(always)]
    pub(crate) fn is_open_in(&self, generation: Generation) -> bool {
        // Acquire pairs with `next_generation` and `advance`, as in `phase`.
        self.state.load(Ordering::Acquire) == generation
    }

    /// The same, whatever else is to be looked at.
    pub(crate) fn is_in(&self, generation: Generation) -> bool {
        // Acquire pairs with `next_generation`.
        self.state.load(Ordering::Acquire) & !FLAGS == generation
    }

    /// Whether any thread may publish, and none of them publishes without dead letters.
    #[inline(always)]
    pub(crate) fn is_simply_open(&self) -> bool {
        // Acquire pairs with `advance`, as in `phase`.
        self.state.load(Ordering::Acquire) & FLAGS == Phase::Open as u64
    }

    pub(crate) fn id(&self) -> BusId {
        self.id
    }

    /// No publisher finds the bus [simply open](Self::is_simply_open) until [`unwatch`](Self::unwatch).
    pub(crate) fn watch(&self) {
        let mut watches = self.watches.lock();
        *watches += 1;
        // Relaxed: only the thread that calls this relies on it, and it sees what it has stored itself.
        self.state.fetch_or(WATCHED, Ordering::Relaxed);
    }

    /// Takes one [`watch`](Self::watch) back.
    pub(crate) fn unwatch(&self) {
        let mut watches = self.watches.lock();
        *watches -= 1;
        if *watches == 0 {
            self.state.fetch_and(!WATCHED, Ordering::Relaxed);
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
