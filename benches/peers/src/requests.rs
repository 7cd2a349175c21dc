//! W3: requests and replies between two threads, one after the other and 64 at a time.
//!
//! The 64 are sent, then their replies are taken in the same order, and so on.

use criterion::Criterion;

use crate::peers::REQUESTS_ONLY;
use crate::table::Table;

pub(crate) fn run(criterion: &mut Criterion) -> Table {
    let title = "request and reply between two threads; two tasks of one runtime may share a thread";
    let mut table = Table::new("W3", title, ("request", "replies"), REQUESTS_ONLY);
    for in_flight in [1, 64] {
        table.column(criterion, format!("{in_flight} in flight"), (1, 1.0), |system, what, messages| {
            Ok((system.requests)(in_flight)?.run(what, messages))
        });
    }
    table
}
