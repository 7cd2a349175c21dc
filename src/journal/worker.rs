//! The worker of a handler that reads a journal.

use std::sync::Arc;

use super::entry::ReturnedEntry;
use super::{Entry, Shared};
use crate::dead_letter::{Again, DeadLetter, DeadLetterReason, Recipient};
use crate::handler::{Attached, Control, Retry, Stopwatch, Verdict};
use crate::lifecycle::{Serving, WorkerActivity};
use crate::log::{Cursor, Log, Look, Place};
use crate::panic::catch;
use crate::spans::{Handling, Labels};
use crate::sync::atomic::{AtomicU64, Ordering};

pub(super) struct JournalWorker<T> {
    pub(super) cursor: Cursor<T>,
    /// Keeps the journal open.
    pub(super) shared: Arc<Shared<T>>,
    pub(super) control: Arc<Control>,
    pub(super) reading: Arc<Reading<T>>,
    pub(super) retry: Retry,
    pub(super) stopwatch: Stopwatch,
    /// What dead letters call the handler.
    pub(super) name: String,
}

/// How far a handler is to read: what its handle has of it.
pub(super) struct Reading<T> {
    log: Arc<Log<T>>,
    place: Arc<Place<T>>,
    /// The offset at which it stops.
    until: AtomicU64,
}

impl<T> Reading<T> {
    pub(super) fn new(cursor: &Cursor<T>) -> Self {
        let (log, place) = (Arc::clone(cursor.log()), Arc::clone(cursor.place()));
        Self { log, place, until: AtomicU64::new(u64::MAX) }
    }

    fn until(&self) -> u64 {
        // Acquire pairs with `leave`.
        self.until.load(Ordering::Acquire)
    }

    /// Letters that were sent back and not handled yet.
    fn returned(&self) -> usize {
        self.place.handled.as_ref().map_or(0, |handled| handled.returned())
    }
}

impl<T: Send + Sync> Attached for Reading<T> {
    fn leave(&self, _: usize) -> bool {
        // Release pairs with `until`: what was appended before is handled. The lock of the sleepers, in `call_readers`, makes
        // sure that a worker which is about to sleep sees it.
        self.until.store(self.log.next_offset(), Ordering::Release);
        self.log.call_readers();
        true
    }

    fn abandon(&self) -> usize {
        // The entries stay in the journal. Letters do not.
        let letters = self.place.handled.as_ref().map_or(0, |handled| handled.drop_returned());
        self.log.losses.abandoned.fetch_add(letters, Ordering::Relaxed);
        let unread = self.until().min(self.log.next_offset()).saturating_sub(self.place.position());
        usize::try_from(unread + letters).unwrap_or(usize::MAX)
    }

    fn len(&self) -> usize {
        let unread = self.until().min(self.log.next_offset()).saturating_sub(self.place.position());
        usize::try_from(unread).unwrap_or(usize::MAX).saturating_add(self.returned())
    }

    /// The worker ends when the bus closes, and lets go of everything itself.
    fn detach(&self) {}
}

impl<T: Clone> JournalWorker<T> {
    pub(super) fn run(mut self, mut f: impl FnMut(&Entry<'_, T>) -> Result<(), String>) {
        let place = Arc::clone(self.cursor.place());
        Serving::new(&self.shared.log.lifecycle, place.id, self.control.id()).on_this_thread();
        let mut activity = WorkerActivity::new(&self.control.workers);
        activity.looks();
        loop {
            match catch(|| self.handle_next(&mut activity, &mut f)) {
                Ok(true) => {}
                Ok(false) if self.ends() => break,
                Ok(false) => {}
                // In the `Drop` of a payload.
                Err(_) => _ = self.shared.log.losses.handler_panics.fetch_add(1, Ordering::Relaxed),
            }
        }
        activity.ends();
        // The closure may hold handles of the bus, and they must be gone before the thread counts as ended.
        let _ = catch(|| drop(f));
        let _ = catch(|| drop(self));
    }

    /// There is nothing more to do. Returns `false` if a letter was sent back meanwhile; after that none can be.
    fn ends(&self) -> bool {
        let Some(handled) = &self.cursor.place().handled else { return true };
        if self.control.is_leaving() {
            self.shared.log.losses.abandoned.fetch_add(handled.drop_returned(), Ordering::Relaxed);
            return true;
        }
        handled.end_if_none_returned()
    }

    /// Handles the next entry, or a letter that was sent back. Returns `false` when there is nothing more to do.
    fn handle_next(
        &mut self,
        activity: &mut WorkerActivity,
        f: &mut impl FnMut(&Entry<'_, T>) -> Result<(), String>,
    ) -> bool {
        loop {
            if self.control.is_leaving() {
                return false;
            }
            if let Some((topic, again)) =
                self.cursor.place().handled.as_ref().and_then(|handled| handled.take_returned())
            {
                activity.found();
                let Again { payload, properties, offset } = again;
                let returned = ReturnedEntry { offset: offset.unwrap_or(0), topic, payload, properties };
                self.process(&returned.entry(), f);
                return true;
            }
            if self.cursor.offset() >= self.reading.until() {
                return false;
            }
            match self.cursor.look_before(self.reading.until()) {
                // Appended after the handler was told to stop, a moment ago.
                Look::At(_) if self.cursor.offset() > self.reading.until() => return false,
                Look::At(index) => {
                    activity.found();
                    let lost = self.cursor.take_lost();
                    if let Some(entry) = self.cursor.entry(index) {
                        self.process(&Entry::new(entry, lost), f);
                    }
                    return true;
                }
                Look::Closed | Look::Overflowed => return false,
                Look::Skipped => {}
                Look::Nothing if self.cursor.offset() >= self.reading.until() => {}
                Look::Nothing => {
                    activity.idles();
                    let Self { cursor, reading, control, .. } = self;
                    let next = cursor.offset();
                    let is_called = || reading.until() <= next || reading.returned() > 0;
                    cursor.wait(Some(&control.left), None, is_called);
                    activity.looks();
                }
            }
        }
    }

    fn process(&self, entry: &Entry<'_, T>, f: &mut impl FnMut(&Entry<'_, T>) -> Result<(), String>) {
        let losses = &self.shared.log.losses;
        let started = self.stopwatch.start();
        let labels = Labels { patterns: &self.shared.log.options.patterns, group: None, name: Some(&self.name) };
        let published_in = entry.properties().and_then(|properties| properties.published_in.as_ref());
        let span = Handling::enter(None, published_in, entry.topic(), labels);
        let mut attempts = 0;
        let reason = loop {
            attempts += 1;
            match Verdict::after(catch(|| f(entry)), attempts, &self.retry) {
                Verdict::Done => break None,
                Verdict::Retry { pause, .. } if self.control.sleep(pause) => {}
                Verdict::Retry { error, .. } => break Some(DeadLetterReason::Failed(error)),
                Verdict::GiveUp(reason) => break Some(reason),
            }
        };
        span.end(reason.as_ref().map_or("ok", DeadLetterReason::outcome), attempts);
        match reason {
            None => losses.messages.handled(),
            Some(reason) => self.give_up(entry, reason, attempts),
        }
        self.stopwatch.stop(started);
    }

    fn give_up(&self, entry: &Entry<'_, T>, reason: DeadLetterReason, attempts: u32) {
        let log = &self.shared.log;
        let counter = match &reason {
            DeadLetterReason::Panicked(_) => &log.losses.handler_panics,
            _ => &log.losses.handler_failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if log.losses.is_listening() {
            let pattern = log.options.patterns.iter().find(|pattern| pattern.matches(entry.topic())).cloned();
            let recipient = Recipient {
                mailbox: self.cursor.place().id,
                handler: Some(self.name.clone()),
                pattern,
                offset: Some(entry.offset()),
            };
            let letter = DeadLetter::new(entry.topic().clone(), entry.cloned(), reason, entry.properties().cloned());
            log.losses.post(letter.after(attempts).to(recipient));
        }
    }
}
