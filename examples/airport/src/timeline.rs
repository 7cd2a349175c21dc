//! Puts the events of the flights into the order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};

use crate::flights::Journey;
use crate::message::{Flight, FlightEvent, Kind};

/// Flights leave early, but never this early.
const SLACK: SignedDuration = SignedDuration::from_hours(1);
/// More than any day has. A file of a single endless day is released out of order rather than kept in memory.
const LIMIT: usize = 16_384;

/// The events that wait for their time.
///
/// The file has its days in order, but within a day only roughly: rows are sorted by the clock, on which a flight that
/// leaves after midnight comes first. So a day is complete when the next one begins, and that is when it is released.
#[derive(Default)]
pub struct Timeline {
    day: Option<Date>,
    pending: BinaryHeap<Reverse<Pending>>,
    sequence: u64,
}

impl Timeline {
    /// Takes the events out that can be told, now that a row of this day has come.
    pub fn release(&mut self, day: Date) -> impl Iterator<Item = FlightEvent> {
        let horizon = match self.day.replace(day) {
            Some(current) if current == day => DateTime::MIN,
            // The file starts over.
            Some(current) if current > day => DateTime::MAX,
            _ => day.at(0, 0, 0, 0).saturating_sub(SLACK),
        };
        std::iter::from_fn(move || {
            let Reverse(first) = self.pending.peek()?;
            let ready = first.event.at < horizon || self.pending.len() >= LIMIT;
            if ready { self.pop() } else { None }
        })
    }

    /// Takes all events out.
    pub fn finish(&mut self) -> impl Iterator<Item = FlightEvent> {
        std::iter::from_fn(|| self.pop())
    }

    pub fn add(&mut self, journey: Journey) {
        let flight = Arc::new(journey.flight);
        let (kind, at) = journey.start;
        self.push(kind, at, Arc::clone(&flight));
        if let Some((kind, at)) = journey.end {
            self.push(kind, at, flight);
        }
    }

    fn push(&mut self, kind: Kind, at: DateTime, flight: Arc<Flight>) {
        self.sequence += 1;
        self.pending.push(Reverse(Pending { event: FlightEvent { kind, at, flight }, sequence: self.sequence }));
    }

    fn pop(&mut self) -> Option<FlightEvent> {
        self.pending.pop().map(|Reverse(pending)| pending.event)
    }
}

/// Ordered by time; what is of the same minute stays in the order of the file.
struct Pending {
    event: FlightEvent,
    sequence: u64,
}

impl Pending {
    fn key(&self) -> (DateTime, u64) {
        (self.event.at, self.sequence)
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Pending {}
