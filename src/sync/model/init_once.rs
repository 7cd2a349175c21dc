//! A cell that whoever needs it first makes.

use std::sync::OnceLock;

use super::Mutex;
use super::atomic::{AtomicBool, Ordering};

/// The value is there a step before it is seen, and one who comes to make it too waits until then.
pub struct InitOnce<A> {
    is_made: AtomicBool,
    making: Mutex<()>,
    value: OnceLock<A>,
}

impl<A> InitOnce<A> {
    pub fn new() -> Self {
        Self { is_made: AtomicBool::new(false), making: Mutex::new(()), value: OnceLock::new() }
    }

    pub fn get(&self) -> Option<&A> {
        // Acquire pairs with `get_or_init`.
        if self.is_made.load(Ordering::Acquire) { self.value.get() } else { None }
    }

    pub fn get_or_init(&self, make: impl FnOnce() -> A) -> &A {
        if let Some(value) = self.get() {
            return value;
        }
        let _making = self.making.lock();
        let value = self.value.get_or_init(make);
        // Release pairs with `get`.
        self.is_made.store(true, Ordering::Release);
        value
    }
}
