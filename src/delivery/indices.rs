//! A set of indices of mailboxes, without an allocation for the first 64, or for those of a range.

use std::ops::Range;

/// A set of indices, filled and emptied in rising order.
#[derive(Default)]
pub(super) struct Indices {
    /// Before all others.
    range: Range<usize>,
    low: u64,
    high: Vec<usize>,
    /// The number of `high` that were taken out.
    taken: usize,
}

impl From<Range<usize>> for Indices {
    fn from(range: Range<usize>) -> Self {
        Self { range, ..Self::default() }
    }
}

impl Indices {
    /// Adds an index that is higher than all before.
    pub(super) fn push(&mut self, index: usize) {
        if index < 64 {
            self.low |= 1 << index;
        } else {
            self.high.push(index);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.range.is_empty() && self.low == 0 && self.taken == self.high.len()
    }

    /// All of them, in rising order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let after = |low: u64| low & low.wrapping_sub(1);
        let low = std::iter::successors(Some(self.low), move |low| Some(after(*low))).take_while(|low| *low != 0);
        let low = low.map(|low| low.trailing_zeros() as usize);
        self.range.clone().chain(low).chain(self.high[self.taken..].iter().copied())
    }

    /// Takes the lowest index out.
    pub(super) fn pop(&mut self) -> Option<usize> {
        if let Some(index) = self.range.next() {
            return Some(index);
        }
        if self.low != 0 {
            let index = self.low.trailing_zeros() as usize;
            self.low &= self.low - 1;
            return Some(index);
        }
        let index = self.high.get(self.taken).copied();
        self.taken += usize::from(index.is_some());
        index
    }
}
