//! The command line.

use clap::Parser;

use crate::clock::Speed;

/// Serves a departures board: flights out of New York, live over WebSockets.
#[derive(Debug, Parser)]
#[command(name = "airport_web")]
pub(crate) struct Options {
    /// The port, on this machine only; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,

    /// How many times as fast as in real time it begins, 1 to 3600; the page can change it
    #[arg(long, value_name = "N", default_value = "120")]
    pub(crate) speed: Speed,

    /// The airport that the page shows first: EWR, JFK or LGA
    #[arg(long, default_value = "JFK")]
    pub(crate) airport: String,
}
