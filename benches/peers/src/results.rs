//! What criterion has stored, read by the tables and by the plot.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What every publisher sends in one iteration: enough that the start of a round costs nothing of it.
pub(crate) const CHUNK: u64 = 1024;

/// The folder of all results.
pub(crate) fn stored() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    // Programs and benchmarks lie in target/<profile> or below, the results in target/criterion.
    program.ancestors().map(|folder| folder.join("criterion")).find(|folder| folder.is_dir())
}

/// How often the systems take turns.
///
/// How long a cache line takes from core to core changes within seconds on a virtual machine, by a factor of four. So what
/// is compared has to be measured at nearly the same time, and often.
pub(crate) const TURNS: usize = 6;

/// The name of criterion's group.
pub(crate) fn group(workload: &str, turn: usize) -> String {
    format!("{workload}, turn {turn}")
}

/// What one turn of a system has measured: times in nanoseconds.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) samples: Vec<f64>,
    pub(crate) measured: SystemTime,
}

impl Turn {
    /// The times of one of `parts` equal parts of an iteration.
    pub(crate) fn read(benchmark: &Path, parts: u64) -> Option<Self> {
        let path = benchmark.join("new").join("sample.json");
        let measured = fs::metadata(&path).ok()?.modified().ok()?;
        let sample: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let list = |name| -> Option<Vec<f64>> { sample.get(name)?.as_array()?.iter().map(|n| n.as_f64()).collect() };
        let samples = list("times")?.into_iter().zip(list("iters")?).map(|(time, n)| time / n / parts as f64).collect();
        Some(Self { samples, measured })
    }
}

/// A distribution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    /// Ten of a hundred samples were less.
    pub(crate) low: f64,
    pub(crate) median: f64,
    /// Ten of a hundred samples were more.
    pub(crate) high: f64,
}

impl Figure {
    pub(crate) fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let at = |tenth: usize| samples.get(samples.len().checked_sub(1)? * tenth / 10).copied();
        Some(Self { low: at(1)?, median: at(5)?, high: at(9)? })
    }
}
