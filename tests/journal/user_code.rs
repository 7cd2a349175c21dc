//! User code that panics, and payloads that are dropped.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tramline::{Bus, Overflow, Start, WeakBus};

use crate::support::{counts, within, within_limit};

#[derive(Clone, Copy, PartialEq)]
enum PanicsIn {
    Nothing,
    Clone,
    Drop,
}

struct Touchy {
    number: u32,
    panics_in: PanicsIn,
    dropped: Arc<AtomicUsize>,
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        assert!(self.panics_in != PanicsIn::Clone, "in Clone");
        Self { number: self.number, panics_in: self.panics_in, dropped: Arc::clone(&self.dropped) }
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        assert!(self.panics_in != PanicsIn::Drop || thread::panicking(), "in Drop");
    }
}

#[test]
fn j14_a_clone_that_panics_leaves_no_hole() {
    within_limit(|| {
        let bus = Bus::<Touchy>::new();
        let dropped = Arc::new(AtomicUsize::new(0));
        let journals = ["one", "two"].map(|name| bus.journal("tick").name(name).open().unwrap());
        let mailbox = bus.subscribe("tick").unwrap();
        let mut readers = journals.each_ref().map(|journal| journal.reader(Start::Oldest).unwrap());
        for number in 0..9 {
            let panics_in = if number % 3 == 1 { PanicsIn::Clone } else { PanicsIn::Nothing };
            let payload = Touchy { number, panics_in, dropped: Arc::clone(&dropped) };
            let published = catch_unwind(AssertUnwindSafe(|| bus.publish("tick", payload)));
            assert_eq!(published.is_err(), panics_in == PanicsIn::Clone);
        }
        for reader in &mut readers {
            for (offset, number) in [0, 2, 3, 5, 6, 8].into_iter().enumerate() {
                let entry = reader.recv().unwrap();
                assert_eq!((entry.offset(), entry.number), (offset as u64, number));
            }
            assert!(reader.try_recv().is_err_and(|error| error.is_empty()));
        }
        assert_eq!(mailbox.len(), 6, "nobody has what could not be copied");
    });
}

#[test]
fn j14_a_drop_that_panics_hits_nobody() {
    within(Duration::from_secs(60), || {
        for overflow in [Overflow::Block, Overflow::DropOldest] {
            let bus = Bus::<Touchy>::new();
            let dropped = Arc::new(AtomicUsize::new(0));
            let journal = bus.journal("tick").capacity(4).overflow(overflow).open().unwrap();
            let mut reader = journal.reader(Start::Oldest).unwrap();
            for number in 0..100 {
                let payload = Touchy { number, panics_in: PanicsIn::Drop, dropped: Arc::clone(&dropped) };
                assert_eq!(counts(bus.publish("tick", payload).unwrap()), (1, 0));
                assert_eq!(reader.recv().unwrap().number, number);
            }
            assert!(dropped.load(Ordering::SeqCst) >= 100 - 2 * 4 - 1, "at most one chunk late");
            drop((reader, journal));
            assert_eq!(dropped.load(Ordering::SeqCst), 100);
        }
    });
}

#[test]
fn j14_a_filter_that_panics_rejects() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("tick").filter(|tick| tick.checked_sub(3).is_some()).open().unwrap();
        let strict = bus.journal("tick").name("strict").filter(|tick| 10 / tick > 0).open().unwrap();
        (0..6).for_each(|tick| _ = bus.publish("tick", tick).unwrap());
        assert_eq!((journal.len(), strict.len()), (3, 5));
        assert_eq!(bus.stats().filter_panics, 1);
    });
}

#[test]
fn j14_a_drop_may_publish_into_its_journal() {
    struct Reacting(Option<Bus<Arc<Reacting>>>);
    impl Drop for Reacting {
        fn drop(&mut self) {
            if let Some(bus) = self.0.take() {
                bus.publish("tick", Arc::new(Reacting(None))).unwrap();
            }
        }
    }
    within_limit(|| {
        let bus = Bus::<Arc<Reacting>>::new();
        let journal = bus.journal("tick").capacity(2).open().unwrap();
        for _ in 0..100 {
            bus.publish("tick", Arc::new(Reacting(Some(bus.clone())))).unwrap();
        }
        assert!(journal.next_offset() > 150, "{}", journal.next_offset());
        bus.close();
    });
}

thread_local! {
    static READS: Cell<bool> = const { Cell::new(false) };
}

/// Publishes another when it is dropped, unless that is on the thread of a reader.
struct Leaving(Option<(WeakBus<Arc<Self>>, &'static str)>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let Some((bus, topic)) = self.0.take().filter(|_| !READS.get()) else { return };
        let Some(bus) = bus.upgrade() else { return };
        if topic == "kept" {
            let _ = bus.publish_retained(topic, Arc::new(Self(None)));
        } else {
            let _ = bus.publish(topic, Arc::new(Self(None)));
        }
    }
}

/// Two journals that are full most of the time, whose payloads publish when they leave.
fn drops_publish(topic: &'static str) {
    let bus = Bus::<Arc<Leaving>>::new();
    let journals = ["one", "two"].map(|name| bus.journal("tick").also(topic).name(name).capacity(1).open().unwrap());
    let readers = journals.each_ref().map(|journal| journal.reader(Start::Oldest).unwrap());
    thread::scope(|scope| {
        for mut reader in readers {
            scope.spawn(move || {
                READS.set(true);
                while reader.recv().is_ok() {}
            });
        }
        thread::scope(|scope| {
            for _ in 0..3 {
                let bus = &bus;
                // What one of these publishes lets another leave, and so on.
                let deep = thread::Builder::new().stack_size(256 << 20);
                let publishing = deep.spawn_scoped(scope, move || {
                    for _ in 0..2000 {
                        let leaving = Arc::new(Leaving(Some((bus.downgrade(), topic))));
                        if topic == "kept" {
                            bus.publish_retained("kept", leaving).unwrap();
                        } else {
                            bus.publish("tick", leaving).unwrap();
                        }
                    }
                });
                publishing.unwrap();
            }
        });
        bus.close();
    });
}

#[test]
fn j14_drops_that_publish_come_between_no_claim_and_its_write() {
    within(Duration::from_secs(120), || drops_publish("tock"));
}

#[test]
fn j14_drops_that_publish_retained_values_run_under_no_lock() {
    within(Duration::from_secs(120), || drops_publish("kept"));
}
