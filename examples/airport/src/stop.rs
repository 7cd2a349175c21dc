//! The request to end early, which Ctrl-C makes.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Clones share the request.
#[derive(Clone, Default)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Requests the end and wakes every wait. Returns `false` if the end was requested before.
    pub fn request(&self) -> bool {
        let before = mem::replace(&mut *self.shared.requested.lock(), true);
        self.shared.changed.notify_all();
        !before
    }

    pub fn is_requested(&self) -> bool {
        *self.shared.requested.lock()
    }

    /// Waits for this long, or until the end is requested. Returns whether the end is requested.
    pub fn wait_for(&self, time: Duration) -> bool {
        let mut requested = self.shared.requested.lock();
        self.shared.changed.wait_while_for(&mut requested, |requested| !*requested, time);
        *requested
    }
}
