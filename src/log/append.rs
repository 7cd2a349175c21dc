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
    /// Readers sleep until it is written.
    wakes: bool,
    /// Chunks that have left since: their payloads are dropped when the entry is written.
    left: Vec<Arc<Chunk<T>>>,
}

/// Why no offset can be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoClaim {
    Full,
    Closed,
}

/// What a write, or a move out of the line, leaves over: to be done outside of locks, when the message has its place
/// everywhere.
#[must_use = "readers and publishers may wait for it"]
pub(crate) struct Written<T> {
    wakes: bool,
    left: Vec<Arc<Chunk<T>>>,
    owners: Vec<Owner>,
}

impl<T> Written<T> {
    pub(super) fn nothing() -> Self {
        Self { wakes: false, left: Vec::new(), owners: Vec::new() }
    }

    fn add(&mut self, wakes: bool, left: Vec<Arc<Chunk<T>>>) {
        self.wakes |= wakes;
        self.left.extend(left);
    }

    /// Wakes those who wait, and drops the payloads that have left: both are user code.
    pub(crate) fn finish(self, log: &Log<T>) {
        if self.wakes {
            log.sleepers.wake_all();
        }
        self.owners.into_iter().for_each(Owner::wake);
        self.left.into_iter().for_each(|chunk| log.chunks.recycle(chunk));
    }
}

impl<T> Log<T> {
    /// Claims the next offset, if there is room.
    #[inline(always)]
    pub(crate) fn claim(&self) -> Result<Claim<T>, NoClaim> {
        // The chunk first: one that is loaded after the word may be too new for it.
        let mut chunk = self.chunks.newest();
        let mut left = Vec::new();
        loop {
            // Acquire pairs with the claims, and with `Log::add_reader` by those that come behind it: who sees the word that a
            // claim at the gate has left sees the limit of before.
            let word = self.tail.word.load(Ordering::Acquire);
            let offset = word / flag::ENTRY;
            if word & (flag::CLOSED | flag::GATE) != 0 || offset >= self.tail.limit.load(Ordering::Relaxed) {
                return self.claim_at_gate();
            }
            let Some(index) = chunk.index(offset) else {
                drop(chunk);
                left.extend(self.chunks.add(offset));
                chunk = self.chunks.newest();
                continue;
            };
            // AcqRel pairs with the claims before and behind it, and with `Cursor::sleep`.
            let next = (offset + 1) * flag::ENTRY;
            if self.tail.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Ok(Claim { chunk, index, offset, wakes: word & flag::SLEEPERS != 0, left });
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn claim_at_gate(&self) -> Result<Claim<T>, NoClaim> {
        let mut written = Written::nothing();
        let mut gate = self.gate.lock();
        self.let_in(&mut gate, &mut written);
        let claim = self.claim_under_lock(&mut gate);
        drop(gate);
        written.finish(self);
        claim
    }

    /// Claims the next offset for somebody who is not in the line.
    pub(super) fn claim_under_lock(&self, gate: &mut Gate<T>) -> Result<Claim<T>, NoClaim> {
        if gate.line.is_empty() {
            return self.claim_for_first(gate, false);
        }
        if self.is_closed() { Err(NoClaim::Closed) } else { Err(NoClaim::Full) }
    }

    /// Claims the next offset under the lock of the gate. The others come to the gate as before if there is anybody left in
    /// the line.
    fn claim_for_first(&self, gate: &Gate<T>, is_line_left: bool) -> Result<Claim<T>, NoClaim> {
        let mut chunk = self.chunks.newest();
        let mut left = Vec::new();
        loop {
            // Acquire pairs with the claims.
            let word = self.tail.word.load(Ordering::Acquire);
            let offset = word / flag::ENTRY;
            if word & flag::CLOSED != 0 {
                return Err(NoClaim::Closed);
            }
            if offset >= self.tail.limit.load(Ordering::Relaxed) && !self.has_room(gate, offset) {
                return Err(NoClaim::Full);
            }
            let Some(index) = chunk.index(offset) else {
                drop(chunk);
                left.extend(self.chunks.add(offset));
                chunk = self.chunks.newest();
                continue;
            };
            let next = (offset + 1) * flag::ENTRY + if is_line_left { flag::GATE } else { 0 };
            // AcqRel pairs with the claims: a publisher that sees this word sees the limit.
            if self.tail.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Ok(Claim { chunk, index, offset, wakes: word & flag::SLEEPERS != 0, left });
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
    pub(super) fn let_in(&self, gate: &mut Gate<T>, written: &mut Written<T>) {
        while gate.line.is_first_here() {
            let Ok(claim) = self.claim_for_first(gate, gate.line.len() > 1) else { break };
            let Some((topic, record, owner)) = gate.line.pop() else { break };
            let Claim { chunk, index, wakes, left, .. } = claim;
            chunk.write(index, &topic, record);
            written.add(wakes, left);
            written.owners.push(owner);
        }
        if gate.line.is_empty() && self.is_crowded() {
            // Relaxed: a reader that still sees it looks in vain.
            self.notice.fetch_and(!notice::CROWDED, Ordering::Relaxed);
        }
    }

    /// Writes the entry, unless its place was overrun meanwhile: then its message comes back.
    #[inline]
    pub(crate) fn write(&self, claim: Claim<T>, topic: &Topic, record: Record<T>) -> Result<Written<T>, Record<T>> {
        let Claim { chunk, index, offset, wakes, left } = claim;
        let mut written = Written::nothing();
        written.add(wakes, left);
        if !self.blocks() && self.oldest_offset() > offset {
            // Readers have skipped it, and will.
            drop(chunk);
            written.finish(self);
            return Err(record);
        }
        chunk.write(index, topic, record);
        Ok(written)
    }

    /// Claims and writes in one step.
    // The way of a message that only this log gets, so nothing is prepared for what is rare.
    #[inline(always)]
    pub(crate) fn append(&self, topic: &Topic, record: Record<T>) -> Result<(), (Refused, Record<T>)> {
        let Claim { chunk, index, offset, wakes, left } = match self.claim() {
            Ok(claim) => claim,
            Err(NoClaim::Full) => return Err((Refused::Full, record)),
            Err(NoClaim::Closed) => return Err((Refused::Closed, record)),
        };
        let refused = if !self.blocks() && self.oldest_offset() > offset {
            Some(record)
        } else {
            chunk.write(index, topic, record);
            None
        };
        drop(chunk);
        if wakes {
            self.sleepers.wake_all();
        }
        left.into_iter().for_each(|chunk| self.chunks.recycle(chunk));
        refused.map_or(Ok(()), |record| Err((Refused::Overrun, record)))
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
