//! M08: observers, which see a cause before its effect and are none of those that a message is for.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tramline::{Bus, DeadLetterReason, Overflow, SubscribeError, Subscriber, WeakBus};

mod support;

use support::{LONG, SHORT, counts, letters, taken, within, within_limit};

/// The hops of an order.
const HOPS: [&str; 3] = ["order.placed", "order.paid", "order.shipped"];

fn publish_later(bus: &WeakBus<u32>, topic: &'static str, order: u32) {
    if let Some(bus) = bus.upgrade() {
        bus.publish(topic, order).unwrap();
    }
}

/// Fails unless every order is placed before it is paid, and paid before it is shipped. Returns when all are shipped.
fn assert_causes_come_first(observer: &Subscriber<u32>, orders: u32) {
    let mut hops = vec![0; orders as usize];
    let mut shipped = 0;
    while shipped < orders {
        let message = observer.recv().unwrap();
        let hop = &mut hops[*message as usize];
        assert_eq!(message.topic().as_str(), HOPS[*hop], "an effect comes before its cause");
        *hop += 1;
        shipped += u32::from(*hop == HOPS.len());
    }
}

#[test]
fn m08_an_observer_that_subscribed_last_sees_causes_before_their_effects() {
    within(Duration::from_secs(120), || {
        const ORDERS: u32 = 20_000;
        let bus = Bus::<u32>::new();
        let (pay, ship) = (bus.downgrade(), bus.downgrade());
        let _pay = bus.on(HOPS[0], move |order| publish_later(&pay, HOPS[1], **order)).unwrap();
        let _ship = bus.on(HOPS[1], move |order| publish_later(&ship, HOPS[2], **order)).unwrap();
        let _shipped = bus.on(HOPS[2], |_| {}).unwrap();
        let observer = bus.subscription("order.*").observer().capacity(3 * ORDERS as usize).open().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| assert_causes_come_first(&observer, ORDERS));
            let placed = bus.publisher(HOPS[0]).unwrap();
            for order in 0..ORDERS {
                assert_eq!(placed.publish(order).unwrap().delivered(), 1);
            }
        });
    });
}

#[test]
fn m08_an_observer_comes_before_filtered_lanes_and_retained_values() {
    within(Duration::from_secs(120), || {
        const ORDERS: u32 = 2_000;
        let bus = Bus::<u32>::new();
        let lanes: Vec<_> = (0..8)
            .map(|lane| {
                let bus_of_lane = bus.downgrade();
                bus.subscription(HOPS[0])
                    .filter(move |order| order % 8 == lane)
                    .handle(move |order| publish_later(&bus_of_lane, HOPS[1], **order))
                    .unwrap()
            })
            .collect();
        let ship = bus.downgrade();
        let _ship = bus.on(HOPS[1], move |order| publish_later(&ship, HOPS[2], **order)).unwrap();
        let observer = bus.subscription(">").observer().filter(|_| true).capacity(3 * ORDERS as usize).open().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| assert_causes_come_first(&observer, ORDERS));
            for order in 0..ORDERS {
                bus.publish_retained(HOPS[0], order).unwrap();
            }
        });
        drop(lanes);
    });
}

#[test]
fn m08_an_observer_does_not_count() {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let publisher = bus.publisher("order").unwrap();
    let observer = bus.subscription(">").observer().open().unwrap();
    assert_eq!(publisher.subscriber_count(), 0);
    for publish in [
        bus.publish("order", 1),
        bus.try_publish("order", 2),
        bus.publish_retained("order", 3),
        bus.publish_all("order", [4]).map_err(|_| unreachable!()),
        bus.message("order", 5).header("tenant", "acme").publish(),
    ] {
        let delivery = publish.unwrap();
        assert!(delivery.is_unheard() && counts(delivery) == (0, 0));
    }
    assert_eq!(taken(&observer), [1, 2, 3, 4, 5]);
    assert!(letters(&dead_letters).into_iter().eq((1..=5).map(|n| (n, DeadLetterReason::Unheard))));
    assert_eq!(bus.stats().unheard, 5);

    let subscriber = bus.subscribe("order").unwrap();
    assert_eq!(publisher.subscriber_count(), 1);
    assert_eq!(
        (counts(bus.publish("order", 6).unwrap()), counts(bus.publish_retained("order", 7).unwrap())),
        ((1, 0), (1, 0))
    );
    assert_eq!((taken(&observer), taken(&subscriber)), (vec![6, 7], vec![6, 7]));
    let stats = bus.stats();
    let observed: Vec<_> =
        stats.subscriptions.iter().map(|subscription| (subscription.observer, subscription.delivered)).collect();
    assert_eq!(observed, [(true, 7), (false, 2)]);
}

#[test]
fn m08_an_observer_is_no_responder() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let observer = bus.subscription(">").observer().open().unwrap();
        assert!(bus.request("price", 1).unwrap_err().is_no_responders());
        assert!(bus.gather("price", 2).unwrap_err().is_no_responders());
        assert_eq!(bus.message("price", 3).timeout(LONG).request().unwrap_err().into_inner(), 3);
        for n in 1..=3 {
            let message = observer.recv().unwrap();
            assert_eq!((*message, message.is_request(), message.responder().is_none()), (n, false, true));
            let error = message.reply(42).unwrap_err();
            assert!(error.is_not_a_request());
            assert_eq!(error.into_inner(), 42);
            assert!(message.fail("no").unwrap_err().is_not_a_request());
        }

        let service = bus.subscribe("price").unwrap();
        let pending = bus.message("price", 4).header("tenant", "acme").request().unwrap();
        // The observer keeps its copy: that of the service is the only one that counts.
        let observed = observer.recv().unwrap();
        assert_eq!((*observed, observed.headers().get("tenant")), (4, Some("acme")));
        drop(service.recv().unwrap());
        assert!(pending.wait().unwrap_err().is_unanswered());

        let gathered = bus.gather("price", 5).unwrap();
        service.recv().unwrap().reply(50).unwrap();
        assert_eq!((gathered.collect_within(LONG), *observer.recv().unwrap()), (vec![50], 5));
    });
}

#[test]
fn m08_an_observer_cannot_serve() {
    let bus = Bus::<u32>::new();
    let serve = bus.subscription("price").observer().serve(|n| **n);
    assert!(matches!(serve, Err(SubscribeError::Observer)));
    let many = bus.subscription("price").observer().workers(2).serve(|n| **n);
    assert!(many.unwrap_err().is_observer());
    assert!(bus.stats().subscriptions.is_empty());
}

#[test]
fn m08_the_members_of_a_group_are_observers_all_or_none() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let one = bus.subscription("order").group("audit").observer().open().unwrap();
        let error = bus.subscription("order").group("audit").open().unwrap_err();
        assert_eq!(error.to_string(), "cannot join group `audit`: its observer is true, not false");
        let two = bus.subscription("order").group("audit").observer().open().unwrap();
        assert!(bus.publish("order", 1).unwrap().is_unheard());
        assert_eq!(one.len() + two.len(), 2); // both look at the same mailbox
        assert_eq!((*one.recv().unwrap(), two.len()), (1, 0));
    });
}

#[test]
fn m08_a_full_observer_loses_or_is_waited_for_by_its_policy() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let observer = |overflow| bus.subscription("order").observer().capacity(1).overflow(overflow).open().unwrap();
        let subscriber = bus.subscribe("order").unwrap();
        let (newest, oldest) = (observer(Overflow::DropNewest), observer(Overflow::DropOldest));
        for n in 1..=2 {
            assert_eq!(counts(bus.publish("order", n).unwrap()), (1, 0));
        }
        assert_eq!((taken(&newest), taken(&oldest), taken(&subscriber)), (vec![1], vec![2], vec![1, 2]));
        assert_eq!((newest.dropped(), oldest.dropped(), bus.stats().dropped), (1, 1, 2));
        assert_eq!(letters(&dead_letters), [(2, DeadLetterReason::Full), (1, DeadLetterReason::Evicted)]);
        drop((newest, oldest));

        let blocking = observer(Overflow::Block);
        bus.publish("order", 3).unwrap();
        // Those that the message is for have it, so it is published; the observer has lost it when the time is over.
        assert_eq!(counts(bus.message("order", 4).timeout(SHORT).publish().unwrap()), (1, 0));
        assert_eq!(counts(bus.message("order", 4).timeout(SHORT).publish_retained().unwrap()), (1, 0));
        assert_eq!((taken(&subscriber), blocking.dropped()), (vec![3, 4, 4], 2));
        assert_eq!(letters(&dead_letters), [(4, DeadLetterReason::Full), (4, DeadLetterReason::Full)]);
        thread::scope(|scope| {
            let publisher = scope.spawn(|| bus.publish("order", 5));
            assert_eq!(*subscriber.recv().unwrap(), 5);
            assert_eq!((*blocking.recv().unwrap(), *blocking.recv().unwrap()), (3, 5));
            assert_eq!(counts(publisher.join().unwrap().unwrap()), (1, 0));
        });
        // Alone, and full: the message is heard by nobody.
        drop(subscriber);
        bus.publish("order", 6).unwrap();
        assert!(bus.try_publish("order", 7).unwrap().is_unheard());
        assert!(bus.message("order", 8).timeout(SHORT).publish().unwrap().is_unheard());
        assert!(bus.message("order", 9).timeout(SHORT).request().unwrap_err().is_no_responders());
        let expected = [
            (6, DeadLetterReason::Unheard),
            (7, DeadLetterReason::Full),
            (7, DeadLetterReason::Unheard),
            (8, DeadLetterReason::Full),
            (8, DeadLetterReason::Unheard),
            (9, DeadLetterReason::Full),
        ];
        assert_eq!(letters(&dead_letters), expected);
    });
}

#[test]
fn m08_a_retained_value_for_which_an_observer_has_no_room_is_lost_there_or_returns() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let subscriber = bus.subscribe("price").unwrap();
        let observer = bus.subscription("price").observer().capacity(1).open().unwrap();
        bus.publish("price", 1).unwrap();
        assert_eq!(counts(bus.message("price", 2).timeout(Duration::ZERO).publish_retained().unwrap()), (1, 0));
        assert_eq!((bus.retained("price"), taken(&subscriber), observer.dropped()), (Some(2), vec![1, 2], 1));
        thread::scope(|scope| {
            let publisher = scope.spawn(|| bus.publish_retained("price", 3));
            assert_eq!(*subscriber.recv().unwrap(), 3);
            bus.close();
            let error = publisher.join().unwrap().unwrap_err();
            assert!(error.is_closed() && counts(error.delivery()) == (1, 0));
        });
        assert_eq!(taken(&observer), [1]);
    });
}

#[test]
fn m08_publishers_wait_for_observers_and_others_at_once() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let observer = bus.subscription("price").observer().capacity(1).open().unwrap();
        let other = bus.subscription("price").capacity(1).open().unwrap();
        for n in 1..=20 {
            bus.publish("price", 0).unwrap();
            thread::scope(|scope| {
                let publisher = scope.spawn(|| bus.message("price", n).header("tenant", "acme").publish());
                // Either has room first.
                let mut takes = [&observer, &other];
                if n % 2 == 0 {
                    takes.swap(0, 1);
                }
                takes.iter().for_each(|subscriber| assert_eq!(*subscriber.recv().unwrap(), 0));
                for subscriber in takes {
                    let message = subscriber.recv().unwrap();
                    assert_eq!((*message, message.headers().len()), (n, 1));
                }
                assert_eq!(counts(publisher.join().unwrap().unwrap()), (1, 0));
            });
        }
    });
}

#[test]
fn m08_a_request_does_not_wait_for_a_full_observer() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let stuck = bus.subscription(">").observer().capacity(1).open().unwrap();
        let _rejects = bus.subscription("price").filter(|_| false).open().unwrap();
        bus.publish("x", 0).unwrap();
        letters(&dead_letters);
        assert!(bus.request("price", 1).unwrap_err().is_no_responders());
        assert!(bus.gather("price", 2).unwrap_err().is_no_responders());
        let responder = bus.subscription("price").capacity(1).open().unwrap();
        let pending = bus.request("price", 3).unwrap();
        responder.recv().unwrap().reply(30).unwrap();
        assert_eq!(pending.wait().unwrap(), 30);
        // The observer has lost them.
        assert!(letters(&dead_letters).into_iter().eq((1..=3).map(|n| (n, DeadLetterReason::Full))));
        assert_eq!((stuck.dropped(), taken(&stuck)), (3, vec![0]));
    });
}

#[test]
fn m08_a_subscription_that_begins_with_a_value_begins_after_the_observer_has_it() {
    within(Duration::from_secs(120), || {
        const VALUES: u32 = 10_000;
        let bus = Bus::<u32>::new();
        let observer = bus.subscription(">").observer().capacity(1 << 18).open().unwrap();
        thread::scope(|scope| {
            let keeping = scope.spawn(|| (0..VALUES).for_each(|n| assert!(bus.publish_retained("cause", n).is_ok())));
            // Joins again and again, and says which value it began with.
            while !keeping.is_finished() {
                let joined = bus.subscription("cause").with_retained().open().unwrap();
                if let Ok(value) = joined.try_recv() {
                    bus.publish("effect", *value).unwrap();
                }
            }
            keeping.join().unwrap();
        });
        let mut kept = None;
        for message in observer.try_iter() {
            match message.topic().as_str() {
                "cause" => kept = Some(*message),
                _ => assert!(kept >= Some(*message), "{} had an effect before it was seen", *message),
            }
        }
        assert_eq!(kept, Some(VALUES - 1));
    });
}

#[test]
fn m08_an_observer_with_retained_values_begins_with_them() {
    let bus = Bus::<u32>::new();
    bus.publish_retained("price", 1).unwrap();
    let observer = bus.subscription("price").observer().with_retained().open().unwrap();
    bus.publish_retained("price", 2).unwrap();
    assert_eq!(taken(&observer), [1, 2]);
}

#[test]
fn m08_a_letter_of_an_observer_can_be_retried() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let subscriber = bus.subscribe("order").unwrap();
        let observer = bus.subscription("order").observer().capacity(1).open().unwrap();
        bus.publish("order", 1).unwrap();
        bus.try_publish("order", 2).unwrap();
        let letter = dead_letters.recv().unwrap();
        thread::scope(|scope| {
            let retry = scope.spawn(|| letter.retry());
            assert_eq!((*observer.recv().unwrap(), *observer.recv().unwrap()), (1, 2));
            retry.join().unwrap().unwrap();
        });
        assert_eq!(taken(&subscriber), [1, 2]);
    });
}

/// Its second clone waits for a moment whether a handler reacts.
struct Watched(Option<Arc<(AtomicUsize, Mutex<Receiver<()>>)>>);

impl Clone for Watched {
    fn clone(&self) -> Self {
        if let Some(watch) = &self.0 {
            if watch.0.fetch_add(1, Ordering::Relaxed) == 1 {
                let _ = watch.1.lock().unwrap().recv_timeout(SHORT);
            }
        }
        Self(self.0.clone())
    }
}

#[test]
fn m08_a_reaction_in_the_middle_of_a_publish_comes_behind_its_cause() {
    within_limit(|| {
        let bus = Bus::<Watched>::new();
        let (sender, reacted) = channel();
        let react = bus.downgrade();
        let _reacts = bus.on("cause", move |_| {
            if let Some(bus) = react.upgrade() {
                bus.publish("effect", Watched(None)).unwrap();
                sender.send(()).unwrap();
            }
        });
        let _other = bus.subscribe("cause").unwrap();
        // It has come last. If it was served last, the second clone would be made when the handler has the message.
        let observer = bus.subscription(">").observer().open().unwrap();
        let watch = Arc::new((AtomicUsize::new(0), Mutex::new(reacted)));
        assert_eq!(bus.publish("cause", Watched(Some(watch))).unwrap().delivered(), 2);
        for expected in ["cause", "effect"] {
            assert_eq!(observer.recv().unwrap().topic(), &expected);
        }
    });
}
