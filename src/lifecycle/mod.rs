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
    // 1 is `WATCHED`.
    /// New messages are refused, except from the handlers of this bus: theirs belong to the work to be finished.
    Draining = 2,
    Closed = 3,
}

/// The bus is open, and some thread's next publish, or present one, makes no dead letters. It stands between `Open` and
/// `Draining`, so the one look of a publisher at its bus shows it too, and the bus still only moves up when its phase
/// changes.
const WATCHED: u8 = 1;

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
            phase: CachePadded::new(AtomicU8::new(Phase::Open as u8)),
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
        // Acquire pairs with the store in `advance`: who sees the bus closed sees what was done before.
        match self.phase.load(Ordering::Acquire) {
            0 | WATCHED => Phase::Open,
            2 => Phase::Draining,
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

    pub(crate) fn id(&self) -> BusId {
        self.id
    }

    /// Returns `true` if any thread may publish, and none of them publishes without dead letters. If it returns `false`,
    /// [`accepts`](Self::accepts) decides.
    #[inline]
    pub(crate) fn accepts_all(&self) -> bool {
        // Acquire pairs with the store in `advance`, as in `phase`.
        self.phase.load(Ordering::Acquire) == Phase::Open as u8
    }

    /// Makes [`accepts_all`](Self::accepts_all) return `false` until [`unwatch`](Self::unwatch).
    pub(crate) fn watch(&self) {
        let mut watches = self.watches.lock();
        *watches += 1;
        // Relaxed: only the thread that calls this relies on it, and it sees what it has stored itself. Both exchanges fail
        // once the bus is draining or closed, when no look at `accepts_all` succeeds any more.
        let _ = self.phase.compare_exchange(Phase::Open as u8, WATCHED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Takes one [`watch`](Self::watch) back.
    pub(crate) fn unwatch(&self) {
        let mut watches = self.watches.lock();
        *watches -= 1;
        if *watches == 0 {
            let _ = self.phase.compare_exchange(WATCHED, Phase::Open as u8, Ordering::Relaxed, Ordering::Relaxed);
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
