//! Sums, and whether they agree.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tramline::Delivery;

/// A sum that many threads add to.
#[derive(Default, Debug)]
pub(crate) struct Sum(AtomicU64);

impl Sum {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, sum: u64) {
        self.0.store(sum, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What publishers and readers of some topics know.
#[derive(Default, Debug)]
pub(crate) struct Lane {
    pub(crate) published: Sum,
    pub(crate) delivered: Sum,
    pub(crate) dropped: Sum,
    pub(crate) unheard: Sum,
    /// By every mailbox.
    pub(crate) received: Sum,
}

impl Lane {
    pub(crate) fn count(&self, messages: u64, delivery: Delivery) {
        self.published.add(messages);
        self.delivered.add(delivery.delivered() as u64);
        self.dropped.add(delivery.dropped() as u64);
        // Of many at once it is not told which.
        if messages == 1 && delivery.is_unheard() {
            self.unheard.one();
        }
    }
}

/// What a mailbox that stays has to answer for.
#[derive(Default, Debug)]
pub(crate) struct Account {
    pub(crate) received: Sum,
    pub(crate) told: Sum,
    pub(crate) filtered: Sum,
    pub(crate) dropped: Sum,
    pub(crate) left: Sum,
}

/// Equations, and those that do not hold.
#[derive(Default, Debug)]
pub(crate) struct Checks {
    pub(crate) failures: Vec<String>,
}

impl Checks {
    pub(crate) fn equal<N: PartialEq + Debug>(&mut self, what: &str, one: N, other: N) {
        if one != other {
            self.failures.push(format!("{what}: {one:?} and {other:?}"));
        }
    }

    pub(crate) fn at_most<N: PartialOrd + Debug>(&mut self, what: &str, value: N, most: N) {
        if value > most {
            self.failures.push(format!("{what}: {value:?}, more than {most:?}"));
        }
    }

    pub(crate) fn holds(&mut self, what: &str, holds: bool) {
        if !holds {
            self.failures.push(what.to_owned());
        }
    }

    /// Waits for threads, none of which panics.
    pub(crate) fn ended(&mut self, threads: Vec<JoinHandle<()>>) {
        for thread in threads {
            self.holds("a thread has panicked", thread.join().is_ok());
        }
    }

    /// Everything that was published to a mailbox that stays.
    pub(crate) fn accounted(&mut self, mailbox: &str, published: u64, account: &Account) {
        let Account { received, told, filtered, dropped, left } = account;
        let sum = received.get() + filtered.get() + dropped.get() + left.get();
        if published != sum {
            self.failures.push(format!("{mailbox}: {published} published and {account:?}"));
        }
        // The last losses have no message behind them that could tell.
        self.at_most(&format!("losses that messages of {mailbox} told of"), told.get(), dropped.get());
    }
}
