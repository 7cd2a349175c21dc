//! Answers how the weather was at an airport in an hour.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use jiff::Timestamp;
use tramline::{Handler, Hub, Topic};

use crate::bad_rows::BadRows;
use crate::message::{Code, Observation, WeatherBus};
use crate::table::{Fault, Row, Table};

const COLUMNS: [&str; 4] = ["origin", "time_hour", "wind_speed", "visib"];

type Observations = HashMap<(Code, Timestamp), Observation>;

pub struct Weather {
    pub bad_rows: u64,
    _handler: Handler,
}

/// Loads the observations and answers requests on `weather.<origin>`.
pub fn serve(hub: &Hub, path: &Path) -> Result<Weather, Box<dyn Error>> {
    let mut bad_rows = BadRows::of(hub, "weather")?;
    let observations = load(path, &mut bad_rows)?;
    let bus: WeatherBus = hub.bus_with_reply();
    let handler = bus
        .subscription("weather.*")
        .name("weather")
        .serve(move |request| answer(&observations, request.topic(), request.0))?;
    Ok(Weather { bad_rows: bad_rows.count(), _handler: handler })
}

fn answer(observations: &Observations, topic: &Topic, hour: Timestamp) -> Option<Observation> {
    let origin = Code::new(topic.tokens().nth(1)?).ok()?;
    observations.get(&(origin, hour)).copied()
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
