//! The example `axum`, asked over HTTP.

mod support;

#[allow(dead_code, reason = "its main is not called")]
#[path = "../examples/axum.rs"]
mod example;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use support::{LONG, within_limit};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tramline::Bus;

/// Sends one request on a connection of its own; tells the status and the body.
fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("not zero");
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

#[test]
fn http_requests_are_answered_by_modules_on_the_bus() {
    within_limit(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(async {
                let bus = Bus::<String, u32>::builder().build();
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let address = listener.local_addr().expect("it is bound");
                let server = tokio::spawn(axum::serve(listener, example::routes(bus.clone())).into_future());
                let ask = |method: &'static str, path: &'static str| async move {
                    spawn_blocking(move || ask(address, method, path)).await.expect("no panic")
                };

                let (status, body) = ask("GET", "/price/tea").await;
                assert_eq!(status, 503, "no module serves yet: {body}");
                assert_eq!(ask("POST", "/order/tea").await, (202, "0 told\n".to_owned()));

                let modules = example::modules(&bus).expect("the bus is open");
                let orders = bus.subscribe("order.*").expect("the bus is open");
                assert_eq!(ask("GET", "/price/tea").await, (200, "3.50\n".to_owned()));
                assert_eq!(ask("GET", "/price/soup").await, (200, "6.20\n".to_owned()));
                let (status, body) = ask("GET", "/price/caviar").await;
                assert_eq!(status, 404);
                assert!(body.contains("there is no caviar on the menu"), "{body}");
                assert_eq!(ask("GET", "/price/a%20b").await.0, 400);
                assert_eq!(ask("POST", "/order/soup").await, (202, "2 told\n".to_owned()));
                assert_eq!(orders.recv_async().await.expect("the order").payload(), "soup");

                bus.close();
                assert_eq!(ask("POST", "/order/soup").await.0, 503);
                server.abort();
                drop(modules);
            });
    });
}
