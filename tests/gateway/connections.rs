//! How connections live and end.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tramline::gateway::Limits;

use crate::client::{Client, Server, all, run, until};
use crate::support::{LONG, SHORT};

#[test]
fn b13_a_client_that_sends_no_connect_in_time_is_closed_with_3502() {
    run(|| async {
        let limits = Limits::default().connect_within(SHORT);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let mut silent = server.stranger().await;
        let mut wrong = server.stranger().await;
        assert_eq!(wrong.code(json!({"type": "ping"})).await, "not_connected");
        assert_eq!((silent.close_code().await, wrong.close_code().await), (3502, 3502));
    });
}

#[test]
fn b13_a_client_that_answers_no_ping_is_disconnected() {
    run(|| async {
        let limits = Limits::default().ping_every(SHORT).pong_within(SHORT);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let mut dead = server.client().await;
        dead.subscribe("a").await;
        // It reads nothing, and so answers no ping.
        server.is_empty_again().await;
        assert_eq!(dead.close_code().await, 3012);
    });
}

#[test]
fn b13_pings_keep_a_connection_alive() {
    run(|| async {
        let limits = Limits::default().ping_every(SHORT).pong_within(SHORT * 20);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let mut client = server.client().await;
        let (mut frames, mut events) = (0, 0);
        while frames < 5 || events < 5 {
            // Reading it answers it.
            match client.socket.next().await.expect("it is open").expect("it is open") {
                Message::Ping(_) => frames += 1,
                Message::Text(text) => events += usize::from(text.as_str() == r#"{"type":"ping"}"#),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(client.code(json!({"type": "ping"})).await, "ok");
    });
}

#[test]
fn b17_a_reset_frees_everything() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let service = server.bus.subscribe("slow").expect("it is open");
        for round in 0..20 {
            let mut client = server.client().await;
            client.subscribe("a.*").await;
            assert_eq!(client.code(json!({"type": "sub", "pattern": "b", "retained": true})).await, "ok");
            assert_eq!(client.code(json!({"type": "sub", "pattern": "a.*", "group": "g"})).await, "ok");
            client.send(&json!({"type": "req", "id": 1, "topic": "slow", "payload": round})).await;
            let asked = service.recv_async().await.expect("it is open");
            let stats = server.gateway.stats();
            assert_eq!((stats.connections, stats.subscriptions, stats.feeds), (1, 3, 2));
            assert_eq!(server.bus.stats().subscriptions.len(), 4);
            client.reset();
            until(|| asked.responder().is_some_and(|responder| responder.is_cancelled())).await;
            until(|| server.gateway.stats().connections == 0 && server.bus.stats().subscriptions.len() == 1).await;
            assert_eq!((server.gateway.stats().feeds, server.gateway.stats().waiting_bytes), (0, 0));
        }
        drop(service);
        until(|| server.bus.stats().topics == 0).await;
    });
}

#[test]
fn b17_a_close_frame_is_answered() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let mut client = server.client().await;
        client.subscribe("a").await;
        client.leave().await;
        server.is_empty_again().await;
    });
}

#[test]
fn b18_a_client_that_reconnects_gets_its_subscriptions_and_the_last_values() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let subscribe = json!({"type": "sub", "pattern": "price.*", "retained": true});
        let mut client = server.client().await;
        assert_eq!(client.code(subscribe.clone()).await, "ok");
        server.bus.publish_retained("price.tea", json!(3)).expect("it is open");
        assert_eq!(client.payload().await, 3);
        client.reset();
        server.bus.publish_retained("price.tea", json!(4)).expect("it is open");
        server.bus.publish_retained("price.milk", json!(1)).expect("it is open");
        let mut client = server.client().await;
        assert_eq!(client.code(subscribe).await, "ok");
        assert_eq!((client.payload().await, client.payload().await), (json!(4), json!(1)));
        server.bus.publish("price.tea", json!(5)).expect("it is open");
        assert_eq!(client.payload().await, 5);
        until(|| server.gateway.stats().connections == 1).await;
    });
}

#[test]
fn b19_a_shutdown_closes_every_connection_with_3001() {
    run(|| async {
        let server = Server::<Value>::start(|builder| {
            let limits = Limits::default().connections_per_address(1000);
            all(builder).limits(limits)
        })
        .await;
        let mut clients = Vec::new();
        for _ in 0..250 {
            let mut client = server.client().await;
            client.subscribe("a").await;
            clients.push(tokio::spawn(async move {
                let last = client.payload().await;
                (last, client.close_code().await)
            }));
        }
        let mut last = server.client().await;
        last.subscribe("a").await;
        server.bus.publish("a", json!("goodbye")).expect("it is open");
        // When one has it, it waits for all; and comes before the end.
        assert_eq!(last.payload().await, "goodbye");
        let last = tokio::spawn(async move { last.close_code().await });
        let (address, gateway, bus) = (server.address, server.gateway.clone(), server.bus.clone());
        server.stop().await;
        for client in clients {
            assert_eq!(client.await.expect("no panic"), (json!("goodbye"), 3001));
        }
        assert_eq!(last.await.expect("no panic"), 3001);
        assert!(Client::open(address, &[]).await.is_err());
        assert!(!bus.is_closed());
        assert_eq!((gateway.stats().connections, bus.stats().subscriptions.len()), (0, 0));
    });
}

#[test]
fn b19_a_shutdown_in_a_router_refuses_with_503() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let app = axum::Router::new().route("/", server.gateway.route());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut client = Client::open(address, &[]).await.expect("it is let in");
        client.connect(None).await;
        assert_eq!(server.gateway.shut_down(Duration::ZERO).await, 1);
        assert_eq!(client.close_code().await, 3001);
        drop(client);
        assert_eq!(server.gateway.shut_down(LONG).await, 0);
        let refused = Client::open(address, &[]).await.err().expect("it is refused");
        assert!(refused.to_string().contains("503"), "{refused}");
    });
}

#[test]
fn b14_an_invalid_handshake_is_refused() {
    run(|| async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let server = Server::<Value>::start(all).await;
        for (request, status) in [
            ("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "HTTP/1.1 400"),
            ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", "HTTP/1.1 405"),
        ] {
            let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("it listens");
            stream.write_all(request.as_bytes()).await.expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("it answers");
            assert!(answer.starts_with(status), "{answer}");
        }
        until(|| server.gateway.stats().connections == 0).await;
    });
}

/// Two runtimes serve one gateway. The feed that both have clients of runs on the first, which ends.
#[test]
fn b17_clients_learn_that_a_feed_ended_with_its_runtime_and_can_resubscribe() {
    run(|| async {
        let server = Server::<Value>::start(all).await;
        let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let other = other.expect("a runtime");
        let gateway = server.gateway.clone();
        let serve = async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("bound");
            tokio::spawn(gateway.serve(listener));
            address
        };
        let address = other.spawn(serve).await.expect("no panic");
        let mut first = Client::open(address, &[]).await.expect("it is let in");
        first.connect(None).await;
        first.subscribe("a").await;
        let mut second = server.client().await;
        second.subscribe("a").await;
        assert_eq!(server.gateway.stats().feeds, 1);
        other.shutdown_background();
        assert_eq!(second.event().await, json!({"type": "unsubscribed", "sub": "a", "why": "closed"}));
        second.subscribe("a").await;
        server.bus.publish("a", json!(1)).expect("it is open");
        assert_eq!(second.payload().await, 1);
        until(|| server.gateway.stats().connections == 1).await;
    });
}

#[test]
fn b19_the_longest_durations_are_accepted() {
    run(|| async {
        let limits = Limits::default()
            .connect_within(Duration::MAX)
            .ping_every(Duration::MAX)
            .pong_within(Duration::MAX)
            .write_timeout(Duration::MAX)
            .publish_timeout(Duration::MAX)
            .request_timeout(Duration::MAX);
        let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
        let _double = server.bus.serve("ask", |_| json!("an answer")).expect("it is open");
        let mut client = server.client().await;
        assert_eq!(client.code(json!({"type": "pub", "topic": "a", "payload": 1})).await, "ok");
        assert_eq!(client.code(json!({"type": "req", "topic": "ask", "payload": 1})).await, "ok");
        let gateway = server.gateway.clone();
        let shutting_down = tokio::spawn(async move { gateway.shut_down(Duration::MAX).await });
        assert_eq!(client.close_code().await, 3001);
        drop(client);
        assert_eq!(shutting_down.await.expect("no panic"), 0);
    });
}
