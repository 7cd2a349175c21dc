//! A log as publishers see it.

use std::ops::Deref;

use super::Log;

/// A log whose payloads are `Sync`, for those who do not know that of the type: a route may be used by all threads, whatever
/// the payloads of its bus are, and only who opens a journal promises that they are `Sync`.
pub(crate) trait SyncLog<T>: Send + Sync {
    fn log(&self) -> &Log<T>;
}

impl<T: Send + Sync> SyncLog<T> for Log<T> {
    fn log(&self) -> &Self {
        self
    }
}

impl<T> Deref for dyn SyncLog<T> {
    type Target = Log<T>;

    #[inline]
    fn deref(&self) -> &Log<T> {
        self.log()
    }
}
