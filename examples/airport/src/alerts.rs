//! Raises the alarm for departures that are late by more than an hour, and asks how the weather was.

use std::error::Error;
use std::sync::Arc;

use parking_lot::Mutex;
use tramline::{Bus, Handler, Hub, SubscribeError};

use crate::message::{Delayed, Flight, FlightEvent, WeatherAt, WeatherBus};

/// In minutes.
const LATE: i32 = 60;

/// The alerts, and what the weather module had to say about them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) alerts: u64,
    pub(crate) answered: u64,
    pub(crate) missing: u64,
    /// Requests that came to nothing.
    pub(crate) failed: u64,
    pub(crate) wind: Mean,
    pub(crate) visibility: Mean,
}

/// The mean of what was measured.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: Option<f32>) {
        if let Some(value) = value {
            self.sum += f64::from(value);
            self.count += 1;
        }
    }

    /// None if nothing was measured.
    pub(crate) fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

pub(crate) struct Alerts {
    tally: Arc<Mutex<Tally>>,
    _handler: Handler,
}

pub(crate) fn start(hub: &Hub) -> Result<Alerts, SubscribeError> {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let shared = Arc::clone(&tally);
    // The closure may hold these, as it belongs to another bus; a handle of its own bus would keep that open for ever.
    let delays = hub.bus::<Delayed>();
    let weather: WeatherBus = hub.bus_with_reply();
    let handler = hub
        .bus::<FlightEvent>()
        .subscription("flight.*.*.*.departed")
        .name("alerts")
        // Most flights are punctual; theirs are not even put into the mailbox.
        .filter(|departure| departure.flight.dep_delay > LATE)
        .handle(move |departure| alert(&delays, &weather, &departure.flight, &shared))?;
    Ok(Alerts { tally, _handler: handler })
}

/// An error makes a dead letter of the departure.
fn alert(
    delays: &Bus<Delayed>,
    weather: &WeatherBus,
    flight: &Arc<Flight>,
    tally: &Arc<Mutex<Tally>>,
) -> Result<(), Box<dyn Error>> {
    let origin = flight.origin;
    let _ = delays.publish(format!("alert.delay.{origin}"), Delayed(Arc::clone(flight)))?;
    tally.lock().alerts += 1;
    let pending = weather.request(format!("weather.{origin}"), WeatherAt(flight.hour))?;
    let tally = Arc::clone(tally);
    // Nobody waits here: the next alert goes out while this answer is on its way.
    pending.on_reply(move |reply| {
        let mut tally = tally.lock();
        match reply {
            Ok(Some(observation)) => {
                tally.answered += 1;
                tally.wind.add(observation.wind);
                tally.visibility.add(observation.visibility);
            }
            Ok(None) => tally.missing += 1,
            Err(_) => tally.failed += 1,
        }
    });
    Ok(())
}

impl Alerts {
    /// What was counted; all of it once the bus is drained.
    pub(crate) fn finish(&self) -> Tally {
        self.tally.lock().clone()
    }
}
