//! Memory that is freed twice, or never.

use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use tramline::Bus;

use crate::{HEAP, in_turn};

/// A payload that counts how many of its kind are alive.
struct Alive(Arc<AtomicI64>);

impl Alive {
    fn new(alive: &Arc<AtomicI64>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Clone for Alive {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Three numbers of a version.
fn version(text: &str) -> [u32; 3] {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap());
    [(); 3].map(|()| numbers.next().unwrap_or(0))
}

/// Versions 0.5.12 to 0.5.14 of crossbeam-channel could free a block twice when a channel was dropped while its messages
/// were being discarded (RUSTSEC-2025-0024; crossbeam-rs/crossbeam, pull request 1187). So the minimum version of the
/// manifest binds whoever depends on this crate, and that of the lock file is what was tested. What races there, races
/// here too: every payload is dropped exactly once.
#[test]
fn double_free_at_channel_drop() {
    let file = |name: &str| fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let manifest = file("Cargo.toml");
    // The first text in quotes behind the name is the version, also in the manifest of the published package.
    let required = manifest.split_once("crossbeam-channel").unwrap().1.split('"').nth(1).unwrap();
    assert!(version(required) >= [0, 5, 17], "the manifest allows crossbeam-channel {required}");
    let lock = file("Cargo.lock");
    let locked: Vec<_> = lock.split("name = \"crossbeam-channel\"\nversion = \"").skip(1).collect();
    assert!(!locked.is_empty());
    for locked in locked {
        let locked = locked.split('"').next().unwrap();
        assert!(version(locked) >= [0, 5, 17], "the lock file has crossbeam-channel {locked}");
    }

    in_turn(|| {
        let alive = Arc::new(AtomicI64::new(0));
        for round in 0..500 {
            let bus = Bus::<Alive>::builder().capacity(40).build();
            let readers = [(); 2].map(|()| bus.subscribe("a.*").unwrap());
            let publisher = bus.publisher("a.b").unwrap();
            let start = Barrier::new(4);
            let (start, alive) = (&start, &alive);
            thread::scope(|scope| {
                for (number, reader) in readers.into_iter().enumerate() {
                    scope.spawn(move || {
                        start.wait();
                        reader.try_iter().take(round % 7 + number).for_each(drop);
                        drop(reader);
                    });
                }
                scope.spawn(move || {
                    start.wait();
                    (0..60).for_each(|_| publisher.fire(Alive::new(alive)));
                });
                scope.spawn(move || {
                    start.wait();
                    if round % 2 == 0 {
                        bus.close();
                    }
                    drop(bus);
                });
            });
            assert_eq!(alive.load(Ordering::SeqCst), 0, "round {round}: leaked if positive, dropped twice if not");
        }
    });
}

/// What is kept for those who wait, for topics and for dead letters, and never let go. Flume kept a hook for each time
/// that a waiting future was asked (zesterer/flume, issue 182), tokio's `broadcast` a node for each receive that was
/// cancelled (tokio-rs/mini-redis, issue 38), Watermill's Go channels a lock for each topic that ever was
/// (ThreeDotsLabs/watermill, issue 391). Futures are in the module `tasks`.
#[test]
fn unbounded_memory() {
    const ROUNDS: u32 = 10_000;
    const SLACK: usize = 64 * 1024;

    fn grows(what: &str, mut round: impl FnMut(u32)) {
        // Once for what the first use of anything allocates.
        (0..ROUNDS / 10).for_each(&mut round);
        let before = HEAP.current_usage();
        (0..ROUNDS).for_each(&mut round);
        let after = HEAP.current_usage();
        assert!(after <= before + SLACK, "{what}: {} bytes more after {ROUNDS} rounds", after - before);
    }

    in_turn(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let empty = bus.subscribe("empty").unwrap();
        let _full = bus.subscribe("full").unwrap();
        bus.publish("full", 0).unwrap();
        let silent = bus.subscription("silent").capacity(4).open().unwrap();
        let pending = std::cell::Cell::new(Some(bus.request("silent", 0).unwrap()));
        grows("those who wait and give up", |n| {
            assert!(empty.recv_timeout(Duration::ZERO).unwrap_err().is_timeout());
            assert!(bus.publish_timeout("full", n, Duration::ZERO).unwrap_err().is_timeout());
            let waited = pending.take().unwrap().wait_timeout(Duration::ZERO).unwrap_err();
            pending.set(waited.into_inner());
        });
        drop(silent);
        grows("topics that are looked at once", |n| {
            let topic = format!("once.{n}");
            assert!(bus.publish(topic.as_str(), n).unwrap().is_unheard());
            assert!(bus.request(topic.as_str(), n).unwrap_err().is_no_responders());
            assert_eq!(bus.retained(topic.as_str()), None);
            assert_eq!(bus.clear_retained(topic.as_str()), None);
            let publisher = bus.publisher(topic.as_str()).unwrap();
            let subscriber = bus.subscribe(topic).unwrap();
            assert!(publisher.try_publish(n).unwrap().delivered() == 1);
            drop((subscriber, publisher));
        });
        let stats = bus.stats();
        assert_eq!((stats.topics, stats.subscriptions.len()), (2, 2));

        // Nobody reads the letters: they are bounded, and what is lost of them is counted.
        let letters = bus.dead_letters();
        let mut posted = 0;
        grows("dead letters", |n| {
            bus.fire("unheard", n);
            posted += 1;
        });
        assert_eq!(letters.len() as u64 + letters.dropped(), posted);
        assert!(letters.len() <= 1024);
        assert_eq!(bus.stats().dead_letters, posted);
    });
}
