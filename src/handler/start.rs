//! A handler that is being started, worker by worker.

use std::convert::Infallible;
use std::sync::Arc;

use super::control::Control;
use super::{Attached, Attachment, Handler, Retry, Stopwatch, Worker};
use crate::bus::BusInner;
use crate::dead_letter::Losses;
use crate::lifecycle::{EndSignal, Lifecycle};
use crate::mailbox::Mailbox;
use crate::message::Message;
use crate::routing::SubscribeError;
use crate::sync::atomic::AtomicBool;
use crate::sync::channel::{Sender, bounded};
use crate::sync::thread;

/// A handler that is being started, worker by worker.
pub(crate) struct Start<T, R> {
    handler: Handler,
    worker: Worker<T, R>,
    guards: Vec<RunningWorker<T>>,
    /// Of each thread, in bytes; `None` for the default of the standard library.
    stack_size: Option<usize>,
}

impl<T, R> Start<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    pub(crate) fn new(
        inner: &Arc<BusInner<T, R>>,
        mailbox: Arc<Mailbox<T, R>>,
        workers: StartingWorkers<T>,
        name: Option<String>,
        retry: Retry,
        serves: bool,
    ) -> Self {
        let name = name.or_else(|| mailbox.options.patterns.first().map(ToString::to_string)).unwrap_or_default();
        let StartingWorkers { control, guards, ended } = workers;
        mailbox.add_handler(&control.workers);
        let subscription: Arc<dyn Attached> = Arc::new(Attachment {
            mailbox: Arc::clone(&mailbox),
            inner: Arc::downgrade(inner),
            workers: guards.len(),
            has_left: AtomicBool::new(false),
            is_detached: AtomicBool::new(false),
        });
        let worker = Worker {
            mailbox,
            inner: Arc::downgrade(inner),
            lifecycle: Arc::clone(&inner.lifecycle),
            losses: Arc::clone(&inner.losses),
            subscription: Arc::clone(&subscription),
            control: Arc::clone(&control),
            retry,
            stopwatch: Stopwatch::new(|| inner.name.get(), &name),
            name: name.as_str().into(),
            serves,
        };
        let handler = Handler { subscription, name, control, workers: 0, threads: Vec::new(), ended, stopped: false };
        Self { handler, worker, guards, stack_size: None }
    }

    /// Gives the threads to come stacks of this size.
    pub(crate) fn with_stack_size(self, stack_size: Option<usize>) -> Self {
        Self { stack_size, ..self }
    }

    /// Begins one more worker; `None` if all have begun.
    pub(super) fn begin(&mut self) -> Option<(Worker<T, R>, RunningWorker<T>)> {
        let guard = self.guards.pop()?;
        self.handler.workers += 1;
        Some((self.worker.clone(), guard))
    }

    /// Runs one more worker on a thread of its own.
    pub(crate) fn thread<F>(&mut self, index: usize, f: F) -> Result<(), SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> Result<(), String> + Send + 'static,
    {
        // A zero byte would make the thread's name invalid.
        let name = format!("{}-{index}", self.handler.name.replace('\0', ""));
        let Some((worker, guard)) = self.begin() else { return Ok(()) };
        let mut builder = thread::Builder::new().name(name);
        if let Some(stack_size) = self.stack_size {
            builder = builder.stack_size(stack_size);
        }
        let thread = builder.spawn(move || {
            worker.run(f);
            drop(guard);
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

/// The workers of a handler that is about to be attached. They count as running from now on, so that neither a drain nor
/// a close overlooks them.
pub(crate) struct StartingWorkers<T> {
    pub(crate) control: Arc<Control>,
    guards: Vec<RunningWorker<T>>,
    /// Ends when the last guard is dropped.
    ended: EndSignal,
}

impl<T: Send + 'static> StartingWorkers<T> {
    /// Starts the only worker as a thread, which runs `run`.
    pub(crate) fn into_handler(
        mut self,
        subscription: Arc<dyn Attached>,
        name: String,
        run: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Handler> {
        let guard = self.guards.pop();
        // A zero byte would make the thread's name invalid.
        let builder = thread::Builder::new().name(format!("{}-0", name.replace('\0', "")));
        let thread = builder.spawn(move || {
            run();
            drop(guard);
        })?;
        let Self { control, ended, .. } = self;
        Ok(Handler { subscription, name, control, workers: 1, threads: vec![thread], ended, stopped: false })
    }
}

impl<T> StartingWorkers<T> {
    pub(crate) fn new(lifecycle: &Arc<Lifecycle>, losses: &Arc<Losses<T>>, workers: usize) -> Self {
        let control = Control::new();
        let (done, ended) = bounded(0);
        let guards = (0..workers).map(|_| RunningWorker::new(lifecycle, losses, &control, &done)).collect();
        Self { control, guards, ended }
    }
}

/// Counts a worker as running, in its handler and in its bus, until it is dropped.
pub(super) struct RunningWorker<T> {
    ended: bool,
    control: Arc<Control>,
    lifecycle: Arc<Lifecycle>,
    losses: Arc<Losses<T>>,
    /// The last to be dropped, see `Handler::ended`.
    done: Option<Sender<Infallible>>,
}

impl<T> RunningWorker<T> {
    fn new(
        lifecycle: &Arc<Lifecycle>,
        losses: &Arc<Losses<T>>,
        control: &Arc<Control>,
        done: &Sender<Infallible>,
    ) -> Self {
        control.workers.started();
        lifecycle.worker_started();
        Self {
            ended: false,
            control: Arc::clone(control),
            lifecycle: Arc::clone(lifecycle),
            losses: Arc::clone(losses),
            done: Some(done.clone()),
        }
    }

    /// Ends the worker for its handler. Returns `true` if it was the last of it.
    pub(super) fn end(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.ended, true);
        first && self.control.workers.ended()
    }
}

impl<T> Drop for RunningWorker<T> {
    fn drop(&mut self) {
        self.end();
        if self.lifecycle.worker_ended() {
            self.losses.close();
        }
        drop(self.done.take());
        self.control.worker_ended();
    }
}
