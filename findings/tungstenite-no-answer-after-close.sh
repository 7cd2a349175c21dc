#!/usr/bin/env bash
# A server on tungstenite cannot answer a message any more once it has read the close frame behind it.
#
# Version: tungstenite 0.29.0 (features handshake), Rust 1.95.0 on Linux x86-64.
#
# A client sends a text message and a close frame in one write and waits; its socket stays open both ways. RFC 6455, section
# 5.5.1, lets an endpoint that gets a close frame delay its own until the message that it is sending is sent, and forbids
# data frames only after its own. In tungstenite the close frame is answered while it is read: a message that the server
# writes afterwards is refused with `Protocol(SendAfterClosing)`, and the client gets the close frame alone. If the server
# answers between the two reads, the client gets the answer and then the close frame. So a server that reads ahead, or
# carries commands out in another task than the one that reads, loses the answers to the last commands.
#
# Seen:
#     read, read, answer: Err(Protocol(SendAfterClosing)); the client got a close frame
#     read, answer, read: Ok(()); the client got a text frame, then a close frame
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "answer-after-close"
version = "0.0.0"
edition = "2024"

[dependencies]
tungstenite = { version = "=0.29.0", default-features = false, features = ["handshake"] }

[workspace]
TOML
cat >src/main.rs <<'RUST'
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use tungstenite::{Message, accept, client};

fn run(answers_first: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let caller = thread::spawn(move || {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
        let (socket, _) = client(format!("ws://{address}/"), stream).expect("the handshake");
        let mut stream = socket.get_ref();
        // A masked text frame `q` and a masked close frame with code 1000; the masks are zero.
        stream.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'q', 0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).expect("the socket is open");
        let mut got = Vec::new();
        let mut header = [0; 2];
        while stream.read_exact(&mut header).is_ok() {
            let mut payload = vec![0; usize::from(header[1])];
            stream.read_exact(&mut payload).expect("a whole frame");
            got.push(if header[0] == 0x81 { "a text frame" } else { "a close frame" });
            if header[0] == 0x88 {
                break;
            }
        }
        got.join(", then ")
    });
    let (stream, _) = listener.accept().expect("a connection");
    let mut socket = accept(stream).expect("the handshake");
    assert_eq!(socket.read().expect("a message").to_text().expect("text"), "q");
    let mut answer = None;
    if answers_first {
        answer = Some(socket.send(Message::text("a")));
    }
    assert!(socket.read().expect("a message").is_close());
    let answer = answer.unwrap_or_else(|| socket.send(Message::text("a")));
    let _ = socket.flush();
    format!("{answer:?}; the client got {}", caller.join().expect("the caller ends"))
}

fn main() {
    println!("read, read, answer: {}", run(false));
    println!("read, answer, read: {}", run(true));
}
RUST
seen=$(cargo run --quiet)
echo "$seen"
[ "$seen" = "read, read, answer: Err(Protocol(SendAfterClosing)); the client got a close frame
read, answer, read: Ok(()); the client got a text frame, then a close frame" ]
