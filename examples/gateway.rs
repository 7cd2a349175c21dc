//! A bus of JSON behind a gateway: a chat, an echo, and services that clients offer to each other.
//!
//! `cargo run --example gateway --features gateway` serves until its standard input ends, or says `quit`. `clients/js` has a
//! client, whose tests are run against this server.
//!
//! | topics | clients may |
//! | --- | --- |
//! | `chat.>` | publish and subscribe |
//! | `echo` | ask, and hear what they have said |
//! | `service.>` | serve, and ask |
//! | `status.>` | subscribe; the last values are kept |

use std::error::Error;
use std::io;
use std::thread;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tramline::gateway::{Gateway, Refusal};
use tramline::{Bus, Message};

/// Serves a bus of JSON over WebSockets, on this computer only.
#[derive(Debug, Parser)]
#[command(name = "gateway")]
struct Arguments {
    /// The port; 0 is any that is free
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,

    /// What clients have to say when they connect [default: anything]
    #[arg(long, value_name = "TEXT")]
    token: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { port, token } = Arguments::parse();
    let bus = Bus::<Value>::new();
    let _echo = bus.serve("echo", |request: &Message<Value>| (**request).clone())?;
    bus.publish_retained("status.version", json!(env!("CARGO_PKG_VERSION")))?;

    let gateway = Gateway::builder(&bus)
        .allow_publish("chat.>")
        .allow_subscribe("chat.>")
        .allow_subscribe("service.>")
        .allow_group("service.>")
        .allow_subscribe("status.>")
        .allow_request("echo")
        .allow_request("service.>")
        .token(move |_session, said| match token.as_deref() {
            Some(token) if said != Some(token) => Err(Refusal::Unauthorized),
            _ => Ok(None),
        })
        .build()?;

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let serving = tokio::spawn(gateway.clone().serve(listener));
    // Clients are told that they may connect again, to the next server.
    if asked_to_end().await.is_ok() {
        gateway.shut_down(Duration::from_secs(5)).await;
    }
    serving.await??;
    Ok(())
}

/// Standard input is read on a thread of its own, because reading it blocks.
fn asked_to_end() -> oneshot::Receiver<()> {
    let (end, asked) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::stdin().lines().map_while(Result::ok).find(|line| line.trim() == "quit");
        let _ = end.send(());
    });
    asked
}
