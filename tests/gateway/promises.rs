//! Promises of the documentation that an adversarial review found broken. Each case quotes its promise.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tramline::Bus;
use tramline::gateway::{Gateway, Limits};

use crate::client::{Client, Server, all, until};
use crate::support::{LONG, SHORT, patient, within};

const SOON: Duration = Duration::from_secs(3);

/// Some of these block a thread of the runtime.
fn run<Fut: Future<Output = ()>>(test: impl FnOnce() -> Fut + Send + 'static) {
    within(LONG * 2, || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(6).enable_all().build();
        let runtime = runtime.expect("a runtime");
        // Who blocks a thread may have had the turn at the sockets: another has to be awake to take it.
        let handle = runtime.handle().clone();
        let (_end, ended) = channel::<()>();
        std::thread::spawn(move || {
            while ended.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                handle.spawn(async {});
            }
        });
        runtime.block_on(test());
    });
}

/// Holds up the first who comes.
#[derive(Default)]
struct Gate {
    came: AtomicBool,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        if !self.came.swap(true, Ordering::SeqCst) {
            let mut open = self.open.lock().expect("no panic");
            while !*open {
                open = self.opened.wait(open).expect("no panic");
            }
        }
    }

    fn open(&self) {
        *self.open.lock().expect("no panic") = true;
        self.opened.notify_all();
    }

    async fn somebody_came(&self) {
        until(|| self.came.load(Ordering::SeqCst)).await;
    }
}

/// A number that takes its time to be written.
#[derive(Clone, Deserialize)]
struct Number {
    number: u32,
    #[serde(skip)]
    gate: Option<Arc<Gate>>,
}

fn number(number: u32) -> Number {
    Number { number, gate: None }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        serializer.serialize_u32(self.number)
    }
}

/// "`retained`: without a gap". Two clients join a feed at once; the one that began first misses what was published between
/// the two.
#[test]
fn b31_two_clients_that_join_a_feed_at_once_both_get_every_live_message() {
    run(|| async {
        let server = Server::<Number, Number>::start(all).await;
        let mut first = server.client().await;
        first.subscribe("a").await;
        let gate = Arc::<Gate>::default();
        server.bus.publish_retained("a", Number { number: 0, gate: Some(Arc::clone(&gate)) }).expect("it is open");
        gate.somebody_came().await;
        gate.open();
        assert_eq!(first.payload().await, 0);

        let gate = Arc::<Gate>::default();
        let kept = Number { number: 1, gate: Some(Arc::clone(&gate)) };
        // Nobody but who wants the last value writes this one: `first` has gone.
        first.leave().await;
        server.is_empty_again().await;
        server.bus.publish_retained("a", kept).expect("it is open");

        let sub = json!({"type": "sub", "id": 1, "pattern": "a", "retained": true});
        let mut slow = server.client().await;
        slow.send(&sub).await;
        gate.somebody_came().await;
        server.bus.publish("a", number(2)).expect("it is open");
        let mut quick = server.client().await;
        quick.send(&sub).await;
        assert_eq!(quick.event().await["type"], "ok");
        assert_eq!(quick.payload().await, 1);
        gate.open();
        server.bus.publish("a", number(3)).expect("it is open");
        assert_eq!(slow.event().await["type"], "ok");
        let got = [slow.payload().await, slow.payload().await];
        assert_eq!(got, [json!(1), json!(2)], "the last value, and what was published after it");
    });
}

/// A client whose feed has taken 1 and 2 and lost 3, and one that has joined with the last values before that was read.
async fn overflowing(server: &Server<Number, Number>, overflow: &str) -> (Client, Client) {
    let mut sub = json!({"type": "sub", "pattern": "a", "overflow": overflow, "capacity": 1});
    let mut client = server.client().await;
    assert_eq!(client.code(sub.clone()).await, "ok");
    let gate = Arc::<Gate>::default();
    server.bus.publish("a", Number { number: 1, gate: Some(Arc::clone(&gate)) }).expect("it is open");
    gate.somebody_came().await;
    assert_eq!(server.bus.publish("a", number(2)).expect("it is open").delivered(), 1);
    assert_eq!(server.bus.publish("a", number(3)).expect("it is open").dropped(), 1);
    let mut other = server.client().await;
    sub["retained"] = true.into();
    assert_eq!(other.code(sub).await, "ok");
    gate.open();
    (client, other)
}

/// "`disconnect`, which ends the subscription": not if another client wants the last values before the feed is read to its
/// end.
#[test]
fn b32_an_overflowed_feed_ends_even_if_a_client_joins() {
    run(|| async {
        let server = Server::<Number, Number>::start(all).await;
        let (mut client, _other) = overflowing(&server, "disconnect").await;
        server.bus.publish("a", number(4)).expect("it is open");
        assert_eq!((client.payload().await, client.payload().await), (json!(1), json!(2)));
        let event = client.event().await;
        assert_eq!(event["type"], "unsubscribed", "3 is missing without a word: {event}");
    });
}

/// "`lost_before` tells how many are missing": what the old mailbox refused last is told by nobody.
#[test]
fn b33_messages_refused_before_a_client_joined_are_reported() {
    run(|| async {
        let server = Server::<Number, Number>::start(all).await;
        let (mut client, _other) = overflowing(&server, "drop_newest").await;
        assert_eq!((client.payload().await, client.payload().await), (json!(1), json!(2)));
        server.bus.publish("a", number(4)).expect("it is open");
        let event = client.event().await;
        assert_eq!((&event["payload"], &event["lost_before"]), (&json!(4), &json!(1)), "{event}");
    });
}

/// "Serves the gateway until it is shut down": not if somebody is in the middle of his request.
#[test]
fn b34_serve_ends_although_a_handshake_does_not() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await.expect("it reads");
        // Who comes later is answered, so the one before is in the middle of it.
        assert_eq!(server.status(&[]).await, 101);
        assert!(timeout(SOON, server.stop()).await.is_ok(), "it hangs for as long as the client wants");
    });
}

/// "Everything that a client can make the server keep has one of the limits": not a connection before its request.
#[test]
fn b35_a_handshake_times_out() {
    run(|| async {
        let limits = Limits::default().connect_within(SHORT).connections(2).connections_per_address(2);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let mut streams = Vec::new();
        for _ in 0..50 {
            let mut stream = TcpStream::connect(server.address).await.expect("it listens");
            stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("it reads");
            streams.push(stream);
        }
        for stream in &mut streams {
            let end = timeout(patient(LONG), stream.read(&mut [0])).await.expect("it is not open for ever");
            // An end, or a reset.
            assert_eq!(end.unwrap_or(0), 0);
        }
    });
}

fn resident() -> usize {
    let mut text = String::new();
    let _ = std::fs::File::open("/proc/self/statm").and_then(|mut file| file.read_to_string(&mut text));
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

/// "Bytes that wait for a client: 1 MiB": the answers to pings are not among them, and have no bound.
#[test]
fn b36_the_memory_for_pongs_is_limited() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut stream = server.stranger().await.socket.into_inner();
        let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
        ping.resize(6 + 125, 0);
        let pings = ping.repeat(512);
        let before = resident();
        let mut sent = 0;
        // Never reads. A server that waits for it makes this wait too.
        while sent < 96 << 20 {
            match timeout(Duration::from_secs(2), stream.write_all(&pings)).await {
                Ok(Ok(())) => sent += pings.len(),
                _ => break,
            }
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 16 << 20, "{} MiB of pings, {} MiB more memory", sent >> 20, grown >> 20);
    });
}

/// A gateway that two runtimes serve, one for each core: the feed is a task of one of them.
#[test]
fn b37_a_feed_outlives_the_runtime_of_its_first_client() {
    run(|| async {
        let bus = Bus::<Value>::new();
        let gateway = all(Gateway::builder(&bus)).build().expect("valid");
        let serve = || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = runtime.expect("a runtime");
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.set_nonblocking(true).expect("a socket");
            let address = listener.local_addr().expect("bound");
            let gateway = gateway.clone();
            runtime.spawn(async move { gateway.serve(TcpListener::from_std(listener).expect("a socket")).await });
            (runtime, address)
        };
        let ((one, first), (other, second)) = (serve(), serve());
        let mut clients = Vec::new();
        for address in [first, second] {
            let mut client = Client::open(address, &[]).await.expect("it is let in");
            client.connect(None).await;
            client.subscribe("a").await;
            clients.push(client);
        }
        one.shutdown_background();
        until(|| gateway.stats().connections == 1).await;
        bus.publish("a", json!(1)).expect("it is open");
        let event = timeout(SOON, clients[1].next()).await;
        other.shutdown_background();
        assert!(event.is_ok(), "neither a message nor the end of the subscription");
    });
}

/// User code that panics costs one message elsewhere in the bus; here all that follow, of all who share the feed.
#[derive(Clone, Serialize, Deserialize)]
struct Throws(u32);

impl Drop for Throws {
    fn drop(&mut self) {
        if self.0 == 13 && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("dropping it panics"));
        }
    }
}

#[test]
fn b38_a_payload_whose_drop_panics_does_not_end_the_feed() {
    run(|| async {
        let server = Server::<Throws, Value>::start(all).await;
        let mut client = server.client().await;
        client.subscribe("a").await;
        let mut member = server.client().await;
        assert_eq!(member.code(json!({"type": "sub", "pattern": "b", "group": "g"})).await, "ok");
        for topic in ["a", "b"] {
            for number in [13, 1] {
                server.bus.publish(topic, Throws(number)).expect("it is open");
            }
        }
        assert_eq!((client.payload().await, member.payload().await), (json!(13), json!(13)));
        let of_feed = timeout(SOON, client.next()).await.is_ok();
        let of_group = timeout(SOON, member.next()).await.is_ok();
        assert_eq!((of_feed, of_group), (true, true), "nothing comes any more, not even `unsubscribed`");
    });
}

/// "The server sends one every `ping_ms`": one in `pong_within`, if that is longer. A client gives up after `ping_ms` and 20
/// seconds.
#[test]
fn b40_pings_come_at_the_configured_interval() {
    run(|| async {
        let limits = Limits::default().ping_every(SHORT).pong_within(SOON);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let mut client = server.client().await;
        let (begin, mut pings) = (Instant::now(), 0);
        while let Ok(Some(Ok(frame))) = timeout(SOON.saturating_sub(begin.elapsed() * 2), client.socket.next()).await {
            pings += usize::from(matches!(frame, Message::Ping(_)));
        }
        assert!(pings >= 5, "{pings} in {:?}, of one every {SHORT:?}", begin.elapsed());
    });
}

/// "Clients who want the same pattern share one mailbox": not with a capacity of their own.
#[test]
fn b41_clients_cannot_multiply_the_mailboxes_of_one_pattern() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let probe = server.bus.publisher("a.b.c.d.e.f.g").expect("valid");
        let mut clients = Vec::new();
        let before = resident();
        for capacity in 249..=256 {
            let mut client = server.client().await;
            for bits in 0..127_u32 {
                // Every one of them matches.
                let token = |(index, token)| if bits >> index & 1 == 1 { "*" } else { token };
                let pattern: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"].into_iter().enumerate().map(token).collect();
                let sub = json!({"type": "sub", "pattern": pattern.join("."), "capacity": capacity});
                assert_eq!(client.code(sub).await, "ok");
            }
            clients.push(client);
        }
        let feeds = server.gateway.stats().feeds;
        let begin = Instant::now();
        let delivered = probe.publish(json!({"text": "hello"})).expect("it is open").delivered();
        let took = begin.elapsed();
        let grown = (resident().saturating_sub(before)) >> 10;
        assert!(
            feeds <= 127,
            "{feeds} feeds for 127 patterns, {delivered} mailboxes for one message, {took:?}, {grown} KiB"
        );
    });
}

/// Close code 3501 ends it: what comes behind is not carried out.
#[test]
fn b42_no_command_is_executed_after_the_end() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let heard = server.bus.subscribe("a").expect("it is open");
        let mut published = 0;
        for _ in 0..60 {
            let mut client = server.client().await;
            client.socket.get_mut().set_nodelay(false).expect("a socket");
            use futures_util::SinkExt;
            client.socket.feed(Message::text("garbage")).await.expect("it is open");
            for id in 1..20 {
                let command = json!({"type": "pub", "id": id, "topic": "a", "payload": id}).to_string();
                client.socket.feed(Message::text(command)).await.expect("it is open");
            }
            client.socket.flush().await.expect("it is open");
            assert_eq!(client.close_code().await, 3501);
            published += heard.try_iter().count();
        }
        assert_eq!(published, 0, "commands behind a frame that ends the connection, in 60 connections");
    });
}

/// "A client whose connection is slow takes none": the task was waiting for a message already, and takes that.
#[test]
fn b44_a_slow_group_member_takes_no_messages() {
    run(|| async {
        let limits = Limits::default().waiting_bytes(64 << 20);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let mut slow = server.client().await;
        slow.subscribe("big").await;
        let join = json!({"type": "sub", "pattern": "jobs", "group": "g"});
        assert_eq!(slow.code(join.clone()).await, "ok");
        let big = json!("x".repeat(1 << 20));
        while server.gateway.stats().waiting_bytes < 4 << 20 {
            server.bus.publish("big", big.clone()).expect("it is open");
            // The one for the group has none.
            until(|| server.bus.stats().subscriptions.iter().all(|one| one.depth == 0)).await;
        }
        server.bus.publish("jobs", json!("work")).expect("it is open");
        let mut other = server.client().await;
        assert_eq!(other.code(join).await, "ok");
        slow.reset();
        let work = timeout(SOON, other.next()).await;
        assert!(work.is_ok(), "it was given to a client with 4 MiB before it, which has gone");
    });
}

/// `unknown_token`: "used, or the request is over".
#[test]
fn b45_failing_a_request_that_is_over_reports_it() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut client = server.client().await;
        client.subscribe("ask").await;
        for answer in ["payload", "error"] {
            let pending = server.bus.request("ask", json!(1)).expect("it is open");
            let token = client.event().await["token"].clone();
            drop(pending);
            let mut reply = json!({"type": "reply", "token": token});
            reply[answer] = "no".into();
            assert_eq!(client.code(reply).await, "unknown_token", "with `{answer}`");
        }
    });
}

/// "At most this long".
#[test]
fn b46_a_shutdown_times_out() {
    run(|| async {
        let limits = Limits::default().connections_per_address(1000);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let mut clients = Vec::new();
        for _ in 0..450 {
            clients.push(server.client().await);
        }
        let begin = Instant::now();
        let _ = server.gateway.shut_down(Duration::ZERO).await;
        let took = begin.elapsed();
        assert!(took < patient(Duration::from_millis(40)), "450 connections, no time to wait: {took:?}");
    });
}
