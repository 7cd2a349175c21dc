//! Failures that users of other buses and channels have met: one test each, named after the failure, with the place where
//! it is described. Each shows that the failure does not happen here.
//!
//! Some tests measure the whole process, so all take turns.
#![allow(clippy::unwrap_used, reason = "tests")]

mod locks;
mod lost_wake_ups;
mod memory;
mod panics;
mod processor_time;
mod routes;
mod slow_subscribers;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "async")]
mod tasks;

use peak_alloc::PeakAlloc;
use support::LONG;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn in_turn(test: impl FnOnce() + Send + 'static) {
    support::in_turn(4 * LONG, test);
}
