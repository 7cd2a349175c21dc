//! H: dead letters that are missed by nobody, and that do not feed back when they are published again.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use tramline::{Bus, DeadLetter, DeadLetters, Overflow, Publisher};

mod support;

use support::{LONG, wait_until, within_limit};

/// The payloads of the letters that wait.
fn waiting(letters: &DeadLetters<u32>) -> Vec<u32> {
    letters.try_iter().map(|letter| *letter.payload()).collect()
}

#[test]
fn h09_a_loop_that_tries_for_a_letter_and_then_loses_misses_none() {
    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    let mut seen = 0;
    for n in 0..100 {
        if letters.try_recv().is_ok() {
            seen += 1;
        }
        bus.fire("nobody", n);
    }
    assert_eq!(seen + letters.try_iter().count(), 100);
}

#[test]
fn h09_a_thread_for_each_receive_misses_none() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = Arc::new(bus.dead_letters());
        let mut seen = 0;
        bus.fire("nobody", 0);
        for n in 1..=50 {
            let (bus, letters) = (bus.clone(), Arc::clone(&letters));
            // The thread that receives loses a message too, which the next one receives.
            let receiver = thread::spawn(move || {
                let received = letters.try_recv().is_ok();
                bus.fire("nobody", n);
                received
            });
            seen += usize::from(receiver.join().unwrap());
        }
        assert_eq!(seen, 50);
    });
}

#[test]
fn h09_a_thread_that_keeps_its_letters_misses_none() {
    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    bus.fire("nobody", 0);
    let mut kept = Vec::new();
    for n in 1..50 {
        kept.push(letters.try_recv().unwrap());
        bus.fire("nobody", n);
    }
    assert_eq!((kept.len(), waiting(&letters)), (49, vec![49]));
}

type PublishAgain = fn(&Bus<u32>, DeadLetter<u32>);

/// Ways to publish what a letter has.
const WAYS: [(&str, PublishAgain); 9] = [
    ("fire", |bus, letter| bus.fire("nobody", letter.into_payload())),
    ("publish", |bus, letter| assert!(bus.publish("nobody", letter.into_payload()).unwrap().is_unheard())),
    ("try_publish", |bus, letter| assert!(bus.try_publish("nobody", letter.into_payload()).is_ok())),
    ("publish_timeout", |bus, letter| assert!(bus.publish_timeout("nobody", letter.into_payload(), LONG).is_ok())),
    ("publish_retained", |bus, letter| assert!(bus.publish_retained("nobody", letter.into_payload()).is_ok())),
    ("publish_all", |bus, letter| assert!(bus.publish_all("nobody", [letter.into_payload()]).is_ok())),
    ("a publisher", |bus, letter| bus.publisher("nobody").unwrap().fire(letter.into_payload())),
    ("into a mailbox that refuses", |bus, letter| bus.fire("full", letter.into_payload())),
    ("into a mailbox that evicts", |bus, letter| bus.fire("latest", letter.into_payload())),
];

#[test]
fn h09_a_loop_that_publishes_its_letters_to_nobody_ends() {
    within_limit(|| {
        for (way, publish) in WAYS {
            let bus = Bus::<u32>::new();
            let full = bus.subscription("full").capacity(1).overflow(Overflow::DropNewest).open().unwrap();
            let latest = bus.subscription("latest").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
            let letters = bus.dead_letters();
            for topic in ["full", "full", "latest", "latest", "nobody"] {
                bus.fire(topic, 1);
            }
            let mut read = 0;
            while let Ok(letter) = letters.try_recv() {
                read += 1;
                assert!(read <= 3, "{way}: the letters feed back");
                publish(&bus, letter);
            }
            assert_eq!((read, bus.stats().dead_letters), (3, 3), "{way}");
            bus.fire("nobody", 9);
            assert_eq!(waiting(&letters), [9], "{way}");
            drop((full, latest));
        }
    });
}

#[test]
fn h09_only_the_first_publish_after_the_payload_was_taken_out_makes_no_letter() {
    type First = fn(&Bus<u32>, &Publisher<u32>);
    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    let _heard = bus.subscription("heard").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
    let publisher = bus.publisher("heard").unwrap();
    let firsts: [First; 6] = [
        |bus, _| bus.fire("nobody", 1),
        |bus, _| assert_eq!(bus.publish("heard", 1).unwrap().delivered(), 1),
        |_, heard| assert_eq!(heard.publish(1).unwrap().delivered(), 1),
        |_, heard| assert_eq!(heard.publish_all([1]).unwrap().delivered(), 1),
        |bus, _| assert!(bus.request("nobody", 1).unwrap_err().is_no_responders()),
        |_, heard| drop(heard.gather(1).unwrap()),
    ];
    for (n, first) in firsts.into_iter().enumerate() {
        bus.fire("nobody", 0);
        assert_eq!(letters.try_recv().unwrap().into_payload(), 0);
        first(&bus, &publisher);
        assert_eq!(letters.len(), 0, "first publish {n}");
        bus.fire("nobody", 2);
        assert_eq!(waiting(&letters), [2], "second publish after first publish {n}");
    }
}

#[test]
fn h09_the_payload_may_be_taken_out_long_before_it_is_published() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        bus.fire("nobody", 1);
        let payload = letters.try_recv().unwrap().into_payload();
        // Waiting for another letter changes nothing.
        assert!(letters.recv_timeout(support::SHORT / 60).unwrap_err().is_timeout());
        bus.fire("nobody", payload);
        assert_eq!(letters.len(), 0);
        bus.fire("nobody", 2);
        assert_eq!(waiting(&letters), [2]);
    });
}

#[test]
fn h09_letters_of_two_buses_do_not_mix() {
    let (one, two) = (Bus::<u32>::new(), Bus::<u32>::new());
    let (letters_of_one, letters_of_two) = (one.dead_letters(), two.dead_letters());
    one.fire("nobody", 1);
    two.fire("nobody", 2);
    let (first, second) =
        (letters_of_one.try_recv().unwrap().into_payload(), letters_of_two.try_recv().unwrap().into_payload());
    two.fire("nobody", first);
    one.fire("nobody", second);
    assert_eq!((letters_of_one.len(), letters_of_two.len()), (0, 0));
    // A letter of one bus that is published to the other is a message like any other there.
    one.fire("nobody", 3);
    two.fire("nobody", letters_of_one.try_recv().unwrap().into_payload());
    assert_eq!(waiting(&letters_of_two), [3]);
    // Its own bus has seen no publish of this thread since.
    one.fire("nobody", 4);
    one.fire("nobody", 5);
    assert_eq!(waiting(&letters_of_one), [5]);
}

#[test]
fn h09_other_threads_make_letters_while_one_has_taken_a_payload_out() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        bus.fire("nobody", 1);
        let payload = letters.try_recv().unwrap().into_payload();
        thread::scope(|scope| {
            scope.spawn(|| (2..10).for_each(|n| bus.fire("nobody", n))).join().unwrap();
        });
        assert_eq!(waiting(&letters), Vec::from_iter(2..10));
        bus.fire("nobody", payload);
        assert_eq!(letters.len(), 0);
    });
}

#[test]
fn h09_what_a_filter_publishes_beside_a_republished_message_makes_letters() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let inner = bus.downgrade();
        let filter = move |n: &u32| {
            if *n == 1 {
                inner.upgrade().unwrap().fire("nobody.else", 2);
            }
            false
        };
        let _rejects = bus.subscription("nobody").filter(filter).open().unwrap();
        bus.fire("nobody", 1);
        assert_eq!(waiting(&letters), [2, 1]);
        bus.fire("nobody", 1);
        let _of_the_filter = letters.try_recv().unwrap();
        bus.fire("nobody", letters.try_recv().unwrap().into_payload());
        assert_eq!(waiting(&letters), [2]);
    });
}

#[test]
fn h09_a_handler_that_publishes_a_letter_and_fails_makes_its_own() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = Arc::new(bus.dead_letters());
        let (own, weak) = (Arc::clone(&letters), bus.downgrade());
        let _handler = bus
            .on("work", move |_| {
                weak.upgrade().unwrap().fire("nobody", own.try_recv().unwrap().into_payload());
                Err::<(), _>("no paper")
            })
            .unwrap();
        bus.fire("nobody", 1);
        bus.publish("work", 2).unwrap();
        wait_until("the handler has failed", || bus.stats().handler_failures == 1);
        let letter = letters.recv_timeout(support::SHORT).unwrap();
        assert_eq!((letter.topic().as_str(), *letter.payload(), letters.len()), ("work", 2, 0));
    });
}

#[test]
fn h10_a_loop_that_republishes_what_nobody_hears_ends() {
    let bus = Bus::<u32>::new();
    let _full = bus.subscription("full").capacity(1).overflow(Overflow::DropNewest).open().unwrap();
    let _latest = bus.subscription("latest").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
    let letters = bus.dead_letters();
    for topic in ["full", "full", "latest", "latest", "nobody"] {
        bus.fire(topic, 1);
    }
    let mut read = Vec::new();
    while let Ok(letter) = letters.try_recv() {
        let topic = letter.topic().to_string();
        let delivery = letter.republish().unwrap();
        read.push((topic, delivery.delivered(), delivery.dropped()));
        assert!(read.len() <= 3, "the letters feed back");
    }
    assert_eq!(read, [("full".to_owned(), 0, 1), ("latest".to_owned(), 1, 1), ("nobody".to_owned(), 0, 0)]);
    // Not letters, but counted.
    let stats = bus.stats();
    assert_eq!((stats.dead_letters, stats.dropped, stats.unheard), (3, 4, 4));
    bus.fire("nobody", 2);
    assert_eq!(waiting(&letters), [2]);
}

#[test]
fn h10_republishing_delivers_to_every_subscription_of_the_topic() {
    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    bus.fire("orders.new", 7);
    let (one, two) = (bus.subscribe("orders.new").unwrap(), bus.subscribe("orders.>").unwrap());
    let letter = letters.try_recv().unwrap();
    assert_eq!(letter.clone().republish().unwrap().delivered(), 2);
    assert_eq!(letter.republish().unwrap().delivered(), 2);
    assert_eq!([one.try_iter().count(), two.try_iter().count()], [2, 2]);
    // Nothing is left of it for what this thread loses afterwards.
    bus.fire("nobody", 8);
    assert_eq!(waiting(&letters), [8]);
}

#[test]
fn h10_republishing_waits_for_room() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let work = bus.subscription("work").capacity(1).open().unwrap();
        let letters = bus.dead_letters();
        (1..=2).for_each(|n| bus.fire("work", n));
        let letter = letters.try_recv().unwrap();
        thread::scope(|scope| {
            let republishing = scope.spawn(|| letter.republish().unwrap());
            assert_eq!((*work.recv().unwrap(), *work.recv().unwrap()), (1, 2));
            assert_eq!(republishing.join().unwrap().delivered(), 1);
        });
    });
}

#[test]
fn h10_a_letter_keeps_no_bus_open_and_gives_its_payload_back_after_the_end() {
    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    let subscriber = bus.subscribe("orders").unwrap();
    (1..=3).for_each(|n| bus.fire("nobody", n));
    let (first, second) = (letters.try_recv().unwrap(), letters.try_recv().unwrap());
    bus.close();
    let error = first.republish().unwrap_err();
    assert!(error.is_closed());
    assert_eq!(error.into_inner(), 1);
    drop(bus);
    assert!(subscriber.recv().unwrap_err().is_closed());
    let error = second.republish().unwrap_err();
    assert!(error.is_closed());
    assert_eq!(error.into_inner(), 2);
    // Also one that was still in the queue when the bus went.
    assert_eq!(letters.try_recv().unwrap().republish().unwrap_err().into_inner(), 3);

    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    let subscriber = bus.subscribe("orders").unwrap();
    bus.fire("nobody", 1);
    let letter = letters.try_recv().unwrap();
    drop(bus);
    assert!(subscriber.try_recv().unwrap_err().is_closed(), "the letter keeps its bus open");
    assert_eq!(letter.into_payload(), 1);
}

#[test]
fn h10_a_handler_that_fails_on_a_republished_message_makes_a_letter() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let _handler = bus.on("work", |_| Err::<(), _>("no paper")).unwrap();
        bus.fire("work", 1);
        for _ in 0..3 {
            assert_eq!(letters.recv_timeout(LONG).unwrap().republish().unwrap().delivered(), 1);
        }
        assert_eq!(letters.recv_timeout(LONG).unwrap().attempts(), 1);
    });
}

#[test]
fn h10_a_handler_may_republish_while_the_bus_is_drained() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        bus.fire("nobody", 1);
        let (enter, entered) = channel();
        let (open, opened) = channel::<()>();
        let (sender, outcome) = channel();
        let mut letter = letters.try_recv().ok();
        let _handler = bus
            .on("work", move |_| {
                enter.send(()).unwrap();
                // Ends when `open` is dropped.
                let _ = opened.recv();
                sender.send(letter.take().unwrap().republish().unwrap().is_unheard()).unwrap();
            })
            .unwrap();
        bus.fire("work", 2);
        entered.recv().unwrap();
        thread::scope(|scope| {
            let draining = scope.spawn(|| bus.drain(LONG));
            wait_until("the bus refuses new work", || bus.is_closed());
            drop(open);
            assert!(outcome.recv().unwrap());
            assert!(draining.join().unwrap().is_complete());
        });
        assert_eq!(letters.len(), 0);
    });
}
