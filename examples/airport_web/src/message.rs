//! What the page and the server say to one another, as JSON.

use serde::{Deserialize, Serialize};

/// On all topics of the page's bus.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum BoardMessage {
    Row(Box<Row>),
    /// The row of this topic has left the board.
    Gone,
    Clock {
        /// As `2013-01-01T05:15:00`.
        time: String,
        /// How many times as fast as in real time; 0 is a pause.
        speed: f64,
    },
    Speed {
        times: f64,
    },
    Stats(Box<Stats>),
    WeatherAt {
        /// The `hour` of a row.
        hour: String,
    },
}

/// A departure, as it is now. Times are as in `Clock`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) scheduled: String,
    pub(crate) carrier: String,
    pub(crate) number: u32,
    pub(crate) airline: String,
    /// The code of the destination.
    pub(crate) dest: String,
    pub(crate) city: String,
    /// The name of the airport there.
    pub(crate) airport: String,
    pub(crate) status: Status,
    /// In minutes: of what has left how late it was, of what has not how late it is already.
    pub(crate) delay: i32,
    /// When it has left, if it has.
    pub(crate) departed: Option<String>,
    /// The hour whose weather counts, for `WeatherAt`.
    pub(crate) hour: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    OnTime,
    Delayed,
    Cancelled,
    Departed,
}

/// What all buses and the gateway are doing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stats {
    /// Events of flights in a second, one number for each half second of the last minute, the newest last. Empty until there
    /// are two counts to compare.
    pub(crate) rates: Vec<f64>,
    /// Since the start.
    pub(crate) events: u64,
    pub(crate) topics: usize,
    pub(crate) dropped: u64,
    pub(crate) dead_letters: u64,
    pub(crate) subscriptions: Vec<Mailbox>,
    pub(crate) gateway: Connections,
}

/// One subscription.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Mailbox {
    /// The type of the messages.
    pub(crate) bus: String,
    /// The module that it belongs to.
    pub(crate) name: String,
    pub(crate) patterns: String,
    pub(crate) depth: usize,
    pub(crate) capacity: usize,
    pub(crate) high_water: usize,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Connections {
    pub(crate) connections: usize,
    pub(crate) subscriptions: usize,
    pub(crate) waiting_bytes: usize,
    pub(crate) slow_clients: u64,
}

/// The answer to `WeatherAt`. What was not measured is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WeatherReport {
    /// Whether there is an observation of the hour.
    pub(crate) observed: bool,
    /// In miles per hour.
    pub(crate) wind: Option<f32>,
    /// In miles.
    pub(crate) visibility: Option<f32>,
}
