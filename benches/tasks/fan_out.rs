//! W1: one task that publishes, and tasks that receive.

use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion};
use tokio::sync::{broadcast, mpsc};
use tokio::task::{JoinHandle, yield_now};
use tramline::Bus;

use crate::table::{Bar, Table};
use crate::{CAPACITY, RUNTIME, on_worker};

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    for tasks in [1, 2, 8] {
        let name = |other: &str| format!("W1 u64 to {tasks} tasks, beside {other}");
        let ours = |bencher: &mut Bencher<'_>| tramline(bencher, tasks);
        let (mpsc_beside, broadcast_beside) = (name("tokio mpsc"), name("tokio broadcast"));
        let mpsc = ("tokio mpsc", |bencher: &mut Bencher<'_>| mpsc(bencher, tasks));
        table.compare(criterion, &mpsc_beside, tasks, Bar::Shown, mpsc, ("tramline", ours));
        let broadcast = ("tokio broadcast", |bencher: &mut Bencher<'_>| broadcast(bencher, tasks));
        table.compare(criterion, &broadcast_beside, tasks, Bar::Shown, broadcast, ("tramline", ours));
    }
}

fn tramline(bencher: &mut Bencher<'_>, tasks: u64) {
    bencher.iter_custom(|messages| {
        let bus = Bus::<u64>::builder().capacity(CAPACITY).build();
        let publisher = bus.publisher("a.topic").expect("the topic is valid");
        let receivers = (0..tasks).map(|_| bus.subscribe("a.topic").expect("the bus is open"));
        let receivers = receivers.map(|subscriber| {
            RUNTIME.spawn(async move {
                let mut count = 0;
                while subscriber.recv_async().await.is_ok() {
                    count += 1;
                }
                count
            })
        });
        let receivers: Vec<_> = receivers.collect();
        let start = Instant::now();
        on_worker(async move {
            for n in 0..messages {
                publisher.publish_async(n).await.expect("the bus is open");
            }
        });
        bus.close();
        finish(start, receivers, messages)
    });
}

fn mpsc(bencher: &mut Bencher<'_>, tasks: u64) {
    bencher.iter_custom(|messages| {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..tasks).map(|_| mpsc::channel::<u64>(CAPACITY)).unzip();
        let receivers = receivers.into_iter().map(|mut receiver| {
            RUNTIME.spawn(async move {
                let mut count = 0;
                while receiver.recv().await.is_some() {
                    count += 1;
                }
                count
            })
        });
        let receivers: Vec<_> = receivers.collect();
        let start = Instant::now();
        on_worker(async move {
            for n in 0..messages {
                for sender in &senders {
                    sender.send(n).await.expect("the receiver is here");
                }
            }
        });
        finish(start, receivers, messages)
    });
}

/// It overwrites what a slow receiver has not read, so the publisher looks at the length and gives way while more than
/// half of the ring is taken; a receiver that lags all the same fails the run.
fn broadcast(bencher: &mut Bencher<'_>, tasks: u64) {
    bencher.iter_custom(|messages| {
        let (sender, _) = broadcast::channel::<u64>(CAPACITY);
        let receivers = (0..tasks).map(|_| sender.subscribe()).map(|mut receiver| {
            RUNTIME.spawn(async move {
                let mut count = 0;
                loop {
                    match receiver.recv().await {
                        Ok(_) => count += 1,
                        Err(broadcast::error::RecvError::Closed) => return count,
                        Err(broadcast::error::RecvError::Lagged(lost)) => panic!("{lost} messages were overwritten"),
                    }
                }
            })
        });
        let receivers: Vec<_> = receivers.collect();
        let start = Instant::now();
        on_worker(async move {
            let mut room = 0;
            for n in 0..messages {
                while room == 0 {
                    if sender.len() <= CAPACITY / 2 {
                        room = CAPACITY / 2;
                    } else {
                        yield_now().await;
                    }
                }
                room -= 1;
                sender.send(n).expect("the receivers are here");
            }
        });
        finish(start, receivers, messages)
    });
}

/// Every receiver must have got everything: nobody wins by dropping.
fn finish(start: Instant, receivers: Vec<JoinHandle<u64>>, messages: u64) -> Duration {
    for receiver in receivers {
        assert_eq!(RUNTIME.block_on(receiver).expect("the receiver ended"), messages);
    }
    start.elapsed()
}
