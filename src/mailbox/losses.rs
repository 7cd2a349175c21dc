//! What a mailbox has lost, and which message reports it.

use super::{Mailbox, Overflow, attention};
use crate::sync::atomic::Ordering;
use crate::sync::counters;

impl<T, R> Mailbox<T, R> {
    /// A message did not get in.
    pub(super) fn refused(&self) {
        self.refused.add(1);
        if self.attention.load(Ordering::Relaxed) & attention::LOSSY == 0 {
            self.attention.fetch_or(attention::LOSSY, Ordering::Relaxed);
        }
    }

    /// Whether the next message that gets in has to tell of losses.
    pub(super) fn has_lost_behind(&self) -> bool {
        self.attention.load(Ordering::Relaxed) & attention::LOSSY != 0
            && self.refused.get() != self.told_behind.load(Ordering::Relaxed)
    }

    /// The losses that a message which is about to be put in has to tell of.
    pub(super) fn take_lost_behind(&self) -> u64 {
        if self.has_lost_behind() { untold(self.refused.get(), &self.told_behind) } else { 0 }
    }

    /// That message did not get in after all: another has to tell of so many.
    pub(super) fn lost_behind(&self, losses: u64) {
        self.told_behind.fetch_sub(losses, Ordering::Relaxed);
    }

    /// Whether the message that was just taken out has to tell of losses.
    pub(super) fn has_lost_in_front(&self) -> bool {
        self.options.overflow == Overflow::DropOldest && {
            self.wait_for_eviction();
            self.evicted.get() != self.reading.told_in_front.load(Ordering::Relaxed)
        }
    }

    pub(super) fn take_lost_in_front(&self) -> u64 {
        untold(self.evicted.get(), &self.reading.told_in_front)
    }
}

/// What was lost and nobody has told of yet. Of several who take it at once, each tells what those before it have not.
fn untold(lost: u64, told: &counters::AtomicU64) -> u64 {
    lost.saturating_sub(told.fetch_max(lost, Ordering::Relaxed))
}
