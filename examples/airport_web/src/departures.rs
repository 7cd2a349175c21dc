//! Keeps the rows of all boards: the next flights of each airport, those that are late, and what has just left.
//!
//! One thread does it all, in the order of what it hears, so no lock is needed. What it knows is the schedule, the clock
//! and what the hub tells of departures and cancellations: a flight is delayed when its time has gone by and it is still
//! here.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use airport::message::{FlightEvent, Kind};
use jiff::SignedDuration;
use jiff::civil::DateTime;
use tramline::{Hub, PublishError, RecvTimeoutError, Subscriber, Topic};

use crate::WebBus;
use crate::clock::{Clock, Reading};
use crate::message::{BoardMessage, Row, Status};
use crate::schedule::{self, Planned, Schedule};

/// How often the clock is looked at and told.
const TICK: Duration = Duration::from_millis(250);
/// Flights of each airport that are still to leave; so there is something on the board by night too.
const AHEAD: usize = 30;
/// A delay is told in steps of as many minutes.
const STEP: i64 = 5;
/// How long a row stays when its flight has left.
const DEPARTED: SignedDuration = SignedDuration::from_mins(15);
/// How long a row stays after the time for which its cancelled flight was scheduled.
const CANCELLED: SignedDuration = SignedDuration::from_mins(45);

pub(crate) type Published = Result<(), PublishError<BoardMessage>>;

pub(crate) struct Departures {
    bus: WebBus,
    clock: Arc<Clock>,
    schedule: Schedule,
    round: u64,
    /// For each airport how many flights of its schedule have been put on the board.
    begun: Vec<usize>,
    rows: HashMap<Topic, Shown>,
}

/// A row that is on a board.
struct Shown {
    row: Row,
    scheduled: DateTime,
    /// Which airport it belongs to, by its place in the schedule.
    airport: usize,
    /// When it goes, if the flight is no longer waited for.
    until: Option<DateTime>,
}

impl Departures {
    /// Starts the thread. It ends when one of the buses is closed.
    pub(crate) fn start(hub: &Hub, bus: &WebBus, clock: &Arc<Clock>, schedule: Schedule) -> Result<(), Box<dyn Error>> {
        let events = hub
            .bus::<FlightEvent>()
            .subscription("flight.*.*.*.departed")
            .also("flight.*.*.*.cancelled")
            .name("departures")
            .open()?;
        let mut departures = Self::new(bus, clock, schedule);
        // It fails only when the page's bus is closed.
        Builder::new().name("departures".to_owned()).spawn(move || drop(departures.run(&events)))?;
        Ok(())
    }

    pub(crate) fn new(bus: &WebBus, clock: &Arc<Clock>, schedule: Schedule) -> Self {
        let begun = vec![0; schedule.airports().count()];
        Self { bus: bus.clone(), clock: Arc::clone(clock), schedule, round: 0, begun, rows: HashMap::new() }
    }

    fn run(&mut self, events: &Subscriber<FlightEvent>) -> Published {
        loop {
            self.tick()?;
            let next = Instant::now() + TICK;
            loop {
                match events.recv_deadline(next) {
                    Ok(event) => self.hear(&event)?,
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(_) => return Ok(()),
                }
            }
        }
    }

    /// Brings the boards up to the time of the clock.
    pub(crate) fn tick(&mut self) -> Published {
        let Reading { round, time, speed } = self.clock.read();
        if round != self.round {
            self.round = round;
            self.begun.fill(0);
            self.remove(|_| true)?;
        }
        self.remove(|shown| shown.until.is_some_and(|until| until <= time))?;
        self.tell_delays(time)?;
        self.add_next()?;
        let clock = BoardMessage::Clock { time: schedule::text(time), speed: speed.times() };
        self.bus.publish_retained("clock", clock)?;
        Ok(())
    }

    fn remove(&mut self, has_gone: impl Fn(&Shown) -> bool) -> Published {
        let gone: Vec<_> =
            self.rows.iter().filter(|(_, shown)| has_gone(shown)).map(|(topic, _)| topic.clone()).collect();
        for topic in gone {
            self.rows.remove(&topic);
            // In this order: who subscribes in between gets neither, and nothing is left of it.
            drop(self.bus.clear_retained(topic.clone()));
            self.bus.publish(topic, BoardMessage::Gone)?;
        }
        Ok(())
    }

    fn tell_delays(&mut self, time: DateTime) -> Published {
        for (topic, shown) in self.rows.iter_mut().filter(|(_, shown)| shown.until.is_none()) {
            let late = time.duration_since(shown.scheduled).as_mins() / STEP * STEP;
            // A whole day is more than any flight was late.
            let late = i32::try_from(late).unwrap_or(i32::MAX);
            if late > 0 && late != shown.row.delay {
                shown.row.delay = late;
                shown.row.status = Status::Delayed;
                tell(&self.bus, topic, &shown.row)?;
            }
        }
        Ok(())
    }

    fn add_next(&mut self) -> Published {
        for (airport, (flights, begun)) in self.schedule.airports().zip(&mut self.begun).enumerate() {
            let is_ahead = |shown: &&Shown| shown.airport == airport && shown.row.status == Status::OnTime;
            let missing = AHEAD.saturating_sub(self.rows.values().filter(is_ahead).count());
            for Planned { topic, scheduled, row } in flights[*begun..].iter().take(missing) {
                *begun += 1;
                tell(&self.bus, topic, row)?;
                let shown = Shown { row: row.clone(), scheduled: *scheduled, airport, until: None };
                self.rows.insert(topic.clone(), shown);
            }
        }
        Ok(())
    }

    /// Takes what has happened to a flight. What is not on the board has left it already, in a round that is over.
    pub(crate) fn hear(&mut self, event: &FlightEvent) -> Published {
        let flight = &event.flight;
        let Ok(topic) = schedule::topic(flight) else { return Ok(()) };
        let Some(shown) = self.rows.get_mut(&topic) else { return Ok(()) };
        // The same number leaves every day.
        if shown.scheduled != flight.scheduled {
            return Ok(());
        }
        match event.kind {
            Kind::Departed => {
                shown.row.status = Status::Departed;
                shown.row.delay = flight.dep_delay;
                shown.row.departed = Some(schedule::text(event.at));
                shown.until = Some(event.at.saturating_add(DEPARTED));
            }
            Kind::Cancelled => {
                shown.row.status = Status::Cancelled;
                shown.row.delay = 0;
                shown.until = Some(event.at.saturating_add(CANCELLED));
            }
            Kind::Landed | Kind::Diverted => return Ok(()),
        }
        tell(&self.bus, &topic, &shown.row)
    }
}

fn tell(bus: &WebBus, topic: &Topic, row: &Row) -> Published {
    bus.publish_retained(topic.clone(), BoardMessage::Row(Box::new(row.clone())))?;
    Ok(())
}
