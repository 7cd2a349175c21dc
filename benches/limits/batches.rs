//! W1 once more, with `publish_all` and `recv_many`.

use criterion::Criterion;
use tramline::Subscriber;

use crate::fan_out::{count, crossbeam, tramline};
use crate::table::{Bar, Table};

type Receive = fn(&Subscriber<u64>) -> u64;

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    for (threads, bar) in [(1, Bar::Shown), (8, Bar::Ratio(1.25))] {
        for (how, receive) in [("publish_all", count as Receive), ("publish_all and recv_many", count_many)] {
            table.compare(
                criterion,
                &format!("W1 u64 to {threads} threads, {how}"),
                threads,
                bar,
                ("crossbeam", |bencher| crossbeam(bencher, threads, &|n| n)),
                ("tramline", |bencher| {
                    tramline(bencher, threads, receive, |publisher, messages| {
                        publisher.publish_all(0..messages).expect("the bus is open");
                    });
                }),
            );
        }
    }
}

fn count_many(subscriber: &Subscriber<u64>) -> u64 {
    let mut messages = Vec::new();
    let mut count = 0;
    while let Ok(more) = subscriber.recv_many(&mut messages, 64) {
        count += more as u64;
        messages.clear();
    }
    count
}
