//! Where the data is: the committed week of the example `airport`, and the cities of its airports.

macro_rules! example {
    ($file:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/examples/", $file)
    };
}

pub(crate) const FLIGHTS: &str = example!("airport/data/flights.csv");
pub(crate) const WEATHER: &str = example!("airport/data/weather.csv");
pub(crate) const AIRLINES: &str = example!("airport/data/airlines.csv");
pub(crate) const AIRPORTS: &str = example!("airport/data/airports.csv");
pub(crate) const CITIES: &str = example!("airport_web/cities.csv");
