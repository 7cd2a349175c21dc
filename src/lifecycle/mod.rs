//! The life of one bus: open, draining, closed; and who wants to know.
//!
//! It outlives the last `Bus` handle, because replies and handler threads do.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::{Arc, Weak};

use crossbeam_utils::CachePadded;

use crate::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use crate::sync::channel::{Receiver, Sender, bounded};
use crate::sync::{Mutex, counters, thread_local};

/// A channel that never carries anything: it ends, and that wakes whoever waits for it.
pub(crate) type EndSignal = Receiver<Infallible>;

/// Ends an [`EndSignal`] when it is told to, or dropped.
pub(crate) struct EndTrigger(Mutex<Option<Sender<Infallible>>>);

impl EndTrigger {
    pub(crate) fn new() -> (Self, EndSignal) {
        let (sender, signal) = bounded(0);
        (Self(Mutex::new(Some(sender))), signal)
    }

    pub(crate) fn fire(&self) {
        // Taken out first, so that the wake-ups happen after the lock is released.
        let sender = self.0.lock().take();
        drop(sender);
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Open = 0,
    /// New messages are refused, except from the handlers of this bus: theirs belong to the work to be finished.
    Draining = 1,
    Closed = 2,
}

/// Something that waits for an answer and must hear of the end of the bus: a reply with a callback, or a task.
pub(crate) trait EndsWithBus: Send + Sync {
    fn bus_closed(&self);
}

/// More places for those that wait for an answer are given back when none is in use.
const MANY: usize = 64;

/// Those that wait for an answer, at places that are used again.
#[derive(Default)]
struct Waiting {
    entries: Vec<Option<Weak<dyn EndsWithBus>>>,
    free: Vec<usize>,
}

/// Buses that are drained as one: each takes what a handler of any of them publishes meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Family(u64);

impl Family {
    pub(crate) fn new() -> Self {
        static NEXT: counters::AtomicU64 = counters::AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

pub(crate) struct Lifecycle {
    family: Family,
    /// Read for every message, so that its line must not be one that is written: beside it lie the workers, and in front
    /// of it the count of the `Arc`, which changes with every request.
    phase: CachePadded<AtomicU8>,
    closed: EndSignal,
    closer: EndTrigger,
    waiting: Mutex<Waiting>,
    workers: CachePadded<Workers>,
    pub(crate) callback_panics: counters::AtomicU64,
}

/// Handler threads, in numbers.
#[derive(Default)]
struct Workers {
    /// Those that have not ended.
    all: AtomicUsize,
    /// Those of them that wait for a message.
    idle: AtomicUsize,
    /// Counts how often one went from idle to busy; see `Core::drain`.
    activity: AtomicU64,
    /// Those that are draining the bus, and so handle nothing.
    draining: AtomicUsize,
}

impl Lifecycle {
    pub(crate) fn new(family: Family) -> Self {
        let (closer, closed) = EndTrigger::new();
        Self {
            family,
            phase: CachePadded::new(AtomicU8::new(Phase::Open as u8)),
            closed,
            closer,
            waiting: Mutex::default(),
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
        // SeqCst: `close` advances and then looks at `workers`, `worker_ended` counts down and then looks at the phase.
        // At least one of them must see the other.
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
        if phase == Phase::Closed {
            self.closer.fire();
        }
    }

    /// Calls the callbacks that still wait, when everything else of the bus is closed: they may look at it.
    pub(crate) fn tell_waiting(&self) {
        let waiting = std::mem::take(&mut self.waiting.lock().entries);
        for entry in waiting.into_iter().flatten().filter_map(|entry| entry.upgrade()) {
            entry.bus_closed();
        }
    }

    /// Has the entry told of the end of the bus, until it is forgotten. `None` if the bus is closed: it will not tell
    /// anybody any more.
    pub(crate) fn remember(&self, entry: Weak<dyn EndsWithBus>) -> Option<usize> {
        let mut waiting = self.waiting.lock();
        // Under the lock that `tell_waiting` takes after the phase has moved: an entry made before is found there.
        if self.phase() == Phase::Closed {
            return None;
        }
        match waiting.free.pop() {
            Some(place) => {
                waiting.entries[place] = Some(entry);
                Some(place)
            }
            None => {
                waiting.entries.push(Some(entry));
                Some(waiting.entries.len() - 1)
            }
        }
    }

    pub(crate) fn forget(&self, place: usize) {
        let mut waiting = self.waiting.lock();
        // After the end there are no entries, and no new ones.
        let entry = waiting.entries.get_mut(place).and_then(Option::take);
        if entry.is_some() {
            waiting.free.push(place);
        }
        if waiting.free.len() == waiting.entries.len() && waiting.free.len() > MANY {
            // A burst is over.
            *waiting = Waiting::default();
        }
        drop(waiting);
        drop(entry);
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

    pub(crate) fn worker_started(&self) {
        self.workers.all.fetch_add(1, Ordering::SeqCst);
    }

    /// Tells whether this was the last worker of a closed bus. Pairs with `advance`.
    pub(crate) fn worker_ended(&self) -> bool {
        self.workers.all.fetch_sub(1, Ordering::SeqCst) == 1 && self.phase.load(Ordering::SeqCst) == Phase::Closed as u8
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.all.load(Ordering::SeqCst)
    }

    pub(crate) fn worker_idles(&self) {
        self.workers.idle.fetch_add(1, Ordering::SeqCst);
    }

    /// Called before the worker takes a message out: a message is in a queue or in the hand of a busy worker.
    pub(crate) fn worker_wakes(&self) {
        self.workers.activity.fetch_add(1, Ordering::SeqCst);
        self.workers.idle.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn busy_workers(&self) -> usize {
        // The idle ones first: a worker that ends in between must not count as minus one.
        let idle = self.workers.idle.load(Ordering::SeqCst);
        self.workers().saturating_sub(idle)
    }

    /// Counts this thread, until the result is dropped, as one that drains the bus, if it is a handler's. Tells the
    /// mailbox that it serves.
    pub(crate) fn drains(self: &Arc<Self>) -> Option<(u64, Counted<Self>)> {
        let serving = serving().filter(|serving| serving.bus == self.id())?;
        Some((serving.mailbox, Counted::one(self, |lifecycle| &lifecycle.workers.draining)))
    }

    pub(crate) fn draining_workers(&self) -> usize {
        self.workers.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn activity(&self) -> u64 {
        self.workers.activity.load(Ordering::SeqCst)
    }

    /// The bus is told apart by the address of its lifecycle, which the thread keeps alive while it serves it.
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(crate) fn is_served_by_this_thread(&self) -> bool {
        serving().is_some_and(|serving| serving.family == self.family)
    }
}

/// One more in a counter of its owner, until it is dropped.
pub(crate) struct Counted<O> {
    owner: Arc<O>,
    counter: fn(&O) -> &AtomicUsize,
}

impl<O> Counted<O> {
    pub(crate) fn one(owner: &Arc<O>, counter: fn(&O) -> &AtomicUsize) -> Self {
        counter(owner).fetch_add(1, Ordering::SeqCst);
        Self { owner: Arc::clone(owner), counter }
    }
}

impl<O> Drop for Counted<O> {
    fn drop(&mut self) {
        (self.counter)(&self.owner).fetch_sub(1, Ordering::SeqCst);
    }
}

/// Keeps a waiting reply known to its bus; dropping it takes the reply off the list.
pub(crate) struct Registration {
    lifecycle: Arc<Lifecycle>,
    place: usize,
}

impl Registration {
    /// `None` if the bus is closed.
    pub(crate) fn new(lifecycle: &Arc<Lifecycle>, entry: Weak<dyn EndsWithBus>) -> Option<Self> {
        let place = lifecycle.remember(entry)?;
        Some(Self { lifecycle: Arc::clone(lifecycle), place })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.lifecycle.forget(self.place);
    }
}

/// What a thread serves that runs a handler.
#[derive(Clone, Copy)]
pub(crate) struct Serving {
    bus: usize,
    family: Family,
    mailbox: u64,
    handler: usize,
}

impl Serving {
    /// `handler` tells handlers apart while they live.
    pub(crate) fn new(lifecycle: &Lifecycle, mailbox: u64, handler: usize) -> Self {
        Self { bus: lifecycle.id(), family: lifecycle.family, mailbox, handler }
    }

    /// Marks this thread, for the rest of its life.
    pub(crate) fn on_this_thread(self) {
        SERVING.with(|serving| serving.set(Some(self)));
    }

    /// Marks this thread while it runs a part of a task.
    #[cfg(feature = "async")]
    pub(crate) fn during<A>(self, part: impl FnOnce() -> A) -> A {
        struct Before(Option<Serving>);
        impl Drop for Before {
            fn drop(&mut self) {
                SERVING.with(|serving| serving.set(self.0));
            }
        }
        let _before = Before(SERVING.with(|serving| serving.replace(Some(self))));
        part()
    }
}

thread_local! {
    static SERVING: Cell<Option<Serving>> = const { Cell::new(None) };
}

/// What this thread serves.
fn serving() -> Option<Serving> {
    SERVING.with(Cell::get)
}

/// Whether this thread runs this handler.
pub(crate) fn this_thread_runs(handler: usize) -> bool {
    serving().is_some_and(|serving| serving.handler == handler)
}

/// Whether this thread runs a handler of the mailbox of this number.
pub(crate) fn this_thread_serves(mailbox: u64) -> bool {
    serving().is_some_and(|serving| serving.mailbox == mailbox)
}
