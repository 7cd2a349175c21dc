//! Publish-subscribe: who gets what, how often, in which order, and at what cost in clones.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;

use tramline::{Bus, DeadLetterReason, Overflow, Publisher, Subscriber, WeakBus};

use support::{Counted, InOrder, LONG, Numbered, counts, taken, within_limit};

/// Takes this many messages and checks that the numbers of each publisher come in order, with none left out.
fn receive_in_order(subscriber: &Subscriber<Numbered>, count: usize) {
    let mut order = InOrder::default();
    for _ in 0..count {
        order.check(subscriber.recv_timeout(LONG).unwrap().into_payload());
    }
    assert!(subscriber.is_empty(), "no more than {count} messages");
}

#[test]
fn p01_one_subscriber_gets_all_in_order_on_the_right_topic() {
    let bus = Bus::<String>::new();
    let subscriber = bus.subscribe("orders.new").unwrap();
    for number in 0..100 {
        assert_eq!(counts(bus.publish("orders.new", format!("order {number}")).unwrap()), (1, 0));
    }
    for number in 0..100 {
        let message = subscriber.try_recv().unwrap();
        assert_eq!(message.payload(), &format!("order {number}"));
        assert_eq!(message.topic(), &"orders.new");
        assert_eq!((message.lost_before(), message.is_request()), (0, false));
    }
    assert!(subscriber.try_recv().unwrap_err().is_empty());
}

#[test]
fn p02_fifty_publishers_reach_fifty_subscribers() {
    within_limit(|| {
        let bus = Bus::<Numbered>::new();
        let subscribers: Vec<_> = (0..50).map(|_| bus.subscribe("load").unwrap()).collect();
        thread::scope(|scope| {
            for subscriber in &subscribers {
                scope.spawn(move || receive_in_order(subscriber, 5000));
            }
            for publisher in 0..50 {
                let load = bus.publisher("load").unwrap();
                scope.spawn(move || {
                    for number in 0..100 {
                        assert_eq!(counts(load.publish((publisher, number)).unwrap()), (50, 0));
                    }
                });
            }
        });
    });
}

#[test]
fn p03_each_of_twenty_topics_has_its_own_subscriber() {
    let bus = Bus::<Numbered>::new();
    let subscribers: Vec<_> = (0..20).map(|topic| bus.subscribe(format!("topic.{topic}")).unwrap()).collect();
    // In turns, so that a mix-up would show.
    for number in 0..100 {
        for topic in 0..20 {
            assert_eq!(counts(bus.publish(format!("topic.{topic}"), (topic, number)).unwrap()), (1, 0));
        }
    }
    for (topic, subscriber) in subscribers.iter().enumerate() {
        let received: Vec<_> = subscriber.try_iter().map(|message| *message).collect();
        assert_eq!(received, (0..100).map(|number| (topic, number)).collect::<Vec<_>>());
    }
}

#[test]
fn p04_a_pattern_subscriber_gets_each_publishers_messages_in_order() {
    within_limit(|| {
        let bus = Bus::<Numbered>::new();
        let subscriber = bus.subscribe("from.*").unwrap();
        thread::scope(|scope| {
            for publisher in 0..16 {
                let bus = &bus;
                scope.spawn(move || {
                    let own = bus.publisher(format!("from.{publisher}")).unwrap();
                    for number in 0..1000 {
                        assert_eq!(counts(own.publish((publisher, number)).unwrap()), (1, 0));
                    }
                });
            }
            receive_in_order(&subscriber, 16_000);
        });
    });
}

#[test]
fn p05_order_is_kept_across_topics() {
    within_limit(|| {
        let bus = Bus::<usize>::new();
        let subscriber = bus.subscribe("side.*").unwrap();
        let sides = ["side.left", "side.right"];
        let publishers = sides.map(|side| bus.publisher(side).unwrap());
        // More than the mailbox holds, so that the publisher has to wait now and then.
        let publishing = thread::spawn(move || {
            for number in 0..2000 {
                assert_eq!(counts(publishers[number % 2].publish(number).unwrap()), (1, 0));
            }
        });
        for number in 0..2000 {
            let message = subscriber.recv_timeout(LONG).unwrap();
            assert_eq!((*message, message.topic().as_str()), (number, sides[number % 2]));
        }
        publishing.join().unwrap();
    });
}

#[test]
fn p06_several_matching_patterns_give_one_copy() {
    let bus = Bus::<u32>::new();
    let before = bus.publisher("a.b").unwrap();
    let subscriber = bus.subscription("a.b").also("a.*").also("*.b").also("a.>").also(">").also("a.b").open().unwrap();
    let after = bus.publisher("a.b").unwrap();
    assert_eq!(counts(before.publish(1).unwrap()), (1, 0));
    assert_eq!(counts(after.publish(2).unwrap()), (1, 0));
    assert_eq!(counts(bus.publish("a.b", 3).unwrap()), (1, 0));
    assert_eq!(counts(bus.publish("x.b", 4).unwrap()), (1, 0));
    assert_eq!(taken(&subscriber), [1, 2, 3, 4]);
    drop(subscriber);
    assert_eq!((before.subscriber_count(), after.subscriber_count()), (0, 0));
}

#[test]
fn p07_two_subscriptions_are_two_mailboxes() {
    let bus = Bus::<u32>::new();
    let (first, second) = (bus.subscribe("news").unwrap(), bus.subscribe("news").unwrap());
    assert_eq!(counts(bus.publish("news", 1).unwrap()), (2, 0));
    assert_eq!(taken(&first), [1]);
    assert_eq!(first.unsubscribe(), 0);
    assert_eq!(counts(bus.publish("news", 2).unwrap()), (1, 0));
    assert_eq!(taken(&second), [1, 2]);
}

#[test]
fn p08_a_subscriber_gets_later_messages_and_no_earlier_ones() {
    within_limit(|| {
        for _ in 0..100 {
            let bus = Bus::<u32>::new();
            let counter = bus.publisher("count").unwrap();
            counter.publish(0).unwrap();
            let late = bus.subscribe("count").unwrap();
            let late_pattern = bus.subscribe("*").unwrap();
            // On another thread, which learns of the subscription by nothing but being started.
            thread::spawn(move || {
                counter.publish(1).unwrap();
                counter.publish(2).unwrap();
            })
            .join()
            .unwrap();
            assert_eq!(taken(&late), [1, 2]);
            assert_eq!(taken(&late_pattern), [1, 2]);
        }
    });
}

#[test]
fn p08_subscribing_while_others_publish_misses_nothing_published_afterwards() {
    within_limit(|| {
        let bus = Bus::<usize>::new();
        // What is published from now on has at least this number.
        let next = Arc::new(AtomicUsize::new(0));
        let counter = bus.publisher("count").unwrap();
        let published = Arc::clone(&next);
        let publishing = thread::spawn(move || {
            for number in 0.. {
                if counter.publish(number).is_err() {
                    break;
                }
                published.store(number + 1, Ordering::SeqCst);
            }
        });
        for pattern in ["count", "*", ">"].into_iter().cycle().take(300) {
            let subscriber = bus.subscribe(pattern).unwrap();
            // The message of this number may be on its way already, all later ones must come.
            let from = next.load(Ordering::SeqCst) + 1;
            let first = subscriber.recv_timeout(LONG).unwrap().into_payload();
            assert!(first <= from, "{first} came first, {from} was published after the subscription");
            for number in first + 1..first + 10 {
                assert_eq!(*subscriber.recv_timeout(LONG).unwrap(), number);
            }
        }
        bus.close();
        publishing.join().unwrap();
    });
}

#[test]
fn p09_ten_subscribers_leave_at_once_and_the_others_lose_nothing() {
    within_limit(|| {
        for _ in 0..10 {
            let bus = Bus::<Numbered>::builder().capacity(16).build();
            let open = |pattern| bus.subscribe(pattern).unwrap();
            // Some before and some after those that stay.
            let mut leaving = Vec::from(["news.tea", "news.>", "news.tea", "*.tea", "news.tea"].map(open));
            let staying = [open("news.tea"), open("news.*")];
            leaving.extend(["news.tea", "news.>", "news.tea", "*.tea", "news.tea"].map(open));
            let at_once = Barrier::new(10);
            thread::scope(|scope| {
                for subscriber in leaving {
                    let at_once = &at_once;
                    scope.spawn(move || {
                        // In the middle of the stream.
                        let _ = subscriber.recv_timeout(LONG).unwrap();
                        at_once.wait();
                        drop(subscriber);
                    });
                }
                for publisher in 0..4 {
                    let news = bus.publisher("news.tea").unwrap();
                    scope.spawn(move || {
                        for number in 0..500 {
                            assert!(news.publish((publisher, number)).unwrap().delivered() >= 2);
                        }
                    });
                }
                for subscriber in &staying {
                    scope.spawn(move || receive_in_order(subscriber, 2000));
                }
            });
            assert_eq!(bus.publisher("news.tea").unwrap().subscriber_count(), 2);
            assert_eq!((bus.stats().subscriptions.len(), bus.stats().dropped), (2, 0));
        }
    });
}

#[test]
fn p10_publishing_without_subscribers_is_not_an_error_and_leaves_nothing_behind() {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let delivery = bus.publish("nobody.listens", 7).unwrap();
    assert!(delivery.is_unheard());
    assert_eq!(counts(delivery), (0, 0));

    let letters: Vec<_> = dead_letters.try_iter().collect();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].topic().as_str(), *letters[0].payload()), ("nobody.listens", 7));
    assert_eq!((letters[0].reason(), letters[0].attempts()), (&DeadLetterReason::Unheard, 0));

    let stats = bus.stats();
    assert_eq!((stats.unheard, stats.dead_letters, stats.dropped), (1, 1, 0));
    assert_eq!((stats.topics, stats.subscriptions.len()), (0, 0));
}

#[test]
fn p11_a_rejected_message_is_neither_delivered_nor_dropped() {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let even = bus.subscription("number").filter(|number| number % 2 == 0).open().unwrap();
    let all = bus.subscribe("number").unwrap();
    assert_eq!(counts(bus.publish("number", 1).unwrap()), (1, 0));
    assert_eq!(counts(bus.publish("number", 2).unwrap()), (2, 0));
    assert_eq!((taken(&even), taken(&all)), (vec![2], vec![1, 2]));
    assert_eq!((even.dropped(), bus.stats().dropped, bus.stats().subscriptions[0].delivered), (0, 0, 1));
    assert!(dead_letters.is_empty());

    // A message that all filters reject is unheard.
    drop(all);
    assert!(bus.publish("number", 3).unwrap().is_unheard());
    assert_eq!((bus.stats().dropped, bus.stats().unheard), (0, 1));
    assert_eq!(dead_letters.try_recv().unwrap().reason(), &DeadLetterReason::Unheard);
}

#[test]
fn p11_a_filter_that_panics_does_not_match_and_is_counted() {
    let bus = Bus::<u32>::new();
    let picky = bus.subscription("number").filter(|number| 10 / number > 0).open().unwrap();
    let all = bus.subscribe("number").unwrap();
    assert_eq!(counts(bus.publish("number", 0).unwrap()), (1, 0));
    assert_eq!(counts(bus.publish("number", 5).unwrap()), (2, 0));
    assert_eq!((taken(&picky), taken(&all)), (vec![5], vec![0, 5]));
    assert_eq!((bus.stats().filter_panics, bus.stats().dropped, picky.dropped()), (1, 0, 0));
}

#[test]
fn p12_a_single_subscriber_gets_the_original_payload() {
    let bus = Bus::<Counted>::new();
    for pattern in ["one", "*"] {
        let subscriber = bus.subscribe(pattern).unwrap();
        let (payload, clones) = Counted::new();
        bus.publish("one", payload).unwrap();
        let received = subscriber.try_recv().unwrap().into_payload();
        assert!(received.is_original);
        assert_eq!(clones.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn p12_eight_subscribers_cost_seven_clones() {
    let bus = Bus::<Counted>::new();
    let publisher = bus.publisher("eight").unwrap();
    let subscribers: Vec<_> =
        ["eight", "*"].iter().cycle().take(8).map(|pattern| bus.subscribe(*pattern).unwrap()).collect();
    // A filter that rejects costs no clone, wherever it stands.
    let _rejecting = bus.subscription("eight").filter(|_| false).open().unwrap();
    let (payload, clones) = Counted::new();
    assert_eq!(publisher.publish(payload).unwrap().delivered(), 8);
    let originals = subscribers.iter().filter(|subscriber| subscriber.try_recv().unwrap().is_original).count();
    assert_eq!((clones.load(Ordering::SeqCst), originals), (7, 1));
}

#[test]
fn p12_waiting_for_room_costs_no_more_clones() {
    within_limit(|| {
        let bus = Bus::<Counted>::builder().capacity(1).build();
        let publisher = bus.publisher("nine").unwrap();
        let full: Vec<_> = (0..8).map(|_| bus.subscribe("nine").unwrap()).collect();
        publisher.publish(Counted::new().0).unwrap();
        // The last has room: when it has the message, all the others were found full.
        let with_room = bus.subscribe("nine").unwrap();
        let (payload, clones) = Counted::new();
        let publishing = thread::spawn(move || publisher.publish(payload).unwrap());
        let mut received = vec![with_room.recv_timeout(LONG).unwrap()];
        for subscriber in &full {
            drop(subscriber.recv_timeout(LONG).unwrap());
        }
        received.extend(full.iter().map(|subscriber| subscriber.recv_timeout(LONG).unwrap()));
        assert_eq!(counts(publishing.join().unwrap()), (9, 0));
        assert_eq!(received.iter().filter(|message| message.is_original).count(), 1);
        assert_eq!(clones.load(Ordering::SeqCst), 8);
    });
}

/// What threads may do with the public types. What must not compile is shown by compile-fail examples in the
/// documentation.
#[test]
fn p13_public_types_are_send_sync_and_unpin() {
    use tramline::*;

    fn send<T: Send>() {}
    fn send_sync_unpin<T: Send + Sync + Unpin>() {}
    fn unpin<T: Unpin>() {}

    /// `Send`, and not `Sync`, as payloads and replies may be.
    type Loner = Cell<u32>;

    send_sync_unpin::<Bus<Loner>>();
    send_sync_unpin::<WeakBus<Loner>>();
    send_sync_unpin::<BusBuilder<Loner>>();
    send_sync_unpin::<Publisher<Loner>>();
    send_sync_unpin::<Subscriber<Loner>>();
    send_sync_unpin::<Iter<'static, Loner>>();
    send_sync_unpin::<TryIter<'static, Loner>>();
    send_sync_unpin::<SubscriptionBuilder<Loner>>();
    send_sync_unpin::<SubscriptionBuilder<Loner, Loner, ManyWorkers>>();
    send_sync_unpin::<OneWorker>();
    send_sync_unpin::<ManyWorkers>();
    send_sync_unpin::<Handler>();
    send_sync_unpin::<Retry>();
    send_sync_unpin::<StopReport>();
    send_sync_unpin::<DrainReport>();
    send_sync_unpin::<Delivery>();
    send_sync_unpin::<Overflow>();
    send_sync_unpin::<BusStats>();
    send_sync_unpin::<SubscriptionStats>();
    send_sync_unpin::<DeadLetters<Loner>>();
    send_sync_unpin::<DeadLetterReason>();
    send_sync_unpin::<PendingReply<Loner>>();
    send_sync_unpin::<Replies<Loner>>();
    send_sync_unpin::<Responder<Loner>>();
    send_sync_unpin::<Topic>();
    send_sync_unpin::<Pattern>();
    send_sync_unpin::<TopicError>();
    send_sync_unpin::<InvalidToken>();
    send_sync_unpin::<SubscribeError>();
    send_sync_unpin::<RecvError>();
    send_sync_unpin::<TryRecvError>();
    send_sync_unpin::<RecvTimeoutError>();
    send_sync_unpin::<GatherError>();

    // These hold a payload or a reply, and are as `Sync` as that is.
    send::<Message<Loner>>();
    send::<DeadLetter<Loner>>();
    send::<PublishError<Loner>>();
    send::<Unsent<Loner>>();
    send::<RequestError<Loner>>();
    send::<RespondError<Loner>>();
    send::<ReplyError<Loner>>();
    unpin::<Message<Loner>>();
    unpin::<DeadLetter<Loner>>();
    unpin::<PublishError<Loner>>();
    unpin::<RequestError<Loner>>();
    unpin::<RespondError<Loner>>();
    unpin::<ReplyError<Loner>>();
    send_sync_unpin::<Message<u32, Loner>>();
    send_sync_unpin::<DeadLetter<u32>>();
    send_sync_unpin::<PublishError<u32>>();
    send_sync_unpin::<Unsent<u32>>();
    send_sync_unpin::<RequestError<u32>>();
    send_sync_unpin::<RespondError<u32>>();
    send_sync_unpin::<ReplyError<u32>>();
}

#[test]
fn p13_payloads_and_replies_need_not_be_sync() {
    within_limit(|| {
        /// A reply that is neither `Sync` nor `Clone`.
        struct Answer(Cell<u32>);

        let bus = Bus::<Cell<u32>, Answer>::builder().build();
        let subscribers =
            [bus.subscribe("cell").unwrap(), bus.subscription("*").filter(|n| n.get() < 9).open().unwrap()];
        let publisher = bus.publisher("cell").unwrap();
        let publishing = thread::spawn(move || publisher.publish(Cell::new(7)).unwrap());
        assert_eq!(counts(publishing.join().unwrap()), (2, 0));
        for subscriber in subscribers {
            let received = thread::spawn(move || subscriber.recv().unwrap().into_payload());
            assert_eq!(received.join().unwrap().get(), 7);
        }

        let _server = bus.subscription("double").workers(2).serve(|n| Answer(Cell::new(2 * n.get()))).unwrap();
        let answer = bus.request("double", Cell::new(21)).unwrap().wait_timeout(LONG).unwrap();
        assert_eq!(answer.0.get(), 42);

        bus.publish_retained("kept", Cell::new(5)).unwrap();
        assert_eq!(bus.subscription("kept").with_retained().open().unwrap().recv().unwrap().get(), 5);
        let dead_letters = bus.dead_letters();
        bus.fire("nobody.listens", Cell::new(3));
        assert_eq!(dead_letters.recv().unwrap().into_payload().get(), 3);
    });
}

#[test]
fn p14_publishers_made_without_a_subscriber_reach_a_later_one() {
    let bus = Bus::<u32>::new();
    let before_the_first = bus.publisher("a.b").unwrap();
    assert!(before_the_first.publish(0).unwrap().is_unheard());
    drop(bus.subscribe("a.b").unwrap());
    drop(bus.subscribe("a.*").unwrap());
    let after_the_last = bus.publisher("a.b").unwrap();
    for pattern in ["a.b", "a.*", ">"] {
        let later = bus.subscribe(pattern).unwrap();
        assert_eq!(counts(before_the_first.publish(1).unwrap()), (1, 0));
        assert_eq!(counts(after_the_last.publish(2).unwrap()), (1, 0));
        assert_eq!(counts(after_the_last.clone().publish(3).unwrap()), (1, 0));
        assert_eq!(taken(&later), [1, 2, 3]);
    }
}

#[test]
fn a_subscription_of_a_hundred_patterns_gets_one_copy_and_leaves_nothing_behind() {
    let bus = Bus::<u32>::new();
    let standing = bus.publisher("topic.7").unwrap();
    let mut builder = bus.subscription("*.7").also("topic.>");
    for number in 0..98 {
        builder = builder.also(format!("topic.{number}"));
    }
    let subscriber = builder.open().unwrap();
    assert_eq!(subscriber.patterns().len(), 100);
    for number in 0..98 {
        assert_eq!(counts(bus.publish(format!("topic.{number}"), number).unwrap()), (1, 0));
    }
    assert_eq!(counts(standing.publish(98).unwrap()), (1, 0));
    assert_eq!(taken(&subscriber), (0..99).collect::<Vec<_>>());
    drop(subscriber);
    assert!(standing.publish(99).unwrap().is_unheard());
    drop(standing);
    assert_eq!((bus.stats().topics, bus.stats().subscriptions.len()), (0, 0));
}

/// A payload that publishes a number when it is dropped, unless it is such a number itself.
#[derive(Clone)]
enum Echo {
    Loud(Arc<Publisher<Echo>>, u32),
    Quiet(u32),
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Self::Loud(publisher, number) = self {
            publisher.fire(Self::Quiet(*number));
        }
    }
}

#[test]
fn a_payload_may_publish_when_it_is_dropped() {
    within_limit(|| {
        let bus = Bus::<Echo>::new();
        let echoes = bus.subscribe("echo").unwrap();
        let publisher = Arc::new(bus.publisher("echo").unwrap());
        let loud = |number| Echo::Loud(Arc::clone(&publisher), number);
        let echoed = || match &*echoes.recv_timeout(LONG).unwrap() {
            Echo::Quiet(number) => *number,
            Echo::Loud(..) => panic!("only quiet payloads go to this topic"),
        };

        // Nobody wants it.
        bus.publish("nobody.listens", loud(1)).unwrap();
        assert_eq!(echoed(), 1);
        // It is evicted, refused, and left in the mailbox of a subscriber that goes.
        for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Disconnect] {
            let full = bus.subscription("full").capacity(1).overflow(overflow).open().unwrap();
            bus.publish("full", loud(2)).unwrap();
            bus.publish("full", loud(3)).unwrap();
            assert_eq!(echoed(), if overflow == Overflow::DropOldest { 2 } else { 3 }, "{overflow:?}");
            assert_eq!(full.unsubscribe(), 1);
            assert_eq!(echoed(), if overflow == Overflow::DropOldest { 3 } else { 2 }, "{overflow:?}");
        }
        // It is replaced as the last value, and forgotten.
        bus.publish_retained("kept", loud(4)).unwrap();
        assert_eq!(echoed(), 4, "the copy that nobody wanted");
        bus.publish_retained("kept", Echo::Quiet(0)).unwrap();
        assert_eq!(echoed(), 4, "the copy that was kept");
    });
}

#[test]
fn a_filter_may_use_the_bus() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let inner: Arc<OnceLock<WeakBus<u32>>> = Arc::default();
        let (opened, subscribers) = channel();
        let weak = Arc::clone(&inner);
        let _filtered = bus
            .subscription("outer")
            .filter(move |number| {
                let bus = weak.get().unwrap().upgrade().unwrap();
                opened.send(bus.subscribe("outer").unwrap()).unwrap();
                bus.publish("inner", *number).unwrap().delivered() == 1
            })
            .open()
            .unwrap();
        inner.set(bus.downgrade()).unwrap();
        let heard = bus.subscribe("inner").unwrap();
        assert_eq!(counts(bus.publish("outer", 1).unwrap()), (1, 0));
        assert_eq!(taken(&heard), [1]);
        // The subscription that the filter made begins after the message that it was asked about.
        let made_inside = subscribers.recv().unwrap();
        assert_eq!(counts(bus.publish("outer", 2).unwrap()), (2, 0));
        assert_eq!(taken(&made_inside), [2]);
    });
}

#[test]
fn a_filter_that_is_not_used_is_dropped_outside_of_the_lock() {
    within_limit(|| {
        // The closure owns the last publisher of a topic and a subscriber: both go back to the bus when it is dropped.
        let owning = |bus: &Bus<u32>| {
            let owned = (bus.publisher("owned.topic").unwrap(), bus.subscribe("owned.other").unwrap());
            move |_: &u32| !owned.1.patterns().is_empty() && owned.0.subscriber_count() == 0
        };
        let bus = Bus::<u32>::new();
        let _first = bus.subscription("jobs").group("workers").filter(owning(&bus)).open().unwrap();
        assert!(bus.subscription("jobs").group("workers").filter(owning(&bus)).open().unwrap_err().is_group_mismatch());
        assert!(bus.subscription("jobs").group("workers").capacity(1).filter(owning(&bus)).open().is_err());
        assert_eq!(bus.stats().subscriptions.len(), 2, "the group, and the subscriber of the filter that is used");

        let filter = owning(&bus);
        bus.close();
        assert!(bus.subscription("late").filter(filter).open().unwrap_err().is_closed());
    });
}

#[test]
fn what_is_queued_when_its_reader_goes_is_counted() {
    let bus = Bus::<u32>::new();
    let subscriber = bus.subscribe("work").unwrap();
    let member = bus.subscription("work").group("g").open().unwrap();
    for number in 0..3 {
        bus.publish("work", number).unwrap();
    }
    drop(subscriber);
    assert_eq!(bus.stats().abandoned, 3);
    assert_eq!(member.unsubscribe(), 3);
    assert_eq!((bus.stats().abandoned, bus.stats().dropped), (6, 0));
}

#[test]
fn p15_what_a_filter_publishes_comes_before_the_message_that_it_sees() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (one, two) = (bus.subscribe("work").unwrap(), bus.subscribe("work").unwrap());
        let own = bus.downgrade();
        let publishing = move |n: &u32| {
            if *n == 1 {
                own.upgrade().unwrap().publish("work", 2).unwrap();
            }
            true
        };
        let three = bus.subscription("work").filter(publishing).open().unwrap();
        assert_eq!(bus.publish("work", 1).unwrap().delivered(), 3);
        assert_eq!([one, two, three].map(|subscriber| taken(&subscriber)), [[2, 1], [2, 1], [2, 1]]);
    });
}
