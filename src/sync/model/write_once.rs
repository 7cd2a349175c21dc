//! A cell that is written once.

use std::sync::OnceLock;

use super::atomic::{AtomicBool, Ordering};

/// The value is there a step before it is seen.
pub struct WriteOnce<A> {
    is_written: AtomicBool,
    value: OnceLock<A>,
}

impl<A> WriteOnce<A> {
    pub fn new() -> Self {
        Self { is_written: AtomicBool::new(false), value: OnceLock::new() }
    }

    pub fn set(&self, value: A) {
        assert!(self.value.set(value).is_ok(), "it is written once");
        // Release pairs with `get`.
        self.is_written.store(true, Ordering::Release);
    }

    pub fn get(&self) -> Option<&A> {
        // Acquire pairs with `set`.
        if self.is_written.load(Ordering::Acquire) { self.value.get() } else { None }
    }
}
