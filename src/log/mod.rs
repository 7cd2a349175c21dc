//! A log: messages in one order, kept for all who read it. What `Journal` is made of.
//!
//! An entry has an *offset*. A publisher *claims* the next one by one compare-and-swap of `Tail::word`, and then *writes* the
//! entry into its place: moves alone, so there is never a hole. Places are in [chunks](chunk), linked from the older to the
//! newer. A reader walks along them with a [cursor](cursor) and looks at nothing else, as long as there is an entry to read.
//!
//! A log that blocks keeps an entry until every reader has passed it: `Tail::limit` is the first offset that must not be
//! claimed yet. Who finds no room waits in the line at the [gate](gate), with his message, which whoever makes room moves on.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::dead_letter::{Again, DeadLetter, DeadLetterReason, Losses, Recipient};
use crate::lifecycle::Lifecycle;
use crate::mailbox::{Overflow, next_id};
use crate::metadata::Properties;
use crate::panic::catch;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use crate::topic::{Pattern, Topic};

mod append;
mod chunk;
mod chunks;
mod cursor;
mod drain;
mod gate;
mod line;
mod place;
mod sleepers;
mod start;
mod sync_log;
mod ticket;

pub(crate) use append::{Claim, Leftovers, NoClaim, Refused};
pub(crate) use chunk::Record;
use chunks::Chunks;
pub(crate) use cursor::{Cursor, EntryParts, Look};
pub(crate) use drain::ReaderLeft;
use gate::Gate;
pub(crate) use line::{InLine, Joined};
pub(crate) use place::{Handled, Place};
use sleepers::Sleepers;
pub use start::{Start, StartError};
pub(crate) use sync_log::SyncLog;
pub(crate) use ticket::Ticket;

/// How a log is to be made; it keeps them.
pub(crate) struct LogOptions {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) name: String,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    /// It does not count in a delivery.
    pub(crate) is_observer: bool,
}

pub(crate) type LogFilter<T> = Box<dyn Fn(&T) -> bool + Send + Sync>;

/// What is in `Tail::word` beside the next offset. The word never has the same value twice: so a compare-and-swap that
/// succeeds says that nothing has changed, the readers and the line among it.
mod flag {
    /// It takes no entries any more.
    pub(super) const CLOSED: u64 = 1;
    /// Publishers come to the gate: somebody waits in the line, or a reader has come or gone back. Taken back by a claim
    /// alone.
    pub(super) const GATE: u64 = 2;
    /// A reader sleeps. Whoever claims the next offset takes it back, and wakes them all when the entry is written.
    pub(super) const SLEEPERS: u64 = 4;
    /// One more entry.
    pub(super) const ENTRY: u64 = 8;
}

/// What is in `Log::notice`.
mod notice {
    /// Somebody waits in the line, so a reader that passes an entry looks whether it has made room.
    pub(super) const CROWDED: u8 = 1;
    /// `flag::CLOSED` is set.
    pub(super) const CLOSED: u8 = 2;
}

/// What publishers write for each entry.
struct Tail {
    /// The next offset times `flag::ENTRY`, and flags.
    word: AtomicU64,
    /// The first offset that has no room. Written under the lock of the gate.
    limit: AtomicU64,
}

pub(crate) struct Log<T> {
    pub(crate) id: u64,
    pub(crate) options: LogOptions,
    filter: Option<LogFilter<T>>,
    pub(crate) losses: Arc<Losses<T>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    tail: CachePadded<Tail>,
    /// What readers look at for each entry: apart from what publishers write.
    notice: CachePadded<AtomicU8>,
    chunks: Chunks<T>,
    gate: Mutex<Gate<T>>,
    sleepers: Sleepers,
}

impl<T> Log<T> {
    pub(crate) fn new(
        options: LogOptions,
        filter: Option<LogFilter<T>>,
        losses: &Arc<Losses<T>>,
        lifecycle: &Arc<Lifecycle>,
    ) -> Self {
        let only_topic = match &*options.patterns {
            [pattern] => Topic::try_from(pattern).ok(),
            _ => None,
        };
        Self {
            id: next_id(),
            filter,
            losses: Arc::clone(losses),
            lifecycle: Arc::clone(lifecycle),
            tail: CachePadded::new(Tail { word: AtomicU64::new(0), limit: AtomicU64::new(u64::MAX) }),
            notice: CachePadded::new(AtomicU8::new(0)),
            chunks: Chunks::new(options.capacity, only_topic),
            gate: Mutex::new(Gate::new()),
            sleepers: Sleepers::default(),
            options,
        }
    }

    /// Whether an entry stays until every reader has passed it.
    #[inline(always)]
    pub(crate) fn blocks(&self) -> bool {
        self.options.overflow == Overflow::Block
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.options.capacity as u64
    }

    /// The offset of the next entry.
    pub(crate) fn next_offset(&self) -> u64 {
        // Acquire pairs with the claims: who sees an offset finds the chunk of the entry.
        self.tail.word.load(Ordering::Acquire) / flag::ENTRY
    }

    /// The offset of the oldest entry that is kept.
    pub(crate) fn oldest_offset(&self) -> u64 {
        self.next_offset().saturating_sub(self.capacity())
    }

    pub(crate) fn readers(&self) -> usize {
        self.gate.lock().readers.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Acquire pairs with `close`.
        self.tail.word.load(Ordering::Acquire) & flag::CLOSED != 0
    }

    /// Takes no entries any more. Those who wait in the line hear of it and take their messages back.
    pub(crate) fn close(&self) {
        let mut gate = self.gate.lock();
        // AcqRel pairs with the claims: no offset is claimed after it.
        self.tail.word.fetch_or(flag::CLOSED, Ordering::AcqRel);
        // Release pairs with `Cursor::nothing`.
        self.notice.fetch_or(notice::CLOSED, Ordering::Release);
        let owners = gate.line.owners();
        drop(gate);
        owners.into_iter().for_each(|owner| owner.wake());
        self.sleepers.wake_all();
    }

    /// Whether the filter lets the message through. A filter that panics does not.
    pub(crate) fn accepts(&self, payload: &T) -> bool {
        let Some(filter) = &self.filter else { return true };
        catch(|| filter(payload)).unwrap_or_else(|_| {
            self.losses.filter_panics.fetch_add(1, Ordering::Relaxed);
            false
        })
    }

    pub(crate) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// Gives a dead letter back to the handler of this number. Returns it if there is none.
    pub(crate) fn give_back(&self, reader: u64, topic: &Topic, again: Again<T>) -> Result<(), Again<T>> {
        let place = self.gate.lock().readers.iter().find(|place| place.id == reader).cloned();
        let Some(handled) = place.as_ref().and_then(|place| place.handled.as_ref()) else { return Err(again) };
        handled.give_back(topic.clone(), again)?;
        self.call_readers();
        Ok(())
    }

    /// Wakes all readers that sleep: there is something for one of them that is no entry.
    pub(crate) fn call_readers(&self) {
        self.sleepers.wake_all();
    }

    pub(crate) fn count_observed(&self) {
        self.losses.messages.observed();
    }

    fn recipient(&self, topic: &Topic) -> Recipient {
        let patterns = &self.options.patterns;
        let pattern = patterns.iter().find(|pattern| pattern.matches(topic)).cloned();
        Recipient { mailbox: self.id, handler: None, pattern, offset: None }
    }
}

impl<T: Clone> Log<T> {
    /// Counts a message that this log will never have, and posts a dead letter if anybody listens.
    pub(crate) fn count_loss(
        &self,
        topic: &Topic,
        payload: &T,
        properties: Option<&Arc<Properties>>,
        reason: DeadLetterReason,
    ) {
        if let Some(loss) = reason.loss() {
            self.losses.dropped.add(loss);
        }
        if self.losses.is_listening() {
            let letter = DeadLetter::new(topic.clone(), payload.clone(), reason, properties.cloned());
            self.losses.post(letter.to(self.recipient(topic)));
        }
    }
}
