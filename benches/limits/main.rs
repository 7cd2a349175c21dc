//! The bus beside its limit: the same work on bare crossbeam channels, in the same run. For journals J3, J4 and J6.
//!
//! `cargo bench` runs it and ends with a table; `cargo bench -- --test` shows that it works. What counts is the ratio of
//! two neighbouring lines, not a time. Nothing is pinned to a core. Receivers wait in `recv`, publishers in `publish`;
//! everything is lossless and counted unless the line says otherwise.

mod batches;
mod fan_in;
mod fan_out;
mod journals;
mod latency;
mod neighbours;
mod one_thread;
mod request;
mod stalled;
mod subscriptions;
mod table;
mod topics;

use std::time::Duration;

use criterion::Criterion;

use crate::table::Table;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(10)
        .configure_from_args();
    let mut table = Table::default();
    fan_out::run(&mut criterion, &mut table);
    batches::run(&mut criterion, &mut table);
    one_thread::run(&mut criterion, &mut table);
    request::run(&mut criterion, &mut table);
    fan_in::run(&mut criterion, &mut table);
    topics::run(&mut criterion, &mut table);
    stalled::run(&mut criterion, &mut table);
    subscriptions::run(&mut criterion, &mut table);
    latency::run(&mut criterion, &mut table);
    neighbours::run(&mut table);
    journals::run(&mut criterion, &mut table);
    latency::of_journal(&mut criterion, &mut table);
    criterion.final_summary();
    table.print();
}
