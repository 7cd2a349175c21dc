//! The name of a bus, which may change.

use std::sync::Arc;

use crate::sync::RwLock;

/// The name of a bus in statistics, metrics and drain reports. No message reads it.
pub(crate) struct BusName(RwLock<Arc<str>>);

impl BusName {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self(RwLock::new(name))
    }

    pub(crate) fn get(&self) -> Arc<str> {
        Arc::clone(&self.0.read())
    }

    pub(crate) fn set(&self, name: Arc<str>) {
        let before = std::mem::replace(&mut *self.0.write(), name);
        drop(before);
    }
}
