//! What the modules say to one another: all that they have in common.
//!
//! Each type of message has a bus of its own. A message is cloned for every mailbox but one, so what is large is behind
//! an `Arc`.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Serialize, Serializer};
use tramline::{Bus, Topic};

use crate::table::Fault;

/// On `alert.delay.<origin>`: it left more than an hour late.
#[derive(Debug, Clone)]
pub(crate) struct Delayed(pub(crate) Arc<Flight>);

/// On `weather.<origin>`, as a request: how was the weather in this hour?
#[derive(Debug, Clone)]
pub(crate) struct WeatherAt(pub(crate) Timestamp);

/// Where weather is asked for. The answer is none if there is no observation of the hour, which is no failure.
pub(crate) type WeatherBus = Bus<WeatherAt, Option<Observation>>;

/// On `bad_row.<file>`: a row that was skipped.
#[derive(Debug, Clone)]
pub(crate) struct BadRow(pub(crate) Fault);

/// On `flight.<origin>.<dest>.<carrier>.<event>` and on `audit.<event>`: what happened to a flight, and when, by the
/// clocks of New York.
#[derive(Debug, Clone)]
pub(crate) struct FlightEvent {
    pub(crate) kind: Kind,
    pub(crate) at: DateTime,
    pub(crate) flight: Arc<Flight>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Departed,
    Cancelled,
    Landed,
    Diverted,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Departed, Self::Cancelled, Self::Landed, Self::Diverted];

    /// The token of the topic.
    pub(crate) fn token(self) -> &'static str {
        match self {
            Self::Departed => "departed",
            Self::Cancelled => "cancelled",
            Self::Landed => "landed",
            Self::Diverted => "diverted",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) carrier: Code,
    pub(crate) number: u32,
    pub(crate) origin: Code,
    pub(crate) dest: Code,
    pub(crate) scheduled: DateTime,
    /// In minutes; 0 if it is not known.
    pub(crate) dep_delay: i32,
    /// In minutes; none if it did not land where it was to land.
    pub(crate) arr_delay: Option<i32>,
    /// The hour whose weather counts.
    pub(crate) hour: Timestamp,
}

/// The weather in one hour; what was not measured is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation {
    /// In miles per hour.
    pub(crate) wind: Option<f32>,
    /// In miles.
    pub(crate) visibility: Option<f32>,
}

/// The code of an airport or airline. It becomes a token of topics, so it has to be a valid one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Code {
    bytes: [u8; Code::LIMIT],
    length: u8,
}

impl Code {
    /// Codes have two or three letters; this is room enough without an allocation.
    const LIMIT: usize = 15;

    pub(crate) fn new(text: &str) -> Result<Self, String> {
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

    pub(crate) fn as_str(&self) -> &str {
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

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
