//! A count that one thread mostly makes.
//!
//! An atomic addition costs 5 ns even if nobody else wants its line, half of what it takes to get a message out of a
//! channel. A subscriber is nearly always read by one thread, and what a mailbox loses mostly comes from one publisher. A
//! thread that knows that nobody else writes needs no atomic addition: a load and a store do.

use std::cell::Cell;

use crate::sync::counters::{AtomicU64, Ordering};

/// Numbers of threads, never used again; 0 is no thread.
static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

/// A thread that has no number yet.
const NONE_YET: u64 = u64::MAX;

thread_local! {
    static THREAD: Cell<u64> = const { Cell::new(NONE_YET) };
}

fn number_this_thread() {
    if THREAD.get() == NONE_YET {
        THREAD.set(NEXT_THREAD.fetch_add(1, Ordering::Relaxed));
    }
}

/// The number of this thread.
#[cfg(feature = "metrics")]
#[inline]
pub(crate) fn this_thread() -> u64 {
    if THREAD.get() == NONE_YET {
        number_this_thread();
    }
    THREAD.get()
}

/// Counts for any number of threads; the first to count is the one for which it is cheap.
// Relaxed throughout: the count carries no other data.
#[derive(Default)]
pub(crate) struct OwnerBiasedCounter {
    /// The number of the thread that counted first.
    first: AtomicU64,
    /// Written by that thread alone.
    by_first: AtomicU64,
    by_others: AtomicU64,
}

impl OwnerBiasedCounter {
    /// Returns the count so far; never too much, while others count at the same time.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.by_first.load(Ordering::Relaxed).wrapping_add(self.by_others.load(Ordering::Relaxed))
    }

    /// Tells what the first thread has counted, or all others have.
    #[inline]
    pub(crate) fn add(&self, count: u64) -> u64 {
        if self.first.load(Ordering::Relaxed) == THREAD.get() {
            let counted = self.by_first.load(Ordering::Relaxed).wrapping_add(count);
            self.by_first.store(counted, Ordering::Relaxed);
            counted
        } else {
            self.add_as_another(count)
        }
    }

    #[cold]
    fn add_as_another(&self, count: u64) -> u64 {
        number_this_thread();
        match self.first.compare_exchange(0, THREAD.get(), Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {
                self.by_first.store(count, Ordering::Relaxed);
                count
            }
            Err(_) => self.by_others.fetch_add(count, Ordering::Relaxed).wrapping_add(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OwnerBiasedCounter;

    #[test]
    fn a_counter_counts_what_all_threads_count() {
        let counter = OwnerBiasedCounter::default();
        (1..=10).for_each(|count| assert_eq!(counter.add(1), count));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| _ = counter.add(1)));
            }
            (0..1_000).for_each(|_| _ = counter.add(1));
        });
        assert_eq!(counter.get(), 5_010);
        assert_eq!(counter.by_others.into_inner(), 4_000);
    }
}
