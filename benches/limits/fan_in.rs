//! W4: several publishers of one topic, one subscriber.

use std::thread;
use std::time::Instant;

use criterion::Criterion;
use crossbeam_channel::bounded;
use tramline::Bus;

use crate::fan_out::CAPACITY;
use crate::table::{Bar, Table};

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    for publishers in [2, 4] {
        table.compare(
            criterion,
            &format!("W4 {publishers} publishers to 1 thread"),
            publishers,
            Bar::Ratio(1.25),
            ("crossbeam", |bencher| {
                bencher.iter_custom(|messages| {
                    let (sender, receiver) = bounded(CAPACITY);
                    let start = Instant::now();
                    thread::scope(|scope| {
                        for _ in 0..publishers {
                            let sender = sender.clone();
                            scope.spawn(move || {
                                (0..messages).for_each(|n| sender.send(n).expect("the receiver is here"));
                            });
                        }
                        drop(sender);
                        assert_eq!(receiver.iter().count() as u64, publishers * messages);
                    });
                    start.elapsed()
                });
            }),
            ("tramline", |bencher| {
                bencher.iter_custom(|messages| {
                    let bus = Bus::<u64>::builder().capacity(CAPACITY).build();
                    let subscriber = bus.subscribe("a.topic").expect("the bus is open");
                    let publisher = bus.publisher("a.topic").expect("the topic is valid");
                    drop(bus);
                    let start = Instant::now();
                    thread::scope(|scope| {
                        for _ in 0..publishers {
                            let publisher = publisher.clone();
                            scope.spawn(move || {
                                for n in 0..messages {
                                    publisher.publish(n).expect("the bus is open");
                                }
                            });
                        }
                        // Now the last publisher to end closes the bus.
                        drop(publisher);
                        assert_eq!(subscriber.iter().count() as u64, publishers * messages);
                    });
                    start.elapsed()
                });
            }),
        );
    }
}
