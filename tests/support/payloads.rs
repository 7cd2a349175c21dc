//! Payloads that count their clones, and payloads that number themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A payload that counts its clones.
#[derive(Debug)]
pub struct Counted {
    clones: Arc<AtomicUsize>,
    pub is_original: bool,
}

impl Counted {
    /// Creates a payload with a counter of its own.
    pub fn new() -> (Self, Arc<AtomicUsize>) {
        let clones = Arc::new(AtomicUsize::new(0));
        (Self::with(&clones), clones)
    }

    /// Creates a payload that shares its counter with others.
    pub fn with(clones: &Arc<AtomicUsize>) -> Self {
        Self { clones: Arc::clone(clones), is_original: true }
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::SeqCst);
        Self { clones: Arc::clone(&self.clones), is_original: false }
    }
}

/// A message of one of many publishers: the publisher's number, and a number that counts up.
pub type Numbered = (usize, usize);

/// Checks that the numbers of each publisher arrive in order, with none left out.
#[derive(Default)]
pub struct InOrder(HashMap<usize, usize>);

impl InOrder {
    #[track_caller]
    pub fn check(&mut self, (publisher, number): Numbered) {
        let expected = self.0.entry(publisher).or_insert(0);
        assert_eq!(number, *expected, "the next of publisher {publisher}");
        *expected += 1;
    }
}
