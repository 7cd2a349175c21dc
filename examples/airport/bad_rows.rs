//! Rows that cannot be used. They are published like all else; nobody subscribes to them, so they are dead letters.

use std::sync::Arc;

use tramline::{PublishError, Publisher, TopicError};

use crate::message::{Event, FlightBus, Reply};
use crate::table::Fault;

/// The bad rows of one file.
pub(crate) struct BadRows {
    publisher: Publisher<Event, Reply>,
    count: u64,
}

impl BadRows {
    pub(crate) fn of(bus: &FlightBus, file: &str) -> Result<Self, TopicError> {
        Ok(Self { publisher: bus.publisher(format!("bad_row.{file}"))?, count: 0 })
    }

    pub(crate) fn publish(&mut self, fault: Fault) -> Result<(), PublishError<Event>> {
        self.count += 1;
        let _ = self.publisher.publish(Event::BadRow(Arc::new(fault)))?;
        Ok(())
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}
