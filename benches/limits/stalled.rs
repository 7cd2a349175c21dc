//! W6: one subscriber that reads, beside one that never does.

use std::thread;
use std::time::Instant;

use criterion::{Bencher, Criterion};
use tramline::{Bus, Overflow};

use crate::fan_out::CAPACITY;
use crate::table::{Bar, Table};

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect] {
        table.compare(
            criterion,
            &format!("W6 beside a stalled {overflow:?}"),
            1,
            Bar::Ratio(1.2),
            ("alone", |bencher| fast(bencher, None)),
            ("beside it", |bencher| fast(bencher, Some(overflow))),
        );
    }
}

/// What it takes to get every message to the one that reads.
fn fast(bencher: &mut Bencher<'_>, stalled: Option<Overflow>) {
    bencher.iter_custom(|messages| {
        let bus = Bus::<u64>::builder().capacity(CAPACITY).build();
        let publisher = bus.publisher("a.topic").expect("the topic is valid");
        let stalled = stalled.map(|overflow| bus.subscription("a.topic").overflow(overflow).open());
        let subscriber = bus.subscribe("a.topic").expect("the bus is open");
        let reader = thread::spawn(move || subscriber.iter().count() as u64);
        let start = Instant::now();
        for n in 0..messages {
            let _ = publisher.publish(n).expect("the bus is open");
        }
        bus.close();
        assert_eq!(reader.join().expect("the reader ended"), messages);
        let elapsed = start.elapsed();
        drop(stalled);
        elapsed
    });
}
