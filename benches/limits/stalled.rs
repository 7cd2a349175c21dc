//! W6: publishing to nobody, and to one subscriber that reads beside one that never does.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use criterion::{Bencher, Criterion};
use crossbeam_channel::bounded;
use tramline::{Bus, Overflow};

use crate::fan_out::CAPACITY;
use crate::table::{Bar, Table};

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    table.compare(
        criterion,
        "W6 publish to nobody, beside a send and a receive",
        1,
        Bar::Shown,
        ("a channel", |bencher| {
            let (sender, receiver) = bounded(CAPACITY);
            bencher.iter(|| {
                sender.send(1_u64).expect("the receiver is here");
                receiver.recv().expect("the sender is here")
            });
        }),
        ("nobody", |bencher| {
            let publisher = Bus::<u64>::new().publisher("a.topic").expect("the topic is valid");
            bencher.iter(|| publisher.publish(black_box(1)).expect("the bus is open"));
        }),
    );
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
///
/// A stalled `Block` is left out: there the publisher waits for ever, as it was told to.
fn fast(bencher: &mut Bencher<'_>, stalled: Option<Overflow>) {
    bencher.iter_custom(|messages| {
        let bus = Bus::<u64>::builder().capacity(CAPACITY).build();
        let publisher = bus.publisher("a.topic").expect("the topic is valid");
        let stalled = stalled.map(|overflow| bus.subscription("a.topic").overflow(overflow).open());
        let subscriber = bus.subscribe("a.topic").expect("the bus is open");
        let reader = thread::spawn(move || subscriber.iter().count() as u64);
        let start = Instant::now();
        for n in 0..messages {
            publisher.publish(n).expect("the bus is open");
        }
        bus.close();
        assert_eq!(reader.join().expect("the reader ended"), messages);
        let elapsed = start.elapsed();
        drop(stalled);
        elapsed
    });
}
