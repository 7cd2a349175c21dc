//! A1: publish-subscribe, see the section P.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::{Stream, StreamExt};
use tramline::{Bus, DeadLetterReason, PendingReply, Replies, Subscriber};

use crate::runtime::{Runtime, Task, on_every_runtime};
use crate::support::{ByHand, Counted, InOrder, Numbered, counts, taken};

/// Takes this many messages and checks that the numbers of each publisher come in order, with none left out.
async fn receive_in_order(subscriber: &Subscriber<Numbered>, count: usize) {
    let mut order = InOrder::default();
    for _ in 0..count {
        order.check(subscriber.recv_async().await.unwrap().into_payload());
    }
    assert!(subscriber.is_empty(), "no more than {count} messages");
}

async fn all<O>(tasks: impl IntoIterator<Item = Task<O>>) -> Vec<O> {
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(task.await);
    }
    outputs
}

on_every_runtime![
    a01_p01_one_subscriber_gets_all_in_order_on_the_right_topic,
    a01_p02_fifty_publishers_reach_fifty_subscribers,
    a01_p03_each_of_twenty_topics_has_its_own_subscriber,
    a01_p04_a_pattern_subscriber_gets_each_publishers_messages_in_order,
    a01_p05_order_is_kept_across_topics,
    a01_p06_several_matching_patterns_give_one_copy,
    a01_p07_two_subscriptions_are_two_mailboxes,
    a01_p08_a_subscriber_gets_later_messages_and_no_earlier_ones,
    a01_p08_subscribing_while_others_publish_misses_nothing_published_afterwards,
    a01_p09_ten_subscribers_leave_at_once_and_the_others_lose_nothing,
    a01_p10_publishing_without_subscribers_is_not_an_error_and_leaves_nothing_behind,
    a01_p11_a_rejected_message_is_neither_delivered_nor_dropped,
    a01_p11_a_filter_that_panics_does_not_match_and_is_counted,
    a01_p12_eight_subscribers_cost_seven_clones_and_one_none,
    a01_p12_waiting_for_room_costs_one_clone_more_at_most,
    a01_p13_payloads_and_replies_need_not_be_sync,
    a01_p14_publishers_made_without_a_subscriber_reach_a_later_one,
    a01_messages_are_received_in_batches,
    a01_a_retained_value_reaches_present_and_later_subscribers,
];

async fn a01_p01_one_subscriber_gets_all_in_order_on_the_right_topic(runtime: impl Runtime) {
    let bus = Bus::<String>::new();
    let subscriber = bus.subscribe("orders.new").unwrap();
    let receiving = runtime.spawn(async move {
        for number in 0..100 {
            let message = subscriber.recv_async().await.unwrap();
            assert_eq!(message.payload(), &format!("order {number}"));
            assert_eq!(message.topic(), &"orders.new");
            assert_eq!((message.lost_before(), message.is_request()), (0, false));
        }
        assert!(subscriber.recv_async().await.unwrap_err().is_closed());
    });
    for number in 0..100 {
        assert_eq!(counts(bus.publish_async("orders.new", format!("order {number}")).await.unwrap()), (1, 0));
    }
    bus.close();
    receiving.await;
}

async fn a01_p02_fifty_publishers_reach_fifty_subscribers(runtime: impl Runtime) {
    // Less than all, so that publishers wait.
    let bus = Bus::<Numbered>::builder().capacity(100).build();
    let receiving: Vec<_> = (0..50)
        .map(|_| {
            let subscriber = bus.subscribe("load").unwrap();
            runtime.spawn(async move { receive_in_order(&subscriber, 2000).await })
        })
        .collect();
    let publishing = (0..50).map(|publisher| {
        let load = bus.publisher("load").unwrap();
        runtime.spawn(async move {
            for number in 0..40 {
                assert_eq!(counts(load.publish_async((publisher, number)).await.unwrap()), (50, 0));
            }
        })
    });
    all(publishing.collect::<Vec<_>>()).await;
    all(receiving).await;
}

async fn a01_p03_each_of_twenty_topics_has_its_own_subscriber(runtime: impl Runtime) {
    let bus = Bus::<Numbered>::builder().capacity(10).build();
    let receiving: Vec<_> = (0..20)
        .map(|topic| {
            let mut subscriber = bus.subscribe(format!("topic.{topic}")).unwrap();
            runtime.spawn(async move {
                for number in 0..100 {
                    assert_eq!(subscriber.next().await.unwrap().into_payload(), (topic, number));
                }
                assert!(subscriber.next().await.is_none());
            })
        })
        .collect();
    for number in 0..100 {
        for topic in 0..20 {
            let delivery = bus.publish_async(format!("topic.{topic}"), (topic, number)).await;
            assert_eq!(counts(delivery.unwrap()), (1, 0));
        }
    }
    drop(bus);
    all(receiving).await;
}

async fn a01_p04_a_pattern_subscriber_gets_each_publishers_messages_in_order(runtime: impl Runtime) {
    let bus = Bus::<Numbered>::new();
    let subscriber = bus.subscribe("from.*").unwrap();
    let publishing: Vec<_> = (0..16)
        .map(|publisher| {
            let own = bus.publisher(format!("from.{publisher}")).unwrap();
            runtime.spawn(async move {
                for number in 0..1000 {
                    assert_eq!(counts(own.publish_async((publisher, number)).await.unwrap()), (1, 0));
                }
            })
        })
        .collect();
    receive_in_order(&subscriber, 16_000).await;
    all(publishing).await;
}

async fn a01_p05_order_is_kept_across_topics(runtime: impl Runtime) {
    let bus = Bus::<usize>::new();
    // Little, so that the publisher has to wait now and then.
    let subscriber = bus.subscription("side.*").capacity(16).open().unwrap();
    let sides = ["side.left", "side.right"];
    let publishers = sides.map(|side| bus.publisher(side).unwrap());
    let publishing = runtime.spawn(async move {
        for number in 0..2000 {
            assert_eq!(counts(publishers[number % 2].publish_async(number).await.unwrap()), (1, 0));
        }
    });
    for number in 0..2000 {
        let message = subscriber.recv_async().await.unwrap();
        assert_eq!((*message, message.topic().as_str()), (number, sides[number % 2]));
    }
    publishing.await;
}

async fn a01_p06_several_matching_patterns_give_one_copy(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let before = bus.publisher("a.b").unwrap();
    let subscriber = bus.subscription("a.b").also("a.*").also("*.b").also("a.>").also(">").also("a.b").open().unwrap();
    let after = bus.publisher("a.b").unwrap();
    assert_eq!(counts(before.publish_async(1).await.unwrap()), (1, 0));
    assert_eq!(counts(after.publish_async(2).await.unwrap()), (1, 0));
    assert_eq!(counts(bus.publish_async("a.b", 3).await.unwrap()), (1, 0));
    assert_eq!(counts(bus.publish_async("x.b", 4).await.unwrap()), (1, 0));
    assert_eq!(taken(&subscriber), [1, 2, 3, 4]);
}

async fn a01_p07_two_subscriptions_are_two_mailboxes(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let (first, second) = (bus.subscribe("news").unwrap(), bus.subscribe("news").unwrap());
    assert_eq!(counts(bus.publish_async("news", 1).await.unwrap()), (2, 0));
    assert_eq!(*first.recv_async().await.unwrap(), 1);
    assert_eq!(first.unsubscribe(), 0);
    assert_eq!(counts(bus.publish_async("news", 2).await.unwrap()), (1, 0));
    for number in 1..=2 {
        assert_eq!(*second.recv_async().await.unwrap(), number);
    }
}

async fn a01_p08_a_subscriber_gets_later_messages_and_no_earlier_ones(runtime: impl Runtime) {
    for _ in 0..100 {
        let bus = Bus::<u32>::new();
        let counter = bus.publisher("count").unwrap();
        counter.publish_async(0).await.unwrap();
        let late = bus.subscribe("count").unwrap();
        let late_pattern = bus.subscribe("*").unwrap();
        // In another task, which learns of the subscription by nothing but being spawned.
        let publishing = runtime.spawn(async move {
            counter.publish_async(1).await.unwrap();
            counter.publish_async(2).await.unwrap();
        });
        publishing.await;
        assert_eq!(taken(&late), [1, 2]);
        assert_eq!(taken(&late_pattern), [1, 2]);
    }
}

async fn a01_p08_subscribing_while_others_publish_misses_nothing_published_afterwards(runtime: impl Runtime) {
    let bus = Bus::<usize>::new();
    // What is published from now on has at least this number.
    let next = Arc::new(AtomicUsize::new(0));
    let counter = bus.publisher("count").unwrap();
    let published = Arc::clone(&next);
    let publishing = runtime.spawn(async move {
        for number in 0.. {
            if counter.publish_async(number).await.is_err() {
                break;
            }
            published.store(number + 1, Ordering::SeqCst);
            // Where there is one thread for all, nobody else comes to his turn otherwise.
            futures_lite::future::yield_now().await;
        }
    });
    for pattern in ["count", "*", ">"].into_iter().cycle().take(300) {
        let subscriber = bus.subscribe(pattern).unwrap();
        // The message of this number may be on its way already, all later ones must come.
        let from = next.load(Ordering::SeqCst) + 1;
        let first = subscriber.recv_async().await.unwrap().into_payload();
        assert!(first <= from, "{first} came first, {from} was published after the subscription");
        for number in first + 1..first + 10 {
            assert_eq!(*subscriber.recv_async().await.unwrap(), number);
        }
    }
    bus.close();
    publishing.await;
}

async fn a01_p09_ten_subscribers_leave_at_once_and_the_others_lose_nothing(runtime: impl Runtime) {
    for _ in 0..10 {
        let bus = Bus::<Numbered>::builder().capacity(16).build();
        let open = |pattern| bus.subscribe(pattern).unwrap();
        // Some before and some after those that stay.
        let mut leaving = Vec::from(["news.tea", "news.>", "news.tea", "*.tea", "news.tea"].map(open));
        let staying = [open("news.tea"), open("news.*")];
        leaving.extend(["news.tea", "news.>", "news.tea", "*.tea", "news.tea"].map(open));
        let left = leaving.into_iter().map(|subscriber| {
            runtime.spawn(async move {
                // In the middle of the stream.
                let _ = subscriber.recv_async().await.unwrap();
                drop(subscriber);
            })
        });
        let left: Vec<_> = left.collect();
        let publishing: Vec<_> = (0..4)
            .map(|publisher| {
                let news = bus.publisher("news.tea").unwrap();
                runtime.spawn(async move {
                    for number in 0..250 {
                        assert!(news.publish_async((publisher, number)).await.unwrap().delivered() >= 2);
                    }
                })
            })
            .collect();
        let staying = staying.map(|subscriber| {
            runtime.spawn(async move {
                receive_in_order(&subscriber, 1000).await;
                subscriber
            })
        });
        all(left).await;
        all(publishing).await;
        let _staying = all(staying).await;
        assert_eq!(bus.publisher("news.tea").unwrap().subscriber_count(), 2);
        assert_eq!((bus.stats().subscriptions.len(), bus.stats().dropped), (2, 0));
    }
}

async fn a01_p10_publishing_without_subscribers_is_not_an_error_and_leaves_nothing_behind(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let delivery = bus.publish_async("nobody.listens", 7).await.unwrap();
    assert!(delivery.is_unheard());
    assert_eq!(counts(delivery), (0, 0));
    let letters: Vec<_> = dead_letters.try_iter().collect();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].topic().as_str(), *letters[0].payload()), ("nobody.listens", 7));
    assert_eq!((letters[0].reason(), letters[0].attempts()), (&DeadLetterReason::Unheard, 0));
    let stats = bus.stats();
    assert_eq!((stats.unheard, stats.dead_letters, stats.dropped), (1, 1, 0));
    assert_eq!((stats.topics, stats.subscriptions.len()), (0, 0));
    assert!(bus.publish_async("not..a.topic", 8).await.unwrap_err().is_invalid_topic());
}

async fn a01_p11_a_rejected_message_is_neither_delivered_nor_dropped(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let even = bus.subscription("number").filter(|number| number % 2 == 0).open().unwrap();
    let all = bus.subscribe("number").unwrap();
    assert_eq!(counts(bus.publish_async("number", 1).await.unwrap()), (1, 0));
    assert_eq!(counts(bus.publish_async("number", 2).await.unwrap()), (2, 0));
    assert_eq!(*even.recv_async().await.unwrap(), 2);
    assert_eq!((taken(&even), taken(&all)), (vec![], vec![1, 2]));
    assert_eq!((even.dropped(), bus.stats().dropped, bus.stats().subscriptions[0].delivered), (0, 0, 1));
    drop(all);
    assert!(bus.publish_async("number", 3).await.unwrap().is_unheard());

    // A retained value goes through the filter when it is received.
    bus.publisher("kept").unwrap().publish_retained_async(3).await.unwrap();
    let picky = bus.subscription("kept").filter(|number| number % 2 == 0).with_retained().open().unwrap();
    let mut receiving = ByHand::waiting(picky.recv_async());
    assert!(receiving.poll().is_pending());
    bus.publish_async("kept", 4).await.unwrap();
    assert_eq!(*receiving.woken().unwrap(), 4);
}

async fn a01_p11_a_filter_that_panics_does_not_match_and_is_counted(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let picky = bus.subscription("number").filter(|number| 10 / number > 0).open().unwrap();
    let all = bus.subscribe("number").unwrap();
    assert_eq!(counts(bus.publish_async("number", 0).await.unwrap()), (1, 0));
    assert_eq!(counts(bus.publish_async("number", 5).await.unwrap()), (2, 0));
    assert_eq!((taken(&picky), taken(&all)), (vec![5], vec![0, 5]));
    assert_eq!((bus.stats().filter_panics, bus.stats().dropped, picky.dropped()), (1, 0, 0));
}

async fn a01_p12_eight_subscribers_cost_seven_clones_and_one_none(_: impl Runtime) {
    let bus = Bus::<Counted>::new();
    let publisher = bus.publisher("eight").unwrap();
    let _rejecting = bus.subscription("eight").filter(|_| false).open().unwrap();
    for count in [1, 8] {
        let subscribers: Vec<_> =
            ["eight", "*"].iter().cycle().take(count).map(|pattern| bus.subscribe(*pattern).unwrap()).collect();
        let (payload, clones) = Counted::new();
        assert_eq!(publisher.publish_async(payload).await.unwrap().delivered(), count);
        let mut originals = 0;
        for subscriber in &subscribers {
            originals += usize::from(subscriber.recv_async().await.unwrap().into_payload().is_original);
        }
        assert_eq!((clones.load(Ordering::SeqCst), originals), (count - 1, 1));
    }
}

/// Publisher tasks are polled with a copy in hand that a mailbox did not take; it is used for the next.
async fn a01_p12_waiting_for_room_costs_one_clone_more_at_most(runtime: impl Runtime) {
    let bus = Bus::<Counted>::builder().capacity(1).build();
    let publisher = bus.publisher("nine").unwrap();
    let full: Vec<_> = (0..8).map(|_| bus.subscribe("nine").unwrap()).collect();
    publisher.publish_async(Counted::new().0).await.unwrap();
    let with_room = bus.subscribe("nine").unwrap();
    let (payload, clones) = Counted::new();
    let publishing = runtime.spawn(async move { publisher.publish_async(payload).await.unwrap() });
    let mut received = vec![with_room.recv_async().await.unwrap()];
    for subscriber in &full {
        drop(subscriber.recv_async().await.unwrap());
        // The other half comes all at once.
        if received.len() < 4 {
            received.push(subscriber.recv_async().await.unwrap());
        }
    }
    for subscriber in &full[3..] {
        received.push(subscriber.recv_async().await.unwrap());
    }
    assert_eq!(counts(publishing.await), (9, 0));
    assert_eq!(received.iter().filter(|message| message.is_original).count(), 1);
    assert_eq!(clones.load(Ordering::SeqCst), 8);
}

/// A reply that is neither `Sync` nor `Clone`.
struct Answer(Cell<u32>);

async fn a01_p13_payloads_and_replies_need_not_be_sync(runtime: impl Runtime) {
    let bus = Bus::<Cell<u32>, Answer>::builder().build();
    let subscriber = bus.subscription("*").filter(|n| n.get() < 9).open().unwrap();
    let publisher = bus.publisher("cell").unwrap();
    let publishing = runtime.spawn(async move { publisher.publish_async(Cell::new(7)).await.unwrap() });
    assert_eq!(counts(publishing.await), (1, 0));
    let received = runtime.spawn(async move { subscriber.recv_async().await.unwrap().into_payload() });
    assert_eq!(received.await.get(), 7);

    let service = bus.subscribe("double").unwrap();
    let serving = runtime.spawn(async move {
        for _ in 0..2 {
            let message = service.recv_async().await.unwrap();
            assert!(message.reply(Answer(Cell::new(2 * message.get()))).is_ok());
        }
    });
    let asking = bus.clone();
    let answer = runtime.spawn(async move { asking.request_async("double", Cell::new(21)).await.unwrap().await });
    assert_eq!(answer.await.unwrap().0.get(), 42);
    let answers = runtime.spawn(async move { bus.gather_async("double", Cell::new(4)).await.unwrap().next().await });
    assert_eq!(answers.await.unwrap().unwrap().0.get(), 8);
    serving.await;
}

/// Payloads and replies are `Send`, and not `Sync`.
#[test]
fn a01_p13_all_futures_are_send() {
    type Loner = Cell<u32>;

    fn send<T: Send>(_: T) {}
    fn send_future<T: Future + Send + Unpin>() {}
    fn send_stream<T: Stream + Send + Sync + Unpin>() {}

    send_future::<PendingReply<Loner>>();
    send_stream::<Replies<Loner>>();
    send_stream::<Subscriber<Loner>>();

    let bus = Bus::<Loner>::new();
    let mut subscriber = bus.subscribe("a").unwrap();
    let publisher = bus.publisher("a").unwrap();
    send(subscriber.recv_async());
    send(subscriber.recv_many_async(&mut Vec::new(), 1));
    send(subscriber.next());
    send(publisher.publish_async(Cell::new(1)));
    send(publisher.publish_retained_async(Cell::new(1)));
    send(publisher.request_async(Cell::new(1)));
    send(publisher.gather_async(Cell::new(1)));
    send(bus.publish_async("a", Cell::new(1)));
    send(bus.request_async("a".to_owned(), Cell::new(1)));
    send(bus.gather_async("a", Cell::new(1)));
    // None of these was polled, so none has done anything.
    assert!(subscriber.is_empty());
    assert!(bus.retained("a").is_none());
}

async fn a01_p14_publishers_made_without_a_subscriber_reach_a_later_one(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let before_the_first = bus.publisher("a.b").unwrap();
    assert!(before_the_first.publish_async(0).await.unwrap().is_unheard());
    drop(bus.subscribe("a.b").unwrap());
    drop(bus.subscribe("a.*").unwrap());
    let after_the_last = bus.publisher("a.b").unwrap();
    for pattern in ["a.b", "a.*", ">"] {
        let later = bus.subscribe(pattern).unwrap();
        // A future looks for subscribers when it is polled, not when it is made.
        let made_before = before_the_first.publish_async(1);
        let even_later = bus.subscribe(pattern).unwrap();
        assert_eq!(counts(made_before.await.unwrap()), (2, 0));
        assert_eq!(counts(after_the_last.publish_async(2).await.unwrap()), (2, 0));
        assert_eq!((taken(&later), taken(&even_later)), (vec![1, 2], vec![1, 2]));
    }
}

async fn a01_messages_are_received_in_batches(runtime: impl Runtime) {
    let bus = Bus::<u32>::builder().capacity(8).build();
    let subscriber = bus.subscribe("work").unwrap();
    let publisher = bus.publisher("work").unwrap();
    drop(bus);
    let publishing = runtime.spawn(async move {
        for number in 0..1000 {
            publisher.publish_async(number).await.unwrap();
        }
    });
    let mut received = Vec::new();
    assert_eq!(subscriber.recv_many_async(&mut received, 0).await, Ok(0));
    let end = loop {
        let before = received.len();
        match subscriber.recv_many_async(&mut received, 5).await {
            Ok(count) => assert!((1..=5).contains(&count) && received.len() == before + count),
            Err(end) => break end,
        }
    };
    assert!(end.is_closed());
    assert!(received.iter().map(|message| **message).eq(0..1000));
    publishing.await;
}

async fn a01_a_retained_value_reaches_present_and_later_subscribers(runtime: impl Runtime) {
    let bus = Bus::<u32>::builder().capacity(1).build();
    let level = bus.publisher("level").unwrap();
    let there = bus.subscribe("level").unwrap();
    assert_eq!(counts(level.publish_retained_async(1).await.unwrap()), (1, 0));
    let keeping = runtime.spawn(async move { level.publish_retained_async(2).await.unwrap() });
    for number in 1..=2 {
        assert_eq!(*there.recv_async().await.unwrap(), number);
    }
    assert_eq!(counts(keeping.await), (1, 0));
    let late = bus.subscription("level").with_retained().open().unwrap();
    assert_eq!(*late.recv_async().await.unwrap(), 2);
    bus.close();
    let error = bus.publish_async("level", 3).await.unwrap_err();
    assert_eq!((error.is_closed(), error.into_inner()), (true, 3));
}
