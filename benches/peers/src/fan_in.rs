//! W4: 2 or 4 publisher threads of one topic, and one subscriber.

use criterion::Criterion;

use crate::measure::run_topic;
use crate::peer::{CAPACITY, Shape};
use crate::table::Table;

pub(crate) fn run(criterion: &mut Criterion) -> Table {
    let mut table =
        Table::new("W4", "2 and 4 publishers of one topic, to one subscriber", ("publish", "deliveries"), &[]);
    for publishers in [2, 4] {
        let name = format!("from {publishers}");
        table.column(criterion, name, (publishers as u64, 1.0), |system, what, messages| {
            let shape = Shape { publishers, subscribers: 1, messages, capacity: CAPACITY };
            run_topic((system.numbers)(shape)?, what, shape, system.ordered)
        });
    }
    table
}
