//! J1 and J2: a journal beside rings, with the bars that were set for it.

use criterion::Criterion;

use crate::fan_out::PAYLOADS;
use crate::measure::run_topic;
use crate::peer::{CAPACITY, Peer, Shape};
use crate::peers::async_broadcast::AsyncBroadcast;
use crate::peers::bus::Bus;
use crate::peers::disruptor::MultiProducer;
use crate::peers::multiqueue2::Multiqueue2;
use crate::peers::tokio::{BroadcastToTasks, BroadcastToThreads};
use crate::peers::{JOURNALS, MAILBOXES};
use crate::table::Table;

/// A system, and the most that a journal may take, as a part of what that takes.
type Bar = (&'static str, f64);

/// What else has one place for each message, can add a reader while it runs, and takes more than one publisher.
const SLOWER: [Bar; 3] = [(BroadcastToTasks::NAME, 1.0), (BroadcastToThreads::NAME, 1.0), (AsyncBroadcast::NAME, 1.0)];

pub(crate) fn run(criterion: &mut Criterion) -> Vec<Table> {
    // As many bytes as 8 mailboxes keep, and what a journal keeps if nothing else is said.
    let (small, large) = (8 * CAPACITY, 64 * CAPACITY);
    let to_8 =
        |mailboxes| [&[(MAILBOXES, mailboxes), (Multiqueue2::NAME, 1.2), (Bus::NAME, 1.0)], &SLOWER[..]].concat();
    let from_1 = |mailboxes| [(1, vec![]), (2, vec![]), (8, to_8(mailboxes)), (32, vec![(MAILBOXES, 0.15)])];
    let others = [(MultiProducer::NAME, 1.5), (MAILBOXES, 1.0), (Multiqueue2::NAME, 1.0)];
    let from_4 = [1, 8].map(|readers| (readers, [&others[..], &SLOWER].concat()));
    vec![
        measure(criterion, "J1 capacity 8192", 1, small, &from_1(0.25)),
        measure(criterion, "J1 capacity 65536", 1, large, &from_1(0.2)),
        measure(criterion, "J2 capacity 8192", 4, small, &from_4),
        measure(criterion, "J2 capacity 65536", 4, large, &from_4),
    ]
}

fn measure(
    criterion: &mut Criterion,
    workload: &'static str,
    publishers: usize,
    capacity: usize,
    readers: &[(usize, Vec<Bar>)],
) -> Table {
    let title = if publishers == 1 { "a journal, one publisher" } else { "a journal, 4 publishers" };
    let mut table = Table::of(workload, title, ("publish", "deliveries"), JOURNALS.iter().collect());
    for (payload, begin) in PAYLOADS {
        for &(subscribers, ref bars) in readers {
            let name = format!("{payload} to {subscribers}");
            table.column(criterion, name, (publishers as u64, subscribers as f64), |system, what, messages| {
                let shape = Shape { publishers, subscribers, messages, capacity };
                run_topic(begin(system, shape)?, what, shape, system.ordered)
            });
            table.bars(bars);
        }
    }
    table
}
