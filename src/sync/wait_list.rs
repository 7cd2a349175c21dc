//! Tasks that wait for something at a mailbox, and their wakers.
//!
//! A waker is code of the user: it is cloned, called and dropped after the lock is released.

use std::collections::VecDeque;
use std::task::Waker;

use super::{Mutex, MutexGuard};
use crate::sync::atomic::{AtomicU8, Ordering};

use crate::panic::catch;

/// Those who wait, in the order in which they came.
#[derive(Default)]
pub(crate) struct WaitList {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    next_key: u64,
    /// Keys rise.
    entries: VecDeque<(u64, Waker)>,
}

impl List {
    fn find(&self, key: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&key, |(key, _)| *key).ok()
    }
}

/// A task's place among those who wait. One that does not wait, or is waiting for the first time, has none.
#[derive(Debug, Default)]
pub(crate) struct WaitEntry(Option<u64>);

/// Says that somebody waits, to those who look at this byte anyway. Changed under the lock of the list.
///
/// SeqCst in both: who waits sets the mark and then looks at the queue again, who changes the queue looks for the mark
/// afterwards. One of them sees the other. The channel's part in this is a SeqCst exchange at each end of the queue, and
/// a SeqCst fence before it says that it is full or empty.
#[derive(Clone, Copy)]
pub(crate) struct WaitFlag<'a> {
    pub(crate) byte: &'a AtomicU8,
    pub(crate) bit: u8,
}

impl WaitFlag<'_> {
    fn set(self) {
        self.byte.fetch_or(self.bit, Ordering::SeqCst);
    }

    fn is_set(self) -> bool {
        self.byte.load(Ordering::Relaxed) & self.bit != 0
    }

    fn clear(self) {
        self.byte.fetch_and(!self.bit, Ordering::SeqCst);
    }
}

impl WaitList {
    /// Has the task woken by the next call of `wake_one` that comes to it, or of `wake_all`. A task that waits already
    /// keeps its place.
    pub(crate) fn enter(&self, place: &mut WaitEntry, waker: &Waker, mark: WaitFlag<'_>) {
        let mut waker = waker.clone();
        let mut list = self.list.lock();
        match place.0.and_then(|key| list.find(key)) {
            // The one before is dropped after the lock is released.
            Some(index) => std::mem::swap(&mut list.entries[index].1, &mut waker),
            None => {
                let key = list.next_key;
                list.next_key += 1;
                list.entries.push_back((key, waker));
                place.0 = Some(key);
                mark.set();
                return;
            }
        }
        drop(list);
    }

    /// The task waits no more. `true` if it has been woken since it entered.
    pub(crate) fn leave(&self, place: &mut WaitEntry, mark: WaitFlag<'_>) -> bool {
        let Some(key) = place.0.take() else { return false };
        if !mark.is_set() {
            // Nobody waits: the thread that cleared the flag has woken this task too.
            return true;
        }
        let mut list = self.list.lock();
        let Some(index) = list.find(key) else { return true };
        let entry = list.entries.remove(index);
        if list.entries.is_empty() {
            mark.clear();
        }
        drop(list);
        drop(entry);
        false
    }

    /// Wakes the one who has waited longest.
    pub(crate) fn wake_one(&self, mark: WaitFlag<'_>) {
        let list = self.list.lock();
        if let Some(waker) = pop(list, mark) {
            wake(waker);
        }
    }

    /// Wakes all who wait now.
    pub(crate) fn wake_all(&self, mark: WaitFlag<'_>) {
        let mut list = self.list.lock();
        let end = list.next_key;
        while list.entries.front().is_some_and(|(key, _)| *key < end) {
            let was_last = list.entries.len() == 1;
            let Some(waker) = pop(list, mark) else { return };
            wake(waker);
            if was_last {
                return;
            }
            list = self.list.lock();
        }
    }
}

/// Calls a waker. A panic of it is ignored: the caller has others to wake, and work of its own to finish.
pub(crate) fn wake(waker: Waker) {
    let _ = catch(|| waker.wake());
}

/// Takes the first out and releases the lock.
fn pop(mut list: MutexGuard<'_, List>, mark: WaitFlag<'_>) -> Option<Waker> {
    let (_, waker) = list.entries.pop_front()?;
    if list.entries.is_empty() {
        mark.clear();
    }
    Some(waker)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Wake, Waker};

    use super::{WaitEntry, WaitFlag, WaitList};
    use crate::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Task {
        count: Arc<Count>,
        waker: Waker,
        place: WaitEntry,
    }

    fn task() -> Task {
        let count = Arc::<Count>::default();
        Task { waker: Waker::from(Arc::clone(&count)), count, place: WaitEntry::default() }
    }

    impl Task {
        fn wakes(&self) -> usize {
            self.count.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn those_who_wait_are_woken_in_turn_or_all_at_once() {
        let (waiters, byte) = (WaitList::default(), AtomicU8::new(0b100));
        let mark = WaitFlag { byte: &byte, bit: 1 };
        let mut tasks = [task(), task(), task()];
        for Task { waker, place, .. } in &mut tasks {
            waiters.enter(place, waker, mark);
            // A second time is the same place.
            waiters.enter(place, waker, mark);
        }
        assert_eq!(byte.load(Ordering::Relaxed), 0b101);
        waiters.wake_one(mark);
        assert_eq!(tasks.each_ref().map(Task::wakes), [1, 0, 0]);
        waiters.wake_all(mark);
        assert_eq!(tasks.each_ref().map(Task::wakes), [1, 1, 1]);
        assert_eq!(byte.load(Ordering::Relaxed), 0b100);
        waiters.wake_all(mark);
        assert_eq!(tasks.each_ref().map(Task::wakes), [1, 1, 1]);
    }

    #[test]
    fn who_leaves_is_not_woken_and_learns_whether_it_was() {
        let (waiters, byte) = (WaitList::default(), AtomicU8::new(0));
        let mark = WaitFlag { byte: &byte, bit: 1 };
        let [mut one, mut two] = [task(), task()];
        waiters.enter(&mut one.place, &one.waker, mark);
        waiters.enter(&mut two.place, &two.waker, mark);
        assert!(!waiters.leave(&mut one.place, mark));
        waiters.wake_one(mark);
        assert_eq!((one.wakes(), two.wakes()), (0, 1));
        assert!(waiters.leave(&mut two.place, mark), "it has been woken");
        assert!(!waiters.leave(&mut two.place, mark), "and left");
        assert_eq!(byte.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_asleep() {
        struct Panics;
        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("a waker panics");
            }
        }
        let (waiters, byte) = (WaitList::default(), AtomicU8::new(0));
        let mark = WaitFlag { byte: &byte, bit: 1 };
        let mut task = task();
        waiters.enter(&mut WaitEntry::default(), &Waker::from(Arc::new(Panics)), mark);
        waiters.enter(&mut task.place, &task.waker, mark);
        waiters.wake_all(mark);
        assert_eq!(task.wakes(), 1);
    }

    /// Woken by `wake_all`, it enters again at once: it must not be woken forever.
    #[test]
    fn who_comes_back_while_all_are_woken_waits_again() {
        struct Again(WaitList, AtomicU8, AtomicUsize);
        impl Wake for Again {
            fn wake(self: Arc<Self>) {
                self.2.fetch_add(1, Ordering::Relaxed);
                let waker = Waker::from(Arc::clone(&self));
                self.0.enter(&mut WaitEntry::default(), &waker, WaitFlag { byte: &self.1, bit: 1 });
            }
        }
        let again = Arc::new(Again(WaitList::default(), AtomicU8::new(0), AtomicUsize::new(0)));
        let mark = WaitFlag { byte: &again.1, bit: 1 };
        again.0.enter(&mut WaitEntry::default(), &Waker::from(Arc::clone(&again)), mark);
        again.0.wake_all(mark);
        assert_eq!(again.2.load(Ordering::Relaxed), 1);
        assert_eq!(again.1.load(Ordering::Relaxed), 1);
    }
}
