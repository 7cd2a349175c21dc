//! What the tests of several sections need.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod naive;

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// A time that nothing here ever takes: a wait that is as long as this hangs.
pub const LONG: Duration = Duration::from_secs(30);

/// A limit in a build in which everything takes longer, such as that of a sanitizer, which says how many times as long.
pub fn patient(limit: Duration) -> Duration {
    limit * std::env::var("TRAMLINE_TEST_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Runs a test on a thread of its own and fails if it has not ended within [`LONG`].
#[track_caller]
pub fn within_limit(test: impl FnOnce() + Send + 'static) {
    within(LONG, test);
}

/// Runs a test on a thread of its own and fails if it has not ended within `limit`.
#[track_caller]
pub fn within(limit: Duration, test: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel::<()>();
    let test = thread::spawn(move || {
        let _done = done;
        test();
    });
    if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(patient(limit)) {
        panic!("the test hangs: it has not ended within {limit:?}");
    }
    if let Err(panic) = test.join() {
        resume_unwind(panic);
    }
}

/// Waits until `condition` holds; fails if it does not within [`LONG`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < patient(LONG), "waited in vain until {what}");
        thread::yield_now();
    }
}
