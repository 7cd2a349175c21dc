//! Where the losses of a bus are counted and turned into dead letters, and who listens for those.

use super::DeadLetter;
use super::quiet::is_quiet;
use super::reader::ReaderQueue;
#[cfg(feature = "testkit")]
use super::watch::Watch;
use crate::counters::{LossCounters, MessageCounters, OwnerBiasedCounter};
use crate::lifecycle::BusId;
use crate::sync::Mutex;
use crate::sync::counters::{AtomicU64, AtomicUsize, Ordering};

pub(super) enum Listener<T> {
    Reader(ReaderQueue<T>),
    #[cfg(feature = "testkit")]
    Watch(Watch<T>),
}

impl<T> Clone for Listener<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Reader(queue) => Self::Reader(queue.clone()),
            #[cfg(feature = "testkit")]
            Self::Watch(watch) => Self::Watch(Watch::clone(watch)),
        }
    }
}

impl<T> Listener<T> {
    fn deliver(&self, letter: DeadLetter<T>) {
        match self {
            Self::Reader(queue) => queue.deliver(letter),
            #[cfg(feature = "testkit")]
            Self::Watch(watch) => watch(letter),
        }
    }
}

/// Where the losses of a bus are counted and turned into dead letters.
pub(crate) struct Losses<T> {
    bus: BusId,
    /// `None` once the bus is closed and its handlers have ended.
    listeners: Mutex<Option<Vec<Listener<T>>>>,
    /// The length of `listeners`, to be read without the lock on the path of a message.
    listening: AtomicUsize,
    pub(crate) dropped: LossCounters,
    pub(crate) abandoned: AtomicU64,
    pub(crate) unheard: OwnerBiasedCounter,
    /// What was not lost.
    pub(crate) messages: MessageCounters,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) filter_panics: AtomicU64,
    pub(crate) handler_failures: AtomicU64,
    pub(crate) handler_panics: AtomicU64,
    pub(crate) skipped_requests: AtomicU64,
}

impl<T> Losses<T> {
    pub(crate) fn new(bus: BusId) -> Self {
        Self {
            bus,
            listeners: Mutex::new(Some(Vec::new())),
            listening: AtomicUsize::new(0),
            dropped: LossCounters::default(),
            abandoned: AtomicU64::new(0),
            unheard: OwnerBiasedCounter::default(),
            messages: MessageCounters::default(),
            dead_letters: AtomicU64::new(0),
            filter_panics: AtomicU64::new(0),
            handler_failures: AtomicU64::new(0),
            handler_panics: AtomicU64::new(0),
            skipped_requests: AtomicU64::new(0),
        }
    }

    /// Whether a dead letter is to be posted: a reader would get it, so that it is worth a clone of the payload, and this
    /// thread is not in the middle of a publish that makes none.
    pub(crate) fn is_listening(&self) -> bool {
        // Relaxed: the lock in `post` decides; a listener that comes right now may miss this letter.
        self.listening.load(Ordering::Relaxed) > 0 && !is_quiet(self.bus)
    }

    pub(super) fn add(&self, listener: Listener<T>) {
        let mut listeners = self.listeners.lock();
        // After the end the listener is dropped, and a reader sees the end at once.
        let Some(listeners) = listeners.as_mut() else { return };
        listeners.push(listener);
        self.listening.store(listeners.len(), Ordering::Relaxed);
    }

    pub(super) fn remove(&self, is_it: impl Fn(&Listener<T>) -> bool) {
        let mut listeners = self.listeners.lock();
        let mut removed = None;
        if let Some(listeners) = listeners.as_mut() {
            if let Some(index) = listeners.iter().position(is_it) {
                removed = Some(listeners.swap_remove(index));
            }
            self.listening.store(listeners.len(), Ordering::Relaxed);
        }
        drop(listeners);
        drop(removed);
    }

    /// No letter will be posted any more: listeners read what they have, then find the end.
    pub(crate) fn close(&self) {
        let listeners = self.listeners.lock().take();
        self.listening.store(0, Ordering::Relaxed);
        drop(listeners);
    }
}

impl<T: Clone> Losses<T> {
    /// Gives the letter to every listener. Callers make sure first that somebody [listens](Self::is_listening).
    pub(crate) fn post(&self, letter: DeadLetter<T>) {
        // A copy of the list, because payloads are cloned and dropped below.
        let Some(mut listeners) = self.listeners.lock().clone() else { return };
        let Some(last) = listeners.pop() else { return };
        self.dead_letters.fetch_add(1, Ordering::Relaxed);
        for listener in listeners {
            listener.deliver(letter.clone());
        }
        last.deliver(letter);
    }
}
