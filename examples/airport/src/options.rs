//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};

macro_rules! data {
    ($file:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/examples/airport/data/", $file)
    };
}

/// Plays flights out of New York over a message bus, and reports what became of them.
#[derive(Debug, Parser)]
#[command(name = "airport")]
pub(crate) struct Options {
    /// The flights [default: the first week of January 2013]
    #[arg(long, value_name = "FILE", default_value = data!("flights.csv"), hide_default_value = true)]
    pub(crate) flights: PathBuf,

    /// The weather at their origins [default: of the same week]
    #[arg(long, value_name = "FILE", default_value = data!("weather.csv"), hide_default_value = true)]
    pub(crate) weather: PathBuf,

    /// The names of the airlines [default: those of 2013]
    #[arg(long, value_name = "FILE", default_value = data!("airlines.csv"), hide_default_value = true)]
    pub(crate) airlines: PathBuf,

    /// The names of the airports [default: those of 2013]
    #[arg(long, value_name = "FILE", default_value = data!("airports.csv"), hide_default_value = true)]
    pub(crate) airports: PathBuf,

    /// `max`, or how many times as fast as in real time
    #[arg(long, value_name = "max|N", default_value = "max")]
    pub(crate) speed: Speed,

    /// Draws the last departures of this airport while it runs
    #[arg(long, value_name = "AIRPORT")]
    pub(crate) board: Option<String>,

    /// Writes one line per event to this file [default: to nowhere]
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,

    /// The form of the report on standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) report: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One object on one line
    Json,
}

/// How fast the time of the flights goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Speed {
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
