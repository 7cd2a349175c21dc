//! The copies of one message on their way: N mailboxes cost N-1 clones.

use std::collections::VecDeque;

use crate::message::Outgoing;
use crate::request::MetadataSource;

/// The original of a message, and a copy if one is left over.
pub(super) struct Copies<'a, T, R, S> {
    /// Goes to the last mailbox.
    pub(super) original: Option<Outgoing<T, R>>,
    /// A copy that a mailbox did not take, for the next one.
    pub(super) spare: Option<Outgoing<T, R>>,
    /// Copies that were made before the message was put anywhere, in the order in which they are needed. Empty unless its topic
    /// has a journal.
    pub(super) prepared: VecDeque<Outgoing<T, R>>,
    pub(super) source: &'a S,
}

impl<T: Clone, R, S: MetadataSource<R>> Copies<'_, T, R, S> {
    /// A copy for a mailbox that is not the last.
    #[inline]
    pub(super) fn copy(&mut self) -> Option<Outgoing<T, R>> {
        if self.spare.is_some() {
            return self.spare.take();
        }
        if let Some(copy) = self.prepared.pop_front() {
            return Some(copy);
        }
        Some(self.original.as_ref()?.copy(self.source))
    }

    /// Returns the original for the last mailbox, a copy for the others.
    #[inline]
    pub(super) fn take(&mut self, last: bool) -> Option<Outgoing<T, R>> {
        if last { self.original.take() } else { self.copy() }
    }

    /// A copy for an observer, which leaves the original for those that count. It has no right to answer.
    pub(super) fn observed(&mut self) -> Option<Outgoing<T, R>> {
        if !self.is_of_request() {
            return self.copy();
        }
        let original = self.original.as_ref()?;
        // Those of observers come first.
        match self.prepared.front() {
            Some(copy) if !copy.is_request() => self.prepared.pop_front(),
            _ => Some(original.observed()),
        }
    }

    /// Makes the copies for so many mailboxes now. The last that is not an observer's gets the original.
    pub(super) fn prepare(&mut self, observers: usize, others: usize) {
        let Some(original) = &self.original else { return };
        let copies = others.saturating_sub(1);
        if observers + copies > 0 {
            self.prepared.reserve_exact(observers + copies);
        }
        for _ in 0..observers {
            let observed = if original.is_request() { original.observed() } else { original.copy(self.source) };
            self.prepared.push_back(observed);
        }
        for _ in 0..copies {
            self.prepared.push_back(original.copy(self.source));
        }
    }

    /// Returns `true` for a request: then an observer's copy has no right to answer, and differs from the others.
    pub(super) fn is_of_request(&self) -> bool {
        self.original.as_ref().is_some_and(Outgoing::is_request)
    }

    /// Keeps a copy that a mailbox did not take.
    pub(super) fn put_back(&mut self, outgoing: Outgoing<T, R>) {
        let place = if self.original.is_none() { &mut self.original } else { &mut self.spare };
        if let Some(extra) = place.replace(outgoing) {
            self.source.unused(extra.metadata);
        }
    }

    /// The same for a copy that will be needed, if the copies were made before: no other may be made in its place.
    pub(super) fn put_back_for_later(&mut self, outgoing: Outgoing<T, R>) {
        if self.original.is_some() && self.spare.is_some() && self.prepared.capacity() > 0 {
            self.prepared.push_front(outgoing);
        } else {
            self.put_back(outgoing);
        }
    }

    /// No copy is needed any more. Returns the original, if nobody has taken it.
    pub(super) fn into_rest(self) -> Option<Outgoing<T, R>> {
        for copy in self.spare.into_iter().chain(self.prepared) {
            self.source.unused(copy.metadata);
        }
        self.original
    }
}
