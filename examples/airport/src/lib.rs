//! An airport as a modular monolith: each module has a file of its own and knows the hub and the messages that it deals
//! with, no other module. The data are the flights that left New York in 2013.
//!
//! The hub has a bus for each type of message, named on the left.
//!
//! ```text
//! FlightEvent  feed --flight.<origin>.<dest>.<carrier>.<event>--> statistics (a group of workers), alerts, board
//! FlightEvent  feed --audit.<event>, fired--------------------->  audit
//! BadRow       feed --an event that nobody hears--------------->  dead_letters
//! Delayed      alerts --an event------------------------------->  statistics
//! WeatherAt    alerts --a request------------------------------>  weather
//! ```
//!
//! The modules are a library, so that `airport_web` and the tests use them as they are.
#![allow(missing_docs, missing_debug_implementations, reason = "an example, which is read as source")]

pub mod alerts;
pub mod audit;
pub mod bad_rows;
pub mod board;
pub mod dead_letters;
pub mod feed;
pub mod flights;
pub mod message;
pub mod names;
pub mod options;
pub mod report;
pub mod screen;
pub mod statistics;
pub mod stop;
pub mod table;
pub mod timeline;
pub mod weather;

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use tramline::Hub;

use crate::names::Names;
use crate::options::{Format, Options, Speed};
use crate::report::Report;
use crate::screen::Screen;
use crate::stop::Stop;

/// Far more than the modules need to finish what is in their mailboxes.
const DRAIN: Duration = Duration::from_secs(120);

/// Plays the flights and prints the report, also if `stop` ends the flights early.
pub fn run(options: &Options, stop: &Stop) -> Result<(), Box<dyn Error>> {
    let hub = Hub::new();
    message::name_buses(&hub);
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

    let speed = options.speed();
    if let Speed::Times(times) = speed {
        screen.say(&format!("{times} times as fast as in real time; Ctrl-C ends it and prints the report"));
    }
    let started = Instant::now();
    let fed = feed::run(&hub, &options.flights, speed, stop, &screen)?;
    let drained = hub.drain(DRAIN);
    let seconds = started.elapsed().as_secs_f64();

    if let Some(board) = board {
        board.finish(&screen);
    }
    let audited = audit.finish();
    let report = Report {
        bad_rows: fed.bad_rows + weather.bad_rows + names.bad_rows,
        fed,
        seconds,
        tally: statistics.finish(),
        alerts: alerts.finish(),
        audited: audited.lines,
        unwritten: audited.unwritten,
        buses: hub.stats(),
    };
    dead_letters.finish(report.dead_letters(), &screen);
    let text = match options.report {
        Format::Json => report.json(),
        Format::Text => report.text(&names),
    };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| format!("standard output: {error}"))?;

    if let Some(error) = audited.error {
        return Err(error.into());
    }
    if !drained.is_complete() {
        return Err(format!("the buses were not drained: {drained}").into());
    }
    Ok(report.verify()?)
}
