//! What is to leave, and when: the flights of the file, airport by airport.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::Arc;

use airport::flights;
use airport::message::{Code, Flight};
use airport::names::Names;
use airport::report::period;
use airport::table::Table;
use jiff::SignedDuration;
use jiff::civil::DateTime;
use tramline::Topic;

use crate::message::{Row, Status};

/// The cities of the airports.
const CITIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cities.csv");

/// The clock begins so long before the first departure.
const BEFORE: SignedDuration = SignedDuration::from_mins(10);
/// And starts over so long before the last, while the board is still full.
const AFTER: SignedDuration = SignedDuration::from_hours(2);

#[derive(Clone)]
pub(crate) struct Schedule {
    airports: Arc<BTreeMap<Code, Vec<Planned>>>,
    first: DateTime,
    last: DateTime,
}

/// A flight that is to leave.
pub(crate) struct Planned {
    pub(crate) topic: Topic,
    pub(crate) scheduled: DateTime,
    /// As it is on the board while nothing has happened.
    pub(crate) row: Row,
}

impl Schedule {
    pub(crate) fn load(names: &Names) -> Result<Self, Box<dyn Error>> {
        let cities = cities()?;
        let mut table = Table::open(airport::options::FLIGHTS.as_ref(), flights::COLUMNS)?;
        let mut airports = BTreeMap::<Code, Vec<Planned>>::new();
        while let Some(row) = table.next_row()? {
            // The feed tells of rows that cannot be used.
            let Ok(journey) = row.and_then(|row| flights::parse(&row)) else { continue };
            let flight = journey.flight;
            let planned = Planned {
                topic: topic(&flight)?,
                scheduled: flight.scheduled,
                row: row_of(&flight, names, cities.get(flight.dest.as_str())),
            };
            airports.entry(flight.origin).or_default().push(planned);
        }
        airports.values_mut().for_each(|flights| flights.sort_by_key(|flight| flight.scheduled));
        let first = airports.values().filter_map(|flights| flights.first()).map(|flight| flight.scheduled).min();
        let last = airports.values().filter_map(|flights| flights.last()).map(|flight| flight.scheduled).max();
        let (Some(first), Some(last)) = (first, last) else { return Err("there are no flights".into()) };
        Ok(Self { airports: Arc::new(airports), first, last })
    }

    /// The flights of each airport, in the order of time.
    pub(crate) fn airports(&self) -> impl Iterator<Item = &[Planned]> {
        self.airports.values().map(Vec::as_slice)
    }

    pub(crate) fn has(&self, airport: &str) -> bool {
        self.airports.keys().any(|code| code.as_str() == airport)
    }

    /// Returns the days of the flights, in words.
    pub(crate) fn period(&self) -> String {
        period(self.first.date(), self.last.date())
    }

    /// When the clock begins.
    pub(crate) fn begin(&self) -> DateTime {
        self.first.saturating_sub(BEFORE)
    }

    /// When it starts over.
    pub(crate) fn end(&self) -> DateTime {
        self.last.saturating_sub(AFTER).max(self.first)
    }
}

/// The topic of the row of a flight.
pub(crate) fn topic(flight: &Flight) -> Result<Topic, tramline::TopicError> {
    Topic::new(format!("departures.{}.{}.{}", flight.origin, flight.carrier, flight.number))
}

/// A time as the page gets it.
pub(crate) fn text(time: DateTime) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

fn row_of(flight: &Flight, names: &Names, city: Option<&String>) -> Row {
    let dest = flight.dest.as_str();
    let airport = names.airport(dest).unwrap_or(dest);
    Row {
        scheduled: text(flight.scheduled),
        carrier: flight.carrier.to_string(),
        number: flight.number,
        airline: short(names.airline(flight.carrier.as_str())).to_owned(),
        dest: dest.to_owned(),
        city: city.map_or(airport, String::as_str).to_owned(),
        airport: airport.to_owned(),
        status: Status::OnTime,
        delay: 0,
        departed: None,
        hour: flight.hour.to_string(),
    }
}

/// The name of an airline without its form of company.
fn short(name: &str) -> &str {
    [" Inc.", " Co.", " Corporation"].iter().find_map(|form| name.strip_suffix(form)).unwrap_or(name)
}

/// The cities by the codes of their airports, which the names of airports do not always tell.
fn cities() -> Result<HashMap<String, String>, Box<dyn Error>> {
    let mut table = Table::open(CITIES.as_ref(), ["faa", "city"])?;
    let mut cities = HashMap::new();
    while let Some(row) = table.next_row()? {
        let [code, city] = row?.fields().map(|field| field.text().to_owned());
        cities.insert(code, city);
    }
    Ok(cities)
}
