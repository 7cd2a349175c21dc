//! Reading a log, entry by entry.

use std::sync::Arc;

use super::chunk::Chunk;
use super::place::{Handled, Place};
use super::{Log, Start, StartError, flag, notice};
use crate::lifecycle::EndSignal;
use crate::mailbox::{Overflow, next_id};
use crate::metadata::Properties;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::channel::Select;
use crate::sync::{Backoff, Instant, thread};
use crate::topic::{Pattern, Topic};

/// How many entries one look skips: the reader may have to look at something else.
const MOST_SKIPPED: u32 = 1024;

/// A place in a log, and the chunk that it is in.
pub(crate) struct Cursor<T> {
    log: Arc<Log<T>>,
    chunk: Arc<Chunk<T>>,
    /// The offset of the next entry.
    next: u64,
    place: Arc<Place<T>>,
    /// Entries that it has missed, and not reported.
    lost: u64,
    /// It was overrun, and ends here, see `Overflow::Disconnect`.
    ends_at: Option<u64>,
    only: Option<Pattern>,
    gathering: Gathering,
}

/// An entry, borrowed from the cursor.
pub(crate) struct EntryParts<'a, T> {
    pub(crate) offset: u64,
    pub(crate) topic: &'a Topic,
    pub(crate) payload: &'a T,
    pub(crate) properties: Option<&'a Arc<Properties>>,
}

/// What a look at the next entry shows.
pub(crate) enum Look {
    /// It is at this index of the chunk, and now behind the cursor.
    At(usize),
    /// It was not written yet.
    Nothing,
    /// It has skipped many entries, and more may come.
    Skipped,
    /// None will come.
    Closed,
    /// It was overrun, and is at the end of what it could read.
    Overflowed,
}

/// Whether a reader that has caught up lets some entries gather.
#[derive(Clone, Copy, Default)]
struct Gathering {
    caught_up: u32,
    /// Where it caught up before.
    at: u64,
    /// How long it has paused then, in turns of a spin loop.
    pause: u32,
}

impl Gathering {
    /// The next entry is not there. Returns for how long it is not to look.
    ///
    /// Where entries stream in, a reader that looks again at once gets each as it comes, and fights with the publisher over
    /// the line of every place (120 ns an entry). One that lets some gather gets them by the hundred (40 ns). Where they come
    /// one by one it would only be late. So it tries it once in a while, and for longer as long as it pays.
    fn pause(&mut self, next: u64) -> u32 {
        const EVERY: u32 = 256;
        const FIRST: u32 = 100;
        const LONGEST: u32 = 1000;
        const PAYS: u64 = 16;
        const ENOUGH: u64 = 400;
        let gathered = next.wrapping_sub(self.at);
        self.at = next;
        self.caught_up = self.caught_up.wrapping_add(1);
        self.pause = match self.pause {
            0 if self.caught_up % EVERY == 0 => FIRST,
            _ if gathered < PAYS => 0,
            pause if gathered < ENOUGH => (pause * 2).min(LONGEST),
            pause => pause,
        };
        self.pause
    }
}

impl<T> Cursor<T> {
    pub(crate) fn new(log: &Arc<Log<T>>, start: Start, handled: Option<Handled<T>>) -> Result<Self, StartError> {
        let log = Arc::clone(log);
        let mut gate = log.gate.lock();
        // AcqRel pairs with the claims: none succeeds from here on but at the gate, until the limit is right.
        let word = log.tail.word.fetch_or(flag::GATE, Ordering::AcqRel);
        let (position, lost) = log.resolve(start, word / flag::ENTRY)?;
        log.lower_limit(position);
        let place = Arc::new(Place::new(next_id(), position, handled));
        gate.readers.push(Arc::clone(&place));
        drop(gate);
        let (chunk, next) = log.chunks.locate(position).unwrap_or_else(|| unreachable!("a log has a chunk"));
        let lost = lost + overrun_at_once(start, position, next);
        Ok(Self { log, chunk, next, place, lost, ends_at: None, only: None, gathering: Gathering::default() })
    }

    /// Another one at the same place.
    pub(crate) fn another(&self) -> Self {
        let log = Arc::clone(&self.log);
        let mut gate = log.gate.lock();
        // AcqRel pairs with the claims, as in `new`.
        log.tail.word.fetch_or(flag::GATE, Ordering::AcqRel);
        log.lower_limit(self.next);
        let place = Arc::new(Place::new(next_id(), self.next, None));
        gate.readers.push(Arc::clone(&place));
        drop(gate);
        let Self { ref chunk, next, lost, ends_at, ref only, .. } = *self;
        let gathering = Gathering::default();
        Self { log, chunk: Arc::clone(chunk), next, place, lost, ends_at, only: only.clone(), gathering }
    }

    pub(crate) fn seek(&mut self, start: Start) -> Result<(), StartError> {
        let log = Arc::clone(&self.log);
        let gate = log.gate.lock();
        // AcqRel pairs with the claims, as in `new`.
        let word = log.tail.word.fetch_or(flag::GATE, Ordering::AcqRel);
        let (position, lost) = log.resolve(start, word / flag::ENTRY)?;
        log.lower_limit(position);
        self.place.pass(position);
        log.let_in_and_finish(gate);
        let (chunk, next) = log.chunks.locate(position).unwrap_or_else(|| unreachable!("a log has a chunk"));
        self.lost = lost + overrun_at_once(start, position, next);
        self.ends_at = None;
        self.next = next;
        let before = std::mem::replace(&mut self.chunk, chunk);
        drop(before);
        Ok(())
    }

    pub(crate) fn read_only(&mut self, pattern: Pattern) {
        self.only = Some(pattern);
    }

    pub(crate) fn log(&self) -> &Arc<Log<T>> {
        &self.log
    }

    pub(crate) fn place(&self) -> &Arc<Place<T>> {
        &self.place
    }

    pub(crate) fn offset(&self) -> u64 {
        self.next
    }

    /// The entry at an index that a look has shown.
    #[inline(always)]
    pub(crate) fn entry(&self, index: usize) -> Option<EntryParts<'_, T>> {
        let (topic, payload) = self.chunk.get(index)?;
        let properties = self.chunk.properties(index);
        Some(EntryParts { offset: self.chunk.base() + index as u64, topic, payload, properties })
    }

    /// The number of entries that were missed before the last look, once.
    #[inline(always)]
    pub(crate) fn take_lost(&mut self) -> u64 {
        if self.lost == 0 { 0 } else { std::mem::take(&mut self.lost) }
    }

    /// Looks at the next entry, and passes it if it is there.
    #[inline]
    pub(crate) fn look(&mut self) -> Look {
        self.look_before(u64::MAX)
    }

    /// The same, for entries before this offset: from there on there is nothing.
    #[inline(always)]
    pub(crate) fn look_before(&mut self, until: u64) -> Look {
        let mut skipped = 0;
        loop {
            if self.next >= until {
                return Look::Nothing;
            }
            let Some(index) = self.chunk.index(self.next) else {
                match self.next_chunk() {
                    Some(look) => return look,
                    None => continue,
                }
            };
            if !self.log.blocks() {
                if self.ends_at.is_some_and(|end| self.next >= end) {
                    return Look::Overflowed;
                }
                if self.is_overrun() {
                    match self.overrun() {
                        Some(look) => return look,
                        None => continue,
                    }
                }
            }
            let Some((topic, _)) = self.chunk.get(index) else { return self.nothing() };
            let is_for_this = self.only.as_ref().is_none_or(|only| only.matches(topic))
                && self.chunk.properties(index).is_none_or(|properties| !properties.is_expired());
            self.next += 1;
            self.place.pass(self.next);
            if self.log.is_crowded() {
                self.make_room();
            }
            if is_for_this {
                return Look::At(index);
            }
            skipped += 1;
            if skipped == MOST_SKIPPED {
                return Look::Skipped;
            }
        }
    }

    /// It has passed an entry while somebody waits for room.
    #[cold]
    #[inline(never)]
    fn make_room(&self) {
        // SeqCst pairs with the one in `Log::fill`.
        fence(Ordering::SeqCst);
        self.log.look_again();
    }

    /// The entry is not there: it may still come.
    #[cold]
    #[inline(never)]
    fn nothing(&mut self) -> Look {
        if self.ends_at.is_some() {
            // Its place was overrun before it was written, so it may never be.
            self.ends_at = Some(self.next);
            return Look::Overflowed;
        }
        // SeqCst pairs with the one in `Log::fill`. When it passed an entry it may have missed that somebody had come to wait,
        // and who that was may have missed how far it is; one of them sees the other now.
        fence(Ordering::SeqCst);
        // Acquire pairs with `Log::close`.
        let notice = self.log.notice.load(Ordering::Acquire);
        if notice & notice::CROWDED != 0 {
            self.log.look_again();
        }
        if notice & notice::CLOSED == 0 {
            return Look::Nothing;
        }
        // Acquire pairs with the claims.
        let word = self.log.tail.word.load(Ordering::Acquire);
        let is_claimed = word / flag::ENTRY > self.next;
        if word & flag::CLOSED != 0 && !is_claimed {
            return Look::Closed;
        }
        // A publisher is between claim and write, and `wait` does not wait at a log that is closed.
        thread::yield_now();
        Look::Nothing
    }

    /// Goes on to the next chunk. Returns what a look shows if there is none.
    #[cold]
    #[inline(never)]
    fn next_chunk(&mut self) -> Option<Look> {
        if self.ends_at.is_some_and(|end| self.next >= end) {
            return Some(Look::Overflowed);
        }
        match self.chunk.next() {
            None => return Some(self.nothing()),
            Some(Some(next)) => {
                // The payloads of one that nobody else holds are dropped here.
                let before = std::mem::replace(&mut self.chunk, next);
                drop(before);
            }
            // It was overrun by so much that the entry is gone.
            Some(None) => return self.overrun(),
        }
        None
    }

    fn is_overrun(&self) -> bool {
        self.ends_at.map_or_else(|| self.log.oldest_offset() > self.next, |end| self.next >= end)
    }

    /// Goes on where it can. Returns what a look shows if that is nowhere.
    #[cold]
    #[inline(never)]
    fn overrun(&mut self) -> Option<Look> {
        if self.log.options.overflow == Overflow::Disconnect {
            if self.ends_at.is_none() && self.next < self.chunk.end() {
                // It holds these.
                self.ends_at = Some(self.chunk.end());
                return None;
            }
            self.ends_at = Some(self.next);
            return Some(Look::Overflowed);
        }
        let Some((chunk, next)) = self.log.chunks.locate(self.log.oldest_offset()) else { return Some(Look::Nothing) };
        let missed = next.saturating_sub(self.next);
        self.lost += missed;
        self.next = next;
        self.place.pass(next);
        let before = std::mem::replace(&mut self.chunk, chunk);
        drop(before);
        None
    }

    /// Whether the next entry is there, or none will come. What else a look may show, a reader sees before it sleeps: here it
    /// stays away from what publishers write.
    fn has_something(&self) -> bool {
        let is_there = match self.chunk.index(self.next) {
            Some(index) => self.chunk.get(index).is_some(),
            None => self.ends_at.is_some() || self.chunk.has_next(),
        };
        is_there || self.log.notice.load(Ordering::Relaxed) & notice::CLOSED != 0
    }

    /// Waits until a look may show something; until the signal or the deadline: then returns `false`; or until the reader
    /// [is called](Log::call_readers) for something else, which `is_called` sees.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait(
        &mut self,
        signal: Option<&EndSignal>,
        deadline: Option<Instant>,
        is_called: impl Fn() -> bool,
    ) -> bool {
        for _ in 0..self.gathering.pause(self.next) / 100 {
            // To those who have something to do, if there are any.
            thread::yield_now();
            (0..100).for_each(|_| std::hint::spin_loop());
        }
        let backoff = Backoff::new();
        while !backoff.is_completed() {
            if self.has_something() || is_called() {
                return true;
            }
            backoff.snooze();
        }
        self.sleep(signal, deadline, is_called)
    }

    fn sleep(&self, signal: Option<&EndSignal>, deadline: Option<Instant>, is_called: impl Fn() -> bool) -> bool {
        let log = &*self.log;
        let (number, woken) = log.sleepers.add();
        // AcqRel pairs with the claims: that of the next entry comes before, and is seen here, or behind, and wakes this reader.
        let word = log.tail.word.fetch_or(flag::SLEEPERS, Ordering::AcqRel);
        if word / flag::ENTRY > self.next || word & flag::CLOSED != 0 || is_called() {
            log.sleepers.remove(number);
            // A publisher between claim and write needs a moment, unless it has lost its processor.
            thread::yield_now();
            return deadline.is_none_or(|deadline| Instant::now() < deadline);
        }
        let mut select = Select::new_biased();
        if let Some(signal) = signal {
            select.recv(signal);
        }
        let by_entry = select.recv(&woken);
        let woken_by = match deadline {
            None => Some(select.ready()),
            Some(deadline) => select.ready_deadline(deadline).ok(),
        };
        drop(select);
        if woken_by != Some(by_entry) {
            log.sleepers.remove(number);
        }
        woken_by == Some(by_entry)
    }
}

/// What a reader has lost that was to begin at a position, and begins at a later one, because publishers were faster. The
/// oldest entry is the oldest that it finds.
fn overrun_at_once(start: Start, position: u64, next: u64) -> u64 {
    if matches!(start, Start::Oldest | Start::Last(1..)) { 0 } else { next - position }
}

impl<T> Log<T> {
    /// A reader is at this position, or will be: it is not to be overrun. Called under the lock of the gate, when all
    /// publishers come to the gate.
    fn lower_limit(&self, position: u64) {
        if self.blocks() {
            // Relaxed: read with the word, see `Log::claim`.
            self.tail.limit.fetch_min(position + self.capacity(), Ordering::Relaxed);
        }
    }
}

impl<T> Drop for Cursor<T> {
    fn drop(&mut self) {
        let mut gate = self.log.gate.lock();
        let index = gate.readers.iter().position(|place| place.id == self.place.id);
        let place = index.map(|index| gate.readers.swap_remove(index));
        self.log.let_in_and_finish(gate);
        drop(place);
    }
}
