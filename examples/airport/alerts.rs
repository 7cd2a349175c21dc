//! Raises the alarm for departures that are late by more than an hour, and asks how the weather was.

use std::error::Error;
use std::sync::Arc;

use parking_lot::Mutex;
use tramline::{Handler, Hub, SubscribeError};

use crate::message::{Event, Flight, FlightBus, WeatherAt, WeatherBus};

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
    let bus = hub.bus();
    // The bus owns the closure below, in which a strong handle of it would keep it open for ever; of another bus, not.
    let weak = bus.downgrade();
    let weather = hub.bus_with_reply();
    let handler = bus
        .subscription("flight.*.*.*.departed")
        .name("alerts")
        // Most flights are punctual; theirs are not even put into the mailbox.
        .filter(|event| late(event).is_some())
        .handle(move |event| match (late(event), weak.upgrade()) {
            (Some(flight), Some(bus)) => alert(&bus, &weather, flight, &shared),
            _ => Ok(()),
        })?;
    Ok(Alerts { tally, _handler: handler })
}

fn late(event: &Event) -> Option<&Arc<Flight>> {
    match event {
        Event::Flight(event) if event.flight.dep_delay > LATE => Some(&event.flight),
        _ => None,
    }
}

/// An error makes a dead letter of the departure.
fn alert(
    bus: &FlightBus,
    weather: &WeatherBus,
    flight: &Arc<Flight>,
    tally: &Arc<Mutex<Tally>>,
) -> Result<(), Box<dyn Error>> {
    let origin = flight.origin;
    let _ = bus.publish(format!("alert.delay.{origin}"), Event::Delayed(Arc::clone(flight)))?;
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
