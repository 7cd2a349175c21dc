//! A peer that never delivers must not hang the run.

use std::process;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Far more than the slowest round takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Does `work`, and ends the process with `what` if that takes too long.
///
/// The watching thread sleeps, so the work costs what it costs alone.
pub(crate) fn watched<R>(what: &str, work: impl FnOnce() -> R) -> R {
    let (running, end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{what}: no end after {} s; a message was lost, or a thread waits for ever", LIMIT.as_secs());
                process::exit(1);
            }
        });
        let result = work();
        drop(running);
        result
    })
}
