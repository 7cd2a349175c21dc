//! What the modules say to one another: all that they have in common.
//!
//! Each type of message has a bus of its own. Most have one topic, which they bring along; what happens to flights has
//! topics of its own, for those who want some of it. A message is cloned for every mailbox but one, so what is large is
//! behind an `Arc`.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use tramline::{Event, Hub, Request, Topic};

use crate::table::Fault;

/// A flight left more than an hour late.
#[derive(Debug, Clone)]
pub struct Delayed(pub Arc<Flight>);

impl Event for Delayed {
    const TOPIC: &'static str = "alert.delay";
}

/// Asks how the weather was at an airport in this hour.
#[derive(Debug, Clone)]
pub struct WeatherAt {
    pub origin: Code,
    pub hour: Timestamp,
}

impl Request for WeatherAt {
    /// None if there is no observation of the hour, which is not a failure.
    type Reply = Option<Observation>;
    const TOPIC: &'static str = "weather.at";
}

/// A row of a file was skipped.
#[derive(Debug, Clone)]
pub struct BadRow(pub Fault);

impl Event for BadRow {
    const TOPIC: &'static str = "bad_row";
}

/// On `flight.<origin>.<dest>.<carrier>.<event>` and on `audit.<event>`: what happened to a flight, and when, by the
/// clocks of New York.
#[derive(Debug, Clone)]
pub struct FlightEvent {
    pub kind: Kind,
    pub at: DateTime,
    pub flight: Arc<Flight>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Departed,
    Cancelled,
    Landed,
    Diverted,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Departed, Self::Cancelled, Self::Landed, Self::Diverted];

    /// The token of the topic.
    pub fn token(self) -> &'static str {
        match self {
            Self::Departed => "departed",
            Self::Cancelled => "cancelled",
            Self::Landed => "landed",
            Self::Diverted => "diverted",
        }
    }
}

#[derive(Debug)]
pub struct Flight {
    pub carrier: Code,
    pub number: u32,
    pub origin: Code,
    pub dest: Code,
    pub scheduled: DateTime,
    /// In minutes; 0 if it is not known.
    pub dep_delay: i32,
    /// In minutes; none if it did not land where it was to land.
    pub arr_delay: Option<i32>,
    /// The hour whose weather counts.
    pub hour: Timestamp,
}

/// The weather in one hour; what was not measured is none.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// In miles per hour.
    pub wind: Option<f32>,
    /// In miles.
    pub visibility: Option<f32>,
}

/// Names the bus of each type of message, for reports.
pub fn name_buses(hub: &Hub) {
    hub.named::<FlightEvent>("flights");
    hub.named::<Delayed>("delays");
    hub.named::<BadRow>("bad rows");
    hub.named_with_reply::<WeatherAt, Option<Observation>>("weather");
}

/// The code of an airport or airline. It becomes a token of topics, so it has to be a valid one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    bytes: [u8; Code::LIMIT],
    length: u8,
}

impl Code {
    /// Codes have two or three letters; this is room enough without an allocation.
    const LIMIT: usize = 15;

    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > Self::LIMIT {
            return Err(format!("is longer than the {} bytes of a code", Self::LIMIT));
        }
        let topic = Topic::new(text).map_err(|error| error.to_string())?;
        if topic.tokens().count() != 1 {
            return Err("holds a dot, which a code may not".to_owned());
        }
        let mut bytes = [0; Self::LIMIT];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: text.len() as u8 })
    }

    pub fn as_str(&self) -> &str {
        // These bytes were a text, so the default is never needed.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
