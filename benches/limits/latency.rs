//! W8: how long a message takes from `publish` to the return of `recv`, where the receiver is asleep and where it is
//! awake, as percentiles over the messages of a turn. J6: the same for a reader of a journal.
//!
//! The publisher never sleeps: between two messages it spins, in the one case long enough for the receiver to go to
//! sleep, in the other so briefly that it still looks for the next message.

use std::cell::RefCell;
use std::hint::spin_loop;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion};
use crossbeam_channel::bounded;
use tramline::{Bus, Start};

use crate::fan_out::CAPACITY;
use crate::table::{Bar, Table, turns};

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    let bar = Bar::Ratio(1.25);
    lines(criterion, table, "W8 to a receiver", [bar, bar, bar], tramline);
}

pub(crate) fn of_journal(criterion: &mut Criterion, table: &mut Table) {
    lines(criterion, table, "J6 to a reader", [Bar::Ratio(1.1), Bar::Shown, Bar::Shown], journal);
}

fn lines<S: Fn(Instant), R: FnMut() -> Option<Instant> + Send + 'static>(
    criterion: &mut Criterion,
    table: &mut Table,
    workload: &str,
    [p50, p99, p99_9]: [Bar; 3],
    open: impl Fn() -> (S, R),
) {
    for (receiver, gap) in [("asleep", Duration::from_micros(50)), ("awake", Duration::from_micros(1))] {
        let name = format!("{workload} that is {receiver}");
        let (mut figures, mut limits) = (Vec::new(), Vec::new());
        for turn in turns() {
            let (figure, limit) = (RefCell::default(), RefCell::default());
            let mut group = criterion.benchmark_group(format!("{name}, turn {turn}"));
            // Criterion adds up the latencies, which are a small part of the time that passes.
            group.warm_up_time(Duration::from_millis(20)).measurement_time(Duration::from_millis(150));
            group.bench_function("crossbeam", |bencher| measure(bencher, gap, &limit, crossbeam));
            group.bench_function("tramline", |bencher| measure(bencher, gap, &figure, &open));
            group.finish();
            figures.push(sorted(figure));
            limits.push(sorted(limit));
        }
        for (percentile, part, bar) in [("p50", 0.5, p50), ("p99", 0.99, p99), ("p99.9", 0.999, p99_9)] {
            let at = |turns: &[Vec<Duration>]| turns.iter().map(|latencies| at(latencies, part)).collect();
            table.add(format!("{name}, {percentile}"), at(&figures), at(&limits), bar, false);
        }
    }
}

fn crossbeam() -> (impl Fn(Instant), impl Fn() -> Option<Instant> + Send + 'static) {
    let (sender, receiver) = bounded(CAPACITY);
    (move |sent| sender.send(sent).expect("the receiver is here"), move || receiver.recv().ok())
}

fn tramline() -> (impl Fn(Instant), impl Fn() -> Option<Instant> + Send + 'static) {
    let bus = Bus::<Instant>::builder().capacity(CAPACITY).build();
    let publisher = bus.publisher("a.topic").expect("the topic is valid");
    let subscriber = bus.subscribe("a.topic").expect("the bus is open");
    let send = move |sent| {
        publisher.publish(sent).expect("the bus is open");
    };
    (send, move || subscriber.recv().ok().map(|message| *message))
}

fn journal() -> (impl Fn(Instant), impl FnMut() -> Option<Instant> + Send + 'static) {
    let bus = Bus::<Instant>::new();
    let publisher = bus.publisher("a.topic").expect("the topic is valid");
    let journal = bus.journal("a.topic").open().expect("the bus is open");
    let mut reader = journal.reader(Start::Next).expect("it can begin there");
    let send = move |sent| {
        publisher.publish(sent).expect("the bus is open");
    };
    (send, move || reader.recv().ok().map(|entry| *entry))
}

/// The receiver ends when `send` is dropped.
fn measure<S: Fn(Instant), R: FnMut() -> Option<Instant> + Send + 'static>(
    bencher: &mut Bencher<'_>,
    gap: Duration,
    latencies: &RefCell<Vec<Duration>>,
    open: impl Fn() -> (S, R),
) {
    bencher.iter_custom(|messages| {
        let (send, receive) = open();
        let receiver =
            thread::spawn(move || std::iter::from_fn(receive).map(|sent| sent.elapsed()).collect::<Vec<_>>());
        for _ in 0..messages {
            let ready = Instant::now() + gap;
            while Instant::now() < ready {
                spin_loop();
            }
            send(Instant::now());
        }
        drop(send);
        let received = receiver.join().expect("the receiver ended");
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
