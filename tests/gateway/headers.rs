//! Headers in both directions, and the place of clients among the subscribers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tramline::Bus;
use tramline::gateway::{Action, Decision};

use crate::client::{Client, Server, all, run};
use crate::support::LONG;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The next event, as it was written.
async fn text(client: &mut Client) -> String {
    client.next_text().await.expect("it is open")
}

#[test]
fn b57_headers_of_a_client_arrive_at_subscribers_and_responders() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let orders = server.bus.subscribe("order").expect("it is open");
        let _tenant = server.bus.serve("tenant", |message| json!(message.headers().get("tenant"))).expect("it is open");
        let mut client = server.client().await;

        let headers = json!({"traceparent": TRACEPARENT, "empty": ""});
        assert_eq!(client.code(json!({"type": "pub", "topic": "order", "payload": 7, "headers": headers})).await, "ok");
        let order = orders.recv_async().await.expect("it is open");
        let header = |name| order.headers().get(name);
        assert_eq!((&*order, header("traceparent"), header("empty")), (&json!(7), Some(TRACEPARENT), Some("")));
        assert_eq!(order.headers().len(), 2);

        client.send(&json!({"type": "req", "id": 9, "topic": "tenant", "headers": {"tenant": "acme"}})).await;
        assert_eq!(text(&mut client).await, r#"{"type":"ok","id":9,"reply":"acme"}"#);
        // The limits: 16 headers, of 256 bytes each.
        let most: Value = (0..16).map(|n| (format!("{n:0>256}"), json!("v".repeat(256)))).collect();
        assert_eq!(client.code(json!({"type": "pub", "topic": "order", "headers": most})).await, "ok");
        assert_eq!(orders.recv_async().await.expect("it is open").headers().len(), 16);
        for none in [json!(null), json!({})] {
            assert_eq!(client.code(json!({"type": "pub", "topic": "order", "headers": none})).await, "ok");
            assert!(orders.recv_async().await.expect("it is open").headers().is_empty());
        }
    });
}

#[test]
fn b57_a_traceparent_goes_from_one_client_through_a_handler_to_another() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let weak = server.bus.downgrade();
        let shop = server.bus.on("order.placed", move |order| {
            let bus = weak.upgrade().expect("the test has it");
            bus.message("order.paid", (**order).clone()).headers(order.headers()).fire();
        });
        let _shop = shop.expect("it is open");
        let (mut page, mut board) = (server.client().await, server.client().await);
        board.subscribe("order.*").await;
        let headers = json!({"traceparent": TRACEPARENT});
        page.send(&json!({"type": "pub", "id": 1, "topic": "order.placed", "payload": 7, "headers": headers})).await;
        for topic in ["order.placed", "order.paid"] {
            let expected = json!({"type": "msg", "sub": "order.*", "topic": topic, "headers": headers, "payload": 7});
            assert_eq!(board.event().await, expected);
        }
    });
}

#[test]
fn b57_a_message_without_headers_has_no_field_for_them() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let (bus, mut client) = (&server.bus, server.client().await);
        client.subscribe("a.*").await;
        bus.publish("a.b", json!(1)).expect("it is open");
        assert_eq!(text(&mut client).await, r#"{"type":"msg","sub":"a.*","topic":"a.b","payload":1}"#);
        let (_one, _two) = (
            bus.request_async("a.b", json!(2)).await.expect("a client serves it"),
            bus.message("a.b", json!(3)).header("z", "\"é").header("a", "").request_async().await.expect("the same"),
        );
        assert_eq!(text(&mut client).await, r#"{"type":"msg","sub":"a.*","topic":"a.b","payload":2,"token":"0"}"#);
        // In the order in which they were set.
        let request =
            r#"{"type":"msg","sub":"a.*","topic":"a.b","headers":{"z":"\"é","a":""},"payload":3,"token":"1"}"#;
        assert_eq!(text(&mut client).await, request);
    });
}

#[test]
fn b57_headers_come_with_retained_values_and_to_groups() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let (bus, mut client) = (&server.bus, server.client().await);
        bus.message("price.tea", json!(1)).header("currency", "EUR").publish_retained().expect("it is open");
        bus.publish_retained("price.soup", json!(2)).expect("it is open");
        client.send(&json!({"type": "sub", "id": 1, "pattern": "price.*", "retained": true})).await;
        assert_eq!(client.event().await, json!({"type": "ok", "id": 1}));
        let tea = r#"{"type":"msg","sub":"price.*","topic":"price.tea","headers":{"currency":"EUR"},"payload":1}"#;
        assert_eq!(text(&mut client).await, tea);
        assert_eq!(text(&mut client).await, r#"{"type":"msg","sub":"price.*","topic":"price.soup","payload":2}"#);

        let member = json!({"type": "sub", "pattern": "price.*", "group": "tills", "retained": true});
        let mut till = server.client().await;
        assert_eq!(till.code(member).await, "ok");
        assert_eq!(till.event().await["headers"], json!({"currency": "EUR"}));
        assert_eq!(till.event().await.get("headers"), None);
        bus.message("price.tea", json!(3)).header("currency", "USD").publish().expect("it is open");
        for client in [&mut till, &mut client] {
            assert_eq!(client.event().await["headers"], json!({"currency": "USD"}));
        }
    });
}

#[test]
fn b57_invalid_headers_get_an_error_and_keep_the_connection() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let orders = server.bus.subscribe("order").expect("it is open");
        let mut client = server.client().await;
        let long = "x".repeat(257);
        let many: Value = (0..17).map(|n| (format!("h{n}"), json!("x"))).collect();
        for (headers, code) in [
            (json!({"": "x"}), "bad_header"),
            (json!({"tenant": long}), "bad_header"),
            (json!({(long.clone()): "x"}), "bad_header"),
            (many, "bad_header"),
            (json!({"tenant": 7}), "bad_command"),
            (json!({"tenant": null}), "bad_command"),
            (json!({"tenant": ["acme"]}), "bad_command"),
            (json!(["tenant", "acme"]), "bad_command"),
            (json!("tenant"), "bad_command"),
            (json!(7), "bad_command"),
        ] {
            for kind in ["pub", "req"] {
                let answer = client.ask(json!({"type": kind, "topic": "order", "headers": headers})).await;
                assert_eq!((&answer["code"], &answer["temporary"]), (&json!(code), &json!(false)), "{headers}");
            }
        }
        let answer = client.ask(json!({"type": "pub", "topic": "order", "headers": {"tenant": long}})).await;
        let why = "the value of the header `tenant` has 257 bytes, but 256 is the limit";
        assert_eq!(answer["message"], why);
        client.send_text(r#"{"type":"pub","id":1,"topic":"order","headers":{"a":"1","a":"2"}}"#).await;
        assert_eq!(client.event().await["code"], "bad_command");
        // No other command has headers, so it does not look at them.
        assert_eq!(client.code(json!({"type": "ping", "headers": 7})).await, "ok");
        assert!(orders.is_empty());
    });
}

#[test]
fn b57_the_hook_decides_about_headers() {
    run(|| async {
        let server = Server::<Value>::start(|builder| {
            all(builder).authorize(|_, action| match action {
                Action::Publish { headers, .. } | Action::Request { headers, .. }
                    if headers.get("tenant").is_some() =>
                {
                    Decision::Deny
                }
                _ => Decision::Allow,
            })
        })
        .await;
        let mut client = server.client().await;
        let publish = |name: &str| json!({"type": "pub", "topic": "order", "headers": {name: "acme"}});
        assert_eq!(client.code(publish("tenant")).await, "denied");
        assert_eq!(client.code(publish("traceparent")).await, "ok");
        let request = |name: &str| json!({"type": "req", "topic": "order", "headers": {name: "acme"}});
        assert_eq!(client.code(request("tenant")).await, "denied");
        assert_eq!(client.code(request("traceparent")).await, "no_responders");
    });
}

/// A payload whose third clone waits until its effect has been published. The clones are made for one mailbox after the
/// other.
#[derive(Serialize, Deserialize)]
struct Order {
    number: u32,
    #[serde(skip)]
    pause: Option<Arc<Pause>>,
}

struct Pause {
    clones: AtomicUsize,
    effect: Mutex<Receiver<()>>,
}

impl Clone for Order {
    fn clone(&self) -> Self {
        if let Some(pause) = &self.pause {
            if pause.clones.fetch_add(1, Ordering::Relaxed) == 2 {
                pause.effect.lock().unwrap().recv_timeout(LONG).expect("a handler publishes it");
            }
        }
        Self { number: self.number, pause: None }
    }
}

/// Three subscriptions have the message before or behind the feed: a handler, and two more. While the second of these waits
/// for its clone, the handler publishes the effect.
#[test]
fn b58_a_feed_that_subscribed_last_sees_a_cause_before_its_effect() {
    run(|| async {
        let server = Server::<Order, Order>::start(all).await;
        let bus = &server.bus;
        let (published, effect) = channel();
        let effect = Arc::new(Pause { clones: AtomicUsize::new(0), effect: Mutex::new(effect) });
        let weak = bus.downgrade();
        let pay = bus.on("order.placed", move |order| {
            let bus = weak.upgrade().expect("the test has it");
            bus.publish("order.paid", Order { number: order.number, pause: None }).expect("it is open");
            published.send(()).expect("the test has it");
        });
        let _pay = pay.expect("it is open");
        let _others = [bus.subscribe("order.placed"), bus.subscribe("order.placed")].map(Result::unwrap);
        let mut clients = Vec::new();
        // The second has a new mailbox take the place of the one of the feed.
        for (number, retained) in [(1, false), (2, true)] {
            let mut client = server.client().await;
            let subscribe = json!({"type": "sub", "pattern": "order.*", "retained": retained});
            assert_eq!(client.code(subscribe).await, "ok");
            clients.push(client);

            effect.clones.store(0, Ordering::Relaxed);
            let (publisher, pause) = (bus.publisher("order.placed").expect("valid"), Some(Arc::clone(&effect)));
            let publishing = tokio::task::spawn_blocking(move || publisher.publish(Order { number, pause }));
            assert_eq!(publishing.await.expect("no panic").expect("it is open").delivered(), 4);
            for client in &mut clients {
                for topic in ["order.placed", "order.paid"] {
                    let message = client.event().await;
                    assert_eq!((&message["topic"], &message["payload"]["number"]), (&json!(topic), &json!(number)));
                }
            }
        }
    });
}

#[test]
fn b59_a_feed_counts_as_a_subscriber_and_may_answer() {
    run(|| async {
        let server = Server::<Value>::on(Bus::builder().build(), all).await;
        let (bus, mut client) = (&server.bus, server.client().await);
        let publisher = bus.publisher("price").expect("valid");
        client.subscribe("price").await;
        let mut other = server.client().await;
        for renewed in [false, true] {
            if renewed {
                // A new mailbox takes the place of the one of the feed.
                let subscribe = json!({"type": "sub", "pattern": "price", "retained": true});
                assert_eq!(other.code(subscribe).await, "ok");
            }
            assert_eq!(publisher.subscriber_count(), 1);
            let delivery = publisher.publish(json!(1)).expect("it is open");
            assert_eq!((delivery.delivered(), delivery.is_unheard()), (1, false));
            assert_eq!(client.payload().await, 1);
            let pending = publisher.request_async(json!(2)).await.expect("the client serves it");
            let token = client.event().await["token"].take();
            assert_eq!(client.code(json!({"type": "reply", "token": token, "payload": 3})).await, "ok");
            assert_eq!(pending.await.expect("a reply"), 3);
            assert!(bus.stats().subscriptions.iter().all(|subscription| !subscription.observer));
        }
    });
}
