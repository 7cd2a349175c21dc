#!/usr/bin/env bash
# A snapshot of the debugging recorder of metrics-util sets every gauge to 0.
#
# Version: metrics 0.24.6, metrics-util 0.20.4 (features debugging), Rust 1.95.0 on Linux x86-64.
#
# A gauge is set to 7 once. The first snapshot shows 7. A second snapshot, without anything set in between, lists the same
# gauge with 0. The documentation of `Snapshotter::snapshot` says that it takes a snapshot of the recorder, and a gauge of an
# exporter keeps its last value. So a test that looks at a gauge twice with one recorder sees 0 whether the program has set the
# gauge to 0 or not: a test that a gauge was reset passes in vain. A counter, too, shows only what was added since the last
# snapshot.
#
# Seen:
#     first:  counter 3, gauge 7
#     second: counter 0, gauge 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "snapshot"
version = "0.0.0"
edition = "2024"

[dependencies]
metrics = "=0.24.6"
metrics-util = { version = "=0.20.4", default-features = false, features = ["debugging"] }

[workspace]
TOML
cat >src/main.rs <<'RUST'
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

fn main() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        metrics::counter!("count").increment(3);
        metrics::gauge!("level").set(7.0);
    });
    for which in ["first: ", "second:"] {
        let (mut counter, mut gauge) = (None, None);
        for (_, _, _, value) in snapshotter.snapshot().into_vec() {
            match value {
                DebugValue::Counter(value) => counter = Some(value),
                DebugValue::Gauge(value) => gauge = Some(value.into_inner()),
                DebugValue::Histogram(_) => {}
            }
        }
        println!("{which} counter {}, gauge {}", counter.expect("a counter"), gauge.expect("a gauge"));
    }
}
RUST
seen=$(cargo run --quiet)
printf '%s\n' "$seen"
[ "$seen" = "$(printf 'first:  counter 3, gauge 7\nsecond: counter 0, gauge 0')" ]
