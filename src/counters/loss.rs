//! Why messages are lost at mailboxes or never get to one, and how many for which reason.

use super::OwnerBiasedCounter;

/// Why a message was dropped. One more reason takes a variant here, with its place in `ALL` and its name, and a word in
/// [`DeadLetterReason::loss`](crate::DeadLetterReason) if it makes dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    Full,
    Evicted,
    Overflowed,
    SelfDeadlock,
    Cancelled,
    Expired,
    /// Fired at a closed bus.
    Closed,
    /// Fired at an invalid topic.
    InvalidTopic,
    /// Fired with an invalid header.
    InvalidHeader,
}

impl Loss {
    /// In the order of their numbers.
    pub(crate) const ALL: [Self; 9] = [
        Self::Full,
        Self::Evicted,
        Self::Overflowed,
        Self::SelfDeadlock,
        Self::Cancelled,
        Self::Expired,
        Self::Closed,
        Self::InvalidTopic,
        Self::InvalidHeader,
    ];

    /// What metrics call it.
    #[cfg(feature = "metrics")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Evicted => "evicted",
            Self::Overflowed => "overflowed",
            Self::SelfDeadlock => "self_deadlock",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Closed => "closed",
            Self::InvalidTopic => "invalid_topic",
            Self::InvalidHeader => "invalid_header",
        }
    }
}

/// Counts what was dropped, for each reason by itself.
#[derive(Default)]
pub(crate) struct LossCounters([OwnerBiasedCounter; Loss::ALL.len()]);

impl LossCounters {
    #[inline]
    pub(crate) fn add(&self, loss: Loss) {
        self.0[loss as usize].add(1);
    }

    /// For this reason.
    #[cfg(feature = "metrics")]
    pub(crate) fn of(&self, loss: Loss) -> u64 {
        self.0[loss as usize].get()
    }

    /// For whatever reason.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(OwnerBiasedCounter::get).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Loss, LossCounters};

    #[test]
    fn every_reason_has_its_own_count() {
        assert!(Loss::ALL.iter().enumerate().all(|(index, loss)| *loss as usize == index));
        let dropped = LossCounters::default();
        for loss in Loss::ALL {
            (0..=loss as usize).for_each(|_| dropped.add(loss));
        }
        for loss in Loss::ALL {
            assert_eq!(dropped.0[loss as usize].get(), loss as u64 + 1);
        }
        assert_eq!(dropped.total(), (1..=Loss::ALL.len() as u64).sum::<u64>());
    }
}
