//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};

macro_rules! data {
    ($file:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/data/", $file)
    };
}

/// The committed data: the first week of January 2013, and the names of its airlines and airports.
pub const FLIGHTS: &str = data!("flights.csv");
pub const WEATHER: &str = data!("weather.csv");
pub const AIRLINES: &str = data!("airlines.csv");
pub const AIRPORTS: &str = data!("airports.csv");

/// With a board: Kennedy has about three departures a second, and a day takes 2 min 24 s.
const WATCHABLE: Speed = Speed::Times(600.0);

/// Replays the flights that left New York over tramline, a message bus within one process, and reports what the bus did.
///
/// The report goes to standard output; the progress bar, the board and messages go to standard error.
///
/// Ctrl-C ends the flights, prints the report of what happened so far, and exits with status 130. A second Ctrl-C exits at
/// once.
#[derive(Debug, Parser)]
#[command(name = "airport")]
pub struct Options {
    /// The flights [default: the first week of January 2013]
    #[arg(long, value_name = "FILE", default_value = FLIGHTS, hide_default_value = true)]
    pub flights: PathBuf,

    /// The weather at their origins [default: of the same week]
    #[arg(long, value_name = "FILE", default_value = WEATHER, hide_default_value = true)]
    pub weather: PathBuf,

    /// The names of the airlines [default: those of 2013]
    #[arg(long, value_name = "FILE", default_value = AIRLINES, hide_default_value = true)]
    pub airlines: PathBuf,

    /// The names of the airports [default: those of 2013]
    #[arg(long, value_name = "FILE", default_value = AIRPORTS, hide_default_value = true)]
    pub airports: PathBuf,

    /// How many times as fast as in real time, or `max` for no waiting [default: max; 600 with --board, so that a day takes
    /// 2 min 24 s]
    #[arg(long, value_name = "N|max")]
    speed: Option<Speed>,

    /// Draws the last departures of this airport while it runs: EWR, JFK or LGA
    #[arg(long, value_name = "AIRPORT")]
    pub board: Option<String>,

    /// Writes one line per event to this file [default: none]
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,

    /// The form of the report on standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub report: Format,
}

impl Options {
    /// Returns the speed that was asked for, or one that suits: nobody can watch a board at full speed.
    pub fn speed(&self) -> Speed {
        self.speed.unwrap_or(if self.board.is_some() { WATCHABLE } else { Speed::Max })
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One object on one line
    Json,
}

/// How fast the time of the flights goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    Max,
    Times(f64),
}

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse::<f64>()) {
            ("max", _) => Ok(Self::Max),
            (_, Ok(times)) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err("wanted `max` or a number above 0"),
        }
    }
}
