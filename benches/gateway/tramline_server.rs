//! The gateway.

use std::io::Read;
use std::net::SocketAddr;
use std::process::Command;

use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Message;
use tramline::Bus;
use tramline::gateway::{Gateway, Limits};

use crate::clients::{Protocol, Socket, TOPIC, open};
use crate::process::{Server, start_and_read_address};

#[derive(Clone, Serialize, Deserialize)]
struct Flight {
    at: u64,
    flight: String,
    destination: String,
    status: String,
    delay_minutes: u32,
}

/// Serves until its standard input ends.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let bus = Bus::<Flight>::new();
    let limits = Limits::default()
        .connections_per_address(10_000)
        .commands_per_second(1_000_000)
        // As much as nats-server allows, by default, to wait for a client.
        .waiting_bytes(64 * 1024 * 1024);
    let gateway = Gateway::builder(&bus).allow_publish("flight.>").allow_subscribe("flight.>").limits(limits);
    let gateway = gateway.build().expect("valid");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("bound"));
        tokio::spawn(gateway.serve(listener));
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
        let _ = ended.await;
    });
}

pub struct Tramline;

impl Protocol for Tramline {
    fn name(&self) -> &'static str {
        "tramline"
    }

    fn start(&self) -> Server {
        start_and_read_address(Command::new(std::env::current_exe().expect("this program")).arg("--serve"))
    }

    async fn connect(&self, address: SocketAddr) -> Socket {
        let mut socket = open(address).await;
        socket.send(Message::text(r#"{"type":"connect","id":0}"#)).await.expect("it is open");
        wait_for(&mut socket, r#"{"type":"ok","id":0"#).await;
        socket
    }

    async fn subscribe(&self, socket: &mut Socket) {
        let command = format!(r#"{{"type":"sub","id":1,"pattern":"{TOPIC}"}}"#);
        socket.send(Message::text(command)).await.expect("it is open");
        wait_for(socket, r#"{"type":"ok","id":1"#).await;
    }

    fn publish(&self, payload: &str) -> Message {
        Message::text(format!(r#"{{"type":"pub","id":2,"topic":"{TOPIC}","payload":{payload}}}"#))
    }
}

async fn wait_for(socket: &mut Socket, beginning: &str) {
    loop {
        let frame = socket.next().await.expect("it is open").expect("it is open");
        if frame.to_text().is_ok_and(|text| text.starts_with(beginning)) {
            return;
        }
    }
}
