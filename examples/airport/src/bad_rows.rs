//! Rows that cannot be used. They are published like all else; nobody subscribes to them, so they are dead letters.

use tramline::{Hub, PublishError};

use crate::message::BadRow;
use crate::table::Fault;

/// The bad rows of one module.
pub struct BadRows {
    hub: Hub,
    count: u64,
}

impl BadRows {
    pub fn new(hub: &Hub) -> Self {
        Self { hub: hub.clone(), count: 0 }
    }

    pub fn publish(&mut self, fault: Fault) -> Result<(), PublishError<BadRow>> {
        self.count += 1;
        self.hub.publish(BadRow(fault))?;
        Ok(())
    }

    pub fn count(&self) -> u64 {
        self.count
    }
}
