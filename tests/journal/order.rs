//! Cause before effect.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tramline::{Bus, Handler, JournalReader, Start, WeakBus};

use crate::support::{within, within_limit};

const ORDERS: u32 = 20_000;

/// The hops of an order.
const HOPS: [&str; 3] = ["order.placed", "order.paid", "order.shipped"];

fn hop(bus: &Bus<u32>, from: usize) -> Handler {
    let weak: WeakBus<u32> = bus.downgrade();
    let publish = move |order: u32| {
        if let Some(bus) = weak.upgrade() {
            bus.publish(HOPS[from + 1], order).unwrap();
        }
    };
    bus.on(HOPS[from], move |order| publish(**order)).unwrap()
}

/// Fails unless every order is placed before it is paid, and paid before it is shipped.
fn assert_causes_come_first(reader: &mut JournalReader<u32>) {
    let mut hops = vec![0; ORDERS as usize];
    let mut shipped = 0;
    while shipped < ORDERS {
        let entry = reader.recv().unwrap();
        let hop = &mut hops[*entry as usize];
        assert_eq!(entry.topic().as_str(), HOPS[*hop], "an effect comes before its cause");
        *hop += 1;
        shipped += u32::from(*hop == HOPS.len());
    }
}

fn place_orders(capacity: usize, journals: usize) {
    let bus = Bus::<u32>::builder().capacity(64).build();
    let (_pay, _ship) = (hop(&bus, 0), hop(&bus, 1));
    let _shipped = bus.on(HOPS[2], |_| {}).unwrap();
    // Opened last, and full most of the time if they are small.
    let journals: Vec<_> = (0..journals)
        .map(|n| bus.journal("order.*").name(n.to_string()).capacity(capacity).observer().open().unwrap())
        .collect();
    let mut readers: Vec<_> = journals.iter().map(|journal| journal.reader(Start::Oldest).unwrap()).collect();
    thread::scope(|scope| {
        for reader in &mut readers {
            scope.spawn(|| assert_causes_come_first(reader));
        }
        let placed = bus.publisher(HOPS[0]).unwrap();
        (0..ORDERS).for_each(|order| assert_eq!(placed.publish(order).unwrap().delivered(), 1));
    });
}

#[test]
fn j24_a_journal_sees_causes_before_their_effects() {
    within(Duration::from_secs(120), || place_orders(65_536, 1));
}

#[test]
fn j24_a_full_journal_sees_causes_before_their_effects() {
    within(Duration::from_secs(120), || place_orders(2, 1));
}

#[test]
fn j24_two_journals_see_causes_before_their_effects() {
    within(Duration::from_secs(120), || place_orders(65_536, 2));
}

#[test]
fn j24_two_full_journals_see_causes_before_their_effects() {
    within(Duration::from_secs(120), || place_orders(2, 2));
}

/// Two journals have the topics `cause` and `effect`. Whoever reads the cause in one publishes the effect at once.
fn react_between_two_journals(capacity: usize, rounds: u32) {
    let bus = Bus::<u32>::new();
    let journals = ["one", "two"].map(|name| bus.journal("*").name(name).capacity(capacity).open().unwrap());
    let [mut one, mut two] = journals.each_ref().map(|journal| journal.reader(Start::Oldest).unwrap());
    let [reacting, watching] = [&mut two, &mut one];
    let mut seen = journals[1].reader(Start::Oldest).unwrap();
    let (reacted, reactions) = channel();
    thread::scope(|scope| {
        let bus = &bus;
        scope.spawn(move || {
            // A full journal that the reader itself has to empty would keep it waiting: it passes the effects first.
            let mut causes = 0;
            while causes < rounds {
                let entry = reacting.recv().unwrap();
                let (is_cause, number) = (*entry.topic() == "cause", *entry);
                if is_cause {
                    causes += 1;
                    thread::scope(|scope| {
                        let publishing = scope.spawn(|| bus.publish("effect", number).unwrap());
                        while !publishing.is_finished() {
                            match reacting.try_recv() {
                                Ok(entry) if *entry.topic() == "cause" => unreachable!("one cause at a time"),
                                _ => thread::yield_now(),
                            }
                        }
                    });
                    reacted.send(()).unwrap();
                }
            }
        });
        for reader in [watching, &mut seen] {
            scope.spawn(move || {
                let mut causes = 0;
                for _ in 0..2 * rounds {
                    let entry = reader.recv().unwrap();
                    if *entry.topic() == "cause" {
                        causes = *entry + 1;
                    } else {
                        assert!(*entry < causes, "the effect {} came before its cause", *entry);
                    }
                }
            });
        }
        for number in 0..rounds {
            bus.publish("cause", number).unwrap();
            reactions.recv().unwrap();
        }
    });
}

#[test]
fn j24_a_reaction_comes_behind_its_cause_in_the_other_journal() {
    within(Duration::from_secs(120), || react_between_two_journals(65_536, 2000));
}

#[test]
fn j24_a_reaction_comes_behind_its_cause_in_the_other_journal_that_is_full() {
    within(Duration::from_secs(120), || react_between_two_journals(1, 2000));
}

#[test]
fn j24_what_a_filter_publishes_precedes_the_message() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("*").open().unwrap();
        let mailbox = bus.subscribe("*").unwrap();
        let weak = bus.downgrade();
        let publish_first = move |number: &u32| {
            if let (true, Some(bus)) = (*number < 100, weak.upgrade()) {
                bus.publish("before", number + 100).unwrap();
            }
            true
        };
        let _filtered = bus.subscription("tick").filter(publish_first.clone()).open().unwrap();
        let _filtering = bus.journal("tick").name("filtering").filter(publish_first).open().unwrap();
        bus.publish("tick", 7).unwrap();
        let order: Vec<_> = journal.reader(Start::Oldest).unwrap().try_iter().map(|entry| *entry).collect();
        assert_eq!(order, [107, 107, 7]);
        assert_eq!(mailbox.try_iter().map(|message| *message).collect::<Vec<_>>(), [107, 107, 7]);
    });
}

static CLONING: Mutex<Option<Bus<Cloning>>> = Mutex::new(None);
static CLONES: AtomicBool = AtomicBool::new(false);

/// Publishes another whenever it is cloned.
struct Cloning(u32);

impl Clone for Cloning {
    fn clone(&self) -> Self {
        let bus = CLONING.lock().unwrap().clone().filter(|_| self.0 < 100);
        if let Some(bus) = bus {
            bus.publish("tick", Self(self.0 + 100)).unwrap();
            CLONES.store(true, Ordering::SeqCst);
        }
        Self(self.0)
    }
}

#[test]
fn j24_what_a_clone_publishes_precedes_the_message() {
    within_limit(|| {
        let bus = Bus::<Cloning>::new();
        let journals = ["one", "two"].map(|name| bus.journal("tick").name(name).open().unwrap());
        let mailboxes = [bus.subscribe("tick").unwrap(), bus.subscribe("tick").unwrap()];
        *CLONING.lock().unwrap() = Some(bus.clone());
        assert_eq!(bus.publish("tick", Cloning(1)).unwrap().delivered(), 4);
        *CLONING.lock().unwrap() = None;
        assert!(CLONES.load(Ordering::SeqCst));
        for journal in journals {
            let order: Vec<_> = journal.reader(Start::Oldest).unwrap().try_iter().map(|entry| entry.0).collect();
            assert_eq!(order, [101, 101, 101, 1]);
        }
        for mailbox in mailboxes {
            assert_eq!(mailbox.try_iter().map(|message| message.0).collect::<Vec<_>>(), [101, 101, 101, 1]);
        }
    });
}
