//! Raises the alarm for departures that are late by more than an hour, and asks how the weather was.

use std::error::Error;
use std::sync::Arc;

use parking_lot::Mutex;
use tramline::{Handler, Hub, SubscribeError, WeakHub};

use crate::message::{Delayed, Flight, FlightEvent, WeatherAt};

/// In minutes.
const LATE: i32 = 60;

/// The alerts, and what the weather module had to say about them.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub alerts: u64,
    /// Requests for the weather.
    pub asked: u64,
    /// Those that brought an observation.
    pub answered: u64,
    /// Those whose answer was that there is no observation.
    pub missing: u64,
    /// Those that ended without an answer.
    pub failed: u64,
    pub wind: Mean,
    pub visibility: Mean,
}

/// The mean of what was measured.
#[derive(Debug, Default, Clone, Copy)]
pub struct Mean {
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
    pub fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

pub struct Alerts {
    tally: Arc<Mutex<Tally>>,
    _handler: Handler,
}

pub fn start(hub: &Hub) -> Result<Alerts, SubscribeError> {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let shared = Arc::clone(&tally);
    // A handler that held the hub itself would keep its own bus open forever.
    let weak = hub.downgrade();
    let handler = hub
        .bus::<FlightEvent>()
        .subscription("flight.*.*.*.departed")
        .name("alerts")
        // Most flights are punctual; theirs are not even put into the mailbox.
        .filter(|departure| departure.flight.dep_delay > LATE)
        .handle(move |departure| alert(&weak, &departure.flight, &shared))?;
    Ok(Alerts { tally, _handler: handler })
}

/// An error makes a dead letter of the departure.
fn alert(hub: &WeakHub, flight: &Arc<Flight>, tally: &Arc<Mutex<Tally>>) -> Result<(), Box<dyn Error>> {
    let hub = hub.upgrade().ok_or("the airport has closed")?;
    hub.publish(Delayed(Arc::clone(flight)))?;
    let count = |add: fn(&mut Tally)| add(&mut tally.lock());
    count(|tally| tally.alerts += 1);
    count(|tally| tally.asked += 1);
    let pending = hub
        .request(WeatherAt { origin: flight.origin, hour: flight.hour })
        .inspect_err(|_| count(|tally| tally.failed += 1))?;
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
    /// Returns the counts so far; all of them once the bus is drained.
    pub fn finish(&self) -> Tally {
        self.tally.lock().clone()
    }
}
