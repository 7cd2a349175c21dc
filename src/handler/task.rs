//! Handlers that are tasks.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_timer::Delay;

use super::spawner::{HandlerTask, Spawner};
use super::{Begun, Handler, Outcome, Start, Worker};
use crate::bus::Bus;
use crate::dead_letter::DeadLetterReason;
use crate::message::Message;
use crate::panic::catch;
use crate::request::Responder;
use crate::routing::SubscribeError;
use crate::spans::HandlingTask;
use crate::subscription::{ManyWorkers, OneWorker, SubscriptionBuilder};
use crate::sync::waiters::Place;
use crate::topic::{Pattern, TopicError};

/// So many messages a task handles in a row before it gives way to others.
const STREAK: u32 = 64;

/// A worker while it is a task. When it is dropped it has ended, or its runtime has dropped it.
struct Task<T: Clone, R> {
    worker: Worker<T, R>,
    /// There is nothing more for it to do.
    finished: bool,
    streak: u32,
    begun: Begun<T>,
}

impl<T: Clone, R> Drop for Task<T, R> {
    fn drop(&mut self) {
        self.worker.left();
        let last = self.begun.end();
        if last && !self.finished {
            self.worker.abandon();
        }
    }
}

/// Waits for the next message; `None` when there is nothing more to do.
struct Next<'a, T, R> {
    worker: &'a Worker<T, R>,
    streak: &'a mut u32,
    message: Place,
    leaving: Place,
    /// It counts as idle.
    idle: bool,
}

impl<T: Clone, R> Future for Next<'_, T, R> {
    type Output = Option<Message<T, R>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.wakes();
        if *this.streak >= STREAK {
            *this.streak = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Worker { mailbox, control, lifecycle, .. } = this.worker;
        loop {
            if control.is_leaving() {
                return Poll::Ready(None);
            }
            // The `Clone` of a retained value may panic.
            match catch(|| mailbox.poll_recv(&mut this.message, context)) {
                Ok(Poll::Ready(Ok(message))) => {
                    *this.streak += 1;
                    return Poll::Ready(Some(message));
                }
                Ok(Poll::Ready(Err(_))) => return Poll::Ready(None),
                Ok(Poll::Pending) => break,
                Err(_) => this.worker.panicked(),
            }
        }
        *this.streak = 0;
        control.wait(&mut this.leaving, context.waker());
        if control.is_leaving() {
            return Poll::Ready(None);
        }
        lifecycle.worker_idles();
        this.idle = true;
        Poll::Pending
    }
}

impl<T, R> Next<'_, T, R> {
    fn wakes(&mut self) {
        if std::mem::take(&mut self.idle) {
            self.worker.lifecycle.worker_wakes();
        }
    }
}

impl<T, R> Drop for Next<'_, T, R> {
    fn drop(&mut self) {
        self.wakes();
        self.worker.mailbox.needs_no_message(&mut self.message);
        self.worker.control.wait_no_more(&mut self.leaving);
    }
}

impl<T: Clone, R> Task<T, R> {
    async fn run<F, Fut>(mut self, mut f: F)
    where
        F: FnMut(&Message<T, R>) -> Fut,
        Fut: Future<Output = Result<(), String>>,
    {
        while let Some(message) = self.next().await {
            self.process(message, &mut f).await;
        }
        self.finished = true;
        // The closure may hold handles of the bus, and they must be gone before the task counts as ended.
        let _ = catch(|| drop(f));
    }

    async fn next(&mut self) -> Option<Message<T, R>> {
        let Self { worker, streak, .. } = self;
        Next { worker, streak, message: Place::default(), leaving: Place::default(), idle: false }.await
    }

    async fn process<F, Fut>(&self, message: Message<T, R>, f: &mut F)
    where
        F: FnMut(&Message<T, R>) -> Fut,
        Fut: Future<Output = Result<(), String>>,
    {
        let worker = &self.worker;
        let started = worker.stopwatch.start();
        let span = HandlingTask::new(message.requesting(), message.topic(), &worker.mailbox);
        let mut attempts = 0;
        let reason = loop {
            attempts += 1;
            let outcome = match catch(|| span.within(|| f(&message))) {
                Ok(future) => caught(future, &span).await,
                Err(panic) => Err(panic),
            };
            match outcome {
                Ok(Ok(())) => break None,
                Ok(Err(error)) => match worker.retry.pause_after(attempts) {
                    Some(pause) if self.pause(pause).await => {}
                    _ => break Some(DeadLetterReason::Failed(error)),
                },
                Err(panic) => break Some(DeadLetterReason::Panicked(panic)),
            }
        };
        span.end(reason.as_ref().map_or("ok", DeadLetterReason::outcome), attempts);
        // The `Drop` of the payload may panic.
        let done = catch(|| match reason {
            Some(reason) => worker.give_up(message, reason, attempts),
            None => {
                worker.succeeded();
                drop(message);
            }
        });
        if done.is_err() {
            worker.panicked();
        }
        worker.stopwatch.stop(started);
    }

    /// Waits between two attempts; `false` if there is to be no other.
    async fn pause(&self, pause: Duration) -> bool {
        let mut delay = Delay::new(pause);
        let mut place = Place::default();
        let control = &self.worker.control;
        let go_on = poll_fn(|context| {
            control.wait(&mut place, context.waker());
            if control.is_abandoned() {
                return Poll::Ready(false);
            }
            Pin::new(&mut delay).poll(context).map(|()| true)
        });
        let go_on = go_on.await;
        control.wait_no_more(&mut place);
        go_on
    }
}

/// Runs a future of the user, whose panic becomes its text. What the user has made is dropped in its last poll.
async fn caught<A>(future: impl Future<Output = A>, span: &HandlingTask) -> Result<A, String> {
    let mut future = pin!(future);
    let outcome = poll_fn(|context| match catch(|| span.within(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    });
    outcome.await
}

impl<T, R> Start<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    fn task<F, Fut>(&mut self, spawner: &impl Spawner, f: F)
    where
        F: FnMut(&Message<T, R>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (worker, begun) = self.begin();
        let serving = worker.serving();
        let task = Task { worker, finished: false, streak: 0, begun };
        spawner.spawn(HandlerTask::new(serving, task.run(f)));
    }
}

/// Handlers on an async runtime, with the feature `async`.
impl<T, R> SubscriptionBuilder<T, R, OneWorker>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Begins the subscription: as [`handle`](Self::handle), but with a task of your async runtime instead of a thread,
    /// and a closure that returns a future.
    ///
    /// The closure borrows the message, takes out of it what the future needs, and the next message waits until that is
    /// ready. Retries, dead letters and panics are as with `handle`. [`Handler::stop`] and
    /// [`Bus::drain`](crate::Bus::drain) wait on the calling thread: on a runtime with one thread call them from
    /// `spawn_blocking`, so that the tasks can go on.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::Retry;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let handler = bus
    ///     .subscription("mail")
    ///     .retry(Retry::fixed(2, Duration::from_millis(1)))
    ///     .handle_async(|task| { tokio::spawn(task); }, |order| {
    ///         let order = **order;
    ///         async move {
    ///             tokio::task::yield_now().await; // sends a letter
    ///             if order == 13 { Err("bad luck") } else { Ok(()) }
    ///         }
    ///     })?;
    /// bus.publish_async("mail", 7).await?;
    /// let report = tokio::task::spawn_blocking(move || handler.stop(Duration::from_secs(5))).await?;
    /// assert!(report.is_complete());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_async<F, Fut>(self, spawner: impl Spawner, mut f: F) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        self.start(move |start| {
            start.task(&spawner, move |message| result(f(message)));
            Ok(())
        })
    }

    /// Begins a subscription that answers requests: as [`serve`](Self::serve), but with a task of your async runtime
    /// instead of a thread, and a closure that returns a future of the reply.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let on_tokio = |task| { tokio::spawn(task); };
    /// let _server = bus.subscription("double").capacity(16).serve_async(on_tokio, |n| {
    ///     let n = **n;
    ///     async move { 2 * n }
    /// })?;
    /// assert_eq!(bus.request("double", 21)?.await?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_async<F, Fut>(self, spawner: impl Spawner, mut f: F) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        self.serving().start(move |start| {
            start.task(&spawner, move |message| reply(message.responder(), f(message)));
            Ok(())
        })
    }
}

/// Handlers on an async runtime, with the feature `async`.
impl<T, R> SubscriptionBuilder<T, R, ManyWorkers>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Begins the subscription with as many tasks of your async runtime as [`workers`](SubscriptionBuilder::workers)
    /// says. Each handles one message at a time, so that is how many are in hand at once.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let (together, all) = (std::sync::Arc::new(tokio::sync::Barrier::new(4)), 1..=4);
    /// let _handler = {
    ///     let together = together.clone();
    ///     bus.subscription("page").workers(3).handle_async(|task| { tokio::spawn(task); }, move |_| {
    ///         let together = together.clone();
    ///         async move { drop(together.wait().await) }
    ///     })?
    /// };
    /// (1..=3).for_each(|page| bus.fire("page", page));
    /// together.wait().await; // three are in hand at once
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_async<F, Fut>(self, spawner: impl Spawner, f: F) -> Result<Handler, SubscribeError>
    where
        F: Fn(&Message<T, R>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        let f = Arc::new(f);
        self.start_each(move |start| {
            let f = Arc::clone(&f);
            start.task(&spawner, move |message| result(f(message)));
        })
    }

    /// Begins a subscription that answers requests, with as many tasks as [`workers`](SubscriptionBuilder::workers) says.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let on_tokio = |task| { tokio::spawn(task); };
    /// let _server = bus.subscription("double").workers(4).serve_async(on_tokio, |n| {
    ///     let n = **n;
    ///     async move { 2 * n }
    /// })?;
    /// assert_eq!(bus.request("double", 21)?.await?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_async<F, Fut>(self, spawner: impl Spawner, f: F) -> Result<Handler, SubscribeError>
    where
        F: Fn(&Message<T, R>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        let f = Arc::new(f);
        self.serving().start_each(move |start| {
            let f = Arc::clone(&f);
            start.task(&spawner, move |message| reply(message.responder(), f(message)));
        })
    }
}

async fn result(outcome: impl Future<Output: Outcome>) -> Result<(), String> {
    outcome.await.into_result()
}

/// Answers with what the future comes to. A caller who is gone, or has an answer, needs none.
async fn reply<R>(responder: Option<Responder<R>>, reply: impl Future<Output = R>) -> Result<(), String> {
    let reply = reply.await;
    if let Some(responder) = responder {
        drop(responder.reply(reply));
    }
    Ok(())
}

/// Handlers on an async runtime, with the feature `async`.
impl<T, R> Bus<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Runs a closure that returns a future on every message that matches, on a task of your async runtime: as
    /// [`on`](Self::on), without a thread. See [`SubscriptionBuilder::handle_async`].
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let (seen, mut saw) = tokio::sync::mpsc::unbounded_channel();
    /// let _handler = bus.on_async("orders.*", |task| { tokio::spawn(task); }, move |order| {
    ///     let (order, seen) = (**order, seen.clone());
    ///     async move { seen.send(order) }
    /// })?;
    /// bus.publish_async("orders.new", 7).await?;
    /// assert_eq!(saw.recv().await, Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_async<F, Fut>(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
        spawner: impl Spawner,
        f: F,
    ) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        self.subscription(pattern).handle_async(spawner, f)
    }

    /// Answers every request that matches with what a future comes to, on a task of your async runtime: as
    /// [`serve`](Self::serve), without a thread. See [`SubscriptionBuilder::serve_async`].
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let _server = bus.serve_async("double", |task| { tokio::spawn(task); }, |n| {
    ///     let n = **n;
    ///     async move { 2 * n }
    /// })?;
    /// assert_eq!(bus.request("double", 21)?.await?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_async<F, Fut>(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
        spawner: impl Spawner,
        f: F,
    ) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        self.subscription(pattern).serve_async(spawner, f)
    }
}
