//! B: the gateway to WebSockets, with real sockets.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "tests")]

mod access;
mod addresses;
mod client;
mod commands;
mod connections;
mod delivery;
mod ends;
mod headers;
mod limits;
mod promises;
mod requests;
#[path = "../support/mod.rs"]
mod support;
