//! The workers of a handler: what they share, and those that are threads.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
#[cfg(feature = "async")]
use std::task::Waker;
use std::time::Duration;

use super::{Attached, Attachment, Handler, Retry, Stopwatch};
use crate::bus::{Core, reader_left};
use crate::dead_letter::{DeadLetterReason, Losses};
use crate::lifecycle::{EndSignal, EndTrigger, Lifecycle, Serving, this_thread_runs};
use crate::mailbox::Mailbox;
use crate::message::{Message, TryRecvError};
use crate::panic::catch;
use crate::routing::SubscribeError;
use crate::spans::Handling;
#[cfg(feature = "async")]
use crate::sync::atomic::AtomicU8;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::channel::{RecvTimeoutError, Select, Sender, bounded};
use crate::sync::thread;
#[cfg(feature = "async")]
use crate::sync::waiters::{Mark, Place, Waiters};

/// How a handler tells its workers to end.
pub(crate) struct Control {
    /// Workers that have not ended.
    running: AtomicUsize,
    /// They take no other message.
    leaving: AtomicBool,
    left: EndSignal,
    leave: EndTrigger,
    /// They do not even try the message in hand again.
    abandoned: EndSignal,
    abandon: EndTrigger,
    #[cfg(feature = "async")]
    tasks: Waiters,
    #[cfg(feature = "async")]
    tasks_wait: AtomicU8,
}

impl Control {
    fn new() -> Arc<Self> {
        let (leave, left) = EndTrigger::new();
        let (abandon, abandoned) = EndTrigger::new();
        Arc::new(Self {
            running: AtomicUsize::new(0),
            leaving: AtomicBool::new(false),
            left,
            leave,
            abandoned,
            abandon,
            #[cfg(feature = "async")]
            tasks: Waiters::default(),
            #[cfg(feature = "async")]
            tasks_wait: AtomicU8::new(0),
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
        self.leaving.load(Ordering::Acquire)
    }

    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    pub(super) fn is_run_by_this_thread(&self) -> bool {
        this_thread_runs(self.id())
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    #[cfg(not(feature = "async"))]
    fn wake_tasks(&self) {}

    /// Sleeps between two attempts; `false` if there is to be no other.
    fn sleep(&self, pause: Duration) -> bool {
        matches!(self.abandoned.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
    }
}

#[cfg(feature = "async")]
impl Control {
    fn wake_tasks(&self) {
        self.tasks.wake_all(self.tasks_wait());
    }

    /// Has the task woken when it is to leave, or to abandon what it does. It looks afterwards.
    pub(crate) fn wait(&self, place: &mut Place, waker: &Waker) {
        self.tasks.enter(place, waker, self.tasks_wait());
    }

    pub(crate) fn wait_no_more(&self, place: &mut Place) {
        self.tasks.leave(place, self.tasks_wait());
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self.abandoned.try_recv(), Err(crate::sync::channel::TryRecvError::Disconnected))
    }

    fn tasks_wait(&self) -> Mark<'_> {
        Mark { byte: &self.tasks_wait, bit: 1 }
    }
}

/// A handler that is being started, worker by worker.
pub(crate) struct Start<T, R> {
    handler: Handler,
    worker: Worker<T, R>,
    running: Vec<Running<T>>,
}

impl<T, R> Start<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    pub(crate) fn new(
        core: &Arc<Core<T, R>>,
        mailbox: Arc<Mailbox<T, R>>,
        running: Vec<Running<T>>,
        name: Option<String>,
        retry: Retry,
        serves: bool,
    ) -> Self {
        let name = name.or_else(|| mailbox.options.patterns.first().map(ToString::to_string)).unwrap_or_default();
        let control = Control::new();
        let (done, ended) = bounded(0);
        let subscription: Arc<dyn Attached> = Arc::new(Attachment {
            mailbox: Arc::clone(&mailbox),
            core: Arc::downgrade(core),
            workers: running.len(),
            has_left: AtomicBool::new(false),
        });
        let worker = Worker {
            mailbox,
            core: Arc::downgrade(core),
            lifecycle: Arc::clone(&core.lifecycle),
            losses: Arc::clone(&core.losses),
            subscription: Arc::clone(&subscription),
            control: Arc::clone(&control),
            retry,
            stopwatch: Stopwatch::new(&core.name, &name),
            serves,
            done,
        };
        let handler = Handler { subscription, name, control, workers: 0, threads: Vec::new(), ended, stopped: false };
        Self { handler, worker, running }
    }

    /// One more worker, which counts as running until the second is dropped.
    pub(crate) fn begin(&mut self) -> (Worker<T, R>, Begun<T>) {
        let worker = self.worker.clone();
        self.handler.workers += 1;
        worker.control.running.fetch_add(1, Ordering::Relaxed);
        let begun = Begun {
            ended: false,
            _running: self.running.pop(),
            control: Arc::clone(&worker.control),
            _done: worker.done.clone(),
        };
        (worker, begun)
    }

    pub(crate) fn worker<F>(&mut self, index: usize, f: F) -> Result<(), SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> Result<(), String> + Send + 'static,
    {
        // A zero byte would make the thread's name invalid.
        let name = format!("{}-{index}", self.handler.name.replace('\0', ""));
        let (worker, begun) = self.begin();
        let thread = thread::Builder::new().name(name).spawn(move || {
            worker.run(f);
            drop(begun);
        });
        match thread {
            Ok(thread) => {
                self.handler.threads.push(thread);
                Ok(())
            }
            Err(error) => {
                // It has not begun, so it will not end.
                self.handler.workers -= 1;
                Err(SubscribeError::Thread(error))
            }
        }
    }

    pub(crate) fn into_handler(self) -> Handler {
        self.handler
    }
}

/// A worker that counts as one, from before its handler is attached until its thread has ended: so that neither a drain
/// nor a close overlooks it.
pub(crate) struct Running<T> {
    lifecycle: Arc<Lifecycle>,
    losses: Arc<Losses<T>>,
}

impl<T> Running<T> {
    pub(crate) fn new<R>(core: &Core<T, R>) -> Self {
        core.lifecycle.worker_started();
        Self { lifecycle: Arc::clone(&core.lifecycle), losses: Arc::clone(&core.losses) }
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if self.lifecycle.worker_ended() {
            self.losses.close();
        }
    }
}

/// Counts a worker of a handler as running until it is dropped.
pub(crate) struct Begun<T> {
    ended: bool,
    _running: Option<Running<T>>,
    control: Arc<Control>,
    /// The last to be dropped, see `Handler::ended`.
    _done: Sender<Infallible>,
}

impl<T> Begun<T> {
    /// `true` if it was the last of its handler.
    pub(crate) fn end(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.ended, true);
        // AcqRel: the last one sees what the others have done.
        first && self.control.running.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl<T> Drop for Begun<T> {
    fn drop(&mut self) {
        self.end();
    }
}

/// One worker of a handler: a thread, or a task.
pub(crate) struct Worker<T, R> {
    pub(crate) mailbox: Arc<Mailbox<T, R>>,
    core: Weak<Core<T, R>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    losses: Arc<Losses<T>>,
    subscription: Arc<dyn Attached>,
    pub(crate) control: Arc<Control>,
    pub(crate) retry: Retry,
    pub(crate) stopwatch: Stopwatch,
    /// Whether it was made to answer requests: then its failure is the answer.
    serves: bool,
    done: Sender<Infallible>,
}

impl<T, R> Clone for Worker<T, R> {
    fn clone(&self) -> Self {
        Self {
            mailbox: Arc::clone(&self.mailbox),
            core: Weak::clone(&self.core),
            lifecycle: Arc::clone(&self.lifecycle),
            losses: Arc::clone(&self.losses),
            subscription: Arc::clone(&self.subscription),
            control: Arc::clone(&self.control),
            retry: self.retry,
            stopwatch: self.stopwatch.clone(),
            serves: self.serves,
            done: self.done.clone(),
        }
    }
}

impl<T: Clone, R> Worker<T, R> {
    fn run(self, mut f: impl FnMut(&Message<T, R>) -> Result<(), String>) {
        self.serving().on_this_thread();
        let mut select = Select::new();
        self.mailbox.register(&mut select);
        select.recv(&self.control.left);
        loop {
            // What is caught here is a panic outside the closure: in the `Drop` of a payload, or the `Clone` of a
            // retained value.
            let went_on = catch(|| match self.next(&mut select) {
                Some(message) => {
                    let started = self.stopwatch.start();
                    self.process(message, &mut f);
                    self.stopwatch.stop(started);
                    true
                }
                None => false,
            });
            match went_on {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => self.panicked(),
            }
        }
        // The closure may hold handles of the bus, and they must be gone before the thread counts as ended.
        let _ = catch(|| drop(f));
        self.left();
    }

    pub(crate) fn serving(&self) -> Serving {
        Serving::new(&self.lifecycle, self.mailbox.id, self.control.id())
    }

    /// Something panicked that was not the handler's closure.
    pub(crate) fn panicked(&self) {
        self.losses.handler_panics.fetch_add(1, Ordering::Relaxed);
    }

    /// The last task was dropped before it had done everything: as if the handler was.
    #[cfg(feature = "async")]
    pub(crate) fn abandon(&self) {
        // All that have begun have said that they take nothing out any more.
        if self.subscription.leave(usize::MAX) {
            self.subscription.abandon();
        }
    }

    /// It takes nothing out any more.
    pub(crate) fn left(&self) {
        reader_left(&self.core, &self.mailbox);
    }

    /// Waits for the next message, asleep in `select`; `None` when there is nothing more to do.
    fn next(&self, select: &mut Select<'_>) -> Option<Message<T, R>> {
        loop {
            if self.control.is_leaving() {
                return None;
            }
            match self.mailbox.try_recv() {
                Ok(message) => return Some(message),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Closed | TryRecvError::Overflowed) => return None,
            }
            if !self.mailbox.let_some_gather() {
                self.lifecycle.worker_idles();
                select.ready();
                self.lifecycle.worker_wakes();
            }
        }
    }

    fn process(&self, message: Message<T, R>, f: &mut impl FnMut(&Message<T, R>) -> Result<(), String>) {
        let span = Handling::enter(message.requesting(), message.topic(), self.mailbox.labels());
        let mut attempts = 0;
        let reason = loop {
            attempts += 1;
            match catch(|| f(&message)) {
                Ok(Ok(())) => {
                    self.succeeded();
                    return span.end("ok", attempts);
                }
                Ok(Err(error)) => match self.retry.pause_after(attempts) {
                    Some(pause) if self.control.sleep(pause) => {}
                    _ => break DeadLetterReason::Failed(error),
                },
                Err(panic) => break DeadLetterReason::Panicked(panic),
            }
        };
        span.end(reason.outcome(), attempts);
        self.give_up(message, reason, attempts);
    }

    pub(crate) fn succeeded(&self) {
        self.losses.traffic.handled();
    }

    pub(crate) fn give_up(&self, message: Message<T, R>, reason: DeadLetterReason, attempts: u32) {
        let counter = match &reason {
            DeadLetterReason::Panicked(_) => &self.losses.handler_panics,
            _ => &self.losses.handler_failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if message.is_request() {
            let why = reason.to_string();
            if self.serves {
                // A caller that has gone, or has an answer, needs none.
                let _ = message.fail(why);
            } else {
                message.give_up(why);
            }
        }
        if self.losses.is_listening() {
            let topic = message.topic().clone();
            self.losses.post(&topic, message.into_payload(), reason, attempts);
        }
    }
}
