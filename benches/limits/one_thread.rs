//! W2: publish a batch and drain it again, all on one thread. What the bus adds, and nothing else.
//!
//! The bars are those of two profiles: the one of `cargo bench`, and `--profile one-unit`.

use std::hint::black_box;

use criterion::Criterion;
use crossbeam_channel::bounded;
use tramline::Bus;

use crate::table::{Bar, Table};

const BATCH: u64 = 128;

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    for (mailboxes, bar) in [(1_u64, 1.9), (4, 1.5), (16, 1.4)] {
        let channels: Vec<_> = (0..mailboxes).map(|_| bounded(256)).collect();
        let bus = Bus::<u64>::new();
        let publisher = bus.publisher("a.topic").expect("the topic is valid");
        let subscribers: Vec<_> = (0..mailboxes).map(|_| bus.subscribe("a.topic").expect("the bus is open")).collect();
        table.compare(
            criterion,
            &format!("W2 one thread, {mailboxes} to fill"),
            BATCH * mailboxes,
            Bar::Ratio(bar),
            ("crossbeam", |bencher| {
                bencher.iter(|| {
                    for n in 0..BATCH {
                        for (sender, _) in &channels {
                            sender.send(n).expect("the receiver is here");
                        }
                    }
                    for (_, receiver) in &channels {
                        for _ in 0..BATCH {
                            black_box(receiver.recv().expect("the sender is here"));
                        }
                    }
                });
            }),
            ("tramline", |bencher| {
                bencher.iter(|| {
                    for n in 0..BATCH {
                        let delivery = publisher.publish(n).expect("the bus is open");
                        assert_eq!(delivery.delivered() as u64, mailboxes);
                    }
                    for subscriber in &subscribers {
                        for _ in 0..BATCH {
                            black_box(subscriber.recv().expect("the bus is open").into_payload());
                        }
                    }
                });
            }),
        );
    }
}
