//! tramline beside its peers, in one run on one machine: W1, W3, W4, W10, and for journals J1 and J2.
//!
//! Nothing is pinned to a core. Every system is used as its own documentation recommends, and waits as it does there;
//! its adapter says how. Nothing may be lost: every subscriber's messages are counted, summed and checked. Setting up,
//! starting threads and subscribing are not timed.

mod fan_in;
mod fan_out;
mod journals;
mod many_to_many;
mod measure;
mod payload;
mod peer;
mod peers;
mod requests;
mod results;
mod runtime;
mod table;
mod tally;
mod watchdog;

use std::time::Duration;

use criterion::Criterion;

use crate::table::Table;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
        .configure_from_args();
    let tables = [
        fan_out::run(&mut criterion),
        requests::run(&mut criterion),
        fan_in::run(&mut criterion),
        many_to_many::run(&mut criterion),
    ];
    let journals = journals::run(&mut criterion);
    criterion.final_summary();
    tables.iter().chain(&journals).for_each(Table::print);
}
