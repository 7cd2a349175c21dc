//! Requests of clients, and requests to them.

use serde_json::{Value, json};
use tramline::gateway::Limits;
use tramline::{Message, Subscriber};

use crate::client::{Client, Server, all, run, until};
use crate::support::SHORT;

fn request(topic: &str) -> Value {
    json!({"type": "req", "topic": topic, "payload": 21})
}

#[test]
fn b11_a_request_gets_its_answer_or_its_failure() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let bus = &server.bus;
        let _double = bus.serve("double", |n| json!(n.as_u64().map(|n| 2 * n))).expect("it is open");
        let _panics = bus.serve("panics", |_| panic!("out of tea")).expect("it is open");
        let _ignores = bus.on("ignores", |_| {}).expect("it is open");
        let _silent = bus.subscribe("silent").expect("it is open");
        let mut client = server.client().await;

        assert_eq!(client.ask(request("double")).await["reply"], 42);
        let answer = client.ask(request("panics")).await;
        assert_eq!(
            (&answer["code"], &answer["message"]),
            (&json!("failed"), &json!("its handler panicked: out of tea"))
        );
        assert_eq!(client.code(request("ignores")).await, "unanswered");
        assert_eq!(client.code(request("nobody")).await, "no_responders");
        let mut impatient = request("silent");
        impatient["timeout_ms"] = json!(1);
        assert_eq!(client.code(impatient).await, "timeout");
    });
}

#[test]
fn b11_a_request_waits_as_long_as_the_server_allows() {
    run(|| async {
        let limits = Limits::default().request_timeout(SHORT);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let _silent = server.bus.subscribe("silent").expect("it is open");
        let mut client = server.client().await;
        for timeout in [json!(null), json!(60_000), json!(u64::MAX)] {
            let mut command = request("silent");
            command["timeout_ms"] = timeout;
            assert_eq!(client.code(command).await, "timeout");
        }
    });
}

/// A client that has sent request 1 to the topic `slow`, and the service that has the request in hand.
async fn slow_request() -> (Server, Subscriber<Value, Value>, Client, Message<Value, Value>) {
    let server = Server::<Value>::start(all).await;
    let service = server.bus.subscribe("slow").expect("it is open");
    let mut client = server.client().await;
    client.send(&json!({"type": "req", "id": 1, "topic": "slow", "payload": 1})).await;
    let asked = service.recv_async().await.expect("it is open");
    (server, service, client, asked)
}

#[test]
fn b11_other_commands_are_answered_before_a_slow_request() {
    run(|| async {
        let (_server, _service, mut client, asked) = slow_request().await;
        assert_eq!(client.code(json!({"type": "ping"})).await, "ok");
        asked.reply(json!("at last")).expect("it waits");
        assert_eq!(client.event().await, json!({"type": "ok", "id": 1, "reply": "at last"}));
    });
}

#[test]
fn b28_the_requests_in_flight_of_a_connection_are_limited() {
    run(|| async {
        let limits = Limits::default().requests(3);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let service = server.bus.subscribe("slow").expect("it is open");
        let mut client = server.client().await;
        for id in 1..=3 {
            client.send(&json!({"type": "req", "id": id, "topic": "slow", "payload": id})).await;
        }
        let answer = client.ask(request("slow")).await;
        assert_eq!((&answer["code"], &answer["temporary"]), (&json!("too_many_requests"), &json!(true)));
        service.recv_async().await.expect("it is open").reply(json!(1)).expect("it waits");
        assert_eq!(client.event().await["id"], 1);
        client.send(&json!({"type": "req", "id": 4, "topic": "slow", "payload": 4})).await;
        for expected in [2, 3, 4] {
            let asked = service.recv_async().await.expect("it is open");
            assert_eq!(*asked, expected);
            asked.reply(Value::Null).expect("it waits");
            assert_eq!(client.event().await["id"], expected);
        }
    });
}

#[test]
fn b12_a_client_answers_with_a_token_that_is_good_once() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let (mut client, mut thief) = (server.client().await, server.client().await);
        client.subscribe("ask.*").await;
        let pending = server.bus.request_async("ask.me", json!("why")).await.expect("it is open");
        let asked = client.event().await;
        let token = asked["token"].as_str().expect("it is a request").to_owned();
        assert_eq!(
            (&asked["sub"], &asked["topic"], &asked["payload"]),
            (&json!("ask.*"), &json!("ask.me"), &json!("why"))
        );

        let reply = |token: &str| json!({"type": "reply", "token": token, "payload": "so"});
        assert_eq!(thief.code(reply(&token)).await, "unknown_token");
        assert_eq!(client.code(reply("12345")).await, "unknown_token");
        assert_eq!(client.code(reply("")).await, "unknown_token");
        assert_eq!(client.code(reply(&token)).await, "ok");
        assert_eq!(pending.await.expect("a reply"), "so");
        assert_eq!(client.code(reply(&token)).await, "unknown_token");
        // What is published is no request.
        server.bus.publish("ask.me", json!("by the way")).expect("it is open");
        assert_eq!(client.event().await.get("token"), None);
    });
}

#[test]
fn b12_a_client_fails_a_request() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut client = server.client().await;
        client.subscribe("ask").await;
        let pending = server.bus.request_async("ask", json!(1)).await.expect("it is open");
        let token = client.event().await["token"].take();
        assert_eq!(client.code(json!({"type": "reply", "token": token, "error": "no tea"})).await, "ok");
        assert_eq!(pending.await.unwrap_err().to_string(), "the request failed: no tea");
    });
}

#[test]
fn b12_a_reply_that_cannot_be_read_may_be_tried_again() {
    run(|| async {
        let server = Server::<u8, u8>::start(|builder| builder.allow_subscribe(">")).await;
        let mut client = server.client().await;
        client.subscribe("ask").await;
        let pending = server.bus.request_async("ask", 1).await.expect("it is open");
        let token = client.event().await["token"].take();
        assert_eq!(client.code(json!({"type": "reply", "token": token, "payload": "two"})).await, "bad_payload");
        assert_eq!(client.code(json!({"type": "reply", "token": token, "payload": 2})).await, "ok");
        assert_eq!(pending.await.expect("a reply"), 2);
    });
}

#[test]
fn b12_the_first_of_several_clients_answers() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut clients = [server.client().await, server.client().await];
        let mut tokens = Vec::new();
        for client in &mut clients {
            client.subscribe("ask").await;
        }
        let pending = server.bus.request_async("ask", json!(1)).await.expect("it is open");
        for client in &mut clients {
            tokens.push(client.event().await["token"].take());
        }
        let [one, two] = &mut clients;
        assert_eq!(two.code(json!({"type": "reply", "token": tokens[1], "payload": 2})).await, "ok");
        assert_eq!(one.code(json!({"type": "reply", "token": tokens[0], "payload": 1})).await, "unknown_token");
        assert_eq!(pending.await.expect("a reply"), 2);
    });
}

#[test]
fn b12_a_request_is_unanswered_when_the_last_client_disconnects() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let (mut one, mut two) = (server.client().await, server.client().await);
        one.subscribe("ask").await;
        two.subscribe("ask").await;
        let pending = server.bus.request_async("ask", json!(1)).await.expect("it is open");
        assert!(one.event().await["token"].is_string() && two.event().await["token"].is_string());
        one.leave().await;
        until(|| server.gateway.stats().connections == 1).await;
        assert!(pending.try_take().is_none());
        two.reset();
        assert!(pending.await.unwrap_err().is_unanswered());
    });
}

#[test]
fn b28_the_requests_that_a_client_leaves_unanswered_are_limited() {
    run(|| async {
        let limits = Limits::default().requests(2);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let mut client = server.client().await;
        client.subscribe("ask").await;
        let (mut pending, mut tokens) = (Vec::new(), Vec::new());
        for n in 0..3 {
            pending.push(server.bus.request_async("ask", json!(n)).await.expect("it is open"));
            tokens.push(client.event().await["token"].take());
        }
        // The oldest has made room.
        assert!(pending.remove(0).await.unwrap_err().is_unanswered());
        assert_eq!(client.code(json!({"type": "reply", "token": tokens[0], "payload": 0})).await, "unknown_token");
        assert_eq!(client.code(json!({"type": "reply", "token": tokens[1], "payload": 1})).await, "ok");
        assert_eq!(pending.remove(0).await.expect("a reply"), 1);
    });
}

#[test]
fn b12_clients_ask_clients() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let (mut asks, mut answers) = (server.client().await, server.client().await);
        answers.subscribe("double").await;
        asks.send(&json!({"type": "req", "id": 9, "topic": "double", "payload": 4})).await;
        let asked = answers.event().await;
        let reply = json!({"type": "reply", "token": asked["token"], "payload": 2 * asked["payload"].as_u64().expect("a number")});
        assert_eq!(answers.code(reply).await, "ok");
        assert_eq!(asks.event().await, json!({"type": "ok", "id": 9, "reply": 8}));
    });
}

#[test]
fn b11_a_client_that_disconnects_cancels_its_requests() {
    run(|| async {
        let (_server, _service, client, asked) = slow_request().await;
        let responder = asked.responder().expect("it is a request");
        client.reset();
        until(|| responder.is_cancelled()).await;
    });
}
