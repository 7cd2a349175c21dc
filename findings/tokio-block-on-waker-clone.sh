#!/usr/bin/env bash
# The waker of tokio's current-thread `block_on` does not "wake the same task" as its own clone, once optimised.
#
# Version: tokio 1.54.1 (features rt), Rust 1.95.0 on Linux x86-64.
#
# A future on a current-thread runtime's `block_on` clones the waker of its context and asks with `Waker::will_wake` whether
# context and clone wake the same task. In a debug build the answer is true. In a release build of the same program it is
# false, although both have the same `Waker::data`; two clones agree with each other in both builds. In a spawned task the
# answer is true in both. The documentation of `will_wake` allows it (best effort), but code that skips storing a waker,
# or that recognises a task by it, is tested in debug builds, where it works.
#
# Seen:
#     debug    block_on: clone and context true, clone and clone true, same data true; spawned: clone and context true
#     release  block_on: clone and context false, clone and clone true, same data true; spawned: clone and context true
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "waker-clone"
version = "0.0.0"
edition = "2024"

[dependencies]
tokio = { version = "=1.54.1", features = ["rt"] }

[workspace]
TOML
cat >src/main.rs <<'RUST'
use std::future::poll_fn;
use std::task::Poll;

async fn compare() -> (bool, bool, bool) {
    poll_fn(|context| {
        let (one, two) = (context.waker().clone(), context.waker().clone());
        let same_data = one.data() == context.waker().data();
        Poll::Ready((one.will_wake(context.waker()), one.will_wake(&two), same_data))
    })
    .await
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (context, clones, data) = compare().await;
        let (spawned, ..) = tokio::spawn(compare()).await.expect("the task ends");
        println!(
            "block_on: clone and context {context}, clone and clone {clones}, same data {data}; spawned: clone and context {spawned}"
        );
    });
}
RUST
debug=$(cargo run --quiet)
release=$(cargo run --quiet --release)
printf 'debug    %s\nrelease  %s\n' "$debug" "$release"
[ "$debug" = "block_on: clone and context true, clone and clone true, same data true; spawned: clone and context true" ]
[ "$release" = "block_on: clone and context false, clone and clone true, same data true; spawned: clone and context true" ]
