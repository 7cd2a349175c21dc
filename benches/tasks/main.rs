//! The bus between tasks, beside tokio's own channels: W1, W3 and W8 with asynchronous receivers, in the same run.
//!
//! `cargo bench --features async --bench tasks`. Everything runs on one tokio runtime with two workers, is lossless and
//! counted. No bar is set for these; what counts is the ratio of two neighbours.

mod fan_out;
mod latency;
mod request;
#[path = "../limits/table.rs"]
#[allow(dead_code, reason = "this benchmark uses its own part")]
mod table;

use std::sync::LazyLock;
use std::time::Duration;

use criterion::Criterion;
use tokio::runtime::{Builder, Runtime};

use crate::table::Table;

const CAPACITY: usize = 1024;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).build().expect("the runtime starts"));

/// Runs a future on a worker of the runtime, and waits for it on this thread.
fn on_worker<F>(future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    RUNTIME.block_on(RUNTIME.spawn(future)).expect("the task ended")
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(10)
        .configure_from_args();
    let mut table = Table::default();
    fan_out::run(&mut criterion, &mut table);
    request::run(&mut criterion, &mut table);
    latency::run(&mut criterion, &mut table);
    criterion.final_summary();
    table.print();
}
