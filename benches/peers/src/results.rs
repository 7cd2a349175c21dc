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

/// The distribution of a time in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    /// Ten of a hundred samples took less.
    pub(crate) low: f64,
    pub(crate) median: f64,
    /// Ten of a hundred samples took more.
    pub(crate) high: f64,
    pub(crate) measured: SystemTime,
}

impl Figure {
    /// The time of one of `parts` equal parts of an iteration.
    pub(crate) fn read(benchmark: &Path, parts: u64) -> Option<Self> {
        let path = benchmark.join("new").join("sample.json");
        let measured = fs::metadata(&path).ok()?.modified().ok()?;
        let sample: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let list = |name| -> Option<Vec<f64>> { sample.get(name)?.as_array()?.iter().map(|n| n.as_f64()).collect() };
        let mut times: Vec<_> =
            list("times")?.into_iter().zip(list("iters")?).map(|(time, n)| time / n / parts as f64).collect();
        times.sort_by(f64::total_cmp);
        let at = |tenth: usize| times.get(times.len().checked_sub(1)? * tenth / 10).copied();
        Some(Self { low: at(1)?, median: at(5)?, high: at(9)?, measured })
    }
}
