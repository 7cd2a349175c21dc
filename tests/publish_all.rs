//! `publish_all`: publishing many messages with one call.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::iter::from_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use support::{Counted, LONG, counts, taken, within_limit};
use tramline::{Bus, DeadLetterReason, Overflow, PublishAllError};

#[test]
fn every_payload_is_published_in_order_and_the_deliveries_add_up() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let work = bus.publisher("work").unwrap();
        let all = bus.subscription("*").capacity(1000).open().unwrap();
        let even = bus.subscription("work").capacity(1000).filter(|n| n % 2 == 0).open().unwrap();
        let latest = bus.subscription("work").capacity(10).overflow(Overflow::DropOldest).open().unwrap();
        let delivery = work.publish_all(0..500).unwrap();
        assert_eq!((delivery.delivered(), delivery.dropped()), (500 + 250 + 500, 490));
        assert_eq!(taken(&all), (0..500).collect::<Vec<_>>());
        assert_eq!(taken(&even), (0..500).filter(|n| n % 2 == 0).collect::<Vec<_>>());
        assert_eq!(taken(&latest), (490..500).collect::<Vec<_>>());
        assert!(work.publish_all([]).unwrap().is_unheard());
    });
}

#[test]
fn n_mailboxes_cost_one_clone_less_for_each_message() {
    within_limit(|| {
        let clones = Arc::new(AtomicUsize::new(0));
        let three = || [(); 3].map(|()| Counted::with(&clones));
        let bus = Bus::<Counted>::new();
        let work = bus.publisher("work").unwrap();
        let one = bus.subscribe("work").unwrap();
        assert_eq!(work.publish_all(three()).unwrap().delivered(), 3);
        assert_eq!(clones.load(Ordering::SeqCst), 0);
        let others = [(); 7].map(|()| bus.subscribe("work").unwrap());
        assert_eq!(work.publish_all(three()).unwrap().delivered(), 3 * 8);
        assert_eq!(clones.load(Ordering::SeqCst), 3 * 7);
        drop((one, others));
    });
}

#[test]
fn a_full_mailbox_makes_it_wait_and_nothing_is_lost() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let work = bus.publisher("work").unwrap();
        let readers = [1, 3, 1000].map(|capacity| {
            let reader = bus.subscription("work").capacity(capacity).open().unwrap();
            thread::spawn(move || reader.iter().map(|n| *n).collect::<Vec<_>>())
        });
        assert_eq!(work.publish_all(0..5_000).unwrap().delivered(), 15_000);
        bus.close();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), (0..5_000).collect::<Vec<_>>());
        }
    });
}

#[test]
fn what_is_unheard_is_counted_and_makes_dead_letters() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        assert!(bus.publisher("work").unwrap().publish_all(0..100).unwrap().is_unheard());
        assert_eq!(bus.stats().unheard, 100);
        assert!(
            letters
                .try_iter()
                .map(|letter| (letter.reason().clone(), letter.into_payload()))
                .eq((0..100).map(|n| (DeadLetterReason::Unheard, n)))
        );
    });
}

#[test]
fn a_closed_bus_hands_everything_back() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let work = bus.publisher("work").unwrap();
        bus.close();
        let PublishAllError::Closed { rest, delivery, .. } = work.publish_all(0..200).unwrap_err() else {
            unreachable!("there is no other error")
        };
        assert_eq!(rest, (0..200).collect::<Vec<_>>());
        assert!(delivery.is_unheard());
        assert_eq!(work.publish_all([]).unwrap().delivered(), 0);
        // Of one without an end, or with one that no memory could hold, only what was taken comes back.
        let bus = Bus::<u64>::new();
        let work = bus.publisher("work").unwrap();
        bus.close();
        assert_eq!(work.publish_all(0..u64::MAX).unwrap_err().into_inner(), (0..64).collect::<Vec<_>>());
        assert_eq!(work.publish_all(0..).unwrap_err().into_inner(), (0..64).collect::<Vec<_>>());
    });
}

#[test]
fn closing_ends_a_wait_and_hands_back_the_message_and_all_after_it() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let work = bus.publisher("work").unwrap();
        let slow = bus.subscription("work").capacity(100).open().unwrap();
        let fast = bus.subscription("work").capacity(1000).open().unwrap();
        let blocked = thread::spawn(move || work.publish_all(0..500));
        // Message 100 finds one mailbox full; who has it in the other has been at the full one.
        assert_eq!(fast.iter().take(101).last().map(|n| *n), Some(100));
        bus.close();
        let error = blocked.join().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the bus is closed, 400 payloads are left; 1 mailbox has the first");
        // Both have the 100 before, and one has the message that waited.
        assert_eq!((counts(error.delivery()), counts(error.first_delivery())), ((201, 0), (1, 0)));
        assert_eq!(error.into_inner(), (100..500).collect::<Vec<_>>());
        assert_eq!(slow.iter().map(|n| *n).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
        assert!(fast.recv().unwrap_err().is_closed());
    });
}

#[test]
fn an_iterator_that_waits_holds_nothing_back() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let work = bus.publisher("work").unwrap();
        let reader = bus.subscribe("work").unwrap();
        let (sender, receiver) = channel();
        let forwarding = thread::spawn(move || {
            let outcome = work.publish_all(receiver.iter());
            (outcome, receiver)
        });
        for n in 0..3 {
            sender.send(n).unwrap();
            assert_eq!(*reader.recv().unwrap(), n, "it does not wait for more");
        }
        // Who subscribes while it waits gets what comes next; who leaves, or waits for the end, is not kept.
        let late = bus.subscribe("work").unwrap();
        sender.send(3).unwrap();
        assert_eq!((*reader.recv().unwrap(), *late.recv().unwrap()), (3, 3));
        bus.close();
        assert!(reader.recv_timeout(LONG).unwrap_err().is_closed());
        // What is not taken stays where it is.
        sender.send(4).unwrap();
        let (outcome, receiver) = forwarding.join().unwrap();
        assert_eq!(outcome.unwrap_err().into_inner(), [4]);
        sender.send(5).unwrap();
        assert_eq!(receiver.try_recv(), Ok(5));
    });
}

#[test]
fn an_iterator_may_use_the_bus() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let work = bus.publisher("work").unwrap();
        let subscriber = Rc::new(Cell::new(None));
        let (own, weak) = (bus.clone(), Rc::clone(&subscriber));
        let mut next = 0;
        let delivery = work.publish_all(from_fn(move || {
            next += 1;
            match next {
                2 => weak.set(Some(own.subscribe("work").unwrap())),
                4 => drop(weak.take()),
                6 => own.close(),
                _ => {}
            }
            Some(next)
        }));
        let PublishAllError::Closed { rest, delivery, .. } = delivery.unwrap_err() else {
            unreachable!("there is no other error")
        };
        assert_eq!((rest, delivery.delivered()), (vec![6], 2));
    });
}

#[test]
fn a_subscription_that_ran_over_is_not_asked_any_more_whether_it_wants_a_message() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let work = bus.publisher("work").unwrap();
        let (asks, asked) = channel();
        let ask = move |n: &u32| asks.send(*n).is_ok();
        let strict = bus.subscription("work").capacity(1).overflow(Overflow::Disconnect);
        let strict = strict.filter(ask).open().unwrap();
        let all = bus.subscribe("work").unwrap();
        let delivery = work.publish_all(1..=4).unwrap();
        assert_eq!((delivery.delivered(), delivery.dropped()), (5, 1));
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), [1, 2]);
        assert_eq!((taken(&strict), taken(&all)), (vec![1], vec![1, 2, 3, 4]));
    });
}

#[test]
fn a_bus_publishes_a_batch_to_a_topic() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let work = bus.subscribe("work").unwrap();
        assert_eq!(bus.publish_all("work", 0..100).unwrap().delivered(), 100);
        assert_eq!(taken(&work), (0..100).collect::<Vec<_>>());
        bus.close();
        let error = bus.publish_all("work", [1, 2]).unwrap_err();
        assert!(error.is_closed() && !error.is_invalid_topic());
        assert_eq!(error.into_inner(), [1, 2]);
    });
}

#[test]
fn an_invalid_topic_hands_the_batch_back() {
    let bus = Bus::<u32>::new();
    let all = bus.subscribe(">").unwrap();
    let error = bus.publish_all("work.*", 1..=3).unwrap_err();
    assert!(error.is_invalid_topic() && !error.is_closed());
    let reason = "cannot publish: token 2 of `work.*`, at byte 5, is a wildcard, which only a pattern may contain";
    assert_eq!(error.to_string(), reason);
    assert_eq!(error.into_inner(), [1, 2, 3]);
    // Neither an iterator without an end nor one beyond all memory is run to its end.
    assert!(bus.publish_all("", from_fn(|| Some(1))).unwrap_err().into_inner().is_empty());
    let mut many = 0..u64::MAX;
    let bus_of_many = Bus::<u64>::new();
    assert!(bus_of_many.publish_all("", many.by_ref()).unwrap_err().into_inner().is_empty());
    assert_eq!((many.next(), all.len()), (Some(0), 0));
}
