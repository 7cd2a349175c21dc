//! How connections end: what is answered before the end, what the end cancels, and with which code it comes.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tramline::gateway::Limits;
use tramline::{Bus, Subscriber};

use crate::client::{Client, Server, all, run, until};
use crate::support::{LONG, patient};

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The first byte of a frame that is the whole message.
const FINAL: u8 = 0x80;
/// A mask of 0 leaves the payload as it is.
const MASKED: u8 = 0x80;

/// A short frame of a client, with any first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).expect("a short payload");
    [&[first, MASKED | length, 0, 0, 0, 0], payload].concat()
}

fn command(command: &Value) -> Vec<u8> {
    frame(FINAL | TEXT, command.to_string().as_bytes())
}

/// A client that writes bytes and reads frames.
struct Raw(TcpStream);

impl Raw {
    /// A client that has sent its `connect`.
    async fn open(server: &Server) -> Self {
        Self(server.client().await.socket.into_inner())
    }

    async fn write(&mut self, bytes: &[u8]) {
        timeout(patient(LONG), self.0.write_all(bytes)).await.expect("it is read").expect("it is open");
    }

    /// The opcode and the payload of the next frame; `None` at the end of the stream.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let first = self.0.read_u8().await.ok()?;
            let length = match self.0.read_u8().await.ok()? {
                126 => self.0.read_u16().await.ok()?.into(),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((first & 0xF, payload))
        };
        timeout(patient(LONG), read).await.expect("something comes")
    }

    /// The answers up to the end, as `id` and `type` or `code`; and the close code: 1005 for a close frame without one,
    /// 1006 for an end without a close frame.
    async fn rest(&mut self) -> (Vec<(u64, String)>, u16) {
        let mut answers = Vec::new();
        while let Some((opcode, payload)) = self.frame().await {
            match opcode {
                TEXT => {
                    let event: Value = serde_json::from_slice(&payload).expect("JSON");
                    let what = event["code"].as_str().or(event["type"].as_str()).expect("a string");
                    answers.extend(event["id"].as_u64().map(|id| (id, what.to_owned())));
                }
                CLOSE => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    return (answers, code);
                }
                _ => {}
            }
        }
        (answers, 1006)
    }
}

fn ok(id: u64) -> (u64, String) {
    (id, "ok".to_owned())
}

fn publish(id: u64) -> Value {
    json!({"type": "pub", "id": id, "topic": "a", "payload": id})
}

/// Everything arrives at the server with one read.
#[test]
fn b51_what_was_carried_out_before_the_close_frame_is_answered() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let group = |kind: &str, id: u64| json!({"type": kind, "id": id, "pattern": "b", "group": "g"});
        for round in 0..300 {
            let mut client = Raw::open(&server).await;
            let (mut bytes, mut wanted) = ([command(&publish(1)), command(&json!({"type": "ping", "id": 2}))], 2);
            if round % 3 == 0 {
                // Its answer waits for the end of a task.
                bytes[1].extend([command(&group("sub", 3)), command(&group("unsub", 4))].concat());
                wanted = 4;
            }
            client.write(&[bytes.concat(), frame(FINAL | CLOSE, &1000_u16.to_be_bytes())].concat()).await;
            let wanted: Vec<_> = (1..=wanted).map(ok).collect();
            assert_eq!(client.rest().await, (wanted, 1000), "in round {round}");
        }
        server.is_empty_again().await;
    });
}

#[test]
fn b51_commands_before_a_half_close_are_answered() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        for round in 0..300 {
            let mut client = Raw::open(&server).await;
            client.write(&[command(&publish(1)), command(&json!({"type": "ping", "id": 2}))].concat()).await;
            client.0.shutdown().await.expect("it is open");
            assert_eq!(client.rest().await, (vec![ok(1), ok(2)], 1006), "in round {round}");
        }
        server.is_empty_again().await;
    });
}

#[test]
fn b51_a_request_without_a_reply_is_cancelled_by_the_close_frame() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let silent = server.bus.subscribe("ask").expect("it is open");
        for round in 0..20 {
            let mut client = Raw::open(&server).await;
            let request = json!({"type": "req", "id": 1, "topic": "ask", "payload": 1});
            let bytes = [command(&request), command(&json!({"type": "ping", "id": 2})), frame(FINAL | CLOSE, b"")];
            client.write(&bytes.concat()).await;
            assert_eq!(client.rest().await, (vec![ok(2)], 1005), "in round {round}");
            let asked = silent.recv_async().await.expect("it is open");
            until(|| asked.responder().is_some_and(|responder| responder.is_cancelled())).await;
        }
    });
}

/// A server whose mailboxes on `a` are one that has room and one that is full, and waits for longer than any test.
struct Stuck {
    server: Server,
    roomy: Subscriber<Value>,
    full: Subscriber<Value>,
}

impl Stuck {
    async fn start() -> Self {
        let bus = Bus::builder().build();
        let roomy = bus.subscribe("a").expect("it is open");
        let full = bus.subscription("a").capacity(1).open().expect("it is open");
        bus.publish("a", json!("first")).expect("it is open");
        assert_eq!(roomy.recv_async().await.expect("it is open").into_payload(), "first");
        let limits =
            Limits::default().publish_timeout(LONG * 100).request_timeout(LONG * 100).commands_per_second(100_000);
        let server = Server::on(bus, |builder| all(builder).limits(limits)).await;
        Self { server, roomy, full }
    }

    /// A client whose `pub` waits for room; 10 more commands wait behind it.
    async fn waiting_client(&self) -> Raw {
        let mut client = Raw::open(&self.server).await;
        client.write(&command(&publish(1))).await;
        // What has room has it, so the others are being waited for.
        assert_eq!(self.roomy.recv_async().await.expect("it is open").into_payload(), 1);
        let behind: Vec<_> = (2..=11).flat_map(|id| command(&publish(id))).collect();
        client.write(&behind).await;
        client
    }

    /// Only the message that was there first.
    async fn nothing_was_carried_out(&self) {
        until(|| self.server.gateway.stats().connections == 0).await;
        assert!(self.roomy.is_empty(), "a command behind the waiting one was carried out");
        assert_eq!(self.full.len(), 1);
    }
}

#[test]
fn b52_the_end_of_a_client_cancels_its_waiting_publish() {
    run(|| async {
        let stuck = Stuck::start().await;
        let mut client = stuck.waiting_client().await;
        client.write(&frame(FINAL | CLOSE, &1000_u16.to_be_bytes())).await;
        assert_eq!(client.rest().await, (vec![], 1000));
        stuck.nothing_was_carried_out().await;
        // It was not delivered to the full mailbox, which says so.
        assert_eq!(stuck.full.dropped(), 1);

        let mut client = stuck.waiting_client().await;
        client.0.shutdown().await.expect("it is open");
        assert_eq!(client.rest().await, (vec![], 1006));
        stuck.nothing_was_carried_out().await;

        let client = stuck.waiting_client().await;
        client.0.set_zero_linger().expect("a socket");
        drop(client);
        stuck.nothing_was_carried_out().await;
        assert_eq!(stuck.full.dropped(), 3);

        assert_eq!(stuck.full.recv_async().await.expect("it is open").into_payload(), "first");
        assert!(stuck.full.is_empty());
    });
}

#[test]
fn b52_the_end_of_a_client_cancels_its_waiting_request() {
    run(|| async {
        let stuck = Stuck::start().await;
        let mut client = Raw::open(&stuck.server).await;
        client.write(&command(&json!({"type": "req", "id": 1, "topic": "a", "payload": 1}))).await;
        let asked = stuck.roomy.recv_async().await.expect("it is open");
        client.0.shutdown().await.expect("it is open");
        assert_eq!(client.rest().await, (vec![], 1006));
        stuck.nothing_was_carried_out().await;
        assert!(asked.responder().is_some_and(|responder| responder.is_cancelled()));
    });
}

#[test]
fn b52_commands_behind_a_waiting_publish_are_carried_out_after_it_and_in_order() {
    run(|| async {
        let stuck = Stuck::start().await;
        let mut client = stuck.waiting_client().await;
        let mut other = json!({"type": "pub", "id": 12, "topic": "b", "payload": null});
        client.write(&command(&other)).await;
        let others = stuck.server.bus.subscribe("b").expect("it is open");
        client.write(&frame(FINAL | PING, b"here")).await;
        // The server has read all of it.
        assert_eq!(client.frame().await, Some((PONG, b"here".to_vec())));
        assert!(others.is_empty() && stuck.roomy.is_empty(), "it was carried out before the one that waits");
        assert_eq!(stuck.full.recv_async().await.expect("it is open").into_payload(), "first");
        for id in 1..=11 {
            assert_eq!(stuck.full.recv_async().await.expect("it is open").into_payload(), id);
        }
        assert_eq!(others.recv_async().await.expect("it is open").into_payload(), Value::Null);
        // What is read directly comes behind what was set aside.
        other["id"] = 13.into();
        client.write(&[command(&other), frame(FINAL | CLOSE, b"")].concat()).await;
        assert_eq!(client.rest().await, ((1..=13).map(ok).collect(), 1005));
    });
}

/// The client never stops. A server that reads on makes it wait only when its memory is full.
#[test]
fn b52_what_a_client_sends_behind_a_waiting_publish_is_bounded() {
    run(|| async {
        let stuck = Stuck::start().await;
        let mut client = stuck.waiting_client().await;
        let pings = command(&json!({"type": "ping", "id": 1})).repeat(2000);
        let mut sent = 0;
        while sent < 96 << 20 {
            match timeout(Duration::from_secs(1), client.0.write_all(&pings)).await {
                Ok(Ok(())) => sent += pings.len(),
                _ => break,
            }
        }
        assert!(sent < 32 << 20, "{} MiB were read while a publish waited", sent >> 20);
        // It is still there, and goes when it says so.
        assert_eq!(stuck.server.gateway.stats().connections, 1);
        client.0.set_zero_linger().expect("a socket");
        drop(client);
        assert_eq!(stuck.full.recv_async().await.expect("it is open").into_payload(), "first");
        until(|| stuck.server.gateway.stats().connections == 0).await;
    });
}

#[test]
fn b52_a_client_that_answers_pings_stays_while_its_publish_waits() {
    run(|| async {
        let bus = Bus::<Value>::builder().build();
        let full = bus.subscription("a").capacity(1).open().expect("it is open");
        bus.publish("a", json!("first")).expect("it is open");
        let limits =
            Limits::default().ping_every(Duration::from_millis(20)).pong_within(LONG).publish_timeout(LONG * 100);
        let server = Server::on(bus, |builder| all(builder).limits(limits)).await;
        let mut client = Raw::open(&server).await;
        client.write(&command(&publish(1))).await;
        let mut pings = 0;
        while pings < 10 {
            let (opcode, payload) = client.frame().await.expect("it is open");
            if opcode == PING {
                pings += 1;
                client.write(&frame(FINAL | PONG, &payload)).await;
            }
        }
        assert_eq!(full.recv_async().await.expect("it is open").into_payload(), "first");
        client.write(&frame(FINAL | PING, b"here")).await;
        while client.frame().await.expect("it is open").0 != PONG {}
        server.stop().await;
    });
}

/// Each of these is the client's mistake, with the code that RFC 6455 has for it.
fn mistakes() -> Vec<(&'static str, Vec<u8>, u16)> {
    let ping = json!({"type": "ping", "id": 9}).to_string();
    let mut unmasked = frame(FINAL | TEXT, ping.as_bytes());
    unmasked[1] &= !MASKED;
    unmasked.drain(2..6);
    vec![
        ("reserved bits", frame(FINAL | 0x40 | TEXT, ping.as_bytes()), 1002),
        ("no mask", unmasked, 1002),
        ("a fragment of a ping", frame(PING, b"here"), 1002),
        ("a reserved opcode for data", frame(FINAL | 0x3, b""), 1002),
        ("a reserved opcode for control", frame(FINAL | 0xB, b""), 1002),
        ("a continuation of nothing", frame(FINAL, b"{}"), 1002),
        ("a message in the middle of another", [frame(TEXT, b"{"), frame(FINAL | TEXT, b"{}")].concat(), 1002),
        ("a ping that is too long", [&[FINAL | PING, MASKED | 126, 0, 126, 0, 0, 0, 0][..], &[0; 126]].concat(), 1002),
        ("a close code of one byte", frame(FINAL | CLOSE, b"1"), 1002),
        ("a close code that is not for frames", frame(FINAL | CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("invalid UTF-8", frame(FINAL | TEXT, b"{\"type\":\"\xff\"}"), 1007),
        ("invalid UTF-8 in two fragments", [frame(TEXT, b"{\"\xc3"), frame(FINAL, b"\"}")].concat(), 1007),
        ("invalid UTF-8 in the reason for the end", frame(FINAL | CLOSE, b"\x03\xe8\xff"), 1007),
        ("a binary frame", frame(FINAL | BINARY, b"{}"), 1003),
    ]
}

#[test]
fn b53_protocol_errors_close_with_1002_and_invalid_utf_8_with_1007() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        for (mistake, bytes, code) in mistakes() {
            let mut client = Raw::open(&server).await;
            // More comes behind it, which is not read.
            let behind = command(&publish(3)).repeat(100);
            client.write(&[command(&publish(1)), command(&publish(2)), bytes, behind].concat()).await;
            assert_eq!(client.rest().await, (vec![ok(1), ok(2)], code), "{mistake}");
        }
    });
}

#[test]
fn b53_a_protocol_error_ends_a_connection_whose_publish_waits() {
    run(|| async {
        let stuck = Stuck::start().await;
        for (mistake, bytes, code) in mistakes() {
            let mut client = stuck.waiting_client().await;
            client.write(&bytes).await;
            assert_eq!(client.rest().await, (vec![], code), "{mistake}");
        }
        stuck.nothing_was_carried_out().await;
    });
}

/// Close codes of the server arrive as before: the client reads them although it has sent more.
#[test]
fn b53_the_close_code_for_a_protocol_error_reaches_a_websocket_client() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut client: Client = server.client().await;
        client.socket.get_mut().write_all(&frame(FINAL | 0x10 | TEXT, b"{}")).await.expect("it is open");
        // It may fail in the middle.
        let _ = client.socket.send(Message::text("x".repeat(60_000))).await;
        assert_eq!(client.close_code().await, 1002);
    });
}
