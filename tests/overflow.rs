//! Full mailboxes: who waits, what is dropped, where it is counted, and what wakes a publisher.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use tramline::{Bus, DeadLetterReason, Delivery, Overflow, PublishError, Publisher, SubscribeError, Subscriber};

use support::{Counted, LONG, SHORT, counts, letters, taken, wait_until, within_limit};

/// The latest subscription of a bus, which has room: when it gets a message, all others have been offered it.
struct OfferedToAll(Subscriber<u32>);

impl OfferedToAll {
    fn new(bus: &Bus<u32>) -> Self {
        Self(bus.subscription(">").capacity(9).open().unwrap())
    }

    fn wait_for(&self, payload: u32) {
        while *self.0.recv_timeout(LONG).unwrap() != payload {}
    }
}

type Outcome = Result<Delivery, PublishError<u32>>;

/// Publishes on a thread of its own; the outcome comes when that is done.
fn aside(publish: impl FnOnce() -> Outcome + Send + 'static) -> Receiver<Outcome> {
    let (done, outcome) = channel();
    thread::spawn(move || done.send(publish()));
    outcome
}

fn assert_waits(outcome: &Receiver<Outcome>) {
    assert_eq!(outcome.recv_timeout(SHORT).unwrap_err(), RecvTimeoutError::Timeout, "the publisher waits");
}

/// A publisher that waits with the message 2 at a full mailbox, which holds the message 1.
struct Blocked {
    bus: Bus<u32>,
    full: Subscriber<u32>,
    /// Has room, and has got both messages.
    other: Subscriber<u32>,
    outcome: Receiver<Outcome>,
}

impl Blocked {
    fn new(publish: impl FnOnce(Publisher<u32>) -> Outcome + Send + 'static) -> Self {
        let bus = Bus::new();
        let full = bus.subscription("work").capacity(1).open().unwrap();
        let other = bus.subscribe("work").unwrap();
        let work = bus.publisher("work").unwrap();
        work.publish(1).unwrap();
        let outcome = aside(move || publish(work));
        assert_eq!(*other.recv_timeout(LONG).unwrap(), 1);
        assert_eq!(*other.recv_timeout(LONG).unwrap(), 2);
        assert_waits(&outcome);
        Self { bus, full, other, outcome }
    }

    fn outcome(&self) -> Outcome {
        self.outcome.recv_timeout(LONG).unwrap()
    }
}

#[test]
fn o01_a_publisher_waits_for_room_and_goes_on() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let subscriber = bus.subscription("work").capacity(3).open().unwrap();
        let work = bus.publisher("work").unwrap();
        for number in 0..3 {
            assert_eq!(counts(work.publish(number).unwrap()), (1, 0));
        }
        let outcome = aside(move || work.publish(3));
        assert_waits(&outcome);
        assert_eq!(*subscriber.recv().unwrap(), 0);
        assert_eq!(counts(outcome.recv_timeout(LONG).unwrap().unwrap()), (1, 0));
        assert_eq!(taken(&subscriber), [1, 2, 3]);
        assert_eq!((subscriber.dropped(), bus.stats().dropped, dead_letters.len()), (0, 0, 0));
    });
}

#[test]
fn o01_nothing_is_lost_through_a_capacity_of_one() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let subscriber = bus.subscription("work").capacity(1).open().unwrap();
        let work = bus.publisher("work").unwrap();
        let publishing = thread::spawn(move || {
            for number in 0..10_000 {
                assert_eq!(counts(work.publish(number).unwrap()), (1, 0));
            }
        });
        for number in 0..10_000 {
            let message = subscriber.recv_timeout(LONG).unwrap();
            assert_eq!((*message, message.lost_before()), (number, 0));
        }
        publishing.join().unwrap();
        assert_eq!((subscriber.len(), bus.stats().dropped), (0, 0));
    });
}

#[test]
fn o02_drop_newest_keeps_the_queue_and_counts_the_rest() {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let subscriber = bus.subscription("tick").capacity(10).overflow(Overflow::DropNewest).open().unwrap();
    let tick = bus.publisher("tick").unwrap();
    for number in 0..25 {
        let delivery = tick.publish(number).unwrap();
        assert_eq!(counts(delivery), if number < 10 { (1, 0) } else { (0, 1) });
        assert_eq!(delivery.is_unheard(), number >= 10);
    }

    let stats = bus.stats();
    assert_eq!((stats.dropped, stats.unheard, stats.dead_letters), (15, 15, 15));
    let mailbox = &stats.subscriptions[0];
    assert_eq!((mailbox.delivered, mailbox.dropped, mailbox.depth, mailbox.high_water), (10, 15, 10, 10));
    assert_eq!(subscriber.dropped(), 15);
    // One letter each, although each was unheard as well.
    let expected: Vec<_> = (10..25).map(|number| (number, DeadLetterReason::Full)).collect();
    assert_eq!(letters(&dead_letters), expected);

    for number in 0..10 {
        let message = subscriber.try_recv().unwrap();
        assert_eq!((*message, message.lost_before()), (number, 0));
    }
    for (number, lost_before) in [(25, 15), (26, 0)] {
        assert_eq!(counts(tick.publish(number).unwrap()), (1, 0));
        let message = subscriber.try_recv().unwrap();
        assert_eq!((*message, message.lost_before()), (number, lost_before));
    }
}

#[test]
fn o02_the_losses_that_messages_report_add_up_under_many_publishers() {
    const PUBLISHERS: usize = 4;
    const EACH: u32 = 100_000;

    within_limit(|| {
        for overflow in [Overflow::DropNewest, Overflow::Block] {
            let bus = Bus::<u32>::new();
            let subscriber = bus.subscription("tick").capacity(4).overflow(overflow).open().unwrap();
            let publishing: Vec<_> = (0..PUBLISHERS)
                .map(|_| {
                    let tick = bus.publisher("tick").unwrap();
                    thread::spawn(move || {
                        (0..EACH).map(|number| tick.try_publish(number).unwrap().dropped() as u64).sum::<u64>()
                    })
                })
                .collect();
            let (mut received, mut lost) = (0, 0);
            let mut take = |message: tramline::Message<u32>| {
                received += 1;
                lost += message.lost_before();
            };
            while !publishing.iter().all(thread::JoinHandle::is_finished) {
                subscriber.try_iter().for_each(&mut take);
            }
            let dropped: u64 = publishing.into_iter().map(|thread| thread.join().unwrap()).sum();
            // What nobody has told of yet, the next message does.
            subscriber.try_iter().for_each(&mut take);
            bus.publish("tick", 0).unwrap();
            subscriber.try_iter().for_each(&mut take);
            assert_eq!((lost, subscriber.dropped(), bus.stats().dropped), (dropped, dropped, dropped));
            assert_eq!(received + dropped, PUBLISHERS as u64 * u64::from(EACH) + 1);
            assert!(dropped > 0, "capacity 4 was meant to be too little");
        }
    });
}

#[test]
fn the_high_water_mark_is_exact_for_a_burst_into_an_empty_mailbox() {
    for overflow in [Overflow::Block, Overflow::DropNewest, Overflow::DropOldest] {
        for capacity in [1, 10, 100, 200] {
            let bus = Bus::<u32>::new();
            let subscriber = bus.subscription("tick").capacity(capacity).overflow(overflow).open().unwrap();
            let high_water = || bus.stats().subscriptions[0].high_water;
            for burst in [1, capacity / 2, capacity] {
                (0..burst).for_each(|_| bus.fire("tick", 1));
                assert_eq!((0..burst).filter(|_| subscriber.recv().is_ok()).count(), burst);
                assert_eq!(subscriber.try_iter().count(), 0);
                assert_eq!(high_water(), burst.max(1));
            }
        }
    }
}

#[test]
fn o02_a_full_mailbox_in_any_place_costs_the_others_nothing() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        for full in 0..3 {
            let bus = Bus::<Counted>::new();
            let subscribers: Vec<_> = (0..3)
                .map(|place| {
                    let subscription = bus.subscription("tick").capacity(if place == full { 1 } else { 9 });
                    subscription.overflow(overflow).open().unwrap()
                })
                .collect();
            for round in 0..4 {
                let (payload, clones) = Counted::new();
                let delivery = bus.publish("tick", payload).unwrap();
                let dropped = usize::from(round > 0);
                let takers = if overflow == Overflow::DropOldest { 3 } else { 3 - dropped };
                assert_eq!((delivery.delivered(), delivery.dropped()), (takers, dropped));
                assert!(clones.load(Ordering::SeqCst) < 3, "two clones for three mailboxes at most");
            }
            let depths: Vec<_> = subscribers.iter().map(Subscriber::len).collect();
            assert_eq!(depths, [0, 1, 2].map(|place| if place == full { 1 } else { 4 }));
            let lost: Vec<_> = subscribers.iter().map(|subscriber| subscriber.recv().unwrap().lost_before()).collect();
            let in_front = if overflow == Overflow::DropOldest { 3 } else { 0 };
            assert_eq!(lost, [0, 1, 2].map(|place| if place == full { in_front } else { 0 }));
        }
    }
}

#[test]
fn o03_drop_oldest_always_takes_the_new_and_counts_the_evicted() {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let subscriber = bus.subscription("tick").capacity(10).overflow(Overflow::DropOldest).open().unwrap();
    let tick = bus.publisher("tick").unwrap();
    for number in 0..25 {
        // The message is in; the one that had to go for it is the one that was dropped.
        let delivery = tick.publish(number).unwrap();
        assert_eq!(counts(delivery), if number < 10 { (1, 0) } else { (1, 1) });
        assert!(!delivery.is_unheard());
    }

    let stats = bus.stats();
    assert_eq!((stats.dropped, stats.unheard, stats.dead_letters), (15, 0, 15));
    let mailbox = &stats.subscriptions[0];
    assert_eq!((mailbox.delivered, mailbox.dropped, mailbox.depth, mailbox.high_water), (25, 15, 10, 10));
    assert_eq!(subscriber.dropped(), 15);
    let expected: Vec<_> = (0..15).map(|number| (number, DeadLetterReason::Evicted)).collect();
    assert_eq!(letters(&dead_letters), expected);

    for number in 15..25 {
        let message = subscriber.try_recv().unwrap();
        assert_eq!((*message, message.lost_before()), (number, if number == 15 { 15 } else { 0 }));
    }
    assert!(subscriber.try_recv().unwrap_err().is_empty());
}

/// Where there are others behind it, a reader may take the next message while the oldest is being evicted.
#[test]
fn o03_every_gap_is_reported_to_the_reader() {
    const COUNT: u64 = 100_000;
    for capacity in [2, 4, 16] {
        within_limit(move || {
            let bus = Bus::<u64>::new();
            let subscriber = bus.subscription("n").capacity(capacity).overflow(Overflow::DropOldest).open().unwrap();
            let publisher = bus.publisher("n").unwrap();
            let publishing = thread::spawn(move || {
                (0..COUNT).for_each(|n| assert_eq!(publisher.publish(n).unwrap().delivered(), 1));
            });
            let (mut next, mut missing, mut told) = (0, 0, 0);
            while next < COUNT {
                let message = subscriber.recv().unwrap();
                missing += *message - next;
                told += message.lost_before();
                assert!(told >= missing, "{told} told of {missing} before {}", *message);
                next = *message + 1;
            }
            assert_eq!(told, missing);
            publishing.join().unwrap();
        });
    }
}

#[test]
fn o04_disconnect_ends_the_subscription() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let subscriber = bus.subscription("tick").capacity(10).overflow(Overflow::Disconnect).open().unwrap();
        let tick = bus.publisher("tick").unwrap();
        for number in 0..10 {
            assert_eq!(counts(tick.publish(number).unwrap()), (1, 0));
        }
        assert_eq!(tick.subscriber_count(), 1);
        assert_eq!(counts(tick.publish(10).unwrap()), (0, 1));

        // Publishers see it gone.
        assert_eq!(tick.subscriber_count(), 0);
        assert_eq!(counts(tick.publish(11).unwrap()), (0, 0));
        assert_eq!(counts(bus.publish("tick", 12).unwrap()), (0, 0));
        assert_eq!((bus.stats().dropped, bus.stats().unheard, subscriber.dropped()), (1, 3, 1));
        assert_eq!(
            letters(&dead_letters),
            [(10, DeadLetterReason::Overflowed), (11, DeadLetterReason::Unheard), (12, DeadLetterReason::Unheard)]
        );

        for number in 0..10 {
            assert_eq!(*subscriber.recv().unwrap(), number);
        }
        assert!(subscriber.recv().unwrap_err().is_overflowed());
        assert!(subscriber.try_recv().unwrap_err().is_overflowed());
        assert!(subscriber.recv_timeout(LONG).unwrap_err().is_overflowed());
        assert_eq!(subscriber.iter().count(), 0);
        // The bus's end does not hide the reason.
        bus.close();
        assert!(subscriber.recv().unwrap_err().is_overflowed());
    });
}

#[test]
fn o04_a_reader_that_waits_learns_of_the_overflow_at_once() {
    within_limit(|| {
        // A publisher that waits elsewhere must not hold the news back.
        let bus = Bus::<u32>::builder().capacity(1).build();
        let before = bus.subscription("tick").overflow(Overflow::Disconnect).open().unwrap();
        let stuck = bus.subscribe("tick").unwrap();
        let after = bus.subscription("*").overflow(Overflow::Disconnect).open().unwrap();
        let offered = OfferedToAll::new(&bus);
        let tick = bus.publisher("tick").unwrap();
        tick.publish(1).unwrap();
        let outcome = aside(move || tick.publish(2));
        offered.wait_for(2);
        for overflowed in [before, after] {
            assert_eq!(*overflowed.recv_timeout(LONG).unwrap(), 1);
            assert!(overflowed.recv_timeout(LONG).unwrap_err().is_overflowed());
        }
        assert_waits(&outcome);
        assert_eq!(*stuck.recv().unwrap(), 1);
        assert_eq!(counts(outcome.recv_timeout(LONG).unwrap().unwrap()), (2, 2));
    });
}

#[test]
fn o05_a_stuck_subscriber_delays_no_other() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let first = bus.subscribe("work").unwrap();
        let stuck = bus.subscription("work").capacity(5).open().unwrap();
        let third = bus.subscribe("*").unwrap();
        let work = bus.publisher("work").unwrap();
        let outcome = aside(move || {
            for number in 0..5 {
                work.publish(number)?;
            }
            work.publish(5)
        });
        for reading in [&first, &third] {
            for number in 0..6 {
                assert_eq!(*reading.recv_timeout(LONG).unwrap(), number);
            }
        }
        assert_waits(&outcome);
        assert_eq!(taken(&stuck)[..5], [0, 1, 2, 3, 4]);
        assert_eq!(counts(outcome.recv_timeout(LONG).unwrap().unwrap()), (3, 0));
    });
}

#[test]
fn o05_a_mailbox_that_gets_room_does_not_wait_for_a_stuck_one() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let stuck = bus.subscribe("work").unwrap();
        let reading: Vec<_> = (0..70).map(|_| bus.subscribe("work").unwrap()).collect();
        let offered = OfferedToAll::new(&bus);
        let work = bus.publisher("work").unwrap();
        work.publish(1).unwrap();
        // All are full now, and only the first stays so.
        let outcome = aside(move || work.publish(2));
        offered.wait_for(2);
        for subscriber in reading.iter().rev() {
            assert_eq!(*subscriber.recv_timeout(LONG).unwrap(), 1);
            let second = subscriber.recv_timeout(LONG / 10);
            assert_eq!(*second.expect("the mailbox has room, and only another one is stuck"), 2);
        }
        assert_waits(&outcome);
        assert_eq!(*stuck.recv().unwrap(), 1);
        assert_eq!(counts(outcome.recv_timeout(LONG).unwrap().unwrap()), (72, 0));
    });
}

#[test]
fn o06_a_blocked_publisher_wakes_when_there_is_room() {
    within_limit(|| {
        let blocked = Blocked::new(|work| work.publish(2));
        assert_eq!(*blocked.full.recv().unwrap(), 1);
        assert_eq!(counts(blocked.outcome().unwrap()), (2, 0));
        assert_eq!(*blocked.full.recv().unwrap(), 2);
    });
}

#[test]
fn o06_a_blocked_publisher_wakes_when_the_subscriber_is_dropped() {
    within_limit(|| {
        let Blocked { bus, full, other, outcome } = Blocked::new(|work| work.publish(2));
        drop(full);
        assert_eq!(counts(outcome.recv_timeout(LONG).unwrap().unwrap()), (1, 0));
        // To end a subscription is no loss.
        assert_eq!((bus.stats().dropped, bus.stats().subscriptions.len(), other.len()), (0, 1, 0));
    });
}

#[test]
fn o06_a_blocked_publisher_wakes_when_the_subscriber_unsubscribes() {
    within_limit(|| {
        let Blocked { bus, full, other, outcome } = Blocked::new(|work| work.publish(2));
        assert_eq!(full.unsubscribe(), 1);
        assert_eq!(counts(outcome.recv_timeout(LONG).unwrap().unwrap()), (1, 0));
        assert_eq!((bus.stats().dropped, bus.stats().subscriptions.len(), other.len()), (0, 1, 0));
    });
}

#[test]
fn o06_a_blocked_publisher_wakes_when_the_bus_closes() {
    within_limit(|| {
        let blocked = Blocked::new(|work| work.publish(2));
        blocked.bus.close();
        let error = blocked.outcome().unwrap_err();
        assert!(error.is_closed());
        assert_eq!(error.into_inner(), 2);
        // What was in stays, and then there is no more.
        assert_eq!(*blocked.full.recv().unwrap(), 1);
        assert!(blocked.full.recv().unwrap_err().is_closed());
        assert!(blocked.other.recv().unwrap_err().is_closed());
    });
}

#[test]
fn o06_a_blocked_publisher_wakes_when_its_timeout_passes() {
    within_limit(|| {
        let started = Instant::now();
        let blocked = Blocked::new(|work| work.publish_timeout(2, 4 * SHORT));
        let error = blocked.outcome().unwrap_err();
        assert!(started.elapsed() >= 4 * SHORT, "not before its time");
        assert!(error.is_timeout());
        assert_eq!(error.into_inner(), 2);
        // The payload came back, so it is not lost.
        assert_eq!((blocked.full.dropped(), blocked.bus.stats().dropped), (0, 0));
        assert_eq!(*blocked.full.recv().unwrap(), 1);
        blocked.bus.publish("work", 3).unwrap();
        let next = blocked.full.recv().unwrap();
        assert_eq!((*next, next.lost_before()), (3, 0));
    });
}

#[test]
fn o07_publishers_that_do_not_wait_count_the_loss() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let full = bus.subscription("work").capacity(1).open().unwrap();
        let other = bus.subscribe("*").unwrap();
        let work = bus.publisher("work").unwrap();
        assert_eq!(counts(work.publish(1).unwrap()), (2, 0));

        assert_eq!(counts(work.try_publish(2).unwrap()), (1, 1));
        work.fire(3);
        assert_eq!(counts(bus.try_publish("work", 4).unwrap()), (1, 1));
        bus.fire("work", 5);

        assert_eq!(taken(&other), [1, 2, 3, 4, 5]);
        assert_eq!((full.dropped(), other.dropped(), bus.stats().dropped), (4, 0, 4));
        let expected: Vec<_> = (2..6).map(|number| (number, DeadLetterReason::Full)).collect();
        assert_eq!(letters(&dead_letters), expected);
        assert_eq!(taken(&full), [1]);
        work.publish(6).unwrap();
        let next = full.try_recv().unwrap();
        assert_eq!((*next, next.lost_before()), (6, 4));
    });
}

#[test]
fn o11_a_timeout_says_how_many_mailboxes_have_the_message() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let full = [(); 2].map(|()| bus.subscription("work").capacity(1).open().unwrap());
        let work = bus.publisher("work").unwrap();
        work.publish(1).unwrap();
        let error = work.publish_timeout(2, Duration::ZERO).unwrap_err();
        assert_eq!((counts(error.delivery()), error.clone()), ((0, 0), PublishError::Timeout(2.into())));
        assert_eq!(error.to_string(), "a full mailbox did not take the message in time");

        let others = [(); 3].map(|()| bus.subscribe("*").unwrap());
        let drops = bus.subscription("work").capacity(1).overflow(Overflow::DropNewest).open().unwrap();
        assert_eq!(full.each_ref().map(taken), [[1], [1]]);
        assert_eq!(counts(work.publish(2).unwrap()), (6, 0));
        let error = bus.publish_timeout("work", 3, Duration::from_millis(2)).unwrap_err();
        assert_eq!(counts(error.delivery()), (3, 1));
        assert_eq!(error.to_string(), "a full mailbox did not take the message in time; 3 mailboxes have it");
        let PublishError::Timeout(unsent) = error.clone() else { panic!("{error:?}") };
        assert_eq!((unsent, unsent.delivery(), unsent.into_payload()), (unsent, error.delivery(), 3));
        assert_ne!(error, PublishError::Timeout(3.into()), "that one is in no mailbox");

        // One of the two gets room.
        assert_eq!(taken(&full[0]), [2]);
        let error = work.publish_timeout(4, Duration::ZERO).unwrap_err();
        assert_eq!(counts(error.delivery()), (4, 1));
        assert_eq!(full.each_ref().map(taken), [[4], [2]]);
        assert_eq!(others.each_ref().map(taken), [(); 3].map(|()| [2, 3, 4]));
        assert_eq!(taken(&drops), [2]);
        let error = bus.publish_timeout("work.*", 5, LONG).unwrap_err();
        assert_eq!((counts(error.delivery()), error.is_invalid_topic()), ((0, 0), true));
    });
}

#[test]
fn o11_a_close_says_how_many_mailboxes_have_the_message() {
    within_limit(|| {
        for retained in [false, true] {
            let blocked = Blocked::new(move |work| if retained { work.publish_retained(2) } else { work.publish(2) });
            blocked.bus.close();
            let error = blocked.outcome().unwrap_err();
            assert_eq!((error.is_closed(), counts(error.delivery())), (true, (1, 0)));
            assert_eq!(error.to_string(), "cannot publish: the bus is closed; 1 mailbox has it");
            assert_ne!(error, PublishError::Closed(2.into()), "nobody has that one");
            assert_eq!(error.into_inner(), 2);
            let error = blocked.bus.publish("work", 3).unwrap_err();
            assert_eq!(
                (error.to_string(), error),
                ("cannot publish: the bus is closed".to_owned(), PublishError::Closed(3.into()),)
            );
        }
    });
}

#[test]
fn o08_drop_oldest_under_many_publishers_counts_exactly() {
    const PUBLISHERS: u64 = 8;
    const EACH: u64 = 5000;

    within_limit(|| {
        let bus = Bus::<(u64, u64)>::new();
        let subscriber = bus.subscription("tick").capacity(4).overflow(Overflow::DropOldest).open().unwrap();
        let reader = thread::spawn(move || {
            let (mut received, mut lost) = (0, 0);
            let mut last = [None; PUBLISHERS as usize];
            for message in &subscriber {
                let (publisher, number) = *message;
                let last = &mut last[publisher as usize];
                assert!(last.is_none_or(|last| last < number), "the order of publisher {publisher}");
                *last = Some(number);
                received += 1;
                lost += message.lost_before();
            }
            (received, lost, subscriber.dropped())
        });
        let publishing: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let tick = bus.publisher("tick").unwrap();
                thread::spawn(move || {
                    let evicted = |number| {
                        let delivery = tick.publish((publisher, number)).unwrap();
                        assert_eq!(delivery.delivered(), 1, "the new message always gets in");
                        delivery.dropped() as u64
                    };
                    (0..EACH).map(evicted).sum::<u64>()
                })
            })
            .collect();
        let evicted: u64 = publishing.into_iter().map(|thread| thread.join().unwrap()).sum();
        bus.close();
        let (received, lost, dropped) = reader.join().unwrap();
        assert_eq!(received + dropped, PUBLISHERS * EACH);
        assert_eq!((evicted, lost, bus.stats().dropped), (dropped, dropped, dropped));
        assert!(dropped > 0, "capacity 4 was meant to be too little");
    });
}

#[test]
fn o09_a_handler_that_publishes_to_its_own_full_mailbox_is_refused() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let work = bus.publisher("work").unwrap();
        let (seen, handled) = channel();
        let _handler = bus
            .subscription("work")
            .capacity(1)
            .handle(move |message| {
                let deliveries = match **message {
                    // The first fills the mailbox. There is nobody but this thread to make room for the others.
                    1 => {
                        vec![work.publish(2).unwrap(), work.publish(3).unwrap(), work.publish_timeout(4, LONG).unwrap()]
                    }
                    _ => Vec::new(),
                };
                seen.send((**message, deliveries.into_iter().map(counts).collect::<Vec<_>>())).unwrap();
            })
            .unwrap();
        let handled = || handled.recv_timeout(LONG).unwrap();

        bus.publish("work", 1).unwrap();
        assert_eq!(handled(), (1, vec![(1, 0), (0, 1), (0, 1)]));
        assert_eq!(handled(), (2, vec![]));
        assert_eq!(letters(&dead_letters), [(3, DeadLetterReason::SelfDeadlock), (4, DeadLetterReason::SelfDeadlock)]);
        assert_eq!(bus.stats().dropped, 2);
        // The bus lives on.
        bus.publish("work", 10).unwrap();
        assert_eq!(handled(), (10, vec![]));
    });
}

#[test]
fn o09_workers_that_all_publish_to_their_own_full_mailbox_are_not_stuck() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let work = bus.publisher("work").unwrap();
        let (seen, handled) = channel();
        let _handler = bus
            .subscription("work")
            .capacity(1)
            .workers(3)
            .handle(move |message| {
                // Each message becomes two of the next number, up to 5: soon all workers wait for room at once.
                for _ in 0..if **message < 5 { 2 } else { 0 } {
                    let delivery = work.publish(**message + 1).unwrap();
                    assert_eq!(delivery.delivered() + delivery.dropped(), 1);
                }
                seen.send(**message).unwrap();
            })
            .unwrap();
        for _ in 0..10 {
            bus.publish("work", 0).unwrap();
        }
        // What was not refused is handled.
        for _ in 0..10 {
            let _ = handled.recv_timeout(LONG).unwrap();
        }
        assert!(bus.drain(LONG).is_complete());
        assert_eq!(10 + handled.try_iter().count() as u64, bus.stats().subscriptions[0].delivered);
    });
}

#[test]
fn o09_a_worker_that_waits_elsewhere_does_not_count_as_stuck() {
    within_limit(|| {
        // Two workers share a mailbox. One waits at another mailbox too, which is only slow, so it will come back to
        // make room for what its colleague publishes.
        let bus = Bus::<u32>::new();
        let (in_hand, begun) = channel();
        let (delivered, delivery) = channel();
        let (go, gates): (Vec<_>, Vec<_>) = (0..6).map(|_| crossbeam_channel::bounded::<()>(1)).unzip();
        let publishers = [bus.publisher("work").unwrap(), bus.publisher("own").unwrap()];
        let _handler = bus
            .subscription("work")
            .also("own")
            .capacity(1)
            .workers(2)
            .handle(move |message| {
                in_hand.send(**message).unwrap();
                match **message {
                    1 => {
                        gates[1].recv().unwrap();
                        delivered.send((4, counts(publishers[0].publish(4).unwrap()))).unwrap();
                    }
                    2 => gates[2].recv().unwrap(),
                    3 => {
                        gates[3].recv().unwrap();
                        delivered.send((5, counts(publishers[1].publish(5).unwrap()))).unwrap();
                    }
                    _ => {}
                }
            })
            .unwrap();
        let slow = bus.subscription("work").capacity(3).open().unwrap();
        let offered = OfferedToAll::new(&bus);

        for number in 1..=2 {
            bus.publish("work", number).unwrap();
            assert_eq!(begun.recv_timeout(LONG), Ok(number));
        }
        bus.publish("work", 3).unwrap();
        // Both mailboxes are full. The worker with 1 in hand waits for both, then the other one takes 3 out.
        go[1].send(()).unwrap();
        offered.wait_for(4);
        assert!(delivery.recv_timeout(SHORT).is_err());
        go[2].send(()).unwrap();
        assert_eq!(begun.recv_timeout(LONG), Ok(3));
        wait_until("the message 4 is in", || bus.stats().subscriptions[0].depth == 1);
        go[3].send(()).unwrap();
        assert!(delivery.recv_timeout(SHORT).is_err(), "one worker is refused although the other will make room");
        assert_eq!(taken(&slow)[..3], [1, 2, 3]);
        let mut deliveries = [delivery.recv_timeout(LONG).unwrap(), delivery.recv_timeout(LONG).unwrap()];
        deliveries.sort_unstable();
        assert_eq!(deliveries, [(4, (3, 0)), (5, (2, 0))]);
        assert_eq!(bus.stats().dropped, 0);
    });
}

#[test]
fn o10_a_capacity_of_zero_is_refused() {
    let bus = Bus::<u32>::new();
    let without_room = Bus::<u32>::builder().capacity(0).build();
    for error in [
        bus.subscription("work").capacity(0).open().unwrap_err(),
        bus.subscription("work").capacity(0).handle(|_| ()).unwrap_err(),
        without_room.subscribe("work").unwrap_err(),
        without_room.on("work", |_| ()).unwrap_err(),
    ] {
        assert!(matches!(error, SubscribeError::Capacity { capacity: 0, .. }), "{error}");
        assert_eq!(error.to_string(), "capacity must be between 1 and 16777216, got 0");
    }
    assert!(matches!(
        bus.subscription("work").capacity(usize::MAX).open().unwrap_err(),
        SubscribeError::Capacity { capacity: usize::MAX, .. }
    ));
    assert!(bus.publish("work", 1).unwrap().is_unheard());
    assert_eq!((bus.stats().topics, bus.stats().subscriptions.len()), (0, 0));
    // The default of the bus is only a default.
    assert_eq!(without_room.subscription("work").capacity(1).open().unwrap().capacity(), 1);
}

#[test]
fn a_timeout_hands_back_the_original_and_wastes_one_clone_at_most() {
    within_limit(|| {
        let bus = Bus::<Counted>::new();
        // Full and free ones in turns; the last is full.
        let subscribers: Vec<_> =
            [1, 9, 1, 9, 1].map(|capacity| bus.subscription("work").capacity(capacity).open().unwrap()).into();
        let work = bus.publisher("work").unwrap();
        work.publish(Counted::new().0).unwrap();
        for timeout in [Duration::ZERO, SHORT] {
            let (payload, clones) = Counted::new();
            let back = work.publish_timeout(payload, timeout).unwrap_err().into_inner();
            assert!(back.is_original);
            // Two mailboxes had room.
            assert!((2..=3).contains(&clones.load(Ordering::SeqCst)));
        }
        let depths: Vec<_> = subscribers.iter().map(Subscriber::len).collect();
        assert_eq!(depths, [1, 3, 1, 3, 1]);
        assert_eq!(bus.stats().dropped, 0);
    });
}

#[test]
fn a_message_reaches_every_one_of_many_full_mailboxes() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let subscribers: Vec<_> = (0..150).map(|_| bus.subscribe("work").unwrap()).collect();
        let work = bus.publisher("work").unwrap();
        assert_eq!(counts(work.publish(1).unwrap()), (150, 0));
        let outcome = aside(move || work.publish(2));
        assert_waits(&outcome);
        // A few leave, at both ends and in the middle, while the publisher waits.
        let (leaving, staying): (Vec<_>, Vec<_>) =
            subscribers.into_iter().enumerate().partition(|(index, _)| matches!(index, 0 | 63 | 64 | 65 | 149));
        drop(leaving);
        for (_, subscriber) in &staying {
            assert_eq!(*subscriber.recv_timeout(LONG).unwrap(), 1);
        }
        for (index, subscriber) in &staying {
            assert_eq!(*subscriber.recv_timeout(LONG).unwrap(), 2, "mailbox {index}");
        }
        assert_eq!(counts(outcome.recv_timeout(LONG).unwrap().unwrap()), (145, 0));
    });
}

#[test]
fn a_publisher_that_waits_at_several_mailboxes_wakes_when_the_bus_closes() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let subscribers: Vec<_> = (0..70).map(|_| bus.subscribe("work").unwrap()).collect();
        let work = bus.publisher("work").unwrap();
        work.publish(1).unwrap();
        let outcome = aside(move || work.publish(2));
        assert_waits(&outcome);
        bus.close();
        assert_eq!(outcome.recv_timeout(LONG).unwrap(), Err(PublishError::Closed(2.into())));
        for subscriber in &subscribers {
            assert_eq!(*subscriber.recv().unwrap(), 1);
            assert!(subscriber.recv().unwrap_err().is_closed());
        }
    });
}

#[test]
fn a_publish_that_was_ok_left_no_mailbox_out() {
    within_limit(|| {
        // The first mailbox gets room just as the bus closes: the publisher may get in there or not, but if the second
        // mailbox did not get the message, it has to hear of the close.
        for _ in 0..200 {
            let bus = Bus::<u32>::builder().capacity(1).build();
            let mailboxes = [bus.subscribe("work").unwrap(), bus.subscribe("work").unwrap()];
            let offered = OfferedToAll::new(&bus);
            let work = bus.publisher("work").unwrap();
            work.publish(1).unwrap();
            let outcome = aside(move || work.publish(2));
            offered.wait_for(2);
            // Time to fall asleep.
            assert!(outcome.recv_timeout(Duration::from_millis(2)).is_err());
            let _ = mailboxes[0].recv().unwrap();
            bus.close();
            let outcome = outcome.recv_timeout(LONG).unwrap();
            let received = mailboxes.iter().filter(|mailbox| mailbox.iter().any(|message| *message == 2)).count();
            match outcome {
                Ok(delivery) => assert_eq!(counts(delivery), (3, 0), "{received} of 2 that were full got it"),
                Err(error) => assert!(error.is_closed() && received < 2),
            }
        }
    });
}

#[test]
fn many_blocked_publishers_all_wake_when_the_subscriber_leaves() {
    within_limit(|| {
        // The mailbox is full as long as it has a subscriber, so it never takes what waits for room; that its queue is
        // emptied when the subscriber goes is no room. The same threads wait again and again, because what a wait does
        // that finds room and an end at once may change from time to time.
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let (done, outcomes) = channel();
        let publishers: Vec<_> = (0..8)
            .map(|_| {
                let (go, rounds) = channel();
                let (work, done) = (bus.publisher("work").unwrap(), done.clone());
                thread::spawn(move || {
                    rounds.iter().for_each(|number| done.send(counts(work.publish(number).unwrap())).unwrap());
                });
                go
            })
            .collect();
        for _ in 0..30 {
            let full = bus.subscription("work").capacity(1).open().unwrap();
            bus.publish("work", 1).unwrap();
            publishers.iter().for_each(|go| go.send(2).unwrap());
            assert!(outcomes.recv_timeout(Duration::from_millis(5)).is_err(), "they wait");
            drop(full);
            for _ in 0..8 {
                assert_eq!(outcomes.recv_timeout(LONG).unwrap(), (0, 0));
            }
            assert!(letters(&dead_letters).into_iter().eq([const { (2, DeadLetterReason::Unheard) }; 8]));
        }
    });
}

#[test]
fn one_full_mailbox_of_each_policy_beside_the_others() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let open = |overflow| bus.subscription("tick").overflow(overflow).open().unwrap();
        let policies = [Overflow::Block, Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect];
        let [block, newest, oldest, disconnect] = policies.map(open);
        let tick = bus.publisher("tick").unwrap();
        assert_eq!(counts(tick.publish(1).unwrap()), (4, 0));
        assert_eq!(counts(tick.try_publish(2).unwrap()), (1, 4));
        assert_eq!(tick.subscriber_count(), 3);
        assert_eq!([&block, &newest, &oldest, &disconnect].map(Subscriber::dropped), [1, 1, 1, 1]);
        assert_eq!([&block, &newest, &oldest, &disconnect].map(taken), [[1], [1], [2], [1]]);
        assert_eq!(bus.stats().dropped, 4);
    });
}
