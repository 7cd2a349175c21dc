//! The soak example for a few seconds, so that no change breaks it unnoticed. `cargo run --release --example soak --
//! --minutes 10` runs it longer.

mod support;
#[path = "../examples/soak/workload/mod.rs"]
mod workload;

use std::time::Duration;

use peak_alloc::PeakAlloc;
use support::within;
use workload::{Options, run};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// One test, because it measures the whole process.
#[test]
fn every_message_is_accounted_for_under_load_and_faults() {
    within(Duration::from_secs(300), || {
        for seed in [1, 2] {
            let time = Duration::from_secs(3);
            let summary = run(Options { seed, time, heap: || HEAP.current_usage(), tells: false });
            assert!(summary.failures.is_empty(), "{summary}");
        }
    });
}
