//! What was measured, beside what it is measured against.

use std::fs;
use std::path::{Path, PathBuf};

use criterion::{Bencher, Criterion, Throughput};

/// What a line must keep to.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// At most so many times the other figure.
    Ratio(f64),
    /// Bimodal, whichever side is faster: shown, not judged.
    Shown,
}

struct Row {
    name: String,
    figure: Figure,
    limit: Figure,
    bar: Bar,
    /// Whether the figure is the time for each of many deliveries, so that its inverse means something.
    is_rate: bool,
}

/// The lines of one run, in order.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Measures one line: `name` is the workload, `limit` and `figure` are what is compared.
    ///
    /// `deliveries` are those of one iteration.
    pub(crate) fn compare(
        &mut self,
        criterion: &mut Criterion,
        name: &str,
        deliveries: u64,
        bar: Bar,
        (limit, measure_limit): (&str, impl FnMut(&mut Bencher<'_>)),
        (figure, measure_figure): (&str, impl FnMut(&mut Bencher<'_>)),
    ) {
        let samples = |function| results().join(name).join(function).join("new").join("sample.json");
        // What an earlier run has left does not belong to this one, which may leave lines out.
        let paths = [samples(figure), samples(limit)];
        paths.iter().for_each(|path| drop(fs::remove_file(path)));
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(deliveries));
        group.bench_function(limit, measure_limit);
        group.bench_function(figure, measure_figure);
        group.finish();
        if let [Some(figure), Some(limit)] = paths.map(|path| Figure::read(&path)) {
            let (figure, limit) = (figure.for_each(deliveries), limit.for_each(deliveries));
            self.rows.push(Row { name: name.to_owned(), figure, limit, bar, is_rate: true });
        }
    }

    /// Adds a line that was measured elsewhere, in nanoseconds.
    pub(crate) fn add(&mut self, name: String, figure: Option<f64>, limit: Option<f64>, bar: Bar) {
        if let (Some(figure), Some(limit)) = (figure, limit) {
            self.rows.push(Row { name, figure: Figure::one(figure), limit: Figure::one(limit), bar, is_rate: false });
        }
    }

    /// Prints what this run has measured, nanoseconds a delivery.
    pub(crate) fn print(&self) {
        if std::env::args().any(|argument| argument == "--test") {
            return;
        }
        println!("\n| workload | ns | 10th to 90th | limit ns | 10th to 90th | million a second | ratio | bar |");
        println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
        for Row { name, figure, limit, bar, is_rate } in &self.rows {
            let ratio = figure.median / limit.median;
            let bar = match bar {
                Bar::Ratio(bar) if ratio <= *bar => format!("{bar}: held"),
                Bar::Ratio(bar) => format!("{bar}: **not held**"),
                Bar::Shown => "shown".to_owned(),
            };
            let rate = if *is_rate { format!("{:.1}", 1_000.0 / figure.median) } else { String::new() };
            println!("| {name} | {} | {} | {rate} | {ratio:.2} | {bar} |", figure.cells(), limit.cells());
        }
    }
}

/// Where criterion puts its results.
fn results() -> PathBuf {
    // The benchmark lies in target/<profile>/deps.
    let target = std::env::current_exe().ok().and_then(|path| path.ancestors().nth(3).map(Path::to_owned));
    target.unwrap_or_else(|| "target".into()).join("criterion")
}

/// The distribution of what one iteration took, in nanoseconds.
struct Figure {
    low: f64,
    median: f64,
    high: f64,
}

impl Figure {
    fn read(path: &Path) -> Option<Self> {
        let sample: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let list = |name| -> Option<Vec<f64>> { sample.get(name)?.as_array()?.iter().map(|n| n.as_f64()).collect() };
        let mut times: Vec<_> = list("times")?.into_iter().zip(list("iters")?).map(|(time, n)| time / n).collect();
        times.sort_by(f64::total_cmp);
        let at = |part: usize| times.get((times.len() - 1) * part / 10).copied();
        Some(Self { low: at(1)?, median: at(5)?, high: at(9)? })
    }

    /// A figure without a distribution.
    fn one(median: f64) -> Self {
        Self { low: median, median, high: median }
    }

    fn for_each(&self, deliveries: u64) -> Self {
        let deliveries = deliveries as f64;
        Self { low: self.low / deliveries, median: self.median / deliveries, high: self.high / deliveries }
    }

    fn cells(&self) -> String {
        let range = if self.low == self.high { String::new() } else { format!("{:.1} to {:.1}", self.low, self.high) };
        format!("{:.1} | {range}", self.median)
    }
}
