//! A place in the line, as its publisher holds it.

use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::Waker;

use super::append::Leftovers;
use super::line::InLine;
use super::{Record, SyncLog};
use crate::lifecycle::EndSignal;
use crate::topic::Topic;

/// A place in the line, as its publisher holds it. Dropping it takes the message out.
pub(crate) struct Ticket<T> {
    log: Arc<dyn SyncLog<T>>,
    number: u64,
    is_over: EndSignal,
    /// Whether the log counts in the delivery of this message.
    counts: bool,
}

impl<T> Ticket<T> {
    pub(crate) fn new(log: &Arc<dyn SyncLog<T>>, number: u64, is_over: EndSignal) -> Self {
        Self { log: Arc::clone(log), number, is_over, counts: true }
    }

    pub(crate) fn counts(&self) -> bool {
        self.counts
    }

    pub(crate) fn set_counts(&mut self, counts: bool) {
        self.counts = counts;
    }

    pub(crate) fn log(&self) -> &Arc<dyn SyncLog<T>> {
        &self.log
    }

    /// Ends when the message is in the log, or that is closed.
    pub(crate) fn is_over(&self) -> &EndSignal {
        &self.is_over
    }

    pub(crate) fn fill(&self, topic: &Topic, record: Record<T>, leftovers: &mut Leftovers<T>) {
        self.log.fill(self.number, topic, record, leftovers);
    }

    pub(crate) fn look(&self) -> InLine<T> {
        self.log.in_line(self.number)
    }

    /// Gives up; `None` if the message is in the log.
    pub(crate) fn take_back(&self) -> Option<Option<Record<T>>> {
        self.log.leave_line(self.number)
    }

    #[cfg(feature = "async")]
    pub(crate) fn wake_when_in(&self, waker: &Waker) {
        self.log.wake_when_in(self.number, waker);
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        drop(self.take_back());
    }
}
