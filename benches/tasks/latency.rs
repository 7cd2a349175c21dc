//! W8: how long a message takes from a thread that publishes to a task that receives, where the task is asleep and where
//! it is awake, as percentiles over the messages of a turn.

use std::cell::RefCell;
use std::hint::spin_loop;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion};
use tokio::sync::{broadcast, mpsc};
use tramline::Bus;

use crate::RUNTIME;
use crate::table::{Bar, Table, turns};

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    for (receiver, gap) in [("asleep", Duration::from_micros(50)), ("awake", Duration::from_micros(1))] {
        for other in ["tokio mpsc", "tokio broadcast"] {
            let name = format!("W8 to a task that is {receiver}, beside {other}");
            let (mut figures, mut limits) = (Vec::new(), Vec::new());
            for turn in turns() {
                let (figure, limit) = (RefCell::default(), RefCell::default());
                let mut group = criterion.benchmark_group(format!("{name}, turn {turn}"));
                // Criterion adds up the latencies, which are a small part of the time that passes.
                group.warm_up_time(Duration::from_millis(20)).measurement_time(Duration::from_millis(150));
                group.bench_function(other, |bencher| match other {
                    "tokio mpsc" => measure(bencher, gap, &limit, mpsc),
                    _ => measure(bencher, gap, &limit, broadcast),
                });
                group.bench_function("tramline", |bencher| measure(bencher, gap, &figure, tramline));
                group.finish();
                figures.push(sorted(figure));
                limits.push(sorted(limit));
            }
            for (percentile, part) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                let at = |turns: &[Vec<Duration>]| turns.iter().map(|latencies| at(latencies, part)).collect();
                table.add(format!("{name}, {percentile}"), at(&figures), at(&limits), Bar::Shown, false);
            }
        }
    }
}

/// More than ever waits, because a broadcast overwrites what a receiver that is held up has not read.
const CAPACITY: usize = 1 << 16;

/// What sends, and what receives to the end and tells how long each message took.
type Ends<S, F> = (S, F);

fn tramline() -> Ends<impl Fn(Instant), impl Future<Output = Vec<Duration>> + Send + 'static> {
    let bus = Bus::<Instant>::builder().capacity(CAPACITY).build();
    let publisher = bus.publisher("a.topic").expect("the topic is valid");
    let subscriber = bus.subscribe("a.topic").expect("the bus is open");
    let send = move |sent| {
        publisher.publish(sent).expect("the bus is open");
    };
    let receive = async move {
        let mut latencies = Vec::new();
        while let Ok(sent) = subscriber.recv_async().await {
            latencies.push(sent.elapsed());
        }
        latencies
    };
    (send, receive)
}

fn mpsc() -> Ends<impl Fn(Instant), impl Future<Output = Vec<Duration>> + Send + 'static> {
    let (sender, mut receiver) = mpsc::channel::<Instant>(CAPACITY);
    let receive = async move {
        let mut latencies = Vec::new();
        while let Some(sent) = receiver.recv().await {
            latencies.push(sent.elapsed());
        }
        latencies
    };
    (move |sent| sender.blocking_send(sent).expect("the receiver is here"), receive)
}

fn broadcast() -> Ends<impl Fn(Instant), impl Future<Output = Vec<Duration>> + Send + 'static> {
    let (sender, mut receiver) = broadcast::channel::<Instant>(CAPACITY);
    let receive = async move {
        let mut latencies = Vec::new();
        while let Ok(sent) = receiver.recv().await {
            latencies.push(sent.elapsed());
        }
        latencies
    };
    let send = move |sent| {
        let _ = sender.send(sent).expect("the receiver is here");
    };
    (send, receive)
}

/// The receiver ends when `send` is dropped.
fn measure<S: Fn(Instant), F: Future<Output = Vec<Duration>> + Send + 'static>(
    bencher: &mut Bencher<'_>,
    gap: Duration,
    latencies: &RefCell<Vec<Duration>>,
    open: impl Fn() -> Ends<S, F>,
) {
    bencher.iter_custom(|messages| {
        let (send, receive) = open();
        let receiver = RUNTIME.spawn(receive);
        for _ in 0..messages {
            let ready = Instant::now() + gap;
            while Instant::now() < ready {
                spin_loop();
            }
            send(Instant::now());
        }
        drop(send);
        let received = RUNTIME.block_on(receiver).expect("the receiver ended");
        assert_eq!(received.len() as u64, messages);
        let total = received.iter().sum();
        latencies.borrow_mut().extend(received);
        total
    });
}

fn sorted(latencies: RefCell<Vec<Duration>>) -> Vec<Duration> {
    let mut latencies = latencies.into_inner();
    latencies.sort();
    latencies
}

/// Nanoseconds; nothing if nothing was measured.
fn at(latencies: &[Duration], part: f64) -> Vec<f64> {
    let place = |last: usize| latencies.get((last as f64 * part) as usize);
    let latency = latencies.len().checked_sub(1).and_then(place);
    latency.map(|latency| latency.as_nanos() as f64).into_iter().collect()
}
