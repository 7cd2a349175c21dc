//! W7: a subscription that comes and goes, beside few topics and beside many.

use criterion::{Bencher, Criterion};
use tramline::{Bus, Publisher};

use crate::table::{Bar, Table};

fn bus_with(topics: u64) -> (Bus<u64>, Vec<Publisher<u64>>) {
    let bus = Bus::builder().capacity(16).build();
    let publishers = (0..topics).map(|n| bus.publisher(format!("live.{n}.on")).expect("the topic is valid")).collect();
    (bus, publishers)
}

fn come_and_go(bencher: &mut Bencher<'_>, bus: &Bus<u64>, pattern: &str) {
    bencher.iter(|| bus.subscribe(pattern).expect("the bus is open").unsubscribe());
}

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    let (few, many) = (bus_with(10), bus_with(100_000));
    // The last matches one topic of either bus.
    for (name, pattern) in [("a topic", "live.5.on"), ("a new topic", "else.where"), ("a pattern", "live.5.*")] {
        table.compare(
            criterion,
            &format!("W7 subscribe to {name} and leave"),
            1,
            Bar::Ratio(2.0),
            ("10 topics", |bencher| come_and_go(bencher, &few.0, pattern)),
            ("100000 topics", |bencher| come_and_go(bencher, &many.0, pattern)),
        );
    }
}
