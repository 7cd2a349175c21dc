//! A row of the flights: who flew where, and what happened when.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};

use crate::message::{Code, Flight, Kind};
use crate::table::{Fault, Field, Row};

pub const COLUMNS: [&str; 13] = [
    "year",
    "month",
    "day",
    "dep_time",
    "sched_dep_time",
    "dep_delay",
    "arr_delay",
    "carrier",
    "flight",
    "origin",
    "dest",
    "air_time",
    "time_hour",
];
const WIDTH: usize = COLUMNS.len();

/// How long a flight takes whose time in the air is not known, in minutes.
const UNKNOWN_TIME: i64 = 120;

/// The content of one row.
pub struct Journey {
    /// The day of its schedule, by which the file is sorted.
    pub day: Date,
    pub flight: Flight,
    /// Its departure or cancellation.
    pub start: (Kind, DateTime),
    /// Its landing or diversion.
    pub end: Option<(Kind, DateTime)>,
}

pub fn parse(row: &Row<'_, WIDTH>) -> Result<Journey, Fault> {
    let [
        year,
        month,
        day,
        dep_time,
        sched_dep_time,
        dep_delay,
        arr_delay,
        carrier,
        number,
        origin,
        dest,
        air_time,
        time_hour,
    ] = row.fields();

    let date = date(year, month, day)?;
    let scheduled = later(date.at(0, 0, 0, 0), minutes_of_day(sched_dep_time)?, sched_dep_time)?;
    let flight = Flight {
        carrier: code(carrier)?,
        number: number.parse()?,
        origin: code(origin)?,
        dest: code(dest)?,
        scheduled,
        dep_delay: dep_delay.parse_unless_na()?.unwrap_or(0),
        arr_delay: arr_delay.parse_unless_na()?,
        hour: time_hour.parse()?,
    };
    let minutes_in_air = air_time.parse_unless_na::<u32>()?.map_or(UNKNOWN_TIME, i64::from);
    if dep_time.is_na() {
        return Ok(Journey { day: date, flight, start: (Kind::Cancelled, scheduled), end: None });
    }

    // The schedule and the delay tell the day of the departure, which the clock does not: it may be the next.
    minutes_of_day(dep_time)?;
    let departure = later(scheduled, i64::from(flight.dep_delay), dep_delay)?;
    let end = later(departure, minutes_in_air, air_time)?;
    let outcome = if flight.arr_delay.is_some() { Kind::Landed } else { Kind::Diverted };
    Ok(Journey { day: date, flight, start: (Kind::Departed, departure), end: Some((outcome, end)) })
}

/// The date, or which of its parts is wrong.
fn date(year: Field<'_, WIDTH>, month: Field<'_, WIDTH>, day: Field<'_, WIDTH>) -> Result<Date, Fault> {
    let (y, m, d) = (year.parse()?, month.parse()?, day.parse()?);
    let valid = |m, d, field: Field<'_, WIDTH>| Date::new(y, m, d).map_err(|error| field.fault(&error.to_string()));
    valid(1, 1, year)?;
    valid(m, 1, month)?;
    valid(m, d, day)
}

/// A clock of the form `517` or `2400`, in minutes since midnight.
fn minutes_of_day(field: Field<'_, WIDTH>) -> Result<i64, Fault> {
    let clock: u16 = field.parse()?;
    let (hours, minutes) = (clock / 100, clock % 100);
    if clock > 2400 || minutes > 59 {
        return Err(field.fault("is no time of a day"));
    }
    Ok(i64::from(hours * 60 + minutes))
}

fn later(time: DateTime, minutes: i64, field: Field<'_, WIDTH>) -> Result<DateTime, Fault> {
    time.checked_add(SignedDuration::from_mins(minutes)).map_err(|error| field.fault(&error.to_string()))
}

fn code(field: Field<'_, WIDTH>) -> Result<Code, Fault> {
    if field.is_na() {
        return Err(field.fault("is needed"));
    }
    field.parse_with(Code::new)
}
