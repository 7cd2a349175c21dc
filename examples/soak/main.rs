//! Everything that a bus does, at once, with faults, for as long as wanted: publishers, subscribers, groups, handlers that
//! panic, callers that give up, subscriptions that come and go, slow members, every policy. Every message is accounted
//! for, and memory and threads have to stay bounded; `workload` says how.
//!
//! ```console
//! cargo run --release --example soak -- --minutes 10
//! cargo run --release --example soak --features async -- --minutes 0.5 --seed 7
//! ```
//!
//! It ends with a summary, and with an error if anything is lost or unbounded. The same seed gives the same choices, but
//! not the same run: threads meet as they like.

mod workload;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use peak_alloc::PeakAlloc;

use workload::Options;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Runs a bus under load and faults, and accounts for every message.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How long, in minutes; 0.2 are twelve seconds
    #[arg(long, value_name = "M", default_value_t = 1.0)]
    minutes: f64,

    /// Where the choices begin [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Ok(time) = Duration::try_from_secs_f64(60.0 * arguments.minutes) else {
        eprintln!("{} is no number of minutes", arguments.minutes);
        return ExitCode::FAILURE;
    };
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = arguments.seed.unwrap_or(u64::from(since.subsec_nanos()) ^ since.as_secs());
    let summary = workload::run(Options { seed, time, heap: || HEAP.current_usage(), tells: true });
    println!("{summary}");
    if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
