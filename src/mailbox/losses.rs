//! What a mailbox has lost, and which message reports it.

use super::{Mailbox, Overflow, recv_flag, send_flag};
use crate::counters::Loss;
use crate::sync::atomic::Ordering;
use crate::sync::counters;

impl<T, R> Mailbox<T, R> {
    /// Counts a message that did not get in.
    pub(super) fn count_refusal(&self) {
        self.refused.add(1);
        if self.send_flags.load(Ordering::Relaxed) & send_flag::LOSSY == 0 {
            self.send_flags.fetch_or(send_flag::LOSSY, Ordering::Relaxed);
        }
    }

    /// Whether the next message that gets in has to report losses.
    pub(super) fn has_unreported_refusals(&self) -> bool {
        self.send_flags.load(Ordering::Relaxed) & send_flag::LOSSY != 0
            && self.refused.get() != self.refused_reported.load(Ordering::Relaxed)
    }

    /// Returns the losses that the message which is about to be enqueued reports.
    pub(super) fn take_unreported_refusals(&self) -> u64 {
        if self.has_unreported_refusals() { take_unreported(self.refused.get(), &self.refused_reported) } else { 0 }
    }

    /// Leaves `losses` to another message: the one that was to report them did not get in.
    pub(super) fn return_refusals(&self, losses: u64) {
        self.refused_reported.fetch_sub(losses, Ordering::Relaxed);
    }

    /// Whether the message that was just taken out has to report losses.
    pub(super) fn has_unreported_evictions(&self) -> bool {
        self.options.overflow == Overflow::DropOldest && {
            self.wait_for_eviction();
            self.evicted.get() != self.reader.evicted_reported.load(Ordering::Relaxed)
        }
    }

    pub(super) fn take_unreported_evictions(&self) -> u64 {
        take_unreported(self.evicted.get(), &self.reader.evicted_reported)
    }

    /// Counts a message that an observer has, and no delivery counts.
    pub(crate) fn count_observed(&self) {
        self.losses.messages.observed();
    }

    /// Counts a message whose time is over. The next one to be taken out reports it, and the losses that it was to report.
    pub(super) fn count_expiry(&self, lost_before: u64) {
        self.expired.add(1);
        self.losses.dropped.add(Loss::Expired);
        self.reader.unreported_expiries.fetch_add(1 + lost_before, Ordering::Relaxed);
        // The next message is to be looked at.
        self.reader.flags.store(self.recv_flags() | recv_flag::WAS_EMPTY, Ordering::Relaxed);
    }

    pub(super) fn has_unreported_expiries(&self) -> bool {
        self.reader.unreported_expiries.load(Ordering::Relaxed) != 0
    }

    pub(super) fn take_unreported_expiries(&self) -> u64 {
        self.reader.unreported_expiries.swap(0, Ordering::Relaxed)
    }
}

/// Returns the losses not yet reported. Of several threads at the same time, each gets what the others have not.
fn take_unreported(lost: u64, reported: &counters::AtomicU64) -> u64 {
    lost.saturating_sub(reported.fetch_max(lost, Ordering::Relaxed))
}
