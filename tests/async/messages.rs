//! A1: headers, limits, expiry and observers, see the section M.

use std::pin::pin;
use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::poll_once;
use tramline::{Bus, DeadLetterReason, ReplyError, RequestError, RetryError};

use crate::runtime::{Runtime, on_every_runtime};
use crate::support::{LONG, SHORT, counts, letters, taken};

on_every_runtime![
    a01_m01_headers_arrive_at_tasks,
    a01_m02_a_publish_with_a_timeout_comes_back,
    a01_m02_a_publish_with_a_timeout_gets_room_in_time,
    a01_m02_a_request_with_a_timeout_comes_back,
    a01_m02_a_request_that_one_responder_has_in_time_is_pending,
    a01_m02_no_wait_counts_full_mailboxes_as_dropped,
    a01_m02_times_beyond_the_clock_are_no_limit,
    a01_m03_an_expired_message_is_not_received,
    a01_m03_a_task_that_skips_many_messages_gives_way,
    a01_m08_an_observer_that_subscribed_last_sees_causes_before_their_effects,
    a01_m08_publishers_wait_for_observers_and_others_at_once,
    a01_m09_a_retry_goes_to_the_handler_alone,
];

async fn a01_m01_headers_arrive_at_tasks(runtime: impl Runtime) {
    let bus = Bus::<u32, Option<String>>::builder().build();
    let orders = bus.subscribe("order").unwrap();
    let server = bus.serve_async(
        "price",
        |task| drop(runtime.spawn(task)),
        |message| {
            let tenant = message.headers().get("tenant").map(str::to_owned);
            async move { tenant }
        },
    );
    let _server = server.unwrap();
    bus.message("order", 7).header("tenant", "acme").publish_async().await.unwrap();
    bus.message("order", 8).header("tenant", "acme").publish_retained_async().await.unwrap();
    for _ in 0..2 {
        assert_eq!(orders.recv_async().await.unwrap().headers().get("tenant"), Some("acme"));
    }
    let price = bus.message("price", 7).header("tenant", "acme").request_async().await.unwrap();
    assert_eq!(price.await.unwrap().as_deref(), Some("acme"));
    let prices = bus.message("price", 7).header("tenant", "acme").gather_async().await.unwrap();
    assert_eq!(prices.try_collect::<_, _, Vec<_>>().await.unwrap(), [Some("acme".to_owned())]);
    assert!(bus.message("price", 7).header("", "acme").publish_async().await.unwrap_err().is_invalid_header());
    assert!(bus.message("price", 7).header("", "acme").request_async().await.unwrap_err().is_invalid_header());
}

async fn a01_m02_a_publish_with_a_timeout_comes_back(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let stuck = bus.subscription("work").capacity(1).open().unwrap();
    let other = bus.subscribe("work").unwrap();
    let work = bus.publisher("work").unwrap();
    work.publish_async(1).await.unwrap();
    let error = work.message(2).timeout(SHORT).publish_async().await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!((counts(error.delivery()), error.into_inner()), ((1, 0), 2));
    let error = work.message(3).header("tenant", "acme").timeout(SHORT).publish_retained_async().await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!((counts(error.delivery()), error.into_inner(), bus.retained("work")), ((1, 0), 3, Some(3)));
    assert_eq!((taken(&stuck), taken(&other), bus.stats().dropped), (vec![1], vec![1, 2, 3], 0));
}

async fn a01_m02_a_publish_with_a_timeout_gets_room_in_time(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let slow = bus.subscription("work").capacity(1).open().unwrap();
    bus.publish_async("work", 1).await.unwrap();
    let publisher = bus.publisher("work").unwrap();
    let publishing = runtime.spawn(async move {
        publisher.message(2).timeout(LONG).publish_async().await.unwrap();
        publisher.message(3).timeout(LONG).publish_retained_async().await.unwrap();
    });
    for n in 1..=3 {
        assert_eq!(*slow.recv_async().await.unwrap(), n);
    }
    publishing.await;
}

async fn a01_m02_a_request_with_a_timeout_comes_back(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let hangs = bus.subscription("price").capacity(1).open().unwrap();
    let ask = |n| bus.message("price", n).timeout(SHORT);
    let Err(ReplyError::Timeout(pending)) = ask(1).request_async().await.unwrap().await else {
        panic!("nobody answers")
    };
    assert!(matches!(ask(2).request_async().await, Err(RequestError::Timeout(2))));
    assert!(matches!(ask(3).gather_async().await, Err(RequestError::Timeout(3))));
    // The time stays over, and the reply may still come.
    let Err(ReplyError::Timeout(pending)) = pending.await else { panic!("nobody answers") };
    hangs.recv_async().await.unwrap().reply(42).unwrap();
    assert_eq!(pending.await.unwrap(), 42);
}

async fn a01_m02_a_request_that_one_responder_has_in_time_is_pending(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let _stuck = bus.subscription("price").capacity(1).open().unwrap();
    bus.publish_async("price", 0).await.unwrap();
    let server = bus.serve_async(
        "price",
        |task| drop(runtime.spawn(task)),
        |n| {
            let n = **n;
            async move { 2 * n }
        },
    );
    let _server = server.unwrap();
    let pending = bus.message("price", 21).timeout(SHORT).request_async().await.unwrap();
    assert_eq!(pending.await.unwrap(), 42);
    let gathered = bus.message("price", 22).timeout(SHORT).gather_async().await.unwrap();
    assert_eq!(gathered.try_collect::<_, _, Vec<_>>().await.unwrap(), [44]);
    assert_eq!(letters(&dead_letters), [(21, DeadLetterReason::Full), (22, DeadLetterReason::Full)]);
}

async fn a01_m02_no_wait_counts_full_mailboxes_as_dropped(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let stuck = bus.subscription("work").capacity(1).open().unwrap();
    bus.publish_async("work", 1).await.unwrap();
    let no_wait = |n| bus.message("work", n).no_wait();
    assert_eq!(counts(no_wait(2).publish_async().await.unwrap()), (0, 1));
    assert_eq!(counts(no_wait(3).header("tenant", "acme").publish_async().await.unwrap()), (0, 1));
    assert_eq!(counts(no_wait(4).publish_retained_async().await.unwrap()), (0, 1));
    assert!(matches!(no_wait(5).request_async().await, Err(RequestError::NoResponders(5))));
    assert!(matches!(no_wait(6).gather_async().await, Err(RequestError::NoResponders(6))));
    assert_eq!((bus.retained("work"), bus.stats().dropped, taken(&stuck)), (Some(4), 5, vec![1]));
}

async fn a01_m02_times_beyond_the_clock_are_no_limit(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let slow = bus.subscription("work").capacity(1).open().unwrap();
    let publisher = bus.publisher("work").unwrap();
    publisher.publish_async(1).await.unwrap();
    let publishing = runtime.spawn(async move {
        let message = publisher.message(2).timeout(Duration::MAX).expires_after(Duration::MAX);
        message.publish_async().await.unwrap();
        let message = publisher.message(3).timeout(Duration::MAX).expires_after(Duration::MAX);
        message.request_async().await.unwrap().await
    });
    for n in 1..=2 {
        assert_eq!(*slow.recv_async().await.unwrap(), n);
    }
    slow.recv_async().await.unwrap().reply(4).unwrap();
    assert_eq!(publishing.await.unwrap(), 4);
}

async fn a01_m03_an_expired_message_is_not_received(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let offers = bus.subscribe("offer").unwrap();
    bus.message("offer", 1).expires_after(Duration::ZERO).publish_async().await.unwrap();
    bus.publish_async("offer", 2).await.unwrap();
    let offer = offers.recv_async().await.unwrap();
    assert_eq!((*offer, offer.lost_before()), (2, 1));
    assert_eq!(letters(&dead_letters), [(1, DeadLetterReason::Expired)]);
    let pending = bus.message("offer", 3).expires_after(Duration::ZERO).request_async().await.unwrap();
    assert!(offers.try_recv().is_err());
    assert!(pending.await.unwrap_err().is_unanswered());
}

async fn a01_m03_a_task_that_skips_many_messages_gives_way(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let offers = bus.subscription("offer").capacity(2_000).open().unwrap();
    for n in 0..1_000 {
        bus.message("offer", n).expires_after(Duration::ZERO).publish_async().await.unwrap();
    }
    bus.publish_async("offer", 7).await.unwrap();
    let mut receiving = pin!(offers.recv_async());
    assert!(poll_once(&mut receiving).await.is_none());
    assert!((900..1_001).contains(&offers.len()), "{}", offers.len());
    let offer = receiving.await.unwrap();
    assert_eq!((*offer, offer.lost_before()), (7, 1_000));
}

async fn a01_m08_an_observer_that_subscribed_last_sees_causes_before_their_effects(runtime: impl Runtime) {
    const ORDERS: u32 = 2_000;
    const HOPS: [&str; 3] = ["order.placed", "order.paid", "order.shipped"];
    let bus = Bus::<u32>::new();
    let react = |hop: usize| {
        let bus_of_handler = bus.downgrade();
        let handler = bus.on_async(
            HOPS[hop],
            |task| drop(runtime.spawn(task)),
            move |order| {
                let (bus, order) = (bus_of_handler.upgrade(), **order);
                async move {
                    if let Some(bus) = bus {
                        bus.publish_async(HOPS[hop + 1], order).await.unwrap();
                    }
                }
            },
        );
        handler.unwrap()
    };
    let _handlers = [react(0), react(1)];
    let observer = bus.subscription("order.*").observer().capacity(3 * ORDERS as usize).open().unwrap();
    let placed = bus.publisher(HOPS[0]).unwrap();
    let publishing = runtime.spawn(async move {
        for order in 0..ORDERS {
            placed.publish_async(order).await.unwrap();
        }
    });
    let mut hops = vec![0; ORDERS as usize];
    for _ in 0..3 * ORDERS {
        let message = observer.recv_async().await.unwrap();
        let hop = &mut hops[*message as usize];
        assert_eq!(message.topic().as_str(), HOPS[*hop], "an effect comes before its cause");
        *hop += 1;
    }
    publishing.await;
}

async fn a01_m08_publishers_wait_for_observers_and_others_at_once(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let observer = bus.subscription("price").observer().capacity(1).open().unwrap();
    let responder = bus.subscription("price").capacity(1).open().unwrap();
    for n in 1..=20 {
        bus.publish_async("price", 0).await.unwrap();
        let publisher = bus.publisher("price").unwrap();
        let publishing = runtime.spawn(async move { publisher.publish_async(n).await.unwrap() });
        let mut takes = [&observer, &responder];
        if n % 2 == 0 {
            takes.swap(0, 1);
        }
        for expected in [0, n] {
            for subscriber in takes {
                assert_eq!(*subscriber.recv_async().await.unwrap(), expected);
            }
        }
        assert_eq!(counts(publishing.await), (1, 0));
    }
    // A request does not wait for an observer.
    bus.publish_async("price", 0).await.unwrap();
    assert_eq!(*responder.recv_async().await.unwrap(), 0);
    let pending = bus.request_async("price", 1).await.unwrap();
    responder.recv_async().await.unwrap().reply(2).unwrap();
    assert_eq!((pending.await.unwrap(), observer.dropped(), taken(&observer)), (2, 1, vec![0]));
    // Alone.
    drop(responder);
    assert!(bus.publish_async("price", 0).await.unwrap().is_unheard());
    assert!(bus.message("price", 1).timeout(SHORT).publish_async().await.unwrap().is_unheard());
    assert!(bus.message("price", 2).timeout(SHORT).publish_retained_async().await.unwrap().is_unheard());
    assert!(bus.message("price", 3).timeout(SHORT).request_async().await.unwrap_err().is_no_responders());
    assert_eq!(observer.dropped(), 4);
}

async fn a01_m09_a_retry_goes_to_the_handler_alone(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let spawn = |task| drop(runtime.spawn(task));
    let handler = bus.subscription("order").name("mail").handle_async(spawn, |_| async { Err::<(), _>("no") });
    let handler = handler.unwrap();
    let other = bus.subscribe("order").unwrap();
    bus.message("order", 7).header("tenant", "acme").publish_async().await.unwrap();
    for attempts in 1..=3 {
        let letter = dead_letters.recv_async().await.unwrap();
        assert_eq!((letter.attempts(), letter.handler(), letter.headers().len()), (attempts, Some("mail"), 1));
        letter.retry().unwrap();
    }
    let letter = dead_letters.recv_async().await.unwrap();
    drop(handler);
    assert!(matches!(letter.retry(), Err(RetryError::Gone(_))));
    assert_eq!(other.len(), 1);
}
