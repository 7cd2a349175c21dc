//! Every order of steps, within bounds: see `scripts/models` for how to run this, and `src/sync.rs` for what makes it
//! possible.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod interleavings;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Runs the case in every order of steps; with a bound, in those in which a thread that could go on is interrupted at most
/// so often. `LOOM_MAX_PREEMPTIONS` is a bound for all.
fn check(name: &str, bound: Option<usize>, case: fn()) {
    let runs = Arc::new(AtomicUsize::new(0));
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(bound);
    model.max_branches = 10_000;
    let bound = model.preemption_bound.map(|bound| format!(" with up to {bound} preemptions"));
    let started = Instant::now();
    model.check({
        let runs = Arc::clone(&runs);
        move || {
            runs.fetch_add(1, Ordering::Relaxed);
            case();
        }
    });
    let (runs, time) = (runs.load(Ordering::Relaxed), started.elapsed().as_secs_f64());
    println!("{name}: {runs} interleavings{}, {time:.1} s", bound.unwrap_or_default());
}

macro_rules! models {
    ($bound:expr; $($module:ident { $($case:ident,)+ })+) => {$($(
        #[test]
        fn $case() {
            check(stringify!($case), $bound, interleavings::$module::$case);
        }
    )+)+};
}

interleavings::every_case!(models);
