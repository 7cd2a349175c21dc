//! What a client may say, and what comes of it if it says something else.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tramline::gateway::Limits;
use tramline::{Bus, Overflow};

use crate::client::{Server, all, run};
use crate::support::SHORT;

/// Each of these closes the connection.
fn close_with_3501(texts: &[&str]) {
    let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
    run(move || async move {
        let server = Server::<Value>::start(all).await;
        for text in &texts {
            let mut client = server.client().await;
            client.send_text(text).await;
            assert_eq!(client.close_code().await, 3501, "{text}");
        }
    });
}

#[test]
fn b01_invalid_json_closes_with_3501() {
    close_with_3501(&["", "{", "hello", "[1]", "null", "7", "{\"type\":\"ping\",\"id\":1}{}", &"[".repeat(10_000)]);
}

#[test]
fn b02_a_command_without_a_valid_id_closes_with_3501() {
    close_with_3501(&[
        r#"{"type":"ping"}"#,
        r#"{"type":"ping","id":null}"#,
        r#"{"type":"ping","id":-1}"#,
        r#"{"type":"ping","id":1.5}"#,
        r#"{"type":"ping","id":"1"}"#,
        r#"{"type":"ping","id":9007199254740992}"#,
        r#"{"type":"ping","id":1,"id":2}"#,
    ]);
}

#[test]
fn b03_an_invalid_command_gets_an_error_and_keeps_the_connection() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut client = server.client().await;
        for command in [
            json!({}),
            json!({"type": 7}),
            json!({"type": "dance"}),
            json!({"type": "sub"}),
            json!({"type": "sub", "pattern": 1}),
            json!({"type": "sub", "pattern": "a", "overflow": "block"}),
            json!({"type": "sub", "pattern": "a", "capacity": -1}),
            json!({"type": "pub", "payload": 1}),
            json!({"type": "req", "topic": "a", "timeout_ms": "soon"}),
            json!({"type": "reply", "payload": 1}),
        ] {
            let answer = client.ask(command.clone()).await;
            assert_eq!((&answer["type"], &answer["code"]), (&json!("err"), &json!("bad_command")), "{command}");
            assert_eq!(answer["temporary"], false);
            assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()));
        }
        // What is not named in the protocol makes no difference.
        assert_eq!(client.ask(json!({"type": "ping", "more": [1, 2]})).await["type"], "ok");
        assert_eq!(client.code(json!({"type": "ping", "id": 0})).await, "ok");
    });
}

#[test]
fn b04_a_binary_frame_closes_with_1003() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut client = server.client().await;
        client.socket.send(Message::binary(&b"{}"[..])).await.expect("it is open");
        assert_eq!(client.close_code().await, 1003);
    });
}

#[test]
fn b08_topics_and_patterns_are_checked() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut client = server.client().await;
        let long = "a".repeat(256);
        for name in ["", "a..b", ".", "a b", &long] {
            for command in [
                json!({"type": "pub", "topic": name, "payload": 1}),
                json!({"type": "req", "topic": name, "payload": 1}),
                json!({"type": "sub", "pattern": name}),
                json!({"type": "unsub", "pattern": name}),
            ] {
                assert_eq!(client.code(command.clone()).await, "bad_topic", "{command}");
            }
        }
        assert_eq!(client.code(json!({"type": "pub", "topic": "a.*", "payload": 1})).await, "bad_topic");
        assert_eq!(client.code(json!({"type": "sub", "pattern": "a", "group": long})).await, "bad_topic");
        let longest = "a".repeat(255);
        client.subscribe(&longest).await;
        assert_eq!(client.code(json!({"type": "unsub", "pattern": longest})).await, "ok");
    });
}

#[test]
fn b09_a_frame_or_message_that_is_too_large_closes_with_1009() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let text = |bytes: usize| {
            let empty = json!({"type": "pub", "id": 1, "topic": "a", "payload": ""}).to_string();
            json!({"type": "pub", "id": 1, "topic": "a", "payload": "x".repeat(bytes - empty.len())}).to_string()
        };
        let mut client = server.client().await;
        client.send_text(&text(64 * 1024)).await;
        assert_eq!(client.event().await["type"], "ok");
        client.send_text(&text(64 * 1024 + 1)).await;
        assert_eq!(client.close_code().await, 1009);

        // The same in pieces, each of which is small; the end never comes.
        let mut client = server.client().await;
        let piece = || vec![b' '; 16 * 1024];
        for index in 0..5 {
            let opcode = if index == 0 { Data::Text } else { Data::Continue };
            let frame = Frame::message(piece(), OpCode::Data(opcode), false);
            client.socket.send(Message::Frame(frame)).await.expect("it is open");
        }
        assert_eq!(client.close_code().await, 1009);
    });
}

/// The rest of the frame is on its way when the server has had enough.
#[test]
fn b09_the_close_code_arrives_although_the_server_reads_no_more() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        for round in 3..=22 {
            let mut client = server.stranger().await;
            let large = json!({"type": "ping", "id": 2, "more": "x".repeat(round << 15)}).to_string();
            let connect = json!({"type": "connect", "id": 1}).to_string();
            client.socket.feed(Message::text(connect)).await.expect("it is open");
            // It may fail in the middle.
            let _ = client.socket.send(Message::text(large)).await;
            let code = client.close_code().await;
            assert_eq!(code, 1009, "{round}");
            drop(client);
        }
    });
}

#[test]
fn b09_fragments_of_a_command_are_one_command() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut client = server.client().await;
        let pieces: [(&str, _, _); 3] = [
            (r#"{"type":"#, Data::Text, false),
            (r#""ping","#, Data::Continue, false),
            (r#""id":5}"#, Data::Continue, true),
        ];
        for (text, opcode, last) in pieces {
            let frame = Frame::message(text.as_bytes().to_vec(), OpCode::Data(opcode), last);
            client.socket.send(Message::Frame(frame)).await.expect("it is open");
        }
        assert_eq!(client.event().await, json!({"type": "ok", "id": 5}));
    });
}

#[test]
fn b09_compression_is_not_offered() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let offer =
            [("sec-websocket-extensions", "permessage-deflate"), ("sec-websocket-protocol", "chat, tramline.v1")];
        let client = crate::client::Client::open(server.address, &offer).await.expect("it is let in");
        assert_eq!(client.response.headers().get("sec-websocket-extensions"), None);
        assert_eq!(client.response.headers()["sec-websocket-protocol"], "tramline.v1");
    });
}

#[test]
fn b10_connect_comes_first_and_once() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut client = server.stranger().await;
        assert_eq!(client.code(json!({"type": "sub", "pattern": "a"})).await, "not_connected");
        assert_eq!(client.code(json!({"type": "ping"})).await, "not_connected");
        let connected = client.connect(None).await;
        assert_eq!(connected["session"].as_str().map(str::len), Some(16));
        assert_eq!(connected["ping_ms"], 25_000);
        assert_eq!(
            connected["limits"],
            json!({
                "frame": 65_536, "topic": 255, "subscriptions": 128, "capacity": 256,
                "commands_per_second": 200, "timeout_ms": 30_000,
            })
        );
        assert_eq!(client.code(json!({"type": "connect"})).await, "already_connected");
        client.subscribe("a").await;
        let other = server.stranger().await.connect(None).await;
        assert_ne!(other["session"], connected["session"]);
    });
}

#[test]
fn b22_a_subscription_starts_once_and_ends_once() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut client = server.client().await;
        client.subscribe("a.*").await;
        assert_eq!(client.code(json!({"type": "sub", "pattern": "a.*", "retained": true})).await, "already_subscribed");
        assert_eq!(client.code(json!({"type": "sub", "pattern": "a.*", "group": "g"})).await, "ok");
        assert_eq!(client.code(json!({"type": "unsub", "pattern": "a.b"})).await, "not_subscribed");
        assert_eq!(client.code(json!({"type": "unsub", "pattern": "a.*", "group": "h"})).await, "not_subscribed");
        assert_eq!(client.code(json!({"type": "unsub", "pattern": "a.*"})).await, "ok");
        assert_eq!(client.code(json!({"type": "unsub", "pattern": "a.*"})).await, "not_subscribed");
        assert_eq!(client.code(json!({"type": "unsub", "pattern": "a.*", "group": "g"})).await, "ok");
        client.subscribe("a.*").await;
    });
}

#[test]
fn b22_subscription_options_are_limited() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let (mut one, mut two) = (server.client().await, server.client().await);
        for capacity in [0, 257] {
            let command = json!({"type": "sub", "pattern": "a", "capacity": capacity});
            assert_eq!(one.code(command).await, "bad_option");
        }
        let group = |capacity: usize| json!({"type": "sub", "pattern": "a", "group": "g", "capacity": capacity});
        assert_eq!(one.code(group(4)).await, "ok");
        assert_eq!(two.code(group(5)).await, "bad_option");
        // What was refused holds no place.
        assert_eq!(two.code(group(4)).await, "ok");
    });
}

#[test]
fn b23_too_many_commands_a_second_are_refused() {
    run(|| async {
        let limits = Limits::default().commands_per_second(5);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let mut client = server.client().await;
        let mut codes = Vec::new();
        for _ in 0..20 {
            codes.push(client.code(json!({"type": "ping"})).await);
        }
        assert_eq!(codes[..4], ["ok", "ok", "ok", "ok"]);
        assert!(codes.contains(&"too_many_requests".to_owned()));
        // They come again, and what was refused has closed nothing.
        while client.code(json!({"type": "ping"})).await != "ok" {}
    });
}

#[test]
fn b24_a_publish_waits_for_room() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let slow = server.bus.subscription("a").capacity(1).open().expect("it is open");
        let mut client = server.client().await;
        assert_eq!(client.ask(json!({"type": "pub", "topic": "a", "payload": 1})).await["delivered"], 1);
        client.send(&json!({"type": "pub", "id": 1, "topic": "a", "payload": 2})).await;
        client.send(&json!({"type": "ping", "id": 2})).await;
        assert_eq!(slow.recv_async().await.expect("it is open").into_payload(), 1);
        // In the order of the commands.
        assert_eq!(client.event().await, json!({"type": "ok", "id": 1, "delivered": 1, "dropped": 0}));
        assert_eq!(client.event().await, json!({"type": "ok", "id": 2}));
        assert_eq!(slow.recv_async().await.expect("it is open").into_payload(), 2);
    });
}

#[test]
fn b24_a_publish_does_not_wait_forever() {
    run(|| async {
        let limits = Limits::default().publish_timeout(SHORT);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let stuck = server.bus.subscription("a").capacity(1).open().expect("it is open");
        let mut client = server.client().await;
        assert_eq!(client.code(json!({"type": "pub", "topic": "a", "payload": 1})).await, "ok");
        let answer = client.ask(json!({"type": "pub", "topic": "a", "payload": 2})).await;
        assert_eq!((&answer["code"], &answer["temporary"]), (&json!("timeout"), &json!(true)));
        assert_eq!((stuck.len(), stuck.dropped()), (1, 1));
    });
}

#[test]
fn b24_a_publish_reports_the_messages_it_lost() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let _full = server.bus.subscription("a").capacity(1).overflow(Overflow::DropNewest).open().expect("it is open");
        let mut client = server.client().await;
        let mut delivery = async || {
            let answer = client.ask(json!({"type": "pub", "topic": "a", "payload": null})).await;
            (answer["delivered"].as_u64(), answer["dropped"].as_u64())
        };
        assert_eq!(delivery().await, (Some(1), Some(0)));
        assert_eq!(delivery().await, (Some(0), Some(1)));
    });
}

#[test]
fn b24_a_payload_must_have_the_type_of_the_bus() {
    run(|| async {
        let server =
            Server::<u8, u8>::on(Bus::builder().build(), |builder| builder.allow_publish(">").allow_request(">")).await;
        let numbers = server.bus.subscribe("n").expect("it is open");
        let mut client = server.client().await;
        for payload in [json!("7"), json!(256), json!(null), json!([7])] {
            for kind in ["pub", "req"] {
                let answer = client.ask(json!({"type": kind, "topic": "n", "payload": payload})).await;
                assert_eq!(answer["code"], "bad_payload", "{payload}");
            }
        }
        assert_eq!(client.code(json!({"type": "pub", "topic": "n"})).await, "bad_payload");
        assert_eq!(client.code(json!({"type": "pub", "topic": "n", "payload": 7})).await, "ok");
        assert_eq!(*numbers.recv_timeout(Duration::ZERO).expect("it is there"), 7);
    });
}

#[test]
fn b24_a_publish_to_a_closed_bus_reports_it() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut client = server.client().await;
        client.subscribe("a").await;
        server.bus.close();
        assert_eq!(client.event().await, json!({"type": "unsubscribed", "sub": "a", "why": "closed"}));
        for command in [
            json!({"type": "pub", "topic": "a", "payload": 1}),
            json!({"type": "req", "topic": "a", "payload": 1}),
            json!({"type": "sub", "pattern": "a"}),
            json!({"type": "sub", "pattern": "a", "retained": true}),
            json!({"type": "sub", "pattern": "a", "group": "g"}),
        ] {
            assert_eq!(client.code(command.clone()).await, "closed", "{command}");
        }
        assert_eq!(server.gateway.stats().subscriptions, 0);
    });
}
