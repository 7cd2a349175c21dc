//! A count that one thread mostly makes.
//!
//! An atomic addition costs 5 ns even if nobody else wants its line, half of what it takes to get a message out of a
//! channel. A subscriber is nearly always read by one thread, and what a mailbox loses mostly comes from one publisher. A
//! thread that knows that nobody else writes needs no atomic addition: a load and a store do.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers of threads, never used again; 0 is no thread.
static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// Counts for any number of threads; the first to count is the one for which it is cheap.
// Relaxed throughout: the count carries no other data.
#[derive(Default)]
pub(crate) struct Tally {
    /// The number of the thread that counted first.
    first: AtomicU64,
    /// Written by that thread alone.
    by_first: AtomicU64,
    by_others: AtomicU64,
}

impl Tally {
    /// What was counted so far. Not more than was counted, when others count at the same time.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.by_first.load(Ordering::Relaxed).wrapping_add(self.by_others.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn add(&self, count: u64) {
        let first = self.first.load(Ordering::Relaxed);
        if first != 0 && first == THREAD.get() {
            self.by_first.store(self.by_first.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
        } else {
            self.add_as_another(count);
        }
    }

    #[cold]
    fn add_as_another(&self, count: u64) {
        if THREAD.get() == 0 {
            THREAD.set(NEXT_THREAD.fetch_add(1, Ordering::Relaxed));
        }
        match self.first.compare_exchange(0, THREAD.get(), Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => self.by_first.store(count, Ordering::Relaxed),
            Err(_) => drop(self.by_others.fetch_add(count, Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn a_tally_counts_what_all_threads_count() {
        let tally = Tally::default();
        (0..10).for_each(|_| tally.add(1));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| tally.add(1)));
            }
            (0..1_000).for_each(|_| tally.add(1));
        });
        assert_eq!(tally.get(), 5_010);
        assert_eq!(tally.by_others.into_inner(), 4_000);
    }
}
