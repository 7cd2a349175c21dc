//! The copies of one message on their way: N mailboxes cost N-1 clones.

use crate::message::Outgoing;
use crate::request::MetadataSource;

/// The original of a message, and a copy if one is left over.
pub(super) struct Copies<'a, T, R, S> {
    /// Goes to the last mailbox.
    pub(super) original: Option<Outgoing<T, R>>,
    /// A copy that a mailbox did not take, for the next one.
    pub(super) spare: Option<Outgoing<T, R>>,
    pub(super) source: &'a S,
}

impl<T: Clone, R, S: MetadataSource<R>> Copies<'_, T, R, S> {
    /// A copy for a mailbox that is not the last.
    #[inline]
    pub(super) fn copy(&mut self) -> Option<Outgoing<T, R>> {
        if self.spare.is_some() {
            return self.spare.take();
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
        if self.is_of_request() { Some(self.original.as_ref()?.observed()) } else { self.copy() }
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
}
