//! Appending: a claim, then a write.

use std::sync::Arc;

use super::chunk::{Chunk, Record};
use super::gate::{Gate, Owner};
use super::{Log, flag, notice};
use crate::sync::Guard;
use crate::sync::atomic::Ordering;
use crate::topic::Topic;

/// An offset that was claimed, and the chunk with its place. It has to be written, and nothing but moves may come before that.
#[must_use = "the entry has to be written"]
pub(crate) struct Claim<T> {
    chunk: Guard<Arc<Chunk<T>>>,
    index: usize,
    offset: u64,
}

/// Why no offset can be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoClaim {
    Full,
    Closed,
}

/// What claims, and messages that were moved out of the line, leave to be done: user code, and so outside of locks, and when
/// the message of the publisher is written everywhere.
#[must_use = "readers and publishers may wait for it"]
pub(crate) struct Leftovers<T> {
    /// Readers sleep until the entry is written.
    wakes: bool,
    /// The hold of a chunk that was written to: it may be the last.
    written: Option<Guard<Arc<Chunk<T>>>>,
    /// To be woken: their messages are in.
    owners: Vec<Owner>,
    /// The last holds of these, maybe: then their payloads are to be dropped.
    chunks: Vec<Arc<Chunk<T>>>,
}

#[cold]
#[inline(never)]
fn recycle_all<T>(chunks: Vec<Arc<Chunk<T>>>, log: &Log<T>) {
    chunks.into_iter().for_each(|chunk| log.chunks.recycle(chunk));
}

impl<T> Leftovers<T> {
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self { wakes: false, written: None, owners: Vec::new(), chunks: Vec::new() }
    }

    /// Wakes those who wait, and drops the payloads that have left.
    #[inline(always)]
    pub(crate) fn finish(mut self, log: &Log<T>) {
        self.wake(log);
        self.drop_chunks(log);
    }

    /// Wakes those who wait. In every log of a message before payloads of any are dropped: a `Drop` may wait for them.
    #[inline(always)]
    pub(crate) fn wake(&mut self, log: &Log<T>) {
        if std::mem::take(&mut self.wakes) {
            log.sleepers.wake_all();
        }
        if !self.owners.is_empty() {
            self.owners.drain(..).for_each(Owner::wake);
        }
    }

    #[inline(always)]
    pub(crate) fn drop_chunks(self, log: &Log<T>) {
        let Self { written, chunks, .. } = self;
        drop(written);
        if !chunks.is_empty() {
            recycle_all(chunks, log);
        }
    }

    /// Keeps the hold of a chunk, which is not to be let go here.
    fn keep(&mut self, chunk: Guard<Arc<Chunk<T>>>) {
        self.chunks.push(Guard::into_inner(chunk));
    }
}

impl<T> Log<T> {
    /// Claims the next offset, if there is room.
    #[inline(always)]
    pub(crate) fn claim(&self, leftovers: &mut Leftovers<T>) -> Result<Claim<T>, NoClaim> {
        // The chunk first: one that is loaded after the word may be too new for it.
        let mut chunk = self.chunks.newest();
        loop {
            // Acquire pairs with the claims: who sees the word that a claim at the gate has left sees the limit that a reader has
            // lowered before.
            let word = self.tail.word.load(Ordering::Acquire);
            let offset = word / flag::ENTRY;
            if word & (flag::CLOSED | flag::GATE) != 0 || offset >= self.tail.limit.load(Ordering::Relaxed) {
                leftovers.keep(chunk);
                return self.claim_at_gate(leftovers);
            }
            let Some(index) = chunk.index(offset) else {
                self.add_chunk(offset, chunk, leftovers);
                chunk = self.chunks.newest();
                continue;
            };
            // AcqRel pairs with the claims before and behind it, and with `Cursor::sleep`.
            let next = (offset + 1) * flag::ENTRY;
            if self.tail.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                leftovers.wakes |= word & flag::SLEEPERS != 0;
                return Ok(Claim { chunk, index, offset });
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn add_chunk(&self, offset: u64, before: Guard<Arc<Chunk<T>>>, leftovers: &mut Leftovers<T>) {
        leftovers.keep(before);
        leftovers.chunks.extend(self.chunks.add(offset));
    }

    #[cold]
    #[inline(never)]
    fn claim_at_gate(&self, leftovers: &mut Leftovers<T>) -> Result<Claim<T>, NoClaim> {
        let mut gate = self.gate.lock();
        self.let_in(&mut gate, leftovers);
        self.claim_under_lock(&mut gate, leftovers)
    }

    /// Claims the next offset for somebody who is not in the line.
    pub(super) fn claim_under_lock(
        &self,
        gate: &mut Gate<T>,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Claim<T>, NoClaim> {
        if gate.line.is_empty() {
            return self.claim_for_first(gate, false, leftovers);
        }
        if self.is_closed() { Err(NoClaim::Closed) } else { Err(NoClaim::Full) }
    }

    /// Claims the next offset under the lock of the gate. The others come to the gate as before if there is anybody left in
    /// the line.
    fn claim_for_first(
        &self,
        gate: &Gate<T>,
        is_line_left: bool,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Claim<T>, NoClaim> {
        let mut chunk = self.chunks.newest();
        loop {
            // Acquire pairs with the claims.
            let word = self.tail.word.load(Ordering::Acquire);
            let offset = word / flag::ENTRY;
            if word & flag::CLOSED != 0 {
                leftovers.keep(chunk);
                return Err(NoClaim::Closed);
            }
            if offset >= self.tail.limit.load(Ordering::Relaxed) && !self.has_room(gate, offset) {
                leftovers.keep(chunk);
                return Err(NoClaim::Full);
            }
            let Some(index) = chunk.index(offset) else {
                self.add_chunk(offset, chunk, leftovers);
                chunk = self.chunks.newest();
                continue;
            };
            let next = (offset + 1) * flag::ENTRY + if is_line_left { flag::GATE } else { 0 };
            // AcqRel pairs with the claims: a publisher that sees this word sees the limit.
            if self.tail.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                leftovers.wakes |= word & flag::SLEEPERS != 0;
                return Ok(Claim { chunk, index, offset });
            }
        }
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.notice.load(Ordering::Relaxed) & notice::CROWDED != 0
    }

    /// Looks how far the readers are.
    pub(super) fn has_room(&self, gate: &Gate<T>, offset: u64) -> bool {
        let limit = match gate.slowest() {
            Some(slowest) if self.blocks() => slowest + self.capacity(),
            _ => u64::MAX,
        };
        // Relaxed: read with the word, see `claim`.
        self.tail.limit.store(limit, Ordering::Relaxed);
        offset < limit
    }

    /// Moves messages from the line into the order while there is room.
    pub(super) fn let_in(&self, gate: &mut Gate<T>, leftovers: &mut Leftovers<T>) {
        while gate.line.is_first_here() {
            let Ok(claim) = self.claim_for_first(gate, gate.line.len() > 1, leftovers) else { break };
            let Some((topic, record, owner)) = gate.line.pop() else { break };
            claim.chunk.write(claim.index, &topic, record);
            leftovers.keep(claim.chunk);
            leftovers.owners.push(owner);
        }
        if gate.line.is_empty() && self.is_crowded() {
            // Relaxed: a reader that still sees it looks in vain.
            self.notice.fetch_and(!notice::CROWDED, Ordering::Relaxed);
        }
    }

    /// Writes the entry, unless its place was overrun meanwhile: then its message comes back. Runs no user code.
    #[inline(always)]
    pub(crate) fn write(
        &self,
        claim: Claim<T>,
        topic: &Topic,
        record: Record<T>,
        leftovers: &mut Leftovers<T>,
    ) -> Result<(), Record<T>> {
        let Claim { chunk, index, offset } = claim;
        let is_overrun = !self.blocks() && self.oldest_offset() > offset;
        let written = if is_overrun {
            // Readers have skipped it, and will.
            Err(record)
        } else {
            chunk.write(index, topic, record);
            Ok(())
        };
        leftovers.written = Some(chunk);
        written
    }

    /// Claims and writes in one step.
    #[inline]
    pub(crate) fn append(&self, topic: &Topic, record: Record<T>) -> Result<(), (Refused, Record<T>)> {
        let mut leftovers = Leftovers::none();
        let appended = match self.claim(&mut leftovers) {
            Ok(claim) => self.write(claim, topic, record, &mut leftovers).map_err(|record| (Refused::Overrun, record)),
            Err(NoClaim::Full) => Err((Refused::Full, record)),
            Err(NoClaim::Closed) => Err((Refused::Closed, record)),
        };
        leftovers.finish(self);
        appended
    }
}

/// Why a message is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
    /// Its place was overwritten before it was written.
    Overrun,
}
