//! Publishing without dead letters: once after a payload was taken out of a letter, so that letters do not feed back.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Weak};

use crate::lifecycle::{BusId, Lifecycle};
use crate::sync::thread_local;

/// The next publish of this thread on a bus makes no dead letters. The bus is watched meanwhile, so a publish on any other
/// bus does not look for marks.
struct Mark {
    bus: BusId,
    lifecycle: Weak<Lifecycle>,
}

impl Mark {
    fn new(lifecycle: &Arc<Lifecycle>) -> Self {
        lifecycle.watch();
        Self { bus: lifecycle.id(), lifecycle: Arc::downgrade(lifecycle) }
    }
}

impl Drop for Mark {
    /// Also at the end of the thread.
    fn drop(&mut self) {
        if let Some(lifecycle) = self.lifecycle.upgrade() {
            lifecycle.unwatch();
        }
    }
}

thread_local! {
    // One for each bus at most.
    static MARKS: RefCell<Vec<Mark>> = const { RefCell::new(Vec::new()) };
}

thread_local! {
    // The bus on which this thread publishes without dead letters at this moment.
    static QUIET: Cell<Option<BusId>> = const { Cell::new(None) };
}

/// Changes this thread's marks; does nothing when the thread is past its end.
fn with_marks<A: Default>(change: impl FnOnce(&mut Vec<Mark>) -> A) -> A {
    MARKS.try_with(|marks| change(&mut marks.borrow_mut())).unwrap_or_default()
}

fn take_mark(bus: BusId) -> Option<Mark> {
    with_marks(|marks| marks.iter().position(|mark| mark.bus == bus).map(|index| marks.swap_remove(index)))
}

/// The next publish of this thread on this bus makes no dead letters.
pub(crate) fn mark_next_publish(lifecycle: &Arc<Lifecycle>) {
    with_marks(|marks| {
        marks.retain(|mark| mark.lifecycle.strong_count() > 0);
        if marks.iter().all(|mark| mark.bus != lifecycle.id()) {
            marks.push(Mark::new(lifecycle));
        }
    });
}

/// Forgets the mark of this thread: the task that left it waits now, and other tasks run.
#[cfg(feature = "async")]
pub(super) fn forget_mark(bus: BusId) {
    drop(take_mark(bus));
}

/// Waits for something. The bus is not watched meanwhile for the sake of this thread, which cannot publish.
pub(super) fn while_waiting<A>(bus: BusId, wait: impl FnOnce() -> A) -> A {
    let lifecycle = take_mark(bus).and_then(|mark| mark.lifecycle.upgrade());
    let waited = wait();
    if let Some(lifecycle) = lifecycle {
        mark_next_publish(&lifecycle);
    }
    waited
}

pub(super) fn is_quiet(bus: BusId) -> bool {
    QUIET.try_with(Cell::get).ok().flatten() == Some(bus)
}

/// Whether a publish makes dead letters of what it loses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LetterPolicy {
    Post,
    Suppress,
}

impl LetterPolicy {
    /// Uses up this thread's mark. A publish calls this when it begins.
    pub(crate) fn of_next_publish(lifecycle: &Lifecycle) -> Self {
        if lifecycle.is_simply_open() || take_mark(lifecycle.id()).is_none() { Self::Post } else { Self::Suppress }
    }

    /// Begins a publish of this thread, which lasts until the result is dropped. Needed only if the bus is not
    /// [simply open](Lifecycle::is_simply_open).
    #[cold]
    pub(crate) fn begin_publish(lifecycle: &Lifecycle) -> Option<PublishScope<'_>> {
        Self::of_next_publish(lifecycle).enter(lifecycle)
    }

    /// Runs a part of the publish of a task.
    #[cfg(feature = "async")]
    pub(crate) fn within<A>(self, lifecycle: &Lifecycle, part: impl FnOnce() -> A) -> A {
        let _scope = self.enter(lifecycle);
        part()
    }

    /// What user code publishes in the middle of a publish is a publish of its own: it finds the bus watched, and enters
    /// its own scope.
    #[inline(never)]
    fn enter(self, lifecycle: &Lifecycle) -> Option<PublishScope<'_>> {
        let quiet_on = match self {
            Self::Post if !is_quiet(lifecycle.id()) => return None,
            Self::Post => None,
            Self::Suppress => Some(lifecycle.id()),
        };
        lifecycle.watch();
        Some(PublishScope { before: QUIET.with(|quiet| quiet.replace(quiet_on)), lifecycle })
    }
}

/// A publish that makes no dead letters, or one in the middle of such a publish.
pub(crate) struct PublishScope<'a> {
    before: Option<BusId>,
    lifecycle: &'a Lifecycle,
}

impl Drop for PublishScope<'_> {
    /// Also when user code panics.
    #[inline(never)]
    fn drop(&mut self) {
        QUIET.with(|quiet| quiet.set(self.before));
        self.lifecycle.unwatch();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{LetterPolicy, mark_next_publish, while_waiting};
    use crate::lifecycle::{BusId, DrainGroup, Lifecycle, Phase};

    fn lifecycle() -> Arc<Lifecycle> {
        Arc::new(Lifecycle::new(BusId::new(), DrainGroup::new()))
    }

    #[test]
    fn a_bus_is_watched_only_while_a_thread_that_can_publish_has_a_mark() {
        let bus = lifecycle();
        // Twice is as good as once.
        (0..2).for_each(|_| mark_next_publish(&bus));
        assert!(!bus.is_simply_open());
        assert!(while_waiting(bus.id(), || bus.is_simply_open()));
        assert!(!bus.is_simply_open() && bus.accepts());
        assert!(LetterPolicy::of_next_publish(&bus) == LetterPolicy::Suppress);
        assert!(bus.is_simply_open());
        assert!(LetterPolicy::of_next_publish(&bus) == LetterPolicy::Post);
    }

    #[test]
    fn a_mark_ends_with_its_thread() {
        let bus = lifecycle();
        std::thread::scope(|scope| scope.spawn(|| mark_next_publish(&bus)).join()).expect("the thread ends");
        assert!(bus.is_simply_open());
    }

    #[test]
    fn a_bus_stays_closed_when_its_last_mark_is_used_up() {
        let bus = lifecycle();
        mark_next_publish(&bus);
        bus.advance(Phase::Closed);
        mark_next_publish(&bus);
        assert!(LetterPolicy::of_next_publish(&bus) == LetterPolicy::Suppress);
        assert!(bus.phase() == Phase::Closed && !bus.is_simply_open());
    }
}
