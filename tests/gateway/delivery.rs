//! What clients get, and what they cost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::StreamExt;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tramline::gateway::{GatewayBuilder, Limits};
use tramline::{Bus, Overflow};

use crate::client::{Server, all, run, until};
use crate::support::{LONG, SHORT};

/// Allows everything, to many clients of one address.
fn crowd<T, R>(builder: GatewayBuilder<T, R>) -> GatewayBuilder<T, R> {
    all(builder).limits(Limits::default().connections_per_address(10_000).capacity(1024))
}

#[test]
fn b20_a_message_arrives_once_for_each_matching_subscription() {
    run(|| async {
        let server = Server::<Value>::start(crowd).await;
        let mut client = server.client().await;
        server.bus.publish("a.b", json!("too early")).expect("it is open");
        client.subscribe("a.*").await;
        client.subscribe(">").await;
        server.bus.publish("a.b", json!({"n": [1, null]})).expect("it is open");
        let (one, two) = (client.event().await, client.event().await);
        let message = |sub: &str| json!({"type": "msg", "sub": sub, "topic": "a.b", "payload": {"n": [1, null]}});
        assert!([&one, &two].contains(&&message("a.*")) && [&one, &two].contains(&&message(">")), "{one} {two}");
        assert_eq!(client.code(json!({"type": "unsub", "pattern": ">"})).await, "ok");
        server.bus.publish("a.b", json!(2)).expect("it is open");
        assert_eq!(client.event().await["sub"], "a.*");
    });
}

#[test]
fn b20_a_client_gets_what_it_publishes_itself() {
    run(|| async {
        let server = Server::<Value>::start(crowd).await;
        let mut client = server.client().await;
        client.subscribe("a").await;
        client.send(&json!({"type": "pub", "id": 1, "topic": "a", "payload": "echo"})).await;
        let (one, two) = (client.event().await, client.event().await);
        let kinds = [one["type"].as_str(), two["type"].as_str()];
        assert!(kinds.contains(&Some("msg")) && kinds.contains(&Some("ok")), "{kinds:?}");
    });
}

/// The retained values of many topics, and what is retained while clients come: each client sees each topic rise by one
/// from the first value that it gets.
#[test]
fn b20_retained_and_live_messages_have_no_gap_and_no_duplicate() {
    run(|| async {
        const TOPICS: usize = 4;
        let server = Server::<Value>::start(crowd).await;
        for topic in 0..TOPICS {
            server.bus.publish_retained(format!("kept.{topic}"), json!(0)).expect("it is open");
        }
        let stop = Arc::new(AtomicBool::new(false));
        let publishing: Vec<_> = (0..TOPICS)
            .map(|topic| {
                let (bus, stop) = (server.bus.clone(), Arc::clone(&stop));
                std::thread::spawn(move || {
                    let publisher = bus.publisher(format!("kept.{topic}")).expect("valid");
                    let mut n = 0;
                    while !stop.load(Ordering::Relaxed) {
                        n += 1;
                        publisher.publish_retained(json!(n)).expect("it is open");
                        // No faster than the feed can be read.
                        while bus.stats().subscriptions.iter().any(|feed| feed.depth > 100) {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = server.client().await;
            clients.push(tokio::spawn(async move {
                client.send(&json!({"type": "sub", "id": 1, "pattern": "kept.*", "retained": true})).await;
                assert_eq!(client.event().await["type"], "ok");
                let mut last = HashMap::<String, u64>::new();
                for index in 0..400 {
                    let message = client.event().await;
                    assert_eq!(message.get("lost_before"), None, "{message}");
                    let topic = message["topic"].as_str().expect("text").to_owned();
                    let n = message["payload"].as_u64().expect("a number");
                    if let Some(before) = last.insert(topic, n) {
                        assert_eq!(n, before + 1, "{message}");
                    }
                    // The retained ones come first.
                    assert!(index >= TOPICS || last.len() == index + 1, "{message}");
                }
            }));
        }
        for client in clients {
            client.await.expect("nothing is missing or double");
        }
        stop.store(true, Ordering::Relaxed);
        publishing.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!(server.gateway.stats().slow_clients, 0);
    });
}

#[test]
fn b21_each_message_of_a_group_goes_to_one_member() {
    run(|| async {
        let server = Server::<Value>::start(crowd).await;
        let subscribe = json!({"type": "sub", "pattern": "work", "group": "workers"});
        let mut readers = Vec::new();
        for _ in 0..3 {
            let mut client = server.client().await;
            assert_eq!(client.code(subscribe.clone()).await, "ok");
            readers.push(tokio::spawn(async move {
                let mut numbers = Vec::new();
                loop {
                    let message = client.event().await;
                    if message["type"] == "unsubscribed" {
                        assert_eq!(
                            message,
                            json!({"type": "unsubscribed", "sub": "work", "group": "workers", "why": "closed"})
                        );
                        return numbers;
                    }
                    assert_eq!((&message["sub"], &message["group"]), (&json!("work"), &json!("workers")));
                    numbers.push(message["payload"].as_u64().expect("a number"));
                }
            }));
        }
        // One in this process too.
        let member = server.bus.subscription("work").group("workers").capacity(1024).overflow(Overflow::DropOldest);
        let member = member.open().expect("the same options");
        let (own, bus) = (
            std::thread::spawn(move || member.iter().map(|n| n.as_u64().expect("a number")).collect::<Vec<_>>()),
            &server.bus,
        );
        let publisher = bus.publisher("work").expect("valid");
        for n in 0..1000 {
            assert_eq!(publisher.publish_async(json!(n)).await.expect("it is open").delivered(), 1);
            if n % 100 == 99 {
                // It holds 1,024, and must not lose one.
                until(|| bus.stats().subscriptions[0].depth < 500).await;
            }
        }
        drop(publisher);
        bus.close();
        let mut all = own.join().expect("no panic");
        for reader in readers {
            all.extend(reader.await.expect("no panic"));
        }
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    });
}

#[test]
fn b21_a_member_that_does_not_read_leaves_the_messages_to_others() {
    run(|| async {
        let server = Server::<Value>::start(crowd).await;
        let subscribe = json!({"type": "sub", "pattern": "work", "group": "workers", "overflow": "drop_newest"});
        let mut stuck = server.client().await;
        assert_eq!(stuck.code(subscribe.clone()).await, "ok");
        let mut quick = server.client().await;
        assert_eq!(quick.code(subscribe).await, "ok");
        let text = "x".repeat(8 * 1024);
        // Far more than the one that is stuck could have on its way.
        let bus = server.bus.clone();
        let publishing = tokio::spawn(async move {
            for n in 0..4000 {
                bus.publish_async("work", json!([n, text])).await.expect("it is open");
                until(|| bus.stats().subscriptions[0].depth < 100).await;
            }
        });
        let mut count = 0;
        while count < 2000 {
            assert_eq!(quick.event().await["type"], "msg");
            count += 1;
        }
        publishing.abort();
        assert_eq!(server.gateway.stats().slow_clients, 0);
    });
}

#[test]
fn b22_a_subscription_that_overflows_ends() {
    run(|| async {
        let server = Server::<Value>::start(crowd).await;
        let mut client = server.client().await;
        let subscribe = json!({"type": "sub", "pattern": "a", "capacity": 1, "overflow": "disconnect"});
        assert_eq!(client.code(subscribe.clone()).await, "ok");
        let publisher = server.bus.publisher("a").expect("valid");
        // Faster than anybody could write it, until it has run over.
        for n in 0_u64.. {
            if publisher.try_publish(json!(n)).expect("it is open").delivered() == 0 {
                break;
            }
        }
        let ended = loop {
            let event = client.event().await;
            if event["type"] != "msg" {
                break event;
            }
        };
        assert_eq!(ended, json!({"type": "unsubscribed", "sub": "a", "why": "overflowed"}));
        assert_eq!(client.code(subscribe).await, "ok");
        until(|| publisher.try_publish(json!("again")).expect("it is open").delivered() == 1).await;
        assert_eq!(client.payload().await, "again");
    });
}

#[test]
fn b22_lost_messages_are_reported() {
    run(|| async {
        let server = Server::<Value>::start(crowd).await;
        let mut client = server.client().await;
        assert_eq!(client.code(json!({"type": "sub", "pattern": "a", "capacity": 2})).await, "ok");
        let publisher = server.bus.publisher("a").expect("valid");
        let published = tokio::task::spawn_blocking(move || {
            for n in 0..20_000 {
                publisher.publish(json!(n)).expect("it is open");
            }
        });
        let (mut next, mut missing, mut told) = (0, 0, 0);
        while next < 20_000 {
            let message = client.event().await;
            let n = message["payload"].as_u64().expect("a number");
            missing += n - next;
            told += message["lost_before"].as_u64().unwrap_or(0);
            // In time, or before: what goes while a message is taken out may be told with it.
            assert!(told >= missing, "{message}");
            next = n + 1;
        }
        published.await.expect("no panic");
        assert!(told == missing && missing > 0, "{told} {missing}");
    });
}

/// Counts how often it is written.
#[derive(Clone, Default, Deserialize)]
struct Counted {
    #[serde(skip)]
    writes: Arc<AtomicUsize>,
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        serializer.serialize_str("counted")
    }
}

#[test]
fn b25_a_message_is_serialized_once_for_all_clients() {
    run(|| async {
        let server = Server::<Counted, Value>::on(Bus::builder().build(), crowd).await;
        let mut clients = Vec::new();
        for _ in 0..50 {
            let mut client = server.client().await;
            client.subscribe("a.*").await;
            clients.push(client);
        }
        assert_eq!(server.gateway.stats().feeds, 1);
        assert_eq!(server.bus.stats().subscriptions.len(), 1);
        let counted = Counted::default();
        for _ in 0..10 {
            let delivery = server.bus.publish("a.b", counted.clone()).expect("it is open");
            assert_eq!(delivery.delivered(), 1);
        }
        for client in &mut clients {
            for _ in 0..10 {
                assert_eq!(client.payload().await, "counted");
            }
        }
        assert_eq!(counted.writes.load(Ordering::Relaxed), 10);
    });
}

/// Some cannot be written.
#[derive(Clone, Deserialize)]
enum Awkward {
    Fine(u32),
    Fails,
    Panics,
}

impl Serialize for Awkward {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fine(n) => serializer.serialize_u32(*n),
            Self::Fails => Err(serde::ser::Error::custom("it cannot be written")),
            Self::Panics => std::panic::resume_unwind(Box::new("writing it panics")),
        }
    }
}

#[test]
fn b26_a_message_that_cannot_be_serialized_is_counted_as_lost() {
    run(|| async {
        let server = Server::<Awkward, Awkward>::on(Bus::builder().build(), crowd).await;
        let _serving = server.bus.serve("ask", |_| Awkward::Fails).expect("it is open");
        let mut client = server.client().await;
        client.subscribe("a").await;
        assert_eq!(client.code(json!({"type": "sub", "pattern": "a", "group": "g"})).await, "ok");
        for payload in [Awkward::Fine(1), Awkward::Fails, Awkward::Panics, Awkward::Fine(2)] {
            server.bus.publish_retained("a", payload).expect("it is open");
        }
        let mut of_feed = Vec::new();
        let mut of_group = Vec::new();
        for _ in 0..4 {
            let message = client.event().await;
            let list = if message.get("group").is_some() { &mut of_group } else { &mut of_feed };
            list.push((message["payload"].as_u64(), message["lost_before"].as_u64()));
        }
        let expected = [(Some(1), None), (Some(2), Some(2))];
        assert_eq!((of_feed, of_group), (expected.to_vec(), expected.to_vec()));
        assert_eq!(server.gateway.stats().unwritable, 4);
        // A retained value that cannot be written is missing, and does no harm.
        server.bus.publish_retained("a", Awkward::Panics).expect("it is open");
        let mut other = server.client().await;
        assert_eq!(other.code(json!({"type": "sub", "pattern": "a", "retained": true})).await, "ok");
        server.bus.publish("a", Awkward::Fine(3)).expect("it is open");
        assert_eq!(other.payload().await, 3);
        let answer = other.ask(json!({"type": "req", "topic": "ask", "payload": "Fails"})).await;
        assert_eq!(answer["code"], "failed", "{answer}");
    });
}

#[test]
fn b15_a_client_that_does_not_read_is_cut_off_and_delays_no_other() {
    run(|| async {
        let server = Server::<Value>::start(crowd).await;
        let mut stuck = server.client().await;
        stuck.subscribe("a").await;
        let (mut readers, read) = (Vec::new(), Arc::new([const { AtomicUsize::new(0) }; 50]));
        for reader in 0..50 {
            let mut client = server.client().await;
            client.subscribe("a").await;
            let read = Arc::clone(&read);
            readers.push(tokio::spawn(async move {
                for expected in 0.. {
                    let payload = client.payload().await;
                    read[reader].fetch_add(1, Ordering::Relaxed);
                    if payload == "the end" {
                        return expected;
                    }
                    assert_eq!(payload[0], expected);
                }
                0
            }));
        }
        let text = "x".repeat(16 * 1024);
        let mut published: u64 = 0;
        while server.gateway.stats().slow_clients == 0 {
            // Those who read are not behind by more than may wait for them: 64 of these. Nobody waits for the one who does not.
            until(|| read.iter().all(|read| read.load(Ordering::Relaxed) + 20 >= published as usize)).await;
            let delivery = server.bus.try_publish("a", json!([published, text])).expect("it is open");
            assert_eq!((delivery.delivered(), delivery.dropped()), (1, 0));
            published += 1;
            assert!(published < 20_000, "it is never cut");
        }
        server.bus.publish("a", json!("the end")).expect("it is open");
        for reader in readers {
            assert_eq!(reader.await.expect("it gets everything"), published);
        }
        assert_eq!(stuck.close_code().await, 3008);
        until(|| server.gateway.stats().connections == 0).await;
        assert_eq!(server.gateway.stats().slow_clients, 1);
    });
}

#[test]
fn b29_a_write_that_takes_too_long_ends_the_connection() {
    run(|| async {
        let server = Server::<Value>::start(|builder| {
            // Never too much waits.
            let limits = Limits::default().write_timeout(SHORT).waiting_bytes(usize::MAX / 2);
            all(builder).limits(limits)
        })
        .await;
        let mut stuck = server.client().await;
        stuck.subscribe("a").await;
        let text = "x".repeat(64 * 1024);
        while server.gateway.stats().connections > 0 {
            server.bus.publish("a", json!(text)).expect("it is open");
            tokio::task::yield_now().await;
        }
        assert_eq!(server.gateway.stats().slow_clients, 0);
    });
}

#[test]
fn b16_a_thousand_clients_get_a_thousand_messages_in_order() {
    rlimit::increase_nofile_limit(4000).expect("the limit can be raised");
    crate::support::within(LONG * 8, || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let server = Server::<Value>::start(crowd).await;
            let mut readers = Vec::new();
            for _ in 0..1000 {
                let mut client = server.client().await;
                client.subscribe("n").await;
                readers.push(tokio::spawn(async move {
                    let mut expected = 0_u64;
                    while expected < 1000 {
                        match client.socket.next().await.expect("it is open").expect("it is open") {
                            Message::Text(text) => {
                                let n = format!(r#""payload":{expected}}}"#);
                                assert!(text.ends_with(&n) || text.contains(r#""type":"ping""#), "{text} {expected}");
                                expected += u64::from(text.ends_with(&n));
                            }
                            Message::Ping(_) => {}
                            other => panic!("{other:?}"),
                        }
                    }
                }));
            }
            let publisher = server.bus.publisher("n").expect("valid");
            for n in 0..1000 {
                publisher.publish_async(json!(n)).await.expect("it is open");
                // The feed holds 1,024; clients 1 MiB each.
                tokio::task::yield_now().await;
            }
            for reader in readers {
                reader.await.expect("everything, in order");
            }
            assert_eq!(server.gateway.stats().slow_clients, 0);
        });
    });
}

#[test]
fn b20_retained_values_beyond_the_waiting_limit_are_refused() {
    run(|| async {
        let server =
            Server::<Value>::start(|builder| all(builder).limits(Limits::default().waiting_bytes(10_000))).await;
        for topic in 0..1000 {
            server.bus.publish_retained(format!("kept.{topic}"), json!("x".repeat(100))).expect("it is open");
        }
        let mut client = server.client().await;
        let answer = client.ask(json!({"type": "sub", "pattern": "kept.*", "retained": true})).await;
        assert_eq!((&answer["code"], &answer["temporary"]), (&json!("too_large"), &json!(false)));
        assert_eq!((server.gateway.stats().subscriptions, server.gateway.stats().feeds), (0, 0));
        assert_eq!(client.code(json!({"type": "sub", "pattern": "kept.7", "retained": true})).await, "ok");
        assert_eq!(client.event().await["topic"], "kept.7");
        client.leave().await;
        server.is_empty_again().await;
    });
}

/// Publishes another of its kind while it is written as a retained value, and gives that time to overtake it.
#[derive(Clone, Deserialize)]
struct Overtaken {
    n: u32,
    #[serde(skip)]
    bus: Option<Arc<Bus<Overtaken, Value>>>,
}

impl Serialize for Overtaken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(bus) = &self.bus {
            bus.publish("a", Self { n: self.n + 1, bus: None }).expect("it is open");
            // The task that was woken last waits for this thread; one that was woken before it, for any.
            tokio::spawn(async {});
            let until = std::time::Instant::now() + SHORT;
            while std::time::Instant::now() < until && bus.stats().subscriptions.iter().any(|one| one.depth > 0) {
                std::thread::yield_now();
            }
        }
        serializer.serialize_u32(self.n)
    }
}

#[test]
fn b20_messages_published_while_retained_values_are_written_follow_them() {
    run(|| async {
        let server = Server::<Overtaken, Value>::on(Bus::builder().build(), crowd).await;
        let mut before = server.client().await;
        before.subscribe("a").await;
        let bus = Some(Arc::new(server.bus.clone()));
        server.bus.publish_retained("a", Overtaken { n: 1, bus }).expect("it is open");
        // It is written as a live message first, for who was there before.
        assert_eq!((before.payload().await, before.payload().await), (json!(1), json!(2)));
        let mut client = server.client().await;
        assert_eq!(client.code(json!({"type": "sub", "pattern": "a", "retained": true})).await, "ok");
        assert_eq!((client.payload().await, client.payload().await), (json!(1), json!(2)));
        assert_eq!(before.payload().await, 2);
        server.bus.clear_retained("a");
    });
}

#[test]
fn b21_a_member_that_leaves_gets_nothing_after_its_answer() {
    run(|| async {
        let server = Server::<Value>::start(crowd).await;
        let stop = Arc::new(AtomicBool::new(false));
        let (bus, stopped) = (server.bus.clone(), Arc::clone(&stop));
        let publishing = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                bus.publish("work", json!(0)).expect("it is open");
                std::thread::yield_now();
            }
        });
        let mut client = server.client().await;
        for round in 0..50 {
            for kind in ["sub", "unsub"] {
                client.send(&json!({"type": kind, "id": round, "pattern": "work", "group": "g"})).await;
                while client.event().await["type"] != "ok" {}
            }
            // Nothing may come before the answer to this.
            assert_eq!(client.code(json!({"type": "ping"})).await, "ok");
        }
        stop.store(true, Ordering::Relaxed);
        publishing.join().expect("no panic");
    });
}
