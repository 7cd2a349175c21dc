//! What was measured, beside what it is measured against.

use std::fs;
use std::path::{Path, PathBuf};

use criterion::{Bencher, Criterion, Throughput};

/// What a line must keep to.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// At most so many times the other figure.
    Ratio(f64),
    /// At most so many nanoseconds.
    Nanoseconds(f64),
    /// Bimodal, whichever side is faster: shown, not judged.
    Shown,
}

struct Row {
    name: String,
    figure: Figure,
    limit: Figure,
    /// The median of what the turns say.
    ratio: f64,
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
    /// Measures one line: `name` is the workload, `limit` and `figure` are what is compared, in turns.
    ///
    /// `deliveries` are those of one iteration.
    pub(crate) fn compare(
        &mut self,
        criterion: &mut Criterion,
        name: &str,
        deliveries: u64,
        bar: Bar,
        (limit, mut measure_limit): (&str, impl FnMut(&mut Bencher<'_>)),
        (figure, mut measure_figure): (&str, impl FnMut(&mut Bencher<'_>)),
    ) {
        let (mut figures, mut limits) = (Vec::new(), Vec::new());
        for turn in turns() {
            let group_name = format!("{name}, turn {turn}");
            let mut group = criterion.benchmark_group(&group_name);
            group.throughput(Throughput::Elements(deliveries));
            group.bench_function(limit, &mut measure_limit);
            group.bench_function(figure, &mut measure_figure);
            group.finish();
            figures.push(take_samples(&group_name, figure, deliveries));
            limits.push(take_samples(&group_name, limit, deliveries));
        }
        self.add(name.to_owned(), figures, limits, bar, true);
    }

    /// Adds a line: the nanoseconds that each turn has measured.
    pub(crate) fn add(&mut self, name: String, figures: Vec<Vec<f64>>, limits: Vec<Vec<f64>>, bar: Bar, is_rate: bool) {
        let medians = |turns: &[Vec<f64>]| turns.iter().cloned().filter_map(median).collect::<Vec<_>>();
        let ratios = medians(&figures).iter().zip(medians(&limits)).map(|(figure, limit)| figure / limit).collect();
        let (figure, limit) = (Figure::of(figures.concat()), Figure::of(limits.concat()));
        if let (Some(figure), Some(limit), Some(ratio)) = (figure, limit, median(ratios)) {
            self.rows.push(Row { name, figure, limit, ratio, bar, is_rate });
        }
    }

    /// Prints what this run has measured, nanoseconds a delivery.
    pub(crate) fn print(&self) {
        if is_test() {
            return;
        }
        println!("\n| workload | ns | 10th to 90th | limit ns | 10th to 90th | million a second | ratio | bar |");
        println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
        for Row { name, figure, limit, ratio, bar, is_rate } in &self.rows {
            let bar = match bar {
                Bar::Ratio(bar) if ratio <= bar => format!("{bar}: held"),
                Bar::Ratio(bar) => format!("{bar}: **not held**"),
                Bar::Nanoseconds(bar) if figure.median <= *bar => format!("{bar} ns: held"),
                Bar::Nanoseconds(bar) => format!("{bar} ns: **not held**"),
                Bar::Shown => "shown".to_owned(),
            };
            let rate = if *is_rate { format!("{:.1}", 1_000.0 / figure.median) } else { String::new() };
            println!("| {name} | {} | {} | {rate} | {ratio:.2} | {bar} |", figure.cells(), limit.cells());
        }
    }
}

/// The numbers of the turns that both sides of a line take.
///
/// How long a cache line takes from core to core changes within seconds on a virtual machine, by a factor of four. So what
/// is compared has to be measured at nearly the same time, and often.
pub(crate) fn turns() -> std::ops::RangeInclusive<usize> {
    1..=if is_test() { 1 } else { 8 }
}

pub(crate) fn is_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// What criterion has measured, in nanoseconds a delivery. The file goes: a later run may leave this line out.
fn take_samples(group: &str, function: &str, deliveries: u64) -> Vec<f64> {
    let path = results().join(group).join(function).join("new").join("sample.json");
    let samples = || -> Option<Vec<f64>> {
        let sample: serde_json::Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let list = |name| -> Option<Vec<f64>> { sample.get(name)?.as_array()?.iter().map(|n| n.as_f64()).collect() };
        Some(list("times")?.into_iter().zip(list("iters")?).map(|(time, n)| time / n / deliveries as f64).collect())
    };
    let samples = samples().unwrap_or_default();
    // There is none in a test run.
    drop(fs::remove_file(&path));
    samples
}

/// Where criterion puts its results.
fn results() -> PathBuf {
    // The benchmark lies in target/<profile>/deps.
    let target = std::env::current_exe().ok().and_then(|path| path.ancestors().nth(3).map(Path::to_owned));
    target.unwrap_or_else(|| "target".into()).join("criterion")
}

/// A distribution of times in nanoseconds.
struct Figure {
    low: f64,
    median: f64,
    high: f64,
}

impl Figure {
    fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let at = |part: usize| samples.get(samples.len().checked_sub(1)? * part / 10).copied();
        Some(Self { low: at(1)?, median: at(5)?, high: at(9)? })
    }

    fn cells(&self) -> String {
        format!("{:.1} | {:.1} to {:.1}", self.median, self.low, self.high)
    }
}

fn median(samples: Vec<f64>) -> Option<f64> {
    Some(Figure::of(samples)?.median)
}
