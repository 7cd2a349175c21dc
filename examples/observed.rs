//! Observed: metrics for Prometheus over HTTP, the spans of a request across threads, statistics as a table.
//!
//! `cargo run --example observed --features metrics,tracing`

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tiny_http::{Response, Server};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::time::uptime;
use tramline::{Bus, Overflow, Retry};

const FLIGHTS: &str = include_str!("airport/data/flights.csv");

/// What the HTTP server gives is `Send` and `Sync`.
type Failure = Box<dyn Error + Send + Sync>;

/// Nothing here takes as long.
const LIMIT: Duration = Duration::from_secs(10);

/// Seconds: the upper bounds of the buckets of the histogram.
const BUCKETS: [f64; 5] = [0.000_001, 0.000_01, 0.000_1, 0.001, 0.01];

#[derive(Debug, Clone)]
enum Event {
    Departed { delay: i32 },
    HowMany { airport: &'static str },
}

fn main() -> Result<(), Failure> {
    // Before any handler is made: each looks for the recorder once.
    let prometheus = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
    let bus = Bus::<Event, usize>::builder().name("airport").build();

    // Reads nothing until the end, and has the last eight.
    let _board = bus.subscription("flight.>").name("board").capacity(8).overflow(Overflow::DropOldest).open()?;
    let archive = bus.subscription("flight.>").name("archive").handle(|_| {})?;
    let billing = bus.subscription("flight.JFK.>").name("billing").retry(Retry::fixed(1, Duration::ZERO));
    let billing = billing.handle(|event| match event.payload() {
        Event::Departed { delay } if *delay > 60 => Err(format!("{delay} minutes late: ask a lawyer")),
        _ => Ok(()),
    })?;

    for (topic, event) in FLIGHTS.lines().skip(1).take(500).filter_map(departure) {
        bus.publish(topic, event)?;
    }
    // They finish what is queued.
    assert!(archive.stop(LIMIT).is_complete() && billing.stop(LIMIT).is_complete());

    println!("-- one request, its spans on two threads");
    ask(&bus)?;

    println!("-- scraped");
    bus.record_metrics(); // the first recording; from now on the age of what waits is known
    let page = scrape(serve(bus.clone(), prometheus)?)?;
    let lines: Vec<_> = page.lines().filter(|line| line.starts_with("tramline_")).collect();
    lines.iter().for_each(|line| println!("{line}"));

    println!("-- statistics");
    println!("{}", bus.stats());

    for expected in [
        r#"tramline_published_total{bus="airport"} 5"#,
        r#"tramline_dropped_total{bus="airport",reason="evicted"} 4"#,
        r#"tramline_handled_total{bus="airport",outcome="failed"} "#,
        r#"tramline_handler_duration_seconds_bucket{bus="airport",handler="billing",le="0.01"} "#,
        r#"tramline_queue_depth{bus="airport",subscription="board"} 8"#,
        r#"tramline_oldest_message_age_seconds{bus="airport",subscription="board"} 0."#,
    ] {
        if !lines.iter().any(|line| line.starts_with(expected)) {
            return Err(format!("the scrape has no line `{expected}..`").into());
        }
    }
    Ok(())
}

/// A row of the table as an event, unless the flight was cancelled.
fn departure(row: &str) -> Option<(String, Event)> {
    let fields: Vec<_> = row.split(',').collect();
    let delay = fields.get(5)?.parse().ok()?;
    Some((format!("flight.{}.{}.{}.departed", fields[12], fields[13], fields[9]), Event::Departed { delay }))
}

/// Sends a request, and shows its spans. In a program the subscriber would be one for all threads.
fn ask(bus: &Bus<Event, usize>) -> Result<(), Failure> {
    let server = bus.subscription("count").name("counter").serve(|event| match event.payload() {
        Event::HowMany { airport } => FLIGHTS.lines().filter(|row| row.contains(airport)).count(),
        Event::Departed { .. } => 0,
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
        .with_thread_names(true)
        .with_timer(uptime())
        .finish();
    tracing::subscriber::with_default(subscriber, || -> Result<(), Failure> {
        let flights = bus.request("count", Event::HowMany { airport: "JFK" })?.wait_timeout(LIMIT)?;
        println!("{flights} flights from JFK");
        Ok(())
    })?;
    assert!(server.stop(LIMIT).is_complete());
    Ok(())
}

/// Answers one scrape, on a thread of its own. A program would go on.
fn serve(bus: Bus<Event, usize>, prometheus: PrometheusHandle) -> Result<SocketAddr, Failure> {
    let server = Server::http("127.0.0.1:0")?;
    let address = server.server_addr().to_ip().ok_or("no address")?;
    thread::spawn(move || {
        let request = server.recv()?;
        // So that the page has the numbers of this moment.
        bus.record_metrics();
        prometheus.run_upkeep();
        request.respond(Response::from_string(prometheus.render()))
    });
    Ok(address)
}

fn scrape(address: SocketAddr) -> Result<String, Failure> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(LIMIT))?;
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut response = String::new();
    connection.read_to_string(&mut response)?;
    let (head, page) = response.split_once("\r\n\r\n").ok_or("no HTTP response")?;
    if head.split(' ').nth(1) == Some("200") { Ok(page.to_owned()) } else { Err(head.to_owned().into()) }
}
