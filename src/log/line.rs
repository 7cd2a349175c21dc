//! Waiting in the line: joining, filling the place, giving up.

#[cfg(feature = "async")]
use std::task::Waker;

use super::append::{Claim, Leftovers, NoClaim};
use super::{Log, Record, flag, notice};
use crate::lifecycle::{EndSignal, this_thread_serves};
use crate::sync::atomic::{Ordering, fence};
use crate::topic::Topic;

/// What a publisher has got that may wait.
pub(crate) enum Joined<T> {
    Claimed(Claim<T>),
    /// A place in the line, of this number. The signal ends when the message is in, or the log closed.
    InLine(u64, EndSignal),
    /// It would wait for itself.
    SelfDeadlock,
    Closed,
}

/// Where a message is that was put into the line.
pub(crate) enum InLine<T> {
    Waiting,
    /// In the log, with an offset.
    Placed,
    /// The log is closed, and the message taken out of the line.
    Closed(Option<Record<T>>),
}

impl<T> Log<T> {
    /// Claims the next offset, or a place at the end of the line.
    pub(crate) fn claim_or_join(&self, leftovers: &mut Leftovers<T>) -> Joined<T> {
        match self.claim(leftovers) {
            Ok(claim) => return Joined::Claimed(claim),
            Err(NoClaim::Closed) => return Joined::Closed,
            Err(NoClaim::Full) => {}
        }
        let mut gate = self.gate.lock();
        match self.claim_under_lock(&mut gate, leftovers) {
            Ok(claim) => return Joined::Claimed(claim),
            Err(NoClaim::Closed) => return Joined::Closed,
            Err(NoClaim::Full) => {}
        }
        // The offset that it would get, if nobody gives up.
        let offset = self.next_offset() + gate.line.len() as u64;
        let waits_for = |position: u64| position + self.capacity() <= offset;
        if gate.readers.iter().any(|place| waits_for(place.position()) && this_thread_serves(place.id)) {
            return Joined::SelfDeadlock;
        }
        let (number, signal) = gate.line.join();
        // AcqRel pairs with the claims: from here on nobody claims but at the gate.
        self.tail.word.fetch_or(flag::GATE, Ordering::AcqRel);
        self.notice.fetch_or(notice::CROWDED, Ordering::Relaxed);
        drop(gate);
        Joined::InLine(number, signal)
    }

    /// Puts the message into its place in the line; from here on it is moved on when there is room. Runs no user code.
    ///
    /// A reader that passes an entry at this very moment may not have seen that somebody waits. So the publisher calls
    /// [`look_again`](Self::look_again), at once and from time to time, and so does a reader
    /// that has read the last entry.
    pub(crate) fn fill(&self, number: u64, topic: &Topic, record: Record<T>, leftovers: &mut Leftovers<T>) {
        let mut gate = self.gate.lock();
        gate.line.fill(number, topic, record);
        // SeqCst pairs with those in `Cursor::make_room` and `Cursor::nothing`.
        fence(Ordering::SeqCst);
        self.let_in(&mut gate, leftovers);
    }

    /// Moves on what has room now.
    pub(crate) fn look_again(&self) {
        self.let_in_and_finish(self.gate.lock());
    }

    /// Has the task woken when its message is in, if it is still waiting.
    #[cfg(feature = "async")]
    pub(crate) fn wake_when_in(&self, number: u64, waker: &Waker) {
        let waker = waker.clone();
        let before = self.gate.lock().line.set_waker(number, waker);
        drop(before);
    }

    pub(super) fn let_in_and_finish(&self, mut gate: crate::sync::MutexGuard<'_, super::Gate<T>>) {
        let mut leftovers = Leftovers::none();
        self.let_in(&mut gate, &mut leftovers);
        drop(gate);
        leftovers.finish(self);
    }

    /// Looks where the message is that was put into this place.
    pub(crate) fn in_line(&self, number: u64) -> InLine<T> {
        let mut gate = self.gate.lock();
        if !gate.line.contains(number) {
            return InLine::Placed;
        }
        if !self.is_closed() {
            return InLine::Waiting;
        }
        let removed = gate.line.remove(number);
        drop(gate);
        InLine::Closed(removed.and_then(|(record, _)| record))
    }

    /// Gives up a place in the line; `None` if the message is in the log. The inner one is `None` if it was not put in yet.
    pub(crate) fn leave_line(&self, number: u64) -> Option<Option<Record<T>>> {
        let mut gate = self.gate.lock();
        let removed = gate.line.remove(number);
        // Those behind may have room, if this one was not here yet.
        self.let_in_and_finish(gate);
        removed.map(|(record, _)| record)
    }
}
