//! The readers that sleep until the next entry is written.

use crate::lifecycle::{EndSignal, EndTrigger};
use crate::sync::Mutex;

#[derive(Default)]
pub(super) struct Sleepers(Mutex<List>);

#[derive(Default)]
struct List {
    sleeping: Vec<(u64, EndTrigger)>,
    next: u64,
}

impl Sleepers {
    /// Adds one, which sleeps until the signal ends.
    pub(super) fn add(&self) -> (u64, EndSignal) {
        let (trigger, signal) = EndTrigger::new();
        let mut list = self.0.lock();
        let number = list.next;
        list.next += 1;
        list.sleeping.push((number, trigger));
        (number, signal)
    }

    /// One has woken up for another reason.
    pub(super) fn remove(&self, number: u64) {
        let mut list = self.0.lock();
        let index = list.sleeping.iter().position(|(other, _)| *other == number);
        let removed = index.map(|index| list.sleeping.swap_remove(index));
        drop(list);
        drop(removed);
    }

    pub(super) fn wake_all(&self) {
        let sleeping = std::mem::take(&mut self.0.lock().sleeping);
        drop(sleeping);
    }
}
