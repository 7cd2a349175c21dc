//! W: the gateway to WebSockets, with real sockets.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "tests")]

#[path = "gateway/access.rs"]
mod access;
#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/commands.rs"]
mod commands;
#[path = "gateway/connections.rs"]
mod connections;
#[path = "gateway/delivery.rs"]
mod delivery;
#[path = "gateway/promises.rs"]
mod promises;
#[path = "gateway/requests.rs"]
mod requests;
mod support;
