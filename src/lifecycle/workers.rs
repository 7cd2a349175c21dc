//! Workers in numbers: those of a bus, and what those of each handler do. A drain waits until all of them idle or have ended.

use std::sync::Arc;
use std::time::Duration;

use super::serving::{Serving, serving};
use super::{CountGuard, Lifecycle, Phase};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::counters;

/// The workers of all handlers of a bus.
#[derive(Default)]
pub(super) struct Workers {
    /// Workers that have not ended.
    all: AtomicUsize,
    /// Workers that drain the bus, and so handle nothing.
    draining: AtomicUsize,
}

impl Lifecycle {
    pub(crate) fn worker_started(&self) {
        // SeqCst pairs with `workers`, for a close or a drain that comes next.
        self.workers.all.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns `true` for the last worker of a closed bus.
    pub(crate) fn worker_ended(&self) -> bool {
        // SeqCst pairs with `advance` and the look at `workers` in `BusInner::close`.
        self.workers.all.fetch_sub(1, Ordering::SeqCst) == 1
            && self.state.load(Ordering::SeqCst) & Phase::Closed as u64 != 0
    }

    pub(crate) fn workers(&self) -> usize {
        // SeqCst pairs with `worker_started` and `worker_ended`.
        self.workers.all.load(Ordering::SeqCst)
    }

    /// Counts this thread as a worker that drains the bus, until the guard is dropped; `None` if it is no worker of this
    /// bus. Also returns the handler that it runs.
    pub(crate) fn start_draining(self: &Arc<Self>) -> Option<(Serving, CountGuard<Self>)> {
        let serving = serving().filter(|serving| serving.bus == self.id)?;
        Some((serving, CountGuard::one(self, |lifecycle| &lifecycle.workers.draining)))
    }

    pub(crate) fn draining_workers(&self) -> usize {
        // SeqCst pairs with `CountGuard`.
        self.workers.draining.load(Ordering::SeqCst)
    }
}

/// The workers of one handler. Their mailbox knows them, so that a drain can ask.
pub(crate) struct HandlerWorkers {
    /// Never used again.
    id: u64,
    /// Workers that have not ended.
    all: AtomicUsize,
    /// What they do. Only a worker that starts or stops waiting writes here: nothing is written for a message that comes
    /// while its worker is busy.
    counts: AtomicU64,
    /// Workers that drain their bus, and so handle nothing. They count as busy too.
    draining: AtomicUsize,
}

impl HandlerWorkers {
    pub(crate) fn new() -> Arc<Self> {
        static NEXT_ID: counters::AtomicU64 = counters::AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            all: AtomicUsize::new(0),
            counts: AtomicU64::new(0),
            draining: AtomicUsize::new(0),
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn started(&self) {
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns `true` for the last worker.
    pub(crate) fn ended(&self) -> bool {
        // AcqRel pairs with itself: the last one sees what the others have done.
        self.all.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether a worker has not ended.
    pub(crate) fn is_running(&self) -> bool {
        // Acquire pairs with `ended`: what the workers have done is seen.
        self.all.load(Ordering::Acquire) > 0
    }

    pub(crate) fn counts(&self) -> WorkerCounts {
        // SeqCst pairs with `WorkerActivity::change`: of a message that is no longer in the queue, the worker is seen.
        WorkerCounts(self.counts.load(Ordering::SeqCst))
    }

    /// Counts one of the busy workers, which is this thread, as one that drains the bus, until the guard is dropped.
    pub(crate) fn start_draining(self: &Arc<Self>) -> CountGuard<Self> {
        CountGuard::one(self, |workers| &workers.draining)
    }

    pub(crate) fn draining(&self) -> usize {
        // SeqCst pairs with `CountGuard`.
        self.draining.load(Ordering::SeqCst)
    }
}

/// What the workers of one handler do, as of one moment. Those that wait for a message, or have not begun, do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerCounts(u64);

/// Twelve bits hold the most workers that a handler may have, and the rest wraps.
const BITS: u32 = 12;
const MASK: u64 = (1 << BITS) - 1;
const LOOKING: u64 = 1;
const BUSY: u64 = 1 << BITS;
const ENDING: u64 = 1 << (2 * BITS);
const FOUND: u64 = 1 << (3 * BITS);

impl WorkerCounts {
    /// Workers that look for a message, and have none in hand unless they have just found it.
    pub(crate) fn looking(self) -> usize {
        self.field(LOOKING)
    }

    /// Workers that have a message in hand, or had one and have not found their queue empty since.
    pub(crate) fn busy(self) -> usize {
        self.field(BUSY)
    }

    /// Workers that take no other message, and drop their closure.
    pub(crate) fn ending(self) -> usize {
        self.field(ENDING)
    }

    /// Whether a worker looks or is busy.
    pub(crate) fn is_awake(self) -> bool {
        self.looking() > 0 || self.busy() > 0
    }

    /// How often a worker has become busy since `before`.
    pub(crate) fn found_since(self, before: Self) -> usize {
        Self(self.0.wrapping_sub(before.0 & !(FOUND - 1))).field_above()
    }

    fn field(self, unit: u64) -> usize {
        usize::try_from((self.0 / unit) & MASK).unwrap_or(usize::MAX)
    }

    fn field_above(self) -> usize {
        usize::try_from(self.0 / FOUND).unwrap_or(usize::MAX)
    }
}

/// What one worker does, in the counts of its handler until it is dropped. It begins idle: a thread that has not come to
/// its first look has nothing in hand.
pub(crate) struct WorkerActivity {
    workers: Arc<HandlerWorkers>,
    /// What it adds to the counts.
    counted: u64,
}

impl WorkerActivity {
    pub(crate) fn new(workers: &Arc<HandlerWorkers>) -> Self {
        Self { workers: Arc::clone(workers), counted: 0 }
    }

    /// To be called before the worker takes a message out: a message is in a queue, or its worker is seen to look or to be
    /// busy.
    // Invariant 7.
    pub(crate) fn looks(&mut self) {
        if self.counted == 0 {
            self.change(LOOKING, 0);
        }
    }

    /// It has taken a message out.
    #[inline]
    pub(crate) fn found(&mut self) {
        if self.counted != BUSY {
            self.change(BUSY, FOUND);
        }
    }

    /// It waits for a message, with none in hand.
    pub(crate) fn idles(&mut self) {
        self.change(0, 0);
    }

    /// It takes no other message, and has none in hand.
    pub(crate) fn ends(&mut self) {
        self.change(ENDING, 0);
    }

    fn change(&mut self, counted: u64, more: u64) {
        let change = counted.wrapping_sub(self.counted).wrapping_add(more);
        // SeqCst pairs with `HandlerWorkers::counts`: a drain that finds the queue empty sees the worker that has emptied it,
        // and one that sees the worker idle finds in a queue what the worker has published.
        self.workers.counts.fetch_add(change, Ordering::SeqCst);
        self.counted = counted;
    }
}

impl Drop for WorkerActivity {
    fn drop(&mut self) {
        self.idles();
    }
}

/// The pauses between looks at workers: first very short, then longer. A worker that has handled its last message needs a moment
/// to find its queue empty, and one that looks needs a moment to find a message or none.
pub(crate) struct Moment {
    looks: u32,
    next: Duration,
}

impl Moment {
    /// The time for a worker that looks, and runs no code of the user unless it clones a retained value. It gets longer than
    /// a thread waits for its turn on a busy machine.
    pub(crate) fn to_look() -> Self {
        Self::new(40)
    }

    /// The time for a worker that may as well be busy for good: a drain takes this much longer than it was given.
    pub(crate) fn to_idle() -> Self {
        Self::new(6)
    }

    fn new(looks: u32) -> Self {
        Self { looks, next: Duration::from_micros(20) }
    }

    /// Returns the time until the next look; `None` if there have been enough.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        self.looks = self.looks.checked_sub(1)?;
        let pause = self.next;
        self.next = (pause * 2).min(Duration::from_millis(5));
        Some(pause)
    }
}
