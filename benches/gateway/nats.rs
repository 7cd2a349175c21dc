//! nats-server, over its own WebSocket port. Its protocol: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::clients::{Protocol, Socket, TOPIC, open};
use crate::process::{Server, free_port};

const PROGRAM: &str = "nats-server";

pub fn is_here() -> bool {
    Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

pub struct Nats;

impl Protocol for Nats {
    fn name(&self) -> &'static str {
        PROGRAM
    }

    fn start(&self) -> Server {
        let (port, clients) = (free_port(), free_port());
        let config = std::env::temp_dir().join(format!("tramline-bench-nats-{port}.conf"));
        let text = format!(
            "listen: \"127.0.0.1:{clients}\"\nwebsocket {{\n  listen: \"127.0.0.1:{port}\"\n  no_tls: true\n}}\n"
        );
        std::fs::write(&config, text).expect("a temporary file");
        let mut command = Command::new(PROGRAM);
        let child = command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let server = Server::new(child.expect("it starts"), address);
        // It tells nobody when it listens.
        for _ in 0..1000 {
            if std::net::TcpStream::connect(address).is_ok() {
                let _ = std::fs::remove_file(config);
                return server;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{PROGRAM} does not listen");
    }

    async fn connect(&self, address: SocketAddr) -> Socket {
        let mut socket = open(address).await;
        let hello = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true}\r\nPING\r\n";
        socket.send(Message::binary(hello)).await.expect("it is open");
        pong(&mut socket).await;
        socket
    }

    async fn subscribe(&self, socket: &mut Socket) {
        let command = format!("SUB {TOPIC} 1\r\nPING\r\n");
        socket.send(Message::binary(command)).await.expect("it is open");
        pong(socket).await;
    }

    fn publish(&self, payload: &str) -> Message {
        Message::binary(format!("PUB {TOPIC} {}\r\n{payload}\r\n", payload.len()))
    }
}

async fn pong(socket: &mut Socket) {
    loop {
        let frame = socket.next().await.expect("it is open").expect("it is open");
        if frame.into_data().windows(4).any(|window| window == b"PONG") {
            return;
        }
    }
}
