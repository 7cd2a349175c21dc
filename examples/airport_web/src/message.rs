//! What the page and the server say to one another, as JSON.

use serde::{Deserialize, Serialize};

/// On all topics of the page's bus.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum BoardMessage {
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
pub(super) struct Row {
    pub(super) scheduled: String,
    pub(super) carrier: String,
    pub(super) number: u32,
    pub(super) airline: String,
    /// The code of the destination.
    pub(super) dest: String,
    pub(super) city: String,
    /// The name of the airport there.
    pub(super) airport: String,
    pub(super) status: Status,
    /// In minutes: of what has left how late it was, of what has not how late it is already.
    pub(super) delay: i32,
    /// When it has left, if it has.
    pub(super) departed: Option<String>,
    /// The hour whose weather counts, for `WeatherAt`.
    pub(super) hour: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    OnTime,
    Delayed,
    Cancelled,
    Departed,
}

/// What all buses and the gateway are doing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stats {
    /// Events of flights in a second, one number for each half second of the last minute, the newest last.
    pub(super) rates: Vec<f64>,
    /// Since the start.
    pub(super) events: u64,
    pub(super) topics: usize,
    pub(super) dropped: u64,
    pub(super) dead_letters: u64,
    pub(super) subscriptions: Vec<Mailbox>,
    pub(super) gateway: Connections,
}

/// One subscription.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Mailbox {
    pub(super) bus: String,
    /// Its name, if it has one.
    pub(super) name: Option<String>,
    pub(super) patterns: String,
    pub(super) depth: usize,
    pub(super) capacity: usize,
    pub(super) high_water: usize,
    pub(super) delivered: u64,
    pub(super) dropped: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Connections {
    pub(super) connections: usize,
    pub(super) subscriptions: usize,
    pub(super) waiting_bytes: usize,
    pub(super) slow_clients: u64,
}

/// The answer to `WeatherAt`. What was not measured is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WeatherReport {
    /// Whether there is an observation of the hour.
    pub(super) observed: bool,
    /// In miles per hour.
    pub(super) wind: Option<f32>,
    /// In miles.
    pub(super) visibility: Option<f32>,
}
