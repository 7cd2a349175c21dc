//! Limits, so that a test that hangs fails by itself; and waiting for a condition.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A time that nothing here ever takes: a wait that is as long as this hangs.
pub const LONG: Duration = Duration::from_secs(30);

/// A time that runs out: far shorter than [`LONG`], and long enough for a publisher to go to sleep and look again. A test
/// that watches for this long that nothing happens passes if the publisher is slower.
pub const SHORT: Duration = Duration::from_millis(60);

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

/// Like [`within`], for tests that measure the whole process: one runs at a time.
#[track_caller]
pub fn in_turn(limit: Duration, test: impl FnOnce() + Send + 'static) {
    static TURN: Mutex<()> = Mutex::new(());
    // The test has a thread of its own: if it hangs, its turn still ends.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    within(limit, test);
}

/// Waits until `condition` holds; fails if it does not within [`LONG`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patient(LONG), "waited in vain until {what}");
        thread::yield_now();
    }
}
