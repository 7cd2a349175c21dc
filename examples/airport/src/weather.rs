//! Answers how the weather was at an airport in an hour.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use jiff::Timestamp;
use tramline::{Handler, Hub};

use crate::bad_rows::BadRows;
use crate::message::{Code, Observation, WeatherAt};
use crate::table::{Fault, Row, Table};

const COLUMNS: [&str; 4] = ["origin", "time_hour", "wind_speed", "visib"];

type Observations = HashMap<(Code, Timestamp), Observation>;

pub struct Weather {
    pub bad_rows: u64,
    _handler: Handler,
}

/// Loads the observations and answers requests for the weather.
pub fn serve(hub: &Hub, path: &Path) -> Result<Weather, Box<dyn Error>> {
    let mut bad_rows = BadRows::new(hub);
    let observations = load(path, &mut bad_rows)?;
    let handler = hub.serve::<WeatherAt>(move |at| observations.get(&(at.origin, at.hour)).copied())?;
    Ok(Weather { bad_rows: bad_rows.count(), _handler: handler })
}

fn load(path: &Path, bad_rows: &mut BadRows) -> Result<Observations, Box<dyn Error>> {
    let mut table = Table::open(path, COLUMNS)?;
    let mut observations = Observations::new();
    while let Some(row) = table.next_row()? {
        match row.and_then(|row| parse(&row)) {
            Ok((key, observation)) => {
                observations.insert(key, observation);
            }
            Err(fault) => bad_rows.publish(fault)?,
        }
    }
    Ok(observations)
}

fn parse(row: &Row<'_, 4>) -> Result<((Code, Timestamp), Observation), Fault> {
    let [origin, hour, wind, visibility] = row.fields();
    let key = (origin.parse_with(Code::new)?, hour.parse()?);
    Ok((key, Observation { wind: wind.parse_unless_na()?, visibility: visibility.parse_unless_na()? }))
}
