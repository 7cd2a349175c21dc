//! The systems beside each other: measured in turn, printed as markdown.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, SamplingMode, Throughput};

use crate::peer::{Cannot, System};
use crate::peers;
use crate::results::{CHUNK, Figure, TURNS, Turn, group, stored};

/// One workload in its variants.
pub(crate) struct Table {
    workload: &'static str,
    title: &'static str,
    /// What is timed, and what is counted.
    units: (&'static str, &'static str),
    systems: Vec<&'static System>,
    columns: Vec<Column>,
    bars: Vec<Bar>,
}

/// The first system is to take at most so many times as long as another, in one column.
struct Bar {
    column: usize,
    row: usize,
    at_most: f64,
}

struct Column {
    name: String,
    messages: u64,
    deliveries: u64,
    /// In the order of the systems.
    cells: Vec<Cell>,
}

/// One system in one column.
struct Cell {
    cannot: Option<Cannot>,
    /// What each turn has measured; none if a filter on the command line has left it out.
    turns: Vec<Vec<f64>>,
}

impl Cell {
    fn figure(&self) -> Option<Figure> {
        Figure::of(self.turns.concat())
    }

    /// How many times as long as `other`: the median of what the turns say.
    fn ratio(&self, other: &Self) -> Option<f64> {
        let medians = |cell: &Self| -> Vec<f64> {
            cell.turns.iter().cloned().filter_map(Figure::of).map(|figure| figure.median).collect()
        };
        let ratios = medians(self).into_iter().zip(medians(other)).map(|(this, other)| this / other).collect();
        Some(Figure::of(ratios)?.median)
    }
}

impl Table {
    /// The `others` are measured beside those of all workloads.
    pub(crate) fn new(
        workload: &'static str,
        title: &'static str,
        units: (&'static str, &'static str),
        others: &'static [System],
    ) -> Self {
        Self::of(workload, title, units, peers::SYSTEMS.iter().chain(others).collect())
    }

    /// With these systems alone. The others are compared to the first.
    pub(crate) fn of(
        workload: &'static str,
        title: &'static str,
        units: (&'static str, &'static str),
        systems: Vec<&'static System>,
    ) -> Self {
        Self { workload, title, units, systems, columns: Vec::new(), bars: Vec::new() }
    }

    /// Sets bars for the column that was measured last: names of systems, and how many times as long as each the first
    /// system may take.
    pub(crate) fn bars(&mut self, bars: &[(&'static str, f64)]) {
        let Some(column) = self.columns.len().checked_sub(1) else { return };
        for &(name, at_most) in bars {
            let row = self.systems.iter().position(|system| system.name == name).expect("the system is in the table");
            self.bars.push(Bar { column, row, at_most });
        }
    }

    /// Measures a variant for every system, one right after the other, in turns.
    ///
    /// `run` times a round with so many messages from each publisher, `what` names it in a panic. An iteration is a
    /// chunk from each of the `publishers`; each message arrives `copies` times.
    pub(crate) fn column(
        &mut self,
        criterion: &mut Criterion,
        name: String,
        (publishers, copies): (u64, f64),
        run: impl Fn(&System, &str, u64) -> Result<Duration, Cannot>,
    ) {
        let messages = publishers * CHUNK;
        let deliveries = (messages as f64 * copies) as u64;
        let workload = format!("{} {name}", self.workload);
        let what = |system: &System| format!("{workload}, {}", system.name);
        // A first round, not measured, shows whether the system can do it. It fills every queue several times.
        let first = |system: &&System| run(system, &what(system), 16 * CHUNK).err();
        let mut cells: Vec<_> =
            self.systems.iter().map(first).map(|cannot| Cell { cannot, turns: Vec::new() }).collect();
        for turn in 1..=if is_test() { 1 } else { TURNS } {
            let group_name = group(&workload, turn);
            let mut group = criterion.benchmark_group(&group_name);
            // As many iterations in every sample: a slow peer takes no longer than a quick one.
            group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(deliveries));
            for (system, cell) in self.systems.iter().zip(&mut cells) {
                if cell.cannot.is_some() {
                    continue;
                }
                let start = SystemTime::now();
                group.bench_function(system.name, |bencher| {
                    let run = |chunks| run(system, &what(system), chunks * CHUNK).expect("it could a moment ago");
                    bencher.iter_custom(run);
                });
                let measured = stored().and_then(|all| Turn::read(&all.join(&group_name).join(system.name), messages));
                cell.turns.extend(measured.filter(|turn| turn.measured >= start).map(|turn| turn.samples));
            }
            group.finish();
        }
        self.columns.push(Column { name, messages, deliveries, cells });
    }

    /// Prints what was measured.
    pub(crate) fn print(&self) {
        let mut cells = self.columns.iter().flat_map(|column| &column.cells);
        // In a test run there is nothing to show.
        if is_test() || cells.all(|cell| cell.turns.is_empty()) {
            return;
        }
        let mut reasons = Reasons::default();
        println!("\n## {}: {}\n", self.workload, self.title);
        let (timed, counted) = self.units;
        println!("Nanoseconds a {timed}: median (10th to 90th percentile), and how many times the first line's.\n");
        self.print_rows(|column, row| {
            let cell = &column.cells[row];
            if let Some(Cannot(reason)) = cell.cannot {
                return Some(format!("- [{}]", reasons.number(reason)));
            }
            let Figure { low, median, high } = cell.figure()?;
            let ratio = cell.ratio(&column.cells[0]).map_or(String::new(), |ratio| format!(", {ratio:.2}x"));
            Some(format!("{} ({} to {}){ratio}", short(median), short(low), short(high)))
        });
        println!("\nMillion {counted} a second, from the median.\n");
        self.print_rows(|column, row| {
            let copies = column.deliveries as f64 / column.messages as f64;
            Some(short(copies * 1_000.0 / column.cells[row].figure()?.median))
        });
        reasons.print();
        self.print_bars();
    }

    fn print_bars(&self) {
        if self.bars.is_empty() {
            return;
        }
        println!("\n| {} | beside | ratio | bar |\n| --- | --- | ---: | --- |", self.systems[0].name);
        for Bar { column, row, at_most } in &self.bars {
            let Column { name, cells, .. } = &self.columns[*column];
            let Some(ratio) = cells[0].ratio(&cells[*row]) else { continue };
            let held = if ratio <= *at_most { "held" } else { "**not held**" };
            println!("| {name} | {} | {ratio:.2} | {at_most}: {held} |", self.systems[*row].name);
        }
    }

    /// A row for each system that has a cell. What a filter on the command line has left out has none.
    fn print_rows(&self, mut cell: impl FnMut(&Column, usize) -> Option<String>) {
        let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
        println!("| system | {} |", names.join(" | "));
        println!("| --- |{}", " --- |".repeat(names.len()));
        for (row, system) in self.systems.iter().enumerate() {
            let cells: Vec<_> = self.columns.iter().map(|column| cell(column, row)).collect();
            if cells.iter().any(Option::is_some) {
                let cells: Vec<_> = cells.into_iter().map(Option::unwrap_or_default).collect();
                println!("| {} | {} |", system.name, cells.join(" | "));
            }
        }
    }
}

fn is_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// The footnotes of a table.
#[derive(Default)]
struct Reasons(BTreeMap<&'static str, usize>);

impl Reasons {
    fn number(&mut self, reason: &'static str) -> usize {
        let next = self.0.len() + 1;
        *self.0.entry(reason).or_insert(next)
    }

    fn print(&self) {
        let mut reasons: Vec<_> = self.0.iter().map(|(reason, number)| (number, reason)).collect();
        reasons.sort();
        for (number, reason) in reasons {
            println!("\n[{number}] {reason}.");
        }
    }
}

/// As many digits as mean something.
fn short(number: f64) -> String {
    match number {
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}
