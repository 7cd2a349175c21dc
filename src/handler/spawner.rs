//! What runs the tasks of async handlers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::lifecycle::Serving;

/// Runs the tasks of async handlers: an executor, or a closure that hands a task to one. With the feature `async`.
///
/// A closure is the usual one: `|task| { tokio::spawn(task); }`, or `|task| smol::spawn(task).detach()`. It returns `()`: the
/// braces and the semicolon drop the handle that `tokio::spawn` returns. Implement it for a type of your own where an
/// executor travels with other things.
///
/// A task that is dropped before it has ended, because its runtime is shut down, ends its handler as if that had been
/// dropped: it unsubscribes, and no drain or stop waits for it.
///
/// # Examples
///
/// An executor as a spawner:
///
/// ```
/// use std::sync::Arc;
/// use tramline::{HandlerTask, Spawner};
///
/// struct OnTokio(tokio::runtime::Handle);
///
/// impl Spawner for OnTokio {
///     fn spawn(&self, task: HandlerTask) {
///         self.0.spawn(task);
///     }
/// }
///
/// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
/// let bus = tramline::Bus::<u32>::new();
/// let _double = bus.serve_async("double", OnTokio(runtime.handle().clone()), |n| {
///     let n = **n;
///     async move { 2 * n }
/// })?;
/// assert_eq!(bus.request("double", 21)?.wait()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot spawn the tasks of a handler",
    label = "not a `Spawner`",
    note = "write a closure that spawns its argument, such as `|task| {{ tokio::spawn(task); }}`"
)]
pub trait Spawner {
    /// Has the task run to its end, and does not wait for that.
    ///
    /// # Examples
    ///
    /// ```
    /// let spawner = |task| { tokio::spawn(task); };
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// runtime.block_on(async {
    ///     let bus = tramline::Bus::<u32>::new();
    ///     let _handler = bus.on_async("orders.*", spawner, |order| {
    ///         let order = **order;
    ///         async move { println!("order {order}") }
    ///     })?;
    ///     Ok::<(), tramline::SubscribeError>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn spawn(&self, task: HandlerTask);
}

impl<F: Fn(HandlerTask)> Spawner for F {
    fn spawn(&self, task: HandlerTask) {
        self(task);
    }
}

/// One worker of an async handler, to be run by a [`Spawner`]. It ends when the handler does.
///
/// # Examples
///
/// Run to its end by hand:
///
/// ```
/// use std::cell::RefCell;
///
/// let bus = tramline::Bus::<u32>::new();
/// let tasks = RefCell::new(Vec::new());
/// let _handler = bus.on_async("orders.*", |task| tasks.borrow_mut().push(task), |order| {
///     let order = **order;
///     async move { println!("order {order}") }
/// })?;
/// bus.publish("orders.new", 7)?;
/// bus.close();
/// for task in tasks.take() {
///     futures_lite::future::block_on(task);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a handler does nothing until its tasks are run"]
pub struct HandlerTask {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    serving: Serving,
}

impl HandlerTask {
    pub(crate) fn new(serving: Serving, future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { future: Box::pin(future), serving }
    }
}

impl Future for HandlerTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.serving.during(|| self.future.as_mut().poll(context))
    }
}

impl fmt::Debug for HandlerTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandlerTask")
    }
}
