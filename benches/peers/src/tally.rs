//! What one subscriber got, so that nobody wins by dropping, doubling or reordering.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The numbers that one subscriber got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) sum: u64,
    /// How many were not greater than the one before: none, if there is one publisher and its order is kept.
    pub(crate) falls: u64,
    /// The least number that is no fall.
    next: u64,
}

impl Tally {
    /// A few instructions, the same for every peer.
    pub(crate) fn add(&mut self, number: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(number);
        self.falls += u64::from(number < self.next);
        self.next = number + 1;
    }
}

impl FromIterator<u64> for Tally {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut tally = Self::default();
        for number in numbers {
            tally.add(number);
        }
        tally
    }
}

/// A tally for handlers that are called through a shared reference.
#[derive(Debug, Default)]
pub(crate) struct SharedTally {
    count: AtomicU64,
    sum: AtomicU64,
    falls: AtomicU64,
    next: AtomicU64,
}

impl SharedTally {
    /// For a handler that is called by one thread after the other: plain loads and stores, as in [`Tally::add`].
    pub(crate) fn add_in_turn(&self, number: u64) {
        let mut tally = self.get();
        tally.add(number);
        self.count.store(tally.count, Relaxed);
        self.sum.store(tally.sum, Relaxed);
        self.falls.store(tally.falls, Relaxed);
        self.next.store(tally.next, Relaxed);
    }

    /// For a handler that is called by several threads at once, in no order.
    pub(crate) fn add(&self, number: u64) {
        self.count.fetch_add(1, Relaxed);
        self.sum.fetch_add(number, Relaxed);
    }

    pub(crate) fn get(&self) -> Tally {
        Tally {
            count: self.count.load(Relaxed),
            sum: self.sum.load(Relaxed),
            falls: self.falls.load(Relaxed),
            next: self.next.load(Relaxed),
        }
    }
}
