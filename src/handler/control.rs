//! The signals with which a handler ends its workers.

use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::Waker;
use std::time::Duration;

use crate::lifecycle::{EndSignal, EndTrigger, HandlerWorkers, this_thread_runs};
#[cfg(feature = "async")]
use crate::sync::Mutex;
#[cfg(feature = "async")]
use crate::sync::atomic::AtomicU8;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::channel::RecvTimeoutError;
#[cfg(feature = "async")]
use crate::sync::wait_list::{self, WaitEntry, WaitFlag, WaitList};

/// The signals with which a handler ends its workers.
pub(crate) struct Control {
    pub(crate) workers: Arc<HandlerWorkers>,
    /// They take no other message.
    leaving: AtomicBool,
    /// Ends when they are to leave.
    pub(crate) left: EndSignal,
    leave: EndTrigger,
    /// They do not even try the message in hand again.
    abandoned: EndSignal,
    abandon: EndTrigger,
    #[cfg(feature = "async")]
    tasks: WaitList,
    #[cfg(feature = "async")]
    tasks_wait: AtomicU8,
    /// A task that waits for the end of the workers.
    #[cfg(feature = "async")]
    stopping: Mutex<Option<Waker>>,
}

impl Control {
    pub(super) fn new() -> Arc<Self> {
        let (leave, left) = EndTrigger::new();
        let (abandon, abandoned) = EndTrigger::new();
        Arc::new(Self {
            workers: HandlerWorkers::new(),
            leaving: AtomicBool::new(false),
            left,
            leave,
            abandoned,
            abandon,
            #[cfg(feature = "async")]
            tasks: WaitList::default(),
            #[cfg(feature = "async")]
            tasks_wait: AtomicU8::new(0),
            #[cfg(feature = "async")]
            stopping: Mutex::new(None),
        })
    }

    pub(super) fn leave(&self) {
        // Release pairs with the load in `is_leaving`.
        self.leaving.store(true, Ordering::Release);
        self.leave.fire();
        self.wake_tasks();
    }

    pub(super) fn abandon(&self) {
        self.leave();
        self.abandon.fire();
        self.wake_tasks();
    }

    pub(crate) fn is_leaving(&self) -> bool {
        // Acquire pairs with the store in `leave`.
        self.leaving.load(Ordering::Acquire)
    }

    pub(super) fn is_run_by_this_thread(&self) -> bool {
        this_thread_runs(self.id())
    }

    pub(crate) fn id(&self) -> u64 {
        self.workers.id()
    }

    #[cfg(not(feature = "async"))]
    fn wake_tasks(&self) {}

    /// A worker has ended, and its end of `Handler::ended` is gone.
    #[cfg(not(feature = "async"))]
    pub(super) fn worker_ended(&self) {}

    /// Sleeps between two attempts; `false` if there is to be no other.
    pub(crate) fn sleep(&self, pause: Duration) -> bool {
        matches!(self.abandoned.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
    }
}

#[cfg(feature = "async")]
impl Control {
    fn wake_tasks(&self) {
        self.tasks.wake_all(self.tasks_wait());
    }

    /// Has the task woken when it is to leave, or to abandon what it does. It looks afterwards.
    pub(crate) fn wait(&self, place: &mut WaitEntry, waker: &Waker) {
        self.tasks.enter(place, waker, self.tasks_wait());
    }

    pub(crate) fn wait_no_more(&self, place: &mut WaitEntry) {
        self.tasks.leave(place, self.tasks_wait());
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self.abandoned.try_recv(), Err(crate::sync::channel::TryRecvError::Disconnected))
    }

    /// Has the task woken when a worker ends. It looks afterwards whether that was the last.
    pub(super) fn wait_for_end(&self, waker: &Waker) {
        let waker = waker.clone();
        let before = self.stopping.lock().replace(waker);
        drop(before);
    }

    pub(super) fn wait_for_end_no_more(&self) {
        let before = self.stopping.lock().take();
        drop(before);
    }

    /// A worker has ended, and its end of `Handler::ended` is gone.
    pub(super) fn worker_ended(&self) {
        let stopping = self.stopping.lock().take();
        stopping.into_iter().for_each(wait_list::wake);
    }

    fn tasks_wait(&self) -> WaitFlag<'_> {
        WaitFlag { byte: &self.tasks_wait, bit: 1 }
    }
}
