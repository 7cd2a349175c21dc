//! Counts what happened, with several workers at the mailbox of the flights.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tramline::{Event, Handler, Hub, SubscribeError};

use crate::message::{Code, Delayed, Flight, FlightEvent, Kind};

const WORKERS: usize = 3;

#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub departed: u64,
    pub cancelled: u64,
    pub landed: u64,
    pub diverted: u64,
    pub departed_by_origin: BTreeMap<Code, u64>,
    pub departed_by_carrier: BTreeMap<Code, u64>,
    /// The alerts that were heard.
    pub delays: u64,
    pub longest_delay: Option<Arc<Flight>>,
}

impl Tally {
    pub fn events(&self) -> u64 {
        self.departed + self.cancelled + self.landed + self.diverted
    }

    fn add(&mut self, event: &FlightEvent) {
        match event.kind {
            Kind::Departed => {
                self.departed += 1;
                *self.departed_by_origin.entry(event.flight.origin).or_default() += 1;
                *self.departed_by_carrier.entry(event.flight.carrier).or_default() += 1;
            }
            Kind::Cancelled => self.cancelled += 1,
            Kind::Landed => self.landed += 1,
            Kind::Diverted => self.diverted += 1,
        }
    }

    fn add_delay(&mut self, Delayed(flight): &Delayed) {
        self.delays += 1;
        if self.longest_delay.as_ref().is_none_or(|longest| flight.dep_delay > longest.dep_delay) {
            self.longest_delay = Some(Arc::clone(flight));
        }
    }
}

pub struct Statistics {
    tally: Arc<Mutex<Tally>>,
    /// Kept, because dropping them would unsubscribe.
    _handlers: [Handler; 2],
}

pub fn start(hub: &Hub) -> Result<Statistics, SubscribeError> {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let shared = Arc::clone(&tally);
    let flights = hub
        .bus::<FlightEvent>()
        .subscription("flight.>")
        .name("statistics")
        .group("statistics")
        .capacity(4096)
        .workers(WORKERS)
        .handle(move |event| shared.lock().add(event))?;
    let shared = Arc::clone(&tally);
    let delays = hub
        .bus::<Delayed>()
        .subscription(Delayed::TOPIC)
        .name("statistics")
        .handle(move |delayed| shared.lock().add_delay(delayed))?;
    Ok(Statistics { tally, _handlers: [flights, delays] })
}

impl Statistics {
    /// Returns the counts so far; all of them once the bus is drained.
    pub fn finish(&self) -> Tally {
        self.tally.lock().clone()
    }
}
