//! Journals. What they promise to memory is in `memory.rs`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod ends;
mod full;
mod handlers;
mod kinds;
mod options;
mod order;
mod reading;
#[path = "../support/mod.rs"]
mod support;
mod user_code;
