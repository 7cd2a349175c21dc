//! W1: one publisher, and threads that sit in `recv`.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion};
use crossbeam_channel::{Sender, bounded};
use tramline::{Bus, Publisher, Subscriber};

use crate::table::{Bar, Table};

pub(crate) const CAPACITY: usize = 1024;

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    for (threads, bar) in [(1, Bar::Shown), (2, Bar::Shown), (8, Bar::Ratio(1.25))] {
        line(criterion, table, "u64", threads, bar, |n| n);
        line(criterion, table, "64 bytes", threads, bar, |n| [n; 8]);
    }
}

fn line<T: Clone + Send + 'static>(
    criterion: &mut Criterion,
    table: &mut Table,
    payload: &str,
    threads: u64,
    bar: Bar,
    make: impl Fn(u64) -> T,
) {
    table.compare(
        criterion,
        &format!("W1 {payload} to {threads} threads"),
        threads,
        bar,
        ("crossbeam", |bencher| crossbeam(bencher, threads, &make)),
        ("tramline", |bencher| {
            tramline(bencher, threads, count, |publisher, messages| {
                for n in 0..messages {
                    publisher.publish(make(n)).expect("the bus is open");
                }
            });
        }),
    );
}

pub(crate) fn count<T: Clone + Send + 'static>(subscriber: &Subscriber<T>) -> u64 {
    subscriber.iter().count() as u64
}

/// The limit: a loop over as many channels.
pub(crate) fn crossbeam<T: Clone + Send + 'static>(bencher: &mut Bencher<'_>, threads: u64, make: &impl Fn(u64) -> T) {
    bencher.iter_custom(|messages| {
        let (senders, receivers): (Vec<Sender<T>>, Vec<_>) = (0..threads).map(|_| bounded(CAPACITY)).unzip();
        let threads: Vec<_> =
            receivers.into_iter().map(|receiver| thread::spawn(move || receiver.iter().count() as u64)).collect();
        let start = Instant::now();
        for n in 0..messages {
            let payload = make(n);
            for sender in &senders {
                sender.send(payload.clone()).expect("the receiver is here");
            }
        }
        drop(senders);
        finish(start, threads, messages)
    });
}

pub(crate) fn tramline<T: Clone + Send + 'static>(
    bencher: &mut Bencher<'_>,
    threads: u64,
    receive: impl Fn(&Subscriber<T>) -> u64 + Copy + Send + 'static,
    publish: impl Fn(&Publisher<T>, u64),
) {
    bencher.iter_custom(|messages| {
        let bus = Bus::<T>::builder().capacity(CAPACITY).build();
        let publisher = bus.publisher("a.topic").expect("the topic is valid");
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                let subscriber = bus.subscribe("a.topic").expect("the bus is open");
                thread::spawn(move || receive(&subscriber))
            })
            .collect();
        let start = Instant::now();
        publish(&publisher, messages);
        bus.close();
        finish(start, threads, messages)
    });
}

/// Every receiver must have got everything: nobody wins by dropping.
fn finish(start: Instant, threads: Vec<JoinHandle<u64>>, messages: u64) -> Duration {
    for thread in threads {
        assert_eq!(thread.join().expect("the receiver ended"), messages);
    }
    start.elapsed()
}
