//! The airport with its departures board in a browser: `cargo run --release --features gateway --example airport_web`.
//!
//! The modules of the example `airport` run as they do there, on their hub. The module [`web`] puts a second bus behind
//! WebSockets, with what the page may see and do, and translates between the two.

#![allow(dead_code, reason = "the modules of `airport` have more than is needed here")]

#[path = "../airport/alerts.rs"]
mod alerts;
#[path = "../airport/audit.rs"]
mod audit;
#[path = "../airport/bad_rows.rs"]
mod bad_rows;
#[path = "../airport/dead_letters.rs"]
mod dead_letters;
#[path = "../airport/feed.rs"]
mod feed;
#[path = "../airport/flights.rs"]
mod flights;
#[path = "../airport/message.rs"]
mod message;
#[path = "../airport/names.rs"]
mod names;
#[path = "../airport/options.rs"]
mod options;
#[path = "../airport/screen.rs"]
mod screen;
#[path = "../airport/statistics.rs"]
mod statistics;
#[path = "../airport/table.rs"]
mod table;
#[path = "../airport/timeline.rs"]
mod timeline;
#[path = "../airport/weather.rs"]
mod weather;

mod web;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use tramline::Hub;

use crate::names::Names;
use crate::screen::Screen;
use crate::web::data;
use crate::web::options::Options;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln`, which panics where nobody can be told.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until the process is stopped, or something fails.
async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let hub = Hub::new();
    let screen = Screen::new();
    let _dead_letters = dead_letters::read(&hub, &screen)?;
    let names = Names::load(&hub, data::AIRLINES.as_ref(), data::AIRPORTS.as_ref())?;

    let _weather = weather::serve(&hub, data::WEATHER.as_ref())?;
    let statistics = statistics::start(&hub)?;
    let _alerts = alerts::start(&hub)?;
    let _audit = audit::start(&hub, None)?;
    web::run(&hub, &names, statistics, &screen, &options).await
}
