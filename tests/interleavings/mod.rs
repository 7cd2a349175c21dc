//! What may happen at the same time, each case as small as it can be: for every model checker.
//!
//! A case runs once for every order of steps that the checker tries, so it says what holds in all of them.
#![allow(unreachable_pub, reason = "the crate is a test")]
#![allow(dead_code, reason = "not every checker runs every case")]

#[cfg(loom)]
pub use loom as checker;
#[cfg(shuttle)]
pub use shuttle as checker;

use checker::thread::{JoinHandle, spawn};
use tramline::{Bus, Publisher, Subscriber};

pub mod ends;
pub mod handlers;
pub mod overflow;
pub mod publishing;
pub mod requests;
pub mod subscribing;
#[cfg(feature = "async")]
pub mod tasks;

pub const TOPIC: &str = "topic";

pub fn bus(capacity: usize) -> Bus<u32> {
    Bus::builder().capacity(capacity).build()
}

/// A bus with one mailbox, which has room for one message and has it.
pub fn full() -> (Bus<u32>, Publisher<u32>, Subscriber<u32>) {
    let bus = bus(1);
    let (publisher, subscriber) = (bus.publisher(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    assert_eq!(publisher.publish(0).unwrap().delivered(), 1);
    (bus, publisher, subscriber)
}

/// Does something at the same time as the rest of the case.
pub fn meanwhile<A: Send + 'static>(part: impl FnOnce() -> A + Send + 'static) -> JoinHandle<A> {
    spawn(part)
}

/// The payloads that are there.
pub fn take_all(subscriber: &Subscriber<u32>) -> Vec<u32> {
    subscriber.try_iter().map(|message| *message).collect()
}
