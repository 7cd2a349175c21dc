//! Retained values: the last value of a topic, for subscribers that come later.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Barrier};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use tramline::{Bus, DeadLetterReason, Overflow, Subscriber};

use support::{LONG, taken, within_limit};

fn subscribe_retained(bus: &Bus<u32>, pattern: &str) -> Subscriber<u32> {
    bus.subscription(pattern).with_retained().open().unwrap()
}

/// Topics and payloads.
fn taken_with_topics(subscriber: &Subscriber<u32>) -> Vec<(String, u32)> {
    subscriber.try_iter().map(|message| (message.topic().to_string(), *message)).collect()
}

#[test]
fn k01_a_later_subscriber_gets_the_retained_value() {
    let bus = Bus::<u32>::new();
    assert!(bus.publish_retained("price.tea", 1).unwrap().is_unheard());
    let message = subscribe_retained(&bus, "price.tea").try_recv().unwrap();
    assert_eq!((message.topic().as_str(), *message), ("price.tea", 1));
    assert_eq!((message.lost_before(), message.is_request()), (0, false));
    assert_eq!(bus.retained("price.tea"), Some(1));
}

#[test]
fn k01_only_the_last_retained_value_counts() {
    let bus = Bus::<u32>::new();
    let price = bus.publisher("price.tea").unwrap();
    bus.publish_retained("price.tea", 1).unwrap();
    price.publish_retained(2).unwrap();
    // What is published and not kept changes nothing.
    price.publish(3).unwrap();
    let subscriber = subscribe_retained(&bus, "price.tea");
    assert_eq!(taken(&subscriber), [2]);
    // It comes once: what follows is live.
    assert_eq!(price.publish_retained(4).unwrap().delivered(), 1);
    assert_eq!(price.publish(5).unwrap().delivered(), 1);
    assert_eq!(taken(&subscriber), [4, 5]);
    assert_eq!(taken(&subscribe_retained(&bus, "price.tea")), [4]);
}

#[test]
fn k01_a_plain_subscription_gets_no_retained_value() {
    let bus = Bus::<u32>::new();
    bus.publish_retained("price.tea", 1).unwrap();
    let plain = [bus.subscribe("price.tea").unwrap(), bus.subscribe("price.*").unwrap()];
    assert!(plain.iter().all(|subscriber| subscriber.try_recv().unwrap_err().is_empty()));
    // It gets what is kept from now on, as a message like any other.
    assert_eq!(bus.publish_retained("price.tea", 2).unwrap().delivered(), 2);
    assert!(plain.iter().all(|subscriber| taken(subscriber) == [2]));
}

#[test]
fn k02_a_pattern_gets_the_last_value_of_each_matching_topic() {
    let bus = Bus::<u32>::new();
    for (topic, value) in
        [("price.tea", 1), ("price.milk", 2), ("price.tea", 3), ("price", 4), ("price.tea.green", 5), ("stock.tea", 6)]
    {
        bus.publish_retained(topic, value).unwrap();
    }
    let of = |pattern| taken_with_topics(&subscribe_retained(&bus, pattern));
    let expect =
        |values: &[(&str, u32)]| values.iter().map(|(topic, value)| ((*topic).to_owned(), *value)).collect::<Vec<_>>();
    // In the order in which they were kept.
    assert_eq!(of("price.*"), expect(&[("price.milk", 2), ("price.tea", 3)]));
    assert_eq!(of("price.>"), expect(&[("price.milk", 2), ("price.tea", 3), ("price.tea.green", 5)]));
    assert_eq!(of("*.tea"), expect(&[("price.tea", 3), ("stock.tea", 6)]));
    assert_eq!(of(">").len(), 5);
    assert_eq!(of("*.milk.>"), []);

    let several = bus.subscription("price.*").also("*.tea").also("price.tea").with_retained().open().unwrap();
    assert_eq!(taken_with_topics(&several), expect(&[("price.milk", 2), ("price.tea", 3), ("stock.tea", 6)]));
}

#[test]
fn k03_retaining_and_subscribing_at_once_gives_exactly_one_copy() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let at_once = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..1000 {
                    let price = bus.publisher(format!("price.{round}")).unwrap();
                    at_once.wait();
                    // Neither side is always the first.
                    (0..round % 64).for_each(|_| std::hint::spin_loop());
                    let _ = if round % 2 == 0 {
                        price.publish_retained(round)
                    } else {
                        bus.publish_retained(price.topic(), round)
                    }
                    .unwrap();
                    at_once.wait();
                }
            });
            for round in 0..1000 {
                let pattern = if round % 3 == 0 { "price.*".to_owned() } else { format!("price.{round}") };
                at_once.wait();
                let subscriber = subscribe_retained(&bus, &pattern);
                at_once.wait();
                assert_eq!(taken(&subscriber), [round], "round {round}");
                assert_eq!(bus.clear_retained(format!("price.{round}")), Some(round));
            }
        });
    });
}

#[test]
fn k03_live_messages_follow_the_retained_value_with_no_gap_and_no_duplicate() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let price = bus.publisher("price.tea").unwrap();
        price.publish_retained(0).unwrap();
        let keeping = thread::spawn(move || (1..).take_while(|value| price.publish_retained(*value).is_ok()).count());
        for pattern in ["price.tea", "price.*", ">"].into_iter().cycle().take(1000) {
            let subscriber = subscribe_retained(&bus, pattern);
            let first = subscriber.recv_timeout(LONG).unwrap().into_payload();
            for next in first + 1..first + 4 {
                assert_eq!(*subscriber.recv_timeout(LONG).unwrap(), next);
            }
        }
        bus.close();
        keeping.join().unwrap();
    });
}

/// A payload whose next drop, once it is armed, waits until it is told to go on.
#[derive(Clone)]
struct Gated {
    value: u32,
    gate: Arc<Gate>,
}

struct Gate {
    armed: AtomicBool,
    reached: Sender<()>,
    go: Receiver<()>,
}

impl Drop for Gated {
    fn drop(&mut self) {
        if self.gate.armed.swap(false, Ordering::SeqCst) {
            self.gate.reached.send(()).unwrap();
            self.gate.go.recv_timeout(LONG).unwrap();
        }
    }
}

#[test]
fn k03_a_subscriber_between_retaining_and_delivering_gets_one_copy() {
    within_limit(|| {
        let bus = Bus::<Gated>::new();
        let ((reached, at_gate), (go, gate)) = (bounded(1), bounded(1));
        let gate = Arc::new(Gate { armed: AtomicBool::new(false), reached, go: gate });
        let with = |value| Gated { value, gate: Arc::clone(&gate) };
        let before = bus.subscribe("price.tea").unwrap();
        bus.publish_retained("price.tea", with(1)).unwrap();
        drop(before.recv().unwrap());
        // The value that is replaced is dropped when the new one is kept, and not delivered yet.
        gate.armed.store(true, Ordering::SeqCst);
        let (keeper, next) = (bus.clone(), with(2));
        let keeping = thread::spawn(move || keeper.publish_retained("price.tea", next).unwrap().delivered());
        at_gate.recv_timeout(LONG).unwrap();
        let between = ["price.tea", "price.*"].map(|pattern| bus.subscription(pattern).with_retained().open().unwrap());
        let plain = bus.subscribe("price.tea").unwrap();
        go.send(()).unwrap();
        assert_eq!(keeping.join().unwrap(), 1, "only who subscribed before");
        for subscriber in between.iter().chain([&before]) {
            assert!(subscriber.try_iter().map(|message| message.value).eq([2]));
        }
        assert!(plain.is_empty());
    });
}

#[test]
fn k04_a_cleared_value_is_gone_for_later_subscribers() {
    let bus = Bus::<u32>::new();
    bus.publish_retained("price.tea", 1).unwrap();
    let before = subscribe_retained(&bus, "price.tea");
    assert_eq!(bus.clear_retained("price.tea"), Some(1));
    assert_eq!((bus.clear_retained("price.tea"), bus.retained("price.tea")), (None, None));
    for pattern in ["price.tea", "price.*", ">"] {
        assert!(subscribe_retained(&bus, pattern).try_recv().unwrap_err().is_empty());
    }
    // What was handed out stays handed out, and another value can be kept.
    assert_eq!(taken(&before), [1]);
    bus.publish_retained("price.tea", 2).unwrap();
    assert_eq!((taken(&subscribe_retained(&bus, "price.*")), taken(&before)), (vec![2], vec![2]));
}

#[test]
fn k04_clearing_values_frees_their_memory() {
    let bus = Bus::<Arc<u32>>::new();
    let values: Vec<_> = (0..1000).map(Arc::new).collect();
    for value in &values {
        bus.publish_retained(format!("price.{value}"), Arc::clone(value)).unwrap();
    }
    assert_eq!(bus.stats().topics, 1000);
    assert!(values.iter().all(|value| Arc::strong_count(value) == 2));
    // A subscriber that has not read its values yet holds them too; reading them leaves nothing behind.
    let subscriber = bus.subscription("price.*").with_retained().open().unwrap();
    for value in &values {
        let _ = bus.clear_retained(format!("price.{value}")).unwrap();
    }
    assert_eq!(bus.stats().topics, 0);
    assert_eq!(subscriber.try_iter().count(), 1000);
    assert!(values.iter().all(|value| Arc::strong_count(value) == 1));
}

#[test]
fn a_value_that_is_replaced_or_outlives_its_bus_is_dropped() {
    let bus = Bus::<Arc<u32>>::new();
    let (first, second) = (Arc::new(1), Arc::new(2));
    bus.publish_retained("price.tea", Arc::clone(&first)).unwrap();
    bus.publish_retained("price.tea", Arc::clone(&second)).unwrap();
    assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 2));
    bus.close();
    assert_eq!(Arc::strong_count(&second), 1);
    assert_eq!((bus.retained("price.tea"), bus.stats().topics), (None, 0));
    assert!(bus.publish_retained("price.tea", Arc::clone(&second)).unwrap_err().is_closed());
    assert_eq!(Arc::strong_count(&second), 1);
}

#[test]
fn a_filter_chooses_among_the_kept_values_too() {
    let bus = Bus::<u32>::new();
    for value in 1..=4 {
        bus.publish_retained(format!("price.{value}"), value).unwrap();
    }
    let even = bus.subscription("price.*").with_retained().filter(|value| value % 2 == 0).open().unwrap();
    bus.publish_retained("price.5", 5).unwrap();
    bus.publish_retained("price.6", 6).unwrap();
    assert_eq!(taken(&even), [2, 4, 6]);
}

#[test]
fn kept_values_have_room_beyond_the_capacity() {
    let bus = Bus::<u32>::new();
    for value in 0..5 {
        bus.publish_retained(format!("price.{value}"), value).unwrap();
    }
    let prices = bus.subscription("price.*").with_retained().capacity(2).overflow(Overflow::DropNewest).open().unwrap();
    assert_eq!((prices.len(), prices.capacity()), (5, 2));
    for value in 5..7 {
        assert_eq!(bus.publish("price.live", value).unwrap().delivered(), 1);
    }
    assert_eq!(bus.publish("price.live", 7).unwrap().dropped(), 1);
    assert_eq!(taken(&prices), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_room_for_kept_values_is_for_them_alone() {
    let bus = Bus::<u32>::new();
    for value in 0..5 {
        bus.publish_retained(format!("price.{value}"), value).unwrap();
    }
    let prices = bus.subscription("price.*").with_retained().capacity(2).overflow(Overflow::DropNewest).open().unwrap();
    assert_eq!(taken(&prices).len(), 5);
    // They have been taken: from now on the capacity is what was asked for.
    let delivered: usize = (5..10).map(|value| bus.publish("price.live", value).unwrap().delivered()).sum();
    assert_eq!((delivered, prices.len(), prices.dropped()), (2, 2, 3));
    assert_eq!(taken(&prices), [5, 6]);
}

#[test]
fn a_kept_value_can_be_evicted_and_takes_its_room_along() {
    let bus = Bus::<u32>::new();
    bus.publish_retained("price.tea", 1).unwrap();
    let dead_letters = bus.dead_letters();
    let price =
        bus.subscription("price.tea").with_retained().capacity(1).overflow(Overflow::DropOldest).open().unwrap();
    for value in 2..=4 {
        assert_eq!(bus.publish("price.tea", value).unwrap().delivered(), 1);
    }
    let evicted: Vec<_> = dead_letters.try_iter().map(|letter| (*letter.payload(), letter.reason().clone())).collect();
    assert_eq!(evicted[0], (1, DeadLetterReason::Evicted));
    // The value that was evicted there is still kept for others.
    assert_eq!(bus.retained("price.tea"), Some(1));
    // Without it, the capacity of one is all there is.
    assert_eq!((price.len(), price.dropped(), evicted.len()), (1, 3, 3));
    let last = price.try_recv().unwrap();
    assert_eq!((*last, last.lost_before()), (4, 3));
}

#[test]
fn keeping_waits_for_room_as_publishing_does() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let full = bus.subscription("price.tea").capacity(1).open().unwrap();
        let price = bus.publisher("price.tea").unwrap();
        price.publish_retained(1).unwrap();
        let (done, delivery) = channel();
        thread::spawn(move || done.send(price.publish_retained(2).unwrap()));
        assert_eq!(delivery.recv_timeout(LONG / 600).unwrap_err(), RecvTimeoutError::Timeout);
        assert_eq!(*full.recv().unwrap(), 1);
        assert_eq!(delivery.recv_timeout(LONG).unwrap().delivered(), 1);
        assert_eq!((taken(&full), bus.retained("price.tea")), (vec![2], Some(2)));
    });
}

#[test]
fn the_first_member_of_a_group_brings_the_kept_values() {
    let bus = Bus::<u32>::new();
    bus.publish_retained("price.tea", 1).unwrap();
    let join = || bus.subscription("price.*").group("readers").with_retained().open().unwrap();
    let members = [join(), join()];
    let received: Vec<_> = members.iter().flat_map(taken).collect();
    assert_eq!(received, [1]);
}

#[test]
fn a_handler_begins_with_the_kept_value() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        bus.publish_retained("price.tea", 1).unwrap();
        let (seen, handled) = channel();
        let _handler =
            bus.subscription("price.*").with_retained().handle(move |price| seen.send(**price).unwrap()).unwrap();
        bus.publish("price.tea", 2).unwrap();
        assert_eq!(handled.recv_timeout(LONG), Ok(1));
        assert_eq!(handled.recv_timeout(LONG), Ok(2));
    });
}

#[test]
fn a_kept_value_that_the_filter_rejects_is_no_loss_when_it_is_evicted() {
    let bus = Bus::<u32>::new();
    bus.publish_retained("price.tea", 1).unwrap();
    let dead_letters = bus.dead_letters();
    let even = bus
        .subscription("price.tea")
        .with_retained()
        .filter(|value| value % 2 == 0)
        .capacity(1)
        .overflow(Overflow::DropOldest)
        .open()
        .unwrap();
    let dropped: usize = [2, 4].map(|value| bus.publish("price.tea", value).unwrap().dropped()).iter().sum();
    assert_eq!((dropped, even.dropped(), bus.stats().dropped, dead_letters.len()), (1, 1, 1, 1));
    let last = even.try_recv().unwrap();
    assert_eq!((*last, last.lost_before()), (4, 1));
}

/// Publishes retained values of one topic on two threads at once, many times. `read` gets a subscriber from before and the
/// publishers' end, and returns the last value that it got.
fn last_of_two_publishers(rounds: u32, capacity: usize, read: impl Fn(&Subscriber<u32>, &AtomicBool) -> u32 + Sync) {
    let bus = Bus::<u32>::new();
    let early = bus.subscription("price.tea").capacity(capacity).open().unwrap();
    for round in 0..rounds {
        let (both, done) = (Barrier::new(3), AtomicBool::new(false));
        let last = thread::scope(|scope| {
            let reading = scope.spawn(|| {
                both.wait();
                read(&early, &done)
            });
            let publishing = [1, 2].map(|number| {
                let (both, price) = (&both, bus.publisher("price.tea").unwrap());
                scope.spawn(move || {
                    both.wait();
                    for step in 0..3 {
                        price.publish_retained(round * 100 + step * 10 + number).unwrap();
                    }
                })
            });
            publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
            done.store(true, Ordering::SeqCst);
            reading.join().unwrap()
        });
        assert_eq!(Some(last), bus.retained("price.tea"), "in round {round}");
    }
}

#[test]
fn k05_the_last_value_that_arrives_is_the_one_that_is_kept() {
    within_limit(|| {
        last_of_two_publishers(2_000, 16, |early, done| {
            while !done.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            taken(early).pop().unwrap()
        });
    });
}

#[test]
fn k05_the_last_value_that_arrives_is_the_one_that_is_kept_though_the_mailbox_was_full() {
    within_limit(|| {
        last_of_two_publishers(500, 1, |early, _| [(); 6].map(|()| *early.recv().unwrap())[5]);
    });
}

/// Publishes a retained value when it is cloned for the first time.
struct Noisy {
    number: u32,
    publishes: Option<Arc<Bus<Noisy>>>,
    is_original: bool,
}

impl Clone for Noisy {
    fn clone(&self) -> Self {
        if let (true, Some(bus)) = (self.is_original, &self.publishes) {
            let nested = Self { number: self.number + 1, publishes: None, is_original: false };
            bus.publish_retained("price.tea", nested).unwrap();
        }
        Self { number: self.number, publishes: None, is_original: false }
    }
}

#[test]
fn k05_what_a_clone_keeps_comes_before_the_value_that_is_cloned() {
    within_limit(|| {
        let bus = Arc::new(Bus::<Noisy>::new());
        let subscribers = [(); 3].map(|()| bus.subscribe("price.tea").unwrap());
        let noisy = Noisy { number: 1, publishes: Some(Arc::clone(&bus)), is_original: true };
        assert_eq!(bus.publish_retained("price.tea", noisy).unwrap().delivered(), 3);
        let numbers = subscribers.map(|subscriber| subscriber.try_iter().map(|noisy| noisy.number).collect::<Vec<_>>());
        // It is cloned for the value that is kept, and for all mailboxes but one.
        assert_eq!(numbers, [[2, 2, 2, 1], [2, 2, 2, 1], [2, 2, 2, 1]]);
        assert_eq!(bus.retained("price.tea").map(|noisy| noisy.number), Some(1));
    });
}

#[test]
fn k05_a_full_mailbox_keeps_a_retained_value_from_nobody_else() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let full = bus.subscription("price.tea").capacity(1).open().unwrap();
        let roomy = bus.subscribe("price.tea").unwrap();
        bus.publish("price.tea", 0).unwrap();
        assert_eq!(*roomy.recv().unwrap(), 0);
        let publishing = [1, 2].map(|value| {
            let price = bus.publisher("price.tea").unwrap();
            let publishing = thread::spawn(move || price.publish_retained(value).unwrap().delivered());
            // Both wait for room in the same mailbox, one behind the other.
            assert_eq!(*roomy.recv().unwrap(), value);
            publishing
        });
        assert_eq!((0..3).map(|_| *full.recv().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(publishing.into_iter().all(|publishing| publishing.join().unwrap() == 2));
    });
}

#[test]
fn k05_those_who_wait_with_retained_values_hear_of_the_end() {
    within_limit(|| {
        for close in [true, false] {
            let bus = Bus::<u32>::new();
            let full = bus.subscription("price.tea").capacity(1).open().unwrap();
            let watch = bus.subscribe("price.tea").unwrap();
            bus.publish("price.tea", 0).unwrap();
            let publishing = [1, 2].map(|value| {
                let price = bus.publisher("price.tea").unwrap();
                thread::spawn(move || price.publish_retained(value))
            });
            (0..3).for_each(|_| drop(watch.recv().unwrap()));
            if close {
                bus.close()
            } else {
                drop(full)
            }
            for outcome in publishing.map(|publishing| publishing.join().unwrap()) {
                match outcome {
                    Ok(delivery) => assert!(!close && delivery.delivered() == 1),
                    Err(error) => assert!(close && error.is_closed()),
                }
            }
        }
    });
}

#[test]
fn many_kept_values_come_once_each_while_others_keep_more() {
    within_limit(|| {
        const VALUES: u32 = 5_000;
        let bus = Bus::<u32>::new();
        for n in 0..VALUES {
            bus.publish_retained(format!("kept.{n}"), 0).unwrap();
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let keeping = scope.spawn(|| {
                let mut round = 0;
                while !done.load(Ordering::SeqCst) {
                    round += 1;
                    for n in (0..VALUES).step_by(7) {
                        bus.publish_retained(format!("kept.{n}"), round).unwrap();
                    }
                }
            });
            for _ in 0..5 {
                let subscriber = bus.subscription("kept.*").capacity(100_000).with_retained().open().unwrap();
                let last = subscribe_retained(&bus, "kept.0");
                // Then everything that was kept before is in the queue.
                drop(last);
                let mut values = std::collections::HashMap::<String, Vec<u32>>::new();
                for message in subscriber.try_iter() {
                    values.entry(message.topic().to_string()).or_default().push(*message);
                }
                assert_eq!(values.len(), VALUES as usize);
                for (topic, values) in values {
                    assert!(values.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{topic}: {values:?}");
                }
            }
            done.store(true, Ordering::SeqCst);
            keeping.join().unwrap();
        });
    });
}

/// Subscribes to the topic whenever it is cloned.
struct Subscribing {
    bus: Bus<Subscribing>,
    subscribers: Arc<std::sync::Mutex<Vec<Subscriber<Subscribing>>>>,
}

impl Clone for Subscribing {
    fn clone(&self) -> Self {
        let subscriber = self.bus.subscribe("level").unwrap();
        self.subscribers.lock().unwrap().push(subscriber);
        Self { bus: self.bus.clone(), subscribers: Arc::clone(&self.subscribers) }
    }
}

#[test]
fn a_clone_that_subscribes_does_not_keep_a_retained_value_from_its_end() {
    within_limit(|| {
        let bus = Bus::<Subscribing>::new();
        let _two = [bus.subscribe("level").unwrap(), bus.subscribe("level").unwrap()];
        let subscribers = Arc::default();
        let payload = Subscribing { bus: bus.clone(), subscribers: Arc::clone(&subscribers) };
        assert!(bus.publish_retained("level", payload).unwrap().delivered() > 0);
        let subscribers = std::mem::take(&mut *subscribers.lock().unwrap());
        assert!(subscribers.len() > 1);
        bus.close();
    });
}

#[test]
fn a_subscription_that_is_made_while_values_are_replaced_counts_what_it_can_receive() {
    within_limit(|| {
        const VALUES: u32 = 3_000;
        let bus = Bus::<u32>::new();
        for n in 0..VALUES {
            bus.publish_retained(format!("kept.{n}"), 0).unwrap();
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let keeping = scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    for n in (0..VALUES).step_by(100) {
                        bus.publish_retained(format!("kept.{n}"), 1).unwrap();
                        bus.clear_retained(format!("kept.{}", n + 1));
                        bus.publish_retained(format!("kept.{}", n + 1), 0).unwrap();
                    }
                }
            });
            let subscribers: Vec<_> = (0..20)
                .map(|_| bus.subscription("kept.*").capacity(1).overflow(Overflow::DropNewest).with_retained().open())
                .collect();
            done.store(true, Ordering::SeqCst);
            keeping.join().unwrap();
            for subscriber in subscribers.into_iter().flatten() {
                let waiting = subscriber.len();
                assert_eq!(subscriber.try_iter().count(), waiting);
                assert!(waiting >= VALUES as usize / 2 && subscriber.is_empty());
            }
        });
    });
}
