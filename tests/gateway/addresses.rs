//! The limits for each address: of connections, also before they have sent anything, and of feeds.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tramline::Bus;
use tramline::gateway::{Gateway, Limits};

use crate::client::{Client, Server, all, run, until};
use crate::support::{LONG, patient};

/// A gateway in a router that takes the address of a client from a header.
struct Routed {
    gateway: Gateway<Value>,
    address: SocketAddr,
}

impl Routed {
    async fn start(limits: Limits) -> Self {
        let gateway = all(Gateway::builder(&Bus::<Value>::new())).limits(limits).build().expect("valid");
        let pretend = async |mut request: Request, next: Next| {
            let address =
                request.headers().get("x-address").and_then(|value| value.to_str().ok()?.parse::<IpAddr>().ok());
            if let Some(address) = address {
                request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 1))));
            }
            next.run(request).await
        };
        let app = axum::Router::new().route("/", gateway.route()).layer(from_fn(pretend));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { gateway, address }
    }

    /// A client from an address, or the status with which it is refused.
    async fn client(&self, from: &str) -> Result<Client, u16> {
        match Client::open(self.address, &[("x-address", from)]).await {
            Ok(mut client) => {
                client.connect(None).await;
                Ok(client)
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    async fn member(&self, from: &str) -> Client {
        self.client(from).await.unwrap_or_else(|status| panic!("refused with {status}"))
    }
}

async fn subscribe(client: &mut Client, pattern: &str) -> String {
    client.code(json!({"type": "sub", "pattern": pattern})).await
}

async fn unsubscribe(client: &mut Client, pattern: &str) {
    assert_eq!(client.code(json!({"type": "unsub", "pattern": pattern})).await, "ok");
}

#[test]
fn b54_the_clients_of_one_address_cannot_use_up_the_feeds() {
    run(|| async {
        let server = Routed::start(Limits::default().commands_per_second(10_000)).await;
        let mut greedy = Vec::new();
        let mut refused = 0;
        for number in 0..8 {
            let mut client = server.member("192.0.2.1").await;
            for pattern in 0..128 {
                refused += usize::from(subscribe(&mut client, &format!("greedy.{number}.{pattern}")).await != "ok");
            }
            greedy.push(client);
        }
        let mut other = server.member("192.0.2.2").await;
        assert_eq!(subscribe(&mut other, "a").await, "ok");
        assert_eq!((server.gateway.stats().feeds, refused), (251, 8 * 128 - 250));
        let answer = greedy[7].ask(json!({"type": "sub", "pattern": "one.more"})).await;
        assert_eq!((&answer["code"], &answer["temporary"]), (&json!("too_many_subscriptions"), &json!(true)));
        assert_eq!(answer["message"], "clients from this address have as many patterns as they may have");
        // A group has a mailbox of its own, and is no feed.
        assert_eq!(greedy[7].code(json!({"type": "sub", "pattern": "b", "group": "g"})).await, "ok");

        // What they had is free when they have gone.
        greedy.into_iter().for_each(Client::reset);
        until(|| server.gateway.stats().feeds == 1).await;
        let mut again = server.member("192.0.2.1").await;
        assert_eq!(subscribe(&mut again, "one.more").await, "ok");
    });
}

#[test]
fn b54_a_feed_counts_for_the_address_of_each_member() {
    run(|| async {
        let server = Routed::start(Limits::default().feeds_per_address(2)).await;
        let (mut one, mut two) = (server.member("192.0.2.1").await, server.member("192.0.2.1").await);
        let mut other = server.member("192.0.2.2").await;
        // Two clients of an address in one feed count once, until both have left.
        for client in [&mut one, &mut two] {
            assert_eq!(subscribe(client, "a").await, "ok");
        }
        assert_eq!(subscribe(&mut one, "b").await, "ok");
        assert_eq!(subscribe(&mut two, "c").await, "too_many_subscriptions");
        unsubscribe(&mut one, "a").await;
        assert_eq!(subscribe(&mut two, "c").await, "too_many_subscriptions");
        unsubscribe(&mut two, "a").await;
        assert_eq!(subscribe(&mut two, "c").await, "ok");

        // A feed counts for those who join it, and no more for those who have left it although it goes on.
        assert_eq!(subscribe(&mut other, "b").await, "ok");
        assert_eq!(subscribe(&mut other, "c").await, "ok");
        assert_eq!(subscribe(&mut other, "d").await, "too_many_subscriptions");
        unsubscribe(&mut one, "b").await;
        assert_eq!(server.gateway.stats().feeds, 2);
        assert_eq!(subscribe(&mut one, "d").await, "ok");
        assert_eq!(subscribe(&mut one, "b").await, "too_many_subscriptions");
        // What was refused was not counted.
        unsubscribe(&mut one, "d").await;
        assert_eq!(subscribe(&mut one, "b").await, "ok");
    });
}

#[test]
fn b54_a_feed_that_ends_by_itself_counts_no_more() {
    run(|| async {
        let server =
            Server::<Value>::start(|builder| all(builder).limits(Limits::default().feeds_per_address(1))).await;
        let mut client = server.client().await;
        let subscribe =
            |pattern: &str| json!({"type": "sub", "pattern": pattern, "overflow": "disconnect", "capacity": 1});
        assert_eq!(client.code(subscribe("a")).await, "ok");
        assert_eq!(client.code(subscribe("b")).await, "too_many_subscriptions");
        while server.bus.publish("a", json!(1)).expect("it is open").dropped() == 0 {}
        while client.event().await["type"] != "unsubscribed" {}
        // At once.
        assert_eq!(client.code(subscribe("b")).await, "ok");
    });
}

#[test]
fn b55_addresses_of_one_ipv6_network_count_as_one() {
    run(|| async {
        let server = Routed::start(Limits::default().connections_per_address(2).feeds_per_address(1)).await;
        let mut one = server.member("2001:db8:1:2::1").await;
        let mut two = server.member("2001:db8:1:2:ffff:ffff:ffff:ffff").await;
        assert_eq!(server.client("2001:db8:1:2::3").await.err(), Some(429));
        let mut neighbour = server.member("2001:db8:1:3::1").await;
        assert_eq!(subscribe(&mut one, "a").await, "ok");
        assert_eq!(subscribe(&mut two, "b").await, "too_many_subscriptions");
        assert_eq!(subscribe(&mut neighbour, "b").await, "ok");
        one.reset();
        until(|| server.gateway.stats().connections == 2).await;
        server.member("2001:db8:1:2::3").await.leave().await;

        // Each address of IPv4 is one, also as IPv6 writes it.
        let _four = (server.member("192.0.2.1").await, server.member("::ffff:192.0.2.1").await);
        assert_eq!(server.client("192.0.2.1").await.err(), Some(429));
        assert_eq!(server.client("::ffff:192.0.2.1").await.err(), Some(429));
        server.member("::ffff:192.0.2.2").await.leave().await;
    });
}

async fn silent(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("it listens")
}

#[test]
fn b56_connections_that_have_sent_nothing_count() {
    run(|| async {
        let limits = Limits::default().connections_per_address(2);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let mut first = silent(server.address).await;
        let second = silent(server.address).await;
        until(|| server.gateway.stats().connections == 2).await;
        assert_eq!(server.status(&[]).await, 429);
        // In the middle of its request.
        first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await.expect("it reads");
        assert_eq!(server.status(&[]).await, 429);
        drop(second);
        until(|| server.gateway.stats().connections == 1).await;
        server.client().await.leave().await;
        until(|| server.gateway.stats().connections == 1).await;

        // A request that is refused is the last of its connection.
        first.write_all(b"\r\n").await.expect("it reads");
        let mut answer = String::new();
        let read = timeout(patient(LONG), first.read_to_string(&mut answer)).await.expect("it ends");
        assert!(read.is_ok() && answer.starts_with("HTTP/1.1 400"), "{answer}");
        until(|| server.gateway.stats().connections == 0).await;
    });
}

/// On Linux every address that begins with 127 is this machine.
#[cfg(target_os = "linux")]
#[test]
fn b56_silent_connections_of_one_address_leave_places_for_others() {
    run(|| async {
        let limits = Limits::default().connections(3).connections_per_address(2).connect_within(LONG * 100);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let mut silent_ones = Vec::new();
        for _ in 0..200 {
            silent_ones.push(silent(server.address).await);
        }
        let other = tokio::net::TcpSocket::new_v4().expect("a socket");
        other.bind("127.0.0.2:0".parse().expect("an address")).expect("an address of this machine");
        let mut other = other.connect(server.address).await.expect("it listens");
        let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        other.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = [0; 12];
        let read = timeout(patient(LONG), other.read_exact(&mut answer)).await.expect("it has an answer");
        assert!(read.is_ok() && &answer == b"HTTP/1.1 101", "{}", String::from_utf8_lossy(&answer));
        assert_eq!(server.gateway.stats().connections, 3);
        // Those without a place end soon.
        for stream in silent_ones.iter_mut().skip(2) {
            let end = timeout(patient(LONG), stream.read(&mut [0])).await.expect("it ends");
            assert_eq!(end.unwrap_or(0), 0);
        }
    });
}
