//! How many messages a second a gateway brings to how many clients, how late they are, and what an idle connection takes;
//! beside it, with the same clients, nats-server by its own WebSocket port, if there is one.
//!
//! ```console
//! cargo bench --features gateway --bench gateway                 # several minutes; 5,000 clients want a limit of 10,000 files
//! cargo bench --features gateway --bench gateway -- --test       # that it runs
//! ```
//!
//! The servers are processes of their own. The clients and the publisher are here, so on few cores the clients take most of
//! the time, for both servers alike. Each round publishes at a steady rate for some seconds; one that is not delivered in
//! full a quarter of a second after its end, or of which more than one in a hundred comes later than that, has fallen
//! behind, and the next number of clients begins.
#![allow(unreachable_pub, reason = "the benchmark is a program")]

mod clients;
mod nats;
mod process;
mod round;
mod tramline_server;

use std::process::ExitCode;

use clients::Protocol;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "--serve") {
        tramline_server::serve();
        return ExitCode::SUCCESS;
    }
    // A connection has two ends here.
    rlimit::increase_nofile_limit(20_000).expect("the limit can be raised");
    let is_test = arguments.iter().any(|argument| argument == "--test");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let counts: &[usize] = if is_test { &[10] } else { &[100, 1000, 5000] };
    println!("| server | clients | bytes a connection | messages/s | deliveries/s | p50 ms | p99 ms | |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut held = false;
    for &count in counts {
        held = runtime.block_on(round::rounds(&tramline_server::Tramline, count, is_test));
        if nats::is_here() {
            runtime.block_on(round::rounds(&nats::Nats, count, is_test));
        } else {
            println!("| {} | {count} | not installed | | | | | |", nats::Nats.name());
        }
    }
    // Times are shown, not judged; that nothing arrives is another matter.
    if is_test && !held { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
