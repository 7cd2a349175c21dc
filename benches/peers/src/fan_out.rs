//! W1: one publisher of one topic, and 1, 2 or 8 subscribers that take every message.

use criterion::Criterion;

use crate::measure::run_topic;
use crate::peer::{CAPACITY, Cannot, Round, Shape, System};
use crate::table::Table;

pub(crate) type Begin = fn(&System, Shape) -> Result<Round, Cannot>;

pub(crate) const PAYLOADS: [(&str, Begin); 2] =
    [("u64", |system, shape| (system.numbers)(shape)), ("64 bytes", |system, shape| (system.blocks)(shape))];

pub(crate) fn run(criterion: &mut Criterion) -> Table {
    let title = "one publisher of one topic, to 1, 2 and 8 subscribers";
    let mut table = Table::new("W1", title, ("publish", "deliveries"), &[]);
    for (payload, begin) in PAYLOADS {
        for subscribers in [1, 2, 8] {
            let name = format!("{payload} to {subscribers}");
            table.column(criterion, name, (1, subscribers as f64), |system, what, messages| {
                let shape = Shape { publishers: 1, subscribers, messages, capacity: CAPACITY };
                run_topic(begin(system, shape)?, what, shape, system.ordered)
            });
        }
    }
    table
}
