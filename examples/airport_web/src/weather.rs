//! Answers the page's questions for the weather by asking the airport's own weather module, on the hub.

use std::error::Error;
use std::time::Duration;

use airport::message::{Code, WeatherAt};
use jiff::Timestamp;
use tramline::{Handler, Hub, Message, SubscribeError};

use crate::WebBus;
use crate::message::{BoardMessage, WeatherReport};

/// Far more than a look into a table needs.
const LIMIT: Duration = Duration::from_secs(2);

/// An error of the handler reaches the page as the failure of its request.
pub(crate) fn start(bus: &WebBus, hub: &Hub) -> Result<Handler, SubscribeError> {
    // No handler of the hub holds the bus of the page, so neither keeps itself open.
    let hub = hub.clone();
    bus.subscription("weather.*").name("weather").workers(2).handle(move |request| answer(request, &hub))
}

fn answer(request: &Message<BoardMessage, WeatherReport>, hub: &Hub) -> Result<(), Box<dyn Error>> {
    let BoardMessage::WeatherAt { hour } = request.payload() else {
        return Err("this does not ask for the weather of an hour".into());
    };
    let hour: Timestamp = hour.parse()?;
    let origin = Code::new(request.topic().tokens().nth(1).unwrap_or_default())?;
    let observation = hub.request(WeatherAt { origin, hour })?.wait_timeout(LIMIT)?;
    let report = WeatherReport {
        observed: observation.is_some(),
        wind: observation.and_then(|observation| observation.wind),
        visibility: observation.and_then(|observation| observation.visibility),
    };
    // Nobody minds if the page has gone.
    drop(request.reply(report));
    Ok(())
}
