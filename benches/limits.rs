//! The bus beside its limit: the same work on bare crossbeam channels, in the same run.
//!
//! `cargo bench` runs it, `cargo bench -- --test` shows that it works. What counts is the ratio of two neighbouring
//! lines; nothing is pinned, receivers wait in `recv`.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::{Sender, bounded};
use tramline::Bus;

const BATCH: u64 = 128;

/// Publish a batch and drain it again, all on one thread.
fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one thread");
    for mailboxes in [1_u64, 4, 16] {
        group.throughput(Throughput::Elements(BATCH * mailboxes));
        group.bench_with_input(BenchmarkId::new("crossbeam", mailboxes), &mailboxes, |bencher, &mailboxes| {
            let channels: Vec<_> = (0..mailboxes).map(|_| bounded(256)).collect();
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
        });
        group.bench_with_input(BenchmarkId::new("tramline", mailboxes), &mailboxes, |bencher, &mailboxes| {
            let bus = Bus::<u64>::new();
            let publisher = bus.publisher("a.topic").expect("the topic is valid");
            let subscribers: Vec<_> =
                (0..mailboxes).map(|_| bus.subscribe("a.topic").expect("the bus is open")).collect();
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
        });
    }
    group.finish();
}

/// Publish to threads that sit in `recv`, without loss; the time until all have everything.
fn threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("threads");
    group.sample_size(10);
    for receivers in [1_u64, 2, 8] {
        group.throughput(Throughput::Elements(receivers));
        group.bench_with_input(BenchmarkId::new("crossbeam", receivers), &receivers, |bencher, &receivers| {
            bencher.iter_custom(|messages| {
                let (senders, channels): (Vec<Sender<u64>>, Vec<_>) = (0..receivers).map(|_| bounded(1024)).unzip();
                let threads: Vec<_> = channels
                    .into_iter()
                    .map(|receiver| thread::spawn(move || receiver.iter().count() as u64))
                    .collect();
                let start = Instant::now();
                for n in 0..messages {
                    for sender in &senders {
                        sender.send(n).expect("the receiver is here");
                    }
                }
                drop(senders);
                finish(start, threads, messages)
            });
        });
        group.bench_with_input(BenchmarkId::new("tramline", receivers), &receivers, |bencher, &receivers| {
            bencher.iter_custom(|messages| {
                let bus = Bus::<u64>::builder().capacity(1024).build();
                let publisher = bus.publisher("a.topic").expect("the topic is valid");
                let threads: Vec<_> = (0..receivers)
                    .map(|_| {
                        let subscriber = bus.subscribe("a.topic").expect("the bus is open");
                        thread::spawn(move || subscriber.iter().count() as u64)
                    })
                    .collect();
                let start = Instant::now();
                for n in 0..messages {
                    let _ = publisher.publish(n).expect("the bus is open");
                }
                bus.close();
                finish(start, threads, messages)
            });
        });
    }
    group.finish();
}

/// Every receiver must have got everything: nobody wins by dropping.
fn finish(start: Instant, threads: Vec<thread::JoinHandle<u64>>, messages: u64) -> Duration {
    for thread in threads {
        assert_eq!(thread.join().expect("the receiver ended"), messages);
    }
    start.elapsed()
}

/// A request and its reply, between two threads.
fn request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    group.bench_function("crossbeam", |bencher| {
        let (requests, inbox) = bounded::<(u64, Sender<u64>)>(256);
        let server =
            thread::spawn(move || inbox.iter().for_each(|(n, reply)| reply.send(n).expect("the caller waits")));
        bencher.iter(|| {
            let (sender, reply) = bounded(1);
            requests.send((7, sender)).expect("the server is here");
            reply.recv().expect("the server answers")
        });
        drop(requests);
        server.join().expect("the server ended");
    });
    group.bench_function("tramline", |bencher| {
        let bus = Bus::<u64>::new();
        let publisher = bus.publisher("an.echo").expect("the topic is valid");
        let inbox = bus.subscribe("an.echo").expect("the bus is open");
        let server = thread::spawn(move || inbox.iter().for_each(|n| n.reply(*n).expect("the caller waits")));
        bencher.iter(|| publisher.request(7).expect("the server is here").wait().expect("the server answers"));
        bus.close();
        server.join().expect("the server ended");
    });
    group.finish();
}

criterion_group!(benches, one_thread, threads, request);
criterion_main!(benches);
