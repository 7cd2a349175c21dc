//! W11: what a change of subscriptions costs beside many others, and what it costs those who publish meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tramline::{Bus, Overflow, Subscriber};

use crate::table::{Bar, Table, is_test, turns};

const TOPIC: &str = "live.topic";

fn bus() -> Bus<u64> {
    Bus::builder().capacity(16).build()
}

fn subscribe(bus: &Bus<u64>, pattern: &str) -> Subscriber<u64> {
    bus.subscribe(pattern).expect("the bus is open")
}

fn subscribers(bus: &Bus<u64>, count: usize) -> Vec<Subscriber<u64>> {
    (0..count).map(|_| subscribe(bus, TOPIC)).collect()
}

/// Nanoseconds for each of `count`.
fn each(count: usize, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_nanos() as f64 / count as f64
}

/// Opens and drops subscriptions of one topic: as many nanoseconds for each.
fn open_and_drop(count: usize) -> f64 {
    let bus = bus();
    each(count, || drop(subscribers(&bus, count)))
}

/// One more subscription comes and goes.
fn one_more(bus: &Bus<u64>) -> f64 {
    const TIMES: usize = 1_000;
    each(TIMES, || (0..TIMES).for_each(|_| drop(subscribe(bus, TOPIC))))
}

/// Publishes by name while `work` runs on another thread: the slowest publish, and how long `work` took, in nanoseconds.
fn slowest_publish_beside(bus: &Bus<u64>, work: impl FnOnce() + Send) -> (f64, f64) {
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            while !begun.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let took = each(1, work);
            done.store(true, Ordering::Relaxed);
            took
        });
        let mut slowest = Duration::ZERO;
        while !done.load(Ordering::Relaxed) {
            let began = Instant::now();
            // Not one that waits for room: what comes may match too, and nobody reads it.
            bus.try_publish("else.where", 1).expect("the bus is open");
            slowest = slowest.max(began.elapsed());
            begun.store(true, Ordering::Relaxed);
        }
        (slowest.as_nanos() as f64, working.join().expect("it does not panic"))
    })
}

/// Returns the nanoseconds for each message that a thread publishes at full speed. If `changes` has a pattern, another
/// thread makes and drops 10,000 subscriptions to it in each second.
fn publish_beside_changes(changes: Option<&str>) -> f64 {
    const FOR: Duration = Duration::from_millis(300);
    const A_SECOND: u32 = 10_000;
    let bus = bus();
    let publisher = bus.publisher(TOPIC).expect("the topic is valid");
    let reader = bus.subscription(TOPIC).capacity(1).overflow(Overflow::DropNewest).open();
    let _reader = reader.expect("the bus is open");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        if let Some(pattern) = changes {
            let (bus, done) = (&bus, &done);
            scope.spawn(move || {
                let began = Instant::now();
                let mut count = 0;
                while !done.load(Ordering::Relaxed) {
                    // In bursts of a millisecond: a thread cannot sleep much less.
                    while count < began.elapsed().as_micros() as u32 / (1_000_000 / A_SECOND) {
                        subscribe(bus, pattern).unsubscribe();
                        count += 1;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed() < FOR {
            for n in 0..1_000 {
                publisher.fire(n);
            }
            count += 1_000;
        }
        let took = began.elapsed();
        done.store(true, Ordering::Relaxed);
        took.as_nanos() as f64 / f64::from(count)
    })
}

/// Measures a line, in turns, if it was asked for: what `figure` says, beside what `limit` says.
fn compare(table: &mut Table, name: &str, bar: Bar, mut figure: impl FnMut() -> f64, mut limit: impl FnMut() -> f64) {
    if is_asked_for(name) {
        let (figures, limits) = turns().map(|_| (vec![figure()], vec![limit()])).unzip();
        table.add(name.to_owned(), figures, limits, bar, false);
    }
}

/// Measures a line that stands beside nothing: the bar says how long it may take.
fn measure(table: &mut Table, name: &str, bar: Bar, figure: impl FnMut() -> f64) {
    compare(table, name, bar, figure, || 1.0);
}

/// The first argument that is no option is a part of the names of the lines to run, as it is to criterion.
fn is_asked_for(name: &str) -> bool {
    std::env::args().skip(1).find(|argument| !argument.starts_with("--")).is_none_or(|part| name.contains(&part))
}

pub(crate) fn run(table: &mut Table) {
    // A test shows that it works.
    let part = if is_test() { 100 } else { 1 };
    open_and_drop_many(table, part);
    one_more_beside_many(table, part);
    publish_beside_many_changes(table);
    wildcard_beside_many_topics(table, part);
    retained_values(table, part);
}

fn open_and_drop_many(table: &mut Table, part: usize) {
    let few = || open_and_drop(1_000 / part);
    let name = "W11 open and drop 10000 subscriptions of a topic, each, beside 1000";
    compare(table, name, Bar::Ratio(1.2), || open_and_drop(10_000 / part), few);
    let name = "W11 open and drop 100000 subscriptions of a topic, each, beside 1000";
    compare(table, name, Bar::Nanoseconds(15_000.0), || open_and_drop(100_000 / part), few);
}

fn one_more_beside_many(table: &mut Table, part: usize) {
    let (many, few) = (bus(), bus());
    let _subscribers = [(&many, 10_000 / part), (&few, 100)].map(|(bus, count)| subscribers(bus, count));
    let name = "W11 one more comes and goes beside 10000 of its topic, and beside 100";
    compare(table, name, Bar::Ratio(2.0), || one_more(&many), || one_more(&few));
}

fn publish_beside_many_changes(table: &mut Table) {
    for (pattern, what) in [(TOPIC, "the topic"), ("live.*", "a pattern that matches"), ("else.*", "another pattern")] {
        let name = format!("W11 publish beside 10000 changes a second of {what}, and alone");
        let beside = || publish_beside_changes(Some(pattern));
        compare(table, &name, Bar::Ratio(1.2), beside, || publish_beside_changes(None));
    }
}

const MILLISECOND: Bar = Bar::Nanoseconds(1_000_000.0);

fn wildcard_beside_many_topics(table: &mut Table, part: usize) {
    let bus = bus();
    let in_use: Vec<_> = (0..1_000_000 / part).map(|n| bus.publisher(format!("in.use.{n}"))).collect();
    for is_used in [false, true] {
        let what = if is_used { "that are published to" } else { "in use" };
        let mut slowest = Vec::new();
        let mut comes = || {
            let mut all = None;
            let (slowest_now, took) = slowest_publish_beside(&bus, || all = Some(subscribe(&bus, ">")));
            slowest.push(slowest_now);
            if is_used {
                for publisher in in_use.iter().flatten() {
                    publisher.fire(1);
                }
            }
            (all, took)
        };
        let name = format!("W11 subscribe to > beside 1000000 topics {what}");
        measure(table, &name, MILLISECOND, || comes().1);
        let name = format!("W11 leave > beside 1000000 topics {what}");
        let mut slowest_leaving = Vec::new();
        measure(table, &name, Bar::Shown, || {
            let (all, _) = comes();
            let (slowest_now, took) = slowest_publish_beside(&bus, || drop(all));
            slowest_leaving.push(slowest_now);
            took
        });
        slowest.append(&mut slowest_leaving);
        let mut slowest = slowest.into_iter();
        let name = format!("W11 the slowest publish meanwhile, {what}");
        // One of each turn, of subscribing and leaving.
        measure(table, &name, MILLISECOND, || {
            slowest.next().unwrap_or_default().max(slowest.next().unwrap_or_default())
        });
    }
}

fn retained_values(table: &mut Table, part: usize) {
    let bus = bus();
    let values = 20_000 / part;
    for n in 0..values {
        bus.publish_retained(format!("kept.{n}"), 1).expect("the bus is open");
    }
    let mut slowest = Vec::new();
    let name = "W11 subscribe to > with 20000 retained values, for each";
    measure(table, name, Bar::Shown, || {
        let subscribe = || drop(bus.subscription(">").with_retained().open().expect("the bus is open"));
        let (slowest_now, took) = slowest_publish_beside(&bus, subscribe);
        slowest.push(slowest_now);
        took / values as f64
    });
    let mut slowest = slowest.into_iter();
    let name = "W11 the slowest publish meanwhile, with retained values";
    measure(table, name, Bar::Nanoseconds(5_000_000.0), || slowest.next().unwrap_or_default());
}
