//! Dead letters do not feed back.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use crate::lifecycle::BusId;
use crate::sync::thread_local;

/// This thread took a dead letter and has not asked for the next one: what it publishes on that bus makes no dead
/// letters, so that a reader who publishes a letter again, to nowhere, is not handed it again.
struct Republishing {
    bus: BusId,
    reader: Weak<()>,
}

thread_local! {
    static REPUBLISHING: RefCell<Vec<Republishing>> = const { RefCell::new(Vec::new()) };
}

/// Changes this thread's list; does nothing when the thread is past its end.
fn with_republishing<A: Default>(change: impl FnOnce(&mut Vec<Republishing>) -> A) -> A {
    REPUBLISHING.try_with(|list| change(&mut list.borrow_mut())).unwrap_or_default()
}

/// This thread has taken a letter of this bus.
pub(super) fn begin(bus: BusId, reader: &Arc<()>) {
    let reader = Arc::downgrade(reader);
    with_republishing(|list| list.push(Republishing { bus, reader }));
}

/// This thread asks the reader for another letter, so it is done with the one before.
pub(super) fn end(reader: &Arc<()>) {
    with_republishing(|list| list.retain(|entry| entry.reader.as_ptr() != Arc::as_ptr(reader)));
}

/// Runs a part of a task that has a letter of this bus in hand.
#[cfg(feature = "async")]
pub(super) fn during<A>(bus: BusId, part: impl FnOnce() -> A) -> A {
    /// Also when the part panics.
    struct EndGuard(Arc<()>);
    impl Drop for EndGuard {
        fn drop(&mut self) {
            end(&self.0);
        }
    }
    let this = EndGuard(Arc::new(()));
    begin(bus, &this.0);
    part()
}

pub(super) fn is_republishing(bus: BusId) -> bool {
    with_republishing(|list| {
        // A reader that was dropped elsewhere counts no more.
        list.retain(|entry| entry.reader.strong_count() > 0);
        list.iter().any(|entry| entry.bus == bus)
    })
}
