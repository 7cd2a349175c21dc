//! Handlers on an async runtime: how they begin.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use super::{ManyWorkers, OneWorker, SubscriptionBuilder};
use crate::bus::Bus;
use crate::handler::{Handler, Outcome, Spawner};
use crate::message::Message;
use crate::request::Responder;
use crate::routing::SubscribeError;
use crate::topic::{Pattern, TopicError};

/// Handlers on an async runtime, with the feature `async`.
impl<T, R> SubscriptionBuilder<T, R, OneWorker>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Begins the subscription: as [`handle`](Self::handle), but with a task of your async runtime instead of a thread,
    /// and a closure that returns a future.
    ///
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    /// The next message is handled when the future is ready. Retries, dead letters and panics are as with `handle`.
    /// A task stops the handler with [`Handler::stop_async`] and drains the bus with
    /// [`Bus::drain_async`](crate::Bus::drain_async), which do not block the thread.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
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
    /// assert!(handler.stop_async(Duration::from_secs(5)).await.is_complete());
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
    /// instead of a thread, and a closure that returns a future of the reply. A request whose caller has gone is skipped
    /// before the closure runs; a future that has begun goes on. To refuse a request, use
    /// [`serve_result_async`](Self::serve_result_async).
    ///
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
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

    /// Begins a subscription that answers requests, or refuses them with an error: as [`serve_result`](Self::serve_result), but
    /// with a task of your async runtime instead of a thread, and a closure that returns a future.
    ///
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    ///
    /// # Errors
    ///
    /// As [`serve_result`](Self::serve_result).
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let on_tokio = |task| { tokio::spawn(task); };
    /// let _server = bus.subscription("half").capacity(16).serve_result_async(on_tokio, |n| {
    ///     let n = **n;
    ///     async move { if n % 2 == 0 { Ok(n / 2) } else { Err("it is odd") } }
    /// })?;
    /// assert_eq!(bus.request("half", 42)?.await?, 21);
    /// assert_eq!(bus.request("half", 43)?.await.unwrap_err().to_string(), "the request failed: it is odd");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_result_async<F, Fut, E>(self, spawner: impl Spawner, mut f: F) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        E: Display + 'static,
    {
        self.serving().start(move |start| {
            start.task(&spawner, move |message| reply_or_fail(message.responder(), f(message)));
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
    /// says. Each task handles one message at a time.
    ///
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
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
    /// Otherwise as with [one worker](SubscriptionBuilder::serve_async).
    ///
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
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

    /// Begins a subscription that answers requests, or refuses them with an error, with as many tasks as
    /// [`workers`](SubscriptionBuilder::workers) says. Otherwise as with
    /// [one worker](SubscriptionBuilder::serve_result_async).
    ///
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    ///
    /// # Errors
    ///
    /// As [`serve_result`](Self::serve_result).
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let on_tokio = |task| { tokio::spawn(task); };
    /// let _server = bus.subscription("half").workers(4).serve_result_async(on_tokio, |n| {
    ///     let n = **n;
    ///     async move { if n % 2 == 0 { Ok(n / 2) } else { Err("it is odd") } }
    /// })?;
    /// assert_eq!(bus.request("half", 42)?.await?, 21);
    /// assert_eq!(bus.request("half", 43)?.await.unwrap_err().to_string(), "the request failed: it is odd");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_result_async<F, Fut, E>(self, spawner: impl Spawner, f: F) -> Result<Handler, SubscribeError>
    where
        F: Fn(&Message<T, R>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        E: Display + 'static,
    {
        let f = Arc::new(f);
        self.serving().start_each(move |start| {
            let f = Arc::clone(&f);
            start.task(&spawner, move |message| reply_or_fail(message.responder(), f(message)));
        })
    }
}

async fn result(outcome: impl Future<Output: Outcome>) -> Result<(), String> {
    outcome.await.into_result()
}

/// Answers with what the future comes to. A caller who is gone, or has an answer, needs none.
async fn reply<R>(responder: Option<Responder<R>>, reply: impl Future<Output = R>) -> Result<(), String> {
    answer(responder, reply.await);
    Ok(())
}

/// As `reply`; an error is left to the worker, which may try again, and answers with the last one.
async fn reply_or_fail<R, E: Display>(
    responder: Option<Responder<R>>,
    reply: impl Future<Output = Result<R, E>>,
) -> Result<(), String> {
    let reply = reply.await.map_err(|error| error.to_string())?;
    answer(responder, reply);
    Ok(())
}

fn answer<R>(responder: Option<Responder<R>>, reply: R) {
    if let Some(responder) = responder {
        drop(responder.reply(reply));
    }
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
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on).
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
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

    /// Answers every request that matches with the output of a future, on a task of your async runtime: as
    /// [`serve`](Self::serve), without a thread. See [`SubscriptionBuilder::serve_async`], and
    /// [`serve_result_async`](Self::serve_result_async) for a closure that may fail.
    ///
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
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

    /// Answers every request that matches with the output of a future, or with the text of its error, on a task of your async
    /// runtime: as [`serve_result`](Self::serve_result), without a thread. See
    /// [`SubscriptionBuilder::serve_result_async`].
    ///
    /// The future cannot borrow the message: copy what it needs before `async move`. An `async |m|` closure is not accepted.
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on).
    ///
    /// # Panics
    ///
    /// A panic of the spawner, such as that of `tokio::spawn` outside a runtime, goes to the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = tramline::Bus::<u32>::new();
    /// let on_tokio = |task| { tokio::spawn(task); };
    /// let _server = bus.serve_result_async("half", on_tokio, |n| {
    ///     let n = **n;
    ///     async move { if n % 2 == 0 { Ok(n / 2) } else { Err("it is odd") } }
    /// })?;
    /// assert_eq!(bus.request("half", 42)?.await?, 21);
    /// assert_eq!(bus.request("half", 43)?.await.unwrap_err().to_string(), "the request failed: it is odd");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_result_async<F, Fut, E>(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
        spawner: impl Spawner,
        f: F,
    ) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        E: Display + 'static,
    {
        self.subscription(pattern).serve_result_async(spawner, f)
    }
}
