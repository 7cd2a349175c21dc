//! Which handler this thread runs, if any.

use std::cell::Cell;

use super::{BusId, DrainGroup, Lifecycle};
use crate::sync::thread_local;

/// The handler that a thread runs.
#[derive(Clone, Copy)]
pub(crate) struct Serving {
    pub(super) bus: BusId,
    pub(super) drain_group: DrainGroup,
    pub(crate) mailbox: u64,
    pub(crate) handler: u64,
}

impl Serving {
    /// `handler` is the number of its workers, see `HandlerWorkers`.
    pub(crate) fn new(lifecycle: &Lifecycle, mailbox: u64, handler: u64) -> Self {
        Self { bus: lifecycle.id, drain_group: lifecycle.drain_group, mailbox, handler }
    }

    /// Marks this thread, for the rest of its life.
    pub(crate) fn on_this_thread(self) {
        SERVING.with(|serving| serving.set(Some(self)));
    }

    /// Marks this thread while it runs a part of a task.
    #[cfg(feature = "async")]
    pub(crate) fn during<A>(self, part: impl FnOnce() -> A) -> A {
        struct Before(Option<Serving>);
        impl Drop for Before {
            fn drop(&mut self) {
                SERVING.with(|serving| serving.set(self.0));
            }
        }
        let _before = Before(SERVING.with(|serving| serving.replace(Some(self))));
        part()
    }
}

thread_local! {
    static SERVING: Cell<Option<Serving>> = const { Cell::new(None) };
}

/// Returns the handler that this thread runs.
pub(super) fn serving() -> Option<Serving> {
    SERVING.with(Cell::get)
}

/// Whether this thread runs this handler.
pub(crate) fn this_thread_runs(handler: u64) -> bool {
    serving().is_some_and(|serving| serving.handler == handler)
}

/// Whether this thread runs a handler of the mailbox of this number.
pub(crate) fn this_thread_serves(mailbox: u64) -> bool {
    serving().is_some_and(|serving| serving.mailbox == mailbox)
}
