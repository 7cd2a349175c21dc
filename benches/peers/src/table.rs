//! The systems beside each other: measured in turn, printed as markdown.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, SamplingMode, Throughput};

use crate::peer::{Cannot, System};
use crate::peers;
use crate::results::{CHUNK, Figure, stored};

/// One workload in its variants.
pub(crate) struct Table {
    workload: &'static str,
    title: &'static str,
    /// What is timed, and what is counted.
    units: (&'static str, &'static str),
    systems: Vec<&'static System>,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    messages: u64,
    deliveries: u64,
    /// In the order of the systems: why it has no figure, if it has none.
    cells: Vec<Option<Cannot>>,
}

impl Table {
    /// The `others` are measured beside those of all workloads.
    pub(crate) fn new(
        workload: &'static str,
        title: &'static str,
        units: (&'static str, &'static str),
        others: &'static [System],
    ) -> Self {
        let systems = peers::SYSTEMS.iter().chain(others).collect();
        Self { workload, title, units, systems, columns: Vec::new() }
    }

    /// Measures a variant for every system, one right after the other.
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
        let group_name = format!("{} {name}", self.workload);
        let mut group = criterion.benchmark_group(&group_name);
        // As many iterations in every sample: a slow peer takes no longer than a quick one.
        group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(deliveries));
        let mut cells = Vec::new();
        for system in &self.systems {
            let what = format!("{group_name}, {}", system.name);
            // A first round, not measured, shows whether the system can do it. It fills every queue several times.
            cells.push(run(system, &what, 16 * CHUNK).err());
            if cells.last().is_some_and(Option::is_none) {
                group.bench_function(system.name, |bencher| {
                    bencher.iter_custom(|chunks| run(system, &what, chunks * CHUNK).expect("it could a moment ago"));
                });
            }
        }
        group.finish();
        self.columns.push(Column { name, messages, deliveries, cells });
    }

    /// Prints what was measured since `start`.
    pub(crate) fn print(&self, start: SystemTime) {
        let Some(folder) = stored() else { return };
        let measured = |column| (0..self.systems.len()).any(|row| self.figure(&folder, column, row, start).is_some());
        if !self.columns.iter().any(measured) {
            return;
        }
        let mut reasons = Reasons::default();
        println!("\n## {}: {}\n", self.workload, self.title);
        let (timed, counted) = self.units;
        println!("Nanoseconds a {timed}: median (10th to 90th percentile), and how many times tramline's.\n");
        self.print_rows(|column, row| match column.cells[row] {
            Some(Cannot(reason)) => Some(format!("- [{}]", reasons.number(reason))),
            None => {
                let Figure { low, median, high, .. } = self.figure(&folder, column, row, start)?;
                let tramline = self.figure(&folder, column, 0, start);
                let ratio = tramline.map_or(String::new(), |tramline| format!(", {:.2}x", median / tramline.median));
                Some(format!("{} ({} to {}){ratio}", short(median), short(low), short(high)))
            }
        });
        println!("\nMillion {counted} a second, from the median.\n");
        self.print_rows(|column, row| {
            let copies = column.deliveries as f64 / column.messages as f64;
            let figure = self.figure(&folder, column, row, start)?;
            Some(short(copies * 1_000.0 / figure.median))
        });
        reasons.print();
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

    fn figure(&self, folder: &Path, column: &Column, row: usize, start: SystemTime) -> Option<Figure> {
        let group = format!("{} {}", self.workload, column.name);
        let figure = Figure::read(&folder.join(group).join(self.systems[row].name), column.messages)?;
        (figure.measured >= start).then_some(figure)
    }
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
