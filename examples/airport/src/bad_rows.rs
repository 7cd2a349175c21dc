//! Rows that cannot be used. They are published like all else; nobody subscribes to them, so they are dead letters.

use tramline::{Hub, PublishError, Publisher, TopicError};

use crate::message::BadRow;
use crate::table::Fault;

/// The bad rows of one file.
pub struct BadRows {
    publisher: Publisher<BadRow>,
    count: u64,
}

impl BadRows {
    pub fn of(hub: &Hub, file: &str) -> Result<Self, TopicError> {
        Ok(Self { publisher: hub.bus::<BadRow>().publisher(format!("bad_row.{file}"))?, count: 0 })
    }

    pub fn publish(&mut self, fault: Fault) -> Result<(), PublishError<BadRow>> {
        self.count += 1;
        self.publisher.publish(BadRow(fault))?;
        Ok(())
    }

    pub fn count(&self) -> u64 {
        self.count
    }
}
