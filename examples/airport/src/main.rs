//! An airport as a modular monolith: each module has a file of its own and knows the hub and the messages that it deals
//! with, no other module. The data are the flights that left New York in 2013.
//!
//! The hub has a bus for each type of message, named on the left.
//!
//! ```text
//! FlightEvent  feed --flight.<origin>.<dest>.<carrier>.<event>--> statistics (a group of workers), alerts, board
//! FlightEvent  feed --audit.<event>, fired--------------------->  audit
//! BadRow       feed --bad_row.<file>, unheard------------------>  dead_letters
//! Delayed      alerts --alert.delay.<origin>------------------->  statistics
//! WeatherAt    alerts --weather.<origin>, a request------------>  weather
//! ```

mod alerts;
mod audit;
mod bad_rows;
mod board;
mod dead_letters;
mod feed;
mod flights;
mod message;
mod names;
mod options;
mod report;
mod screen;
mod statistics;
mod table;
mod timeline;
mod weather;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tramline::Hub;

use crate::names::Names;
use crate::options::{Format, Options};
use crate::report::Report;
use crate::screen::Screen;

/// Far more than the modules need to finish what is in their mailboxes.
const DRAIN: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln`, which panics where nobody can be told.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let hub = Hub::new();
    let screen = Screen::new();
    let dead_letters = dead_letters::read(&hub, &screen)?;
    let names = Names::load(&hub, &options.airlines, &options.airports)?;

    let weather = weather::serve(&hub, &options.weather)?;
    let statistics = statistics::start(&hub)?;
    let alerts = alerts::start(&hub)?;
    let audit = audit::start(&hub, options.audit.as_deref())?;
    let board = match &options.board {
        Some(airport) => Some(board::start(&hub, airport, &names, &screen)?),
        None => None,
    };

    let started = Instant::now();
    let fed = feed::run(&hub, &options.flights, options.speed, &screen)?;
    let drained = hub.drain(DRAIN);
    let seconds = started.elapsed().as_secs_f64();

    if let Some(board) = board {
        board.finish(&screen);
    }
    let audited = audit.finish();
    let report = Report {
        flights: fed.flights,
        bad_rows: fed.bad_rows + weather.bad_rows + names.bad_rows,
        seconds,
        tally: statistics.finish(),
        alerts: alerts.finish(),
        audited: audited.lines,
        unwritten: audited.unwritten,
        buses: hub.stats(),
    };
    dead_letters.finish(report.dead_letters(), &screen);
    let text = match options.report {
        Format::Json => report.json()?,
        Format::Text => report.text(&names),
    };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| format!("standard output: {error}"))?;

    if let Some(error) = audited.error {
        return Err(error.into());
    }
    if !drained.is_complete() {
        let (left, busy) = (drained.left(), drained.busy());
        return Err(format!("the buses were not drained: {left} messages left, {busy} threads busy").into());
    }
    Ok(report.verify()?)
}
