//! What the modules say to one another: all that they have in common.
//!
//! Each type of message has a bus of its own. A message is cloned for every mailbox but one, so what is large is behind
//! an `Arc`.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use tramline::{Bus, Topic};

use crate::table::Fault;

/// On `alert.delay.<origin>`: it left more than an hour late.
#[derive(Debug, Clone)]
pub struct Delayed(pub Arc<Flight>);

/// On `weather.<origin>`, as a request: how was the weather in this hour?
#[derive(Debug, Clone)]
pub struct WeatherAt(pub Timestamp);

/// Where weather is asked for. The answer is none if there is no observation of the hour, which is no failure.
pub type WeatherBus = Bus<WeatherAt, Option<Observation>>;

/// On `bad_row.<file>`: a row that was skipped.
#[derive(Debug, Clone)]
pub struct BadRow(pub Fault);

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
