//! User code that panics, and payloads that are dropped.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tramline::{Bus, Journal, Overflow, Start, WeakBus};

use crate::support::{SHORT, counts, within, within_limit};

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
    static MUST_NOT_REACT: Cell<bool> = const { Cell::new(false) };
}

type Reaction = fn(&Bus<Arc<Leaving>>);

/// Reacts to its end once, but not on the thread of a reader, and not within another's reaction.
struct Leaving(Option<(WeakBus<Arc<Self>>, Reaction)>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let Some((bus, react)) = self.0.take() else { return };
        if let Some(bus) = bus.upgrade().filter(|_| !MUST_NOT_REACT.replace(true)) {
            react(&bus);
            MUST_NOT_REACT.set(false);
        }
    }
}

/// Publishes to a topic with two journals that are full most of the time, whose payloads react when they leave.
fn react_to_the_end(retained: bool, react: Reaction) {
    within(Duration::from_secs(120), move || {
        let bus = Bus::<Arc<Leaving>>::new();
        let one = bus.journal("tick").name("one").capacity(1).open().unwrap();
        let two = bus.journal("tick").also("second").name("two").capacity(1).open().unwrap();
        let readers = [&one, &two].map(|journal| journal.reader(Start::Oldest).unwrap());
        thread::scope(|scope| {
            for mut reader in readers {
                scope.spawn(move || {
                    MUST_NOT_REACT.set(true);
                    while reader.recv().is_ok() {}
                });
            }
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let ticks = bus.publisher("tick").unwrap();
                        for _ in 0..2000 {
                            let tick = Arc::new(Leaving(Some((bus.downgrade(), react))));
                            if retained { ticks.publish_retained(tick) } else { ticks.publish(tick) }.unwrap();
                        }
                    });
                }
            });
            bus.close();
        });
    });
}

#[test]
fn j14_a_drop_that_publishes_comes_between_no_claim_and_its_write() {
    react_to_the_end(false, |bus| _ = bus.publish("second", Arc::new(Leaving(None))).unwrap());
}

#[test]
fn j14_a_drop_may_subscribe_while_a_retained_value_is_published() {
    react_to_the_end(true, |bus| drop(bus.subscribe("other").unwrap()));
}

#[test]
fn j14_a_drop_may_publish_a_retained_value_of_its_topic() {
    react_to_the_end(true, |bus| {
        _ = bus.message("tick", Arc::new(Leaving(None))).no_wait().publish_retained().unwrap();
    });
}

#[test]
fn j14_no_entry_is_dropped_under_the_lock_of_the_gate() {
    static JOURNAL: OnceLock<Journal<Arc<Asks>>> = OnceLock::new();
    struct Asks;
    impl Drop for Asks {
        fn drop(&mut self) {
            let _ = JOURNAL.get().map(Journal::readers);
        }
    }
    within(Duration::from_secs(120), || {
        let bus = Bus::<Arc<Asks>>::new();
        let opened = bus.journal("tick").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
        let journal = JOURNAL.get_or_init(|| opened);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let ticks = bus.publisher("tick").unwrap();
                    (0..30_000).for_each(|_| _ = ticks.publish(Arc::new(Asks)).unwrap());
                });
                scope.spawn(|| (0..30_000).for_each(|_| drop(journal.reader(Start::Oldest).unwrap().clone())));
            }
        });
    });
}

#[test]
fn j14_a_clone_that_panics_for_a_letter_strands_no_reader() {
    struct Touchy(u32, u32);
    impl Clone for Touchy {
        fn clone(&self) -> Self {
            assert!(self.0 != 7 || self.1 == 0, "the copy for the letter");
            Self(self.0, self.1 + 1)
        }
    }
    within_limit(|| {
        let bus = Bus::<Touchy>::new();
        let _dead_letters = bus.dead_letters();
        let full = bus.journal("tick").name("full").capacity(1).open().unwrap();
        let _stalled = full.reader(Start::Next).unwrap();
        bus.publish("tick", Touchy(1, 0)).unwrap();
        let other = bus.journal("tick").name("other").open().unwrap();
        let mut reader = other.reader(Start::Oldest).unwrap();
        let reading = thread::spawn(move || reader.recv().map(|entry| entry.0));
        thread::sleep(SHORT);
        let published = catch_unwind(AssertUnwindSafe(|| bus.try_publish("tick", Touchy(7, 0)).map(drop)));
        assert!(published.is_err());
        assert_eq!(reading.join().unwrap().unwrap(), 7, "it is in the other journal");
    });
}
