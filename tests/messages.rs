//! M: headers, limits and expiry of messages.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use tramline::{
    Bus, DeadLetterReason, HeaderError, Headers, Message, Overflow, PublishError, ReplyError, RequestError, Retry,
};

mod support;

use support::{LONG, SHORT, counts, letters, taken, wait_until, within_limit};

fn tenant<T>(message: &Message<T>) -> Option<String> {
    message.headers().get("tenant").map(str::to_owned)
}

fn acme() -> Option<String> {
    Some("acme".to_owned())
}

#[test]
fn m01_headers_arrive_at_every_mailbox() {
    let bus = Bus::<u32>::new();
    let exact: Vec<_> = (0..4).map(|_| bus.subscribe("order.placed").unwrap()).collect();
    let wild: Vec<_> = (0..4).map(|_| bus.subscribe("order.>").unwrap()).collect();
    assert_eq!(bus.message("order.placed", 7).header("tenant", "acme").publish().unwrap().delivered(), 8);
    for subscriber in exact.iter().chain(&wild) {
        let message = subscriber.recv().unwrap();
        assert_eq!((*message, tenant(&message), message.is_request()), (7, acme(), false));
    }
    // A publisher's message, and a bare one.
    bus.publisher("order.placed").unwrap().message(8).header("tenant", "acme").publish().unwrap();
    bus.publish("order.placed", 9).unwrap();
    for subscriber in exact.iter().chain(&wild) {
        assert_eq!(tenant(&subscriber.recv().unwrap()), acme());
        assert!(subscriber.recv().unwrap().headers().is_empty());
    }
}

#[test]
fn m01_headers_arrive_at_handlers_and_responders_and_in_dead_letters() {
    within_limit(|| {
        let bus = Bus::<u32, Option<String>>::builder().build();
        let dead_letters = bus.dead_letters();
        let (sender, seen) = channel();
        let _handler = bus
            .on("order.placed", move |message| {
                sender.send(message.headers().get("tenant").map(str::to_owned)).unwrap();
                Err::<(), _>("no")
            })
            .unwrap();
        let _server = bus.serve("price", |message| message.headers().get("tenant").map(str::to_owned)).unwrap();
        bus.message("order.placed", 7).header("tenant", "acme").publish().unwrap();
        assert_eq!(seen.recv().unwrap(), acme());
        assert_eq!(dead_letters.recv().unwrap().headers().get("tenant"), Some("acme"));

        assert_eq!(bus.message("price", 7).header("tenant", "acme").request().unwrap().wait().unwrap(), acme());
        let gathered = bus.message("price", 7).header("tenant", "acme").gather().unwrap();
        assert_eq!(gathered.collect_within(LONG), [acme()]);

        bus.message("nobody", 7).header("tenant", "acme").fire();
        assert_eq!(dead_letters.recv().unwrap().headers().get("tenant"), Some("acme"));
        let _full = bus.subscription("full").capacity(1).overflow(Overflow::DropNewest).open().unwrap();
        let _evicting = bus.subscription("evicting").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
        for topic in ["full", "full", "evicting", "evicting"] {
            bus.message(topic, 7).header("tenant", "acme").publish().unwrap();
        }
        for reason in [DeadLetterReason::Full, DeadLetterReason::Evicted] {
            let letter = dead_letters.recv().unwrap();
            assert_eq!((letter.reason(), letter.headers().get("tenant")), (&reason, Some("acme")));
        }
    });
}

#[test]
fn m01_headers_of_a_retained_value_come_with_it() {
    let bus = Bus::<u32>::new();
    let early = bus.subscribe("price.tea").unwrap();
    bus.message("price.tea", 7).header("tenant", "acme").publish_retained().unwrap();
    let late = bus.subscription("price.*").with_retained().open().unwrap();
    for subscriber in [&early, &late] {
        let message = subscriber.recv().unwrap();
        assert_eq!((*message, tenant(&message)), (7, acme()));
    }
    bus.publish_retained("price.tea", 8).unwrap();
    assert!(bus.subscription("price.*").with_retained().open().unwrap().recv().unwrap().headers().is_empty());
}

#[test]
fn m01_headers_of_large_payloads_arrive() {
    type Large = [u8; 8192];
    let bus = Bus::<Large>::new();
    let live = bus.subscribe("frame").unwrap();
    bus.message("frame", [1; 8192]).header("tenant", "acme").publish_retained().unwrap();
    let late = bus.subscription("frame").with_retained().open().unwrap();
    for subscriber in [&live, &late] {
        let message = subscriber.recv().unwrap();
        assert_eq!((message[0], message.headers().get("tenant")), (1, Some("acme")));
    }
    bus.message("frame", [2; 8192]).expires_after(Duration::ZERO).publish().unwrap();
    bus.publish("frame", [3; 8192]).unwrap();
    let message = live.recv().unwrap();
    assert_eq!((message[0], message.lost_before()), (3, 1));
}

#[test]
fn m01_invalid_headers_are_errors_that_return_the_payload() {
    let bus = Bus::<u32>::new();
    let subscriber = bus.subscribe("order").unwrap();
    let long = "x".repeat(Headers::MAX_BYTES + 1);
    let invalid: [(&str, &str); 3] = [("", "value"), (&long, "value"), ("name", &long)];
    for (name, value) in invalid {
        let message = || bus.message("order", 7).header(name, value).header("", "the first error is the one to report");
        assert!(matches!(message().publish(), Err(PublishError::Header(_, 7))));
        assert!(matches!(message().publish_retained(), Err(PublishError::Header(_, 7))));
        assert!(matches!(message().request(), Err(RequestError::Header(_, 7))));
        assert!(matches!(message().gather(), Err(RequestError::Header(_, 7))));
        message().fire();
    }
    assert_eq!((bus.stats().dropped, subscriber.len(), bus.retained("order")), (3, 0, None));
    let many = (0..=Headers::MAX_LEN).fold(bus.message("order", 7), |message, n| message.header(n.to_string(), ""));
    let error = many.publish().unwrap_err();
    assert_eq!(error.to_string(), "cannot publish: the message has more than 16 headers");
    assert!(matches!(error, PublishError::Header(HeaderError::TooMany { limit: 16, .. }, 7)));
    // The topic is looked at first.
    assert!(bus.message("order.*", 7).header("", "").publish().unwrap_err().is_invalid_topic());
    let longest = "x".repeat(Headers::MAX_BYTES);
    bus.message("order", 7).header(&longest, &longest).publish().unwrap();
    assert_eq!(subscriber.recv().unwrap().headers().get(&longest), Some(&*longest));
}

#[test]
fn m02_a_publish_with_a_timeout_comes_back() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let stuck = bus.subscription("work").capacity(1).open().unwrap();
        let other = bus.subscribe("work").unwrap();
        bus.publish("work", 1).unwrap();
        let error = bus.message("work", 2).header("tenant", "acme").timeout(SHORT).publish().unwrap_err();
        assert!(error.is_timeout());
        assert_eq!((error.delivery().delivered(), error.into_inner()), (1, 2));
        let error = bus.message("work", 3).timeout(SHORT).publish_retained().unwrap_err();
        assert!(error.is_timeout());
        assert_eq!((error.delivery().delivered(), error.into_inner()), (1, 3));
        assert_eq!((bus.retained("work"), bus.stats().dropped), (Some(3), 0));
        assert_eq!(taken(&other), [1, 2, 3]);
        // What was given up does not come later.
        assert_eq!(taken(&stuck), [1]);
        bus.message("work", 4).timeout(SHORT).publish_retained().unwrap();
        assert_eq!(taken(&stuck), [4]);
    });
}

#[test]
fn m02_a_publish_with_a_timeout_gets_room_in_time() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let slow = bus.subscription("work").capacity(1).open().unwrap();
        bus.publish("work", 1).unwrap();
        thread::scope(|scope| {
            let publisher = scope.spawn(|| bus.message("work", 2).header("tenant", "acme").timeout(LONG).publish());
            assert_eq!(*slow.recv().unwrap(), 1);
            assert_eq!(tenant(&slow.recv().unwrap()), acme());
            assert_eq!(publisher.join().unwrap().unwrap().delivered(), 1);
        });
    });
}

#[test]
fn m02_no_wait_counts_full_mailboxes_as_dropped() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let stuck = bus.subscription("work").capacity(1).open().unwrap();
        bus.publish("work", 1).unwrap();
        let no_wait = |n| bus.message("work", n).header("tenant", "acme").timeout(LONG).no_wait();
        assert_eq!(counts(no_wait(2).publish().unwrap()), (0, 1));
        assert_eq!(counts(no_wait(3).publish_retained().unwrap()), (0, 1));
        assert!(matches!(no_wait(4).request(), Err(RequestError::NoResponders(4))));
        assert!(matches!(no_wait(5).gather(), Err(RequestError::NoResponders(5))));
        no_wait(6).fire();
        bus.message("work", 7).timeout(LONG).fire();
        assert_eq!((bus.retained("work"), bus.stats().dropped), (Some(3), 6));
        let full = (2..=7).map(|n| (n, DeadLetterReason::Full));
        assert!(letters(&dead_letters).into_iter().eq(full));
        assert_eq!(taken(&stuck), [1]);
        // The later one stands.
        bus.publish("work", 8).unwrap();
        assert!(bus.message("work", 9).no_wait().timeout(SHORT).publish().unwrap_err().is_timeout());
    });
}

#[test]
fn m02_a_request_with_a_timeout_comes_back_from_a_full_responder() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _hangs = bus.subscribe("price").unwrap();
        let mut kept = Vec::new();
        for n in 0..300 {
            match bus.message("price", n).timeout(Duration::from_millis(1)).request() {
                Ok(pending) => match pending.wait() {
                    Err(ReplyError::Timeout(pending)) => kept.push(pending),
                    other => panic!("{other:?}"),
                },
                Err(RequestError::Timeout(payload)) => assert_eq!((payload, kept.len()), (n, 256)),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(kept.len(), 256);
    });
}

#[test]
fn m02_the_timeout_of_a_request_is_for_room_and_reply_together() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let service = bus.subscription("price").capacity(1).open().unwrap();
        let timeout = Duration::from_millis(200);
        bus.publish("price", 0).unwrap();
        thread::scope(|scope| {
            let caller = scope.spawn(|| {
                let began = Instant::now();
                let pending = bus.message("price", 1).timeout(timeout).request().unwrap();
                let Err(ReplyError::Timeout(pending)) = pending.wait() else { panic!("nobody answers") };
                let elapsed = began.elapsed();
                assert!((timeout..2 * timeout).contains(&elapsed), "{elapsed:?}");
                // The time stays over, and another wait has a time of its own.
                let Err(ReplyError::Timeout(pending)) = pending.wait() else { panic!("nobody answers") };
                pending
            });
            // Half of the time goes by in front of the full mailbox.
            let half = Instant::now() + timeout / 2;
            wait_until("half of the time is over", || Instant::now() >= half);
            assert_eq!(*service.recv().unwrap(), 0);
            let request = service.recv().unwrap();
            let pending = caller.join().unwrap();
            request.reply(42).unwrap();
            assert_eq!(pending.wait_timeout(LONG).unwrap(), 42);
        });
    });
}

#[test]
fn m02_a_request_that_one_responder_has_in_time_is_pending() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let stuck = bus.subscription("price").capacity(1).open().unwrap();
        bus.publish("price", 0).unwrap();
        let _server = bus.serve("price", |n| 2 * **n).unwrap();
        let pending = bus.message("price", 21).timeout(SHORT).request().unwrap();
        assert_eq!(pending.wait_timeout(LONG).unwrap(), 42);
        let gathered = bus.message("price", 22).timeout(SHORT).gather().unwrap();
        assert_eq!(gathered.collect_within(LONG), [44]);
        // Those that had no room have lost it.
        assert_eq!(letters(&dead_letters), [(21, DeadLetterReason::Full), (22, DeadLetterReason::Full)]);
        assert_eq!((bus.stats().dropped, stuck.dropped(), stuck.len()), (2, 2, 1));
    });
}

#[test]
fn m02_a_gather_with_a_timeout_comes_back_from_full_responders() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let stuck: Vec<_> = (0..2).map(|_| bus.subscription("bid").capacity(1).open().unwrap()).collect();
        bus.publish("bid", 0).unwrap();
        let error = bus.message("bid", 1).timeout(SHORT).gather().unwrap_err();
        assert!(matches!(error, RequestError::Timeout(1)));
        assert_eq!((bus.stats().dropped, stuck[0].len(), stuck[1].len()), (0, 1, 1));
    });
}

#[test]
fn m02_times_beyond_the_clock_are_no_limit() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _server = bus.serve("double", |n| 2 * **n).unwrap();
        let reply = bus.message("double", 21).timeout(Duration::MAX).expires_after(Duration::MAX).request().unwrap();
        assert_eq!(reply.wait().unwrap(), 42);
        let subscriber = bus.subscribe("work").unwrap();
        bus.message("work", 1).timeout(Duration::MAX).expires_after(Duration::MAX).publish().unwrap();
        bus.message("work", 2).timeout(Duration::MAX).expires_after(Duration::MAX).publish_retained().unwrap();
        assert_eq!(taken(&subscriber), [1, 2]);
    });
}

#[test]
fn m03_an_expired_message_is_not_received() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let subscriber = bus.subscribe("offer").unwrap();
        let expired = |n| bus.message("offer", n).header("tenant", "acme").expires_after(Duration::ZERO);
        expired(1).publish().unwrap();
        assert!(subscriber.try_recv().unwrap_err().is_empty());
        let letter = dead_letters.try_recv().unwrap();
        assert_eq!((letter.reason(), letter.headers().get("tenant")), (&DeadLetterReason::Expired, Some("acme")));
        assert_eq!((letter.handler(), letter.pattern().unwrap().as_str()), (None, "offer"));
        bus.publish("offer", 2).unwrap();
        let message = subscriber.recv().unwrap();
        assert_eq!((*message, message.lost_before()), (2, 1));

        expired(3).publish().unwrap();
        expired(4).publish().unwrap();
        bus.message("offer", 5).expires_after(LONG).publish().unwrap();
        bus.publish("offer", 6).unwrap();
        let received: Vec<_> = subscriber.try_iter().map(|message| (*message, message.lost_before())).collect();
        assert_eq!(received, [(5, 2), (6, 0)]);
        assert_eq!(letters(&dead_letters), [(3, DeadLetterReason::Expired), (4, DeadLetterReason::Expired)]);
        expired(7).publish().unwrap();
        assert!(subscriber.recv_timeout(SHORT).unwrap_err().is_timeout());
        let stats = bus.stats();
        assert_eq!((stats.dropped, stats.abandoned, subscriber.dropped()), (4, 0, 4));
        assert_eq!(stats.subscriptions[0].delivered, 7);
    });
}

#[test]
fn m03_losses_that_an_expired_message_was_to_report_are_reported_by_the_next() {
    let bus = Bus::<u32>::new();
    let small = bus.subscription("work").capacity(2).open().unwrap();
    (0..2).for_each(|n| assert_eq!(counts(bus.publish("work", n).unwrap()), (1, 0)));
    assert_eq!(counts(bus.try_publish("work", 2).unwrap()), (0, 1));
    assert_eq!(taken(&small), [0, 1]);
    bus.message("work", 3).expires_after(Duration::ZERO).publish().unwrap();
    bus.publish("work", 4).unwrap();
    let message = small.recv().unwrap();
    assert_eq!((*message, message.lost_before(), small.dropped()), (4, 2, 2));

    // A payload that waits in a box.
    let bus = Bus::<[u8; 8192]>::new();
    let small = bus.subscription("frame").capacity(1).open().unwrap();
    bus.publish("frame", [0; 8192]).unwrap();
    bus.fire("frame", [1; 8192]);
    let _handled = small.recv().unwrap();
    bus.message("frame", [2; 8192]).expires_after(Duration::ZERO).publish().unwrap();
    assert!(small.try_recv().unwrap_err().is_empty());
    bus.publish("frame", [3; 8192]).unwrap();
    assert_eq!(small.recv().unwrap().lost_before(), 2);
}

#[test]
fn m03_an_expired_message_is_not_handled() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let (entered, entering) = channel();
        let (go_on, gate) = channel::<()>();
        let handler = bus.subscription("offer").name("printer").handle(move |message| {
            entered.send(**message).unwrap();
            gate.recv().unwrap();
        });
        let _handler = handler.unwrap();
        bus.publish("offer", 1).unwrap();
        assert_eq!(entering.recv().unwrap(), 1);
        bus.message("offer", 2).expires_after(Duration::ZERO).publish().unwrap();
        bus.publish("offer", 3).unwrap();
        go_on.send(()).unwrap();
        assert_eq!(entering.recv().unwrap(), 3);
        go_on.send(()).unwrap();
        let letter = dead_letters.recv().unwrap();
        assert_eq!(
            (letter.reason(), letter.handler(), letter.attempts()),
            (&DeadLetterReason::Expired, Some("printer"), 0)
        );
    });
}

#[test]
fn m03_an_expired_request_is_unanswered() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _server = bus.serve("double", |n| 2 * **n).unwrap();
        let ask = || bus.message("double", 21).expires_after(Duration::ZERO);
        assert!(ask().request().unwrap().wait().unwrap_err().is_unanswered());
        assert!(ask().gather().unwrap().collect_within(LONG).is_empty());
        let answered = bus.message("double", 21).expires_after(LONG).request().unwrap();
        assert_eq!(answered.wait().unwrap(), 42);
    });
}

#[test]
fn m03_an_expired_retained_value_is_not_kept() {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    bus.message("price.tea", 1).expires_after(Duration::ZERO).publish_retained().unwrap();
    bus.message("price.milk", 2).expires_after(LONG).publish_retained().unwrap();
    assert_eq!((bus.retained("price.tea"), bus.retained("price.milk")), (None, Some(2)));
    let prices = bus.subscription("price.*").with_retained().open().unwrap();
    assert_eq!((taken(&prices), prices.len()), (vec![2], 0));
    assert_eq!(bus.clear_retained("price.tea"), None);
    assert_eq!(bus.clear_retained("price.milk"), Some(2));
    // Nobody was subscribed, and what is not kept is not lost.
    assert!(letters(&dead_letters).iter().all(|(_, reason)| *reason == DeadLetterReason::Unheard));
    assert_eq!(bus.stats().topics, 0);
}

#[test]
fn m03_a_retained_value_that_expires_in_the_queue_is_skipped() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let time = Duration::from_millis(50);
        bus.message("price", 1).expires_after(time).publish_retained().unwrap();
        let end = Instant::now() + time;
        let prices = bus.subscription("price").with_retained().open().unwrap();
        wait_until("the value has expired", || Instant::now() >= end);
        assert!(prices.try_recv().unwrap_err().is_empty());
        bus.publish("price", 2).unwrap();
        let price = prices.recv().unwrap();
        assert_eq!((*price, price.lost_before(), bus.stats().dropped), (2, 0, 0));
    });
}

#[test]
fn m03_a_message_that_expires_before_there_is_room_is_not_delivered() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let slow = bus.subscription("work").capacity(1).open().unwrap();
        bus.publish("work", 1).unwrap();
        thread::scope(|scope| {
            let publisher = scope.spawn(|| bus.message("work", 2).expires_after(Duration::ZERO).publish());
            assert_eq!(*slow.recv().unwrap(), 1);
            assert_eq!(publisher.join().unwrap().unwrap().delivered(), 1);
        });
        assert!(slow.try_recv().unwrap_err().is_empty());
        assert_eq!(letters(&dead_letters), [(2, DeadLetterReason::Expired)]);
    });
}

#[test]
fn m09_a_letter_names_its_handler() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let fails = |pattern: &str| bus.subscription(pattern.to_owned());
        let _named = fails("order.*").also("other").name("mail").handle(|_| Err::<(), _>("no")).unwrap();
        bus.publish("order.placed", 1).unwrap();
        let letter = dead_letters.recv().unwrap();
        assert_eq!((letter.handler(), letter.pattern().unwrap().as_str()), (Some("mail"), "order.*"));
        bus.publish("other", 1).unwrap();
        assert_eq!(dead_letters.recv().unwrap().pattern().unwrap().as_str(), "other");
        let _unnamed = fails("stock.*").handle(|_| Err::<(), _>("no")).unwrap();
        bus.publish("stock.counted", 1).unwrap();
        assert_eq!(dead_letters.recv().unwrap().handler(), Some("stock.*"));
        bus.publish("nobody", 1).unwrap();
        let letter = dead_letters.recv().unwrap();
        assert_eq!((letter.handler(), letter.pattern()), (None, None));
        assert!(letter.retry().unwrap_err().is_gone());
    });
}

#[test]
fn m09_a_retry_goes_to_the_handler_alone() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let (sender, handled) = channel();
        let retry = Retry::fixed(1, Duration::ZERO);
        let handler = bus.subscription("order").retry(retry).handle(move |message: &Message<u32>| {
            sender.send(tenant(message)).unwrap();
            Err::<(), _>("no")
        });
        let handler = handler.unwrap();
        let other = bus.subscribe("order").unwrap();
        bus.message("order", 7).header("tenant", "acme").expires_after(LONG).publish().unwrap();
        for attempts in [2, 4, 6] {
            let letter = dead_letters.recv().unwrap();
            assert_eq!((letter.attempts(), letter.headers().get("tenant")), (attempts, Some("acme")));
            assert_eq!((handled.recv().unwrap(), handled.recv().unwrap()), (acme(), acme()));
            letter.retry().unwrap();
        }
        assert_eq!(other.len(), 1);
        let letter = dead_letters.recv().unwrap();
        assert!(handler.stop(LONG).is_complete());
        let letter = letter.retry().unwrap_err();
        assert!(letter.is_gone());
        let letter = letter.into_inner();
        bus.close();
        let letter = letter.retry().unwrap_err();
        assert!(letter.is_closed());
        assert_eq!(letter.into_inner().into_payload(), 7);
    });
}

#[test]
fn m09_a_retry_of_a_lost_message_goes_to_the_mailbox_that_lost_it() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let slow = bus.subscription("work").capacity(1).overflow(Overflow::DropNewest).open().unwrap();
        let other = bus.subscribe("work").unwrap();
        bus.publish("work", 1).unwrap();
        bus.publish("work", 2).unwrap();
        let letter = dead_letters.recv().unwrap().retry().unwrap_err();
        assert!(letter.is_full());
        assert_eq!(*slow.recv().unwrap(), 1);
        letter.into_inner().retry().unwrap();
        assert_eq!((*slow.recv().unwrap(), taken(&other)), (2, vec![1, 2]));
        assert!(dead_letters.is_empty());
        assert_eq!(bus.stats().dropped, 1);
    });
}

#[test]
fn m09_a_retry_waits_for_room_and_hears_of_the_end() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let slow = bus.subscription("work").capacity(1).open().unwrap();
        bus.publish("work", 1).unwrap();
        bus.fire("work", 2);
        bus.fire("work", 3);
        let (first, second) = (dead_letters.recv().unwrap(), dead_letters.recv().unwrap());
        thread::scope(|scope| {
            let retry = scope.spawn(|| first.retry());
            assert_eq!(*slow.recv().unwrap(), 1);
            assert_eq!(*slow.recv().unwrap(), 2);
            retry.join().unwrap().unwrap();
        });
        bus.publish("work", 4).unwrap();
        thread::scope(|scope| {
            let retry = scope.spawn(|| second.retry());
            drop(slow);
            assert!(retry.join().unwrap().unwrap_err().is_gone());
        });
    });
}

#[test]
fn m09_a_handler_that_retries_into_its_own_full_mailbox_does_not_wait_for_itself() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let (sender, retried) = channel();
        let weak = bus.downgrade();
        let handler = bus.subscription("work").capacity(1).handle(move |message| match **message {
            0 => {
                let bus = weak.upgrade().unwrap();
                bus.try_publish("work", 1).unwrap();
                assert_eq!(bus.try_publish("work", 2).unwrap().dropped(), 1);
                sender.send(dead_letters.recv().unwrap().retry().unwrap_err().is_full()).unwrap();
            }
            n => assert_eq!(n, 1),
        });
        let _handler = handler.unwrap();
        bus.publish("work", 0).unwrap();
        assert!(retried.recv().unwrap());
    });
}

#[test]
fn m09_a_republished_letter_keeps_its_headers_and_does_not_expire() {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let orders = bus.subscribe("order").unwrap();
    bus.message("order", 7).header("tenant", "acme").expires_after(Duration::ZERO).publish().unwrap();
    assert!(orders.try_recv().is_err());
    assert_eq!(dead_letters.recv().unwrap().republish().unwrap().delivered(), 1);
    let order = orders.recv().unwrap();
    assert_eq!((*order, tenant(&order)), (7, acme()));
    // What was an expired message is one that can be retried, too.
    bus.message("order", 8).expires_after(Duration::ZERO).publish().unwrap();
    assert!(orders.try_recv().is_err());
    dead_letters.recv().unwrap().retry().unwrap();
    assert_eq!(*orders.recv().unwrap(), 8);
}

#[test]
fn m03_a_wait_ends_in_time_though_expired_messages_keep_coming() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let flooded = bus.subscription("offer").overflow(Overflow::DropNewest).open().unwrap();
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        bus.message("offer", 1).expires_after(Duration::ZERO).publish().unwrap();
                    }
                });
            }
            for _ in 0..10 {
                let began = Instant::now();
                assert!(flooded.recv_timeout(Duration::from_millis(5)).unwrap_err().is_timeout());
                assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            }
            ended.store(true, Ordering::Relaxed);
        });
    });
}
