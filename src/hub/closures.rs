//! What the closures of a hub's handlers are, so that a caller names the type of the message alone.

use std::fmt::Display;
#[cfg(feature = "async")]
use std::future::Future;

use crate::handler::Outcome;
use crate::message::Message;

/// A closure for [`Hub::on`](super::Hub::on): it takes a `&Message<T, R>` and returns an [`Outcome`].
///
/// Every such closure has this trait. It exists because a bound on `FnMut` alone would need a second type parameter for
/// what the closure returns. A generic function that wraps `on` names it as its own bound.
///
/// # Examples
///
/// ```
/// use tramline::{Event, Handler, HandlerFn, Hub, SubscribeError};
///
/// fn on_logged<E: Event>(hub: &Hub, f: impl HandlerFn<E>) -> Result<Handler, SubscribeError> {
///     println!("a handler of {}", E::TOPIC);
///     hub.on::<E>(f)
/// }
///
/// #[derive(Clone)]
/// struct OrderPlaced { order: u32 }
///
/// impl Event for OrderPlaced {
///     const TOPIC: &'static str = "order.placed";
/// }
///
/// let _mail = on_logged::<OrderPlaced>(&Hub::new(), |placed| println!("order {}", placed.order))?;
/// # Ok::<(), SubscribeError>(())
/// ```
pub trait HandlerFn<T, R = T>: FnMut(&Message<T, R>) -> Self::Returned + Send + 'static {
    /// The type that the closure returns: `()`, or a `Result<(), Error>` with an error that implements `Display`.
    type Returned: Outcome;
}

impl<F, T, R, O> HandlerFn<T, R> for F
where
    F: FnMut(&Message<T, R>) -> O + Send + 'static,
    O: Outcome,
{
    type Returned = O;
}

/// A closure for [`Hub::serve_result`](super::Hub::serve_result): it takes a `&Message<T, R>` and returns a `Result` of the
/// reply, with an error that implements `Display`.
///
/// Every such closure has this trait, as with [`HandlerFn`].
///
/// # Examples
///
/// ```
/// use tramline::{Handler, Hub, Request, ServeResultFn, SubscribeError};
///
/// fn serve_logged<Q: Request>(hub: &Hub, f: impl ServeResultFn<Q, Q::Reply>) -> Result<Handler, SubscribeError> {
///     println!("a server of {}", Q::TOPIC);
///     hub.serve_result::<Q>(f)
/// }
///
/// #[derive(Clone)]
/// struct Parse(&'static str);
///
/// impl Request for Parse {
///     type Reply = u32;
///     const TOPIC: &'static str = "parse";
/// }
///
/// let hub = Hub::new();
/// let _server = serve_logged::<Parse>(&hub, |request| request.0.parse::<u32>())?;
/// assert_eq!(hub.request(Parse("7"))?.wait()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ServeResultFn<T, R = T>: FnMut(&Message<T, R>) -> Result<R, Self::Error> + Send + 'static {
    /// The type of the error.
    type Error: Display;
}

impl<F, T, R, E> ServeResultFn<T, R> for F
where
    F: FnMut(&Message<T, R>) -> Result<R, E> + Send + 'static,
    E: Display,
{
    type Error = E;
}

/// A closure for [`Hub::on_async`](super::Hub::on_async) and [`Hub::serve_async`](super::Hub::serve_async): it takes a
/// `&Message<T, R>` and returns a future. With the feature `async`.
///
/// Every such closure has this trait, as with [`HandlerFn`].
///
/// # Examples
///
/// ```
/// use std::future::Future;
/// use tramline::{AsyncHandlerFn, Handler, Hub, Request, SubscribeError};
///
/// fn serve_on_tokio<Q: Request>(
///     hub: &Hub,
///     f: impl AsyncHandlerFn<Q, Q::Reply, Returned: Future<Output = Q::Reply>>,
/// ) -> Result<Handler, SubscribeError> {
///     hub.serve_async::<Q>(|task| { tokio::spawn(task); }, f)
/// }
///
/// #[derive(Clone)]
/// struct Double(u32);
///
/// impl Request for Double {
///     type Reply = u32;
///     const TOPIC: &'static str = "double";
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let hub = Hub::new();
/// let _server = serve_on_tokio::<Double>(&hub, |request| {
///     let n = request.0;
///     async move { 2 * n }
/// })?;
/// assert_eq!(hub.request_async(Double(21)).await?.await?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "async")]
pub trait AsyncHandlerFn<T, R = T>: FnMut(&Message<T, R>) -> Self::Returned + Send + 'static {
    /// The future that the closure returns.
    type Returned: Future + Send + 'static;
}

#[cfg(feature = "async")]
impl<F, T, R, Fut> AsyncHandlerFn<T, R> for F
where
    F: FnMut(&Message<T, R>) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
{
    type Returned = Fut;
}

/// A closure for [`Hub::serve_result_async`](super::Hub::serve_result_async): it takes a `&Message<T, R>` and returns a future
/// of a `Result` of the reply, with an error that implements `Display`. With the feature `async`.
///
/// Every such closure has this trait, as with [`HandlerFn`].
///
/// # Examples
///
/// ```
/// use tramline::{AsyncServeResultFn, Handler, Hub, Request, SubscribeError};
///
/// fn serve_on_tokio<Q: Request>(hub: &Hub, f: impl AsyncServeResultFn<Q, Q::Reply>) -> Result<Handler, SubscribeError> {
///     hub.serve_result_async::<Q>(|task| { tokio::spawn(task); }, f)
/// }
///
/// #[derive(Clone)]
/// struct Parse(&'static str);
///
/// impl Request for Parse {
///     type Reply = u32;
///     const TOPIC: &'static str = "parse";
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let hub = Hub::new();
/// let _server = serve_on_tokio::<Parse>(&hub, |request| {
///     let text = request.0;
///     async move { text.parse::<u32>() }
/// })?;
/// assert_eq!(hub.request_async(Parse("7")).await?.await?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "async")]
pub trait AsyncServeResultFn<T, R = T>: FnMut(&Message<T, R>) -> Self::Returned + Send + 'static {
    /// The future that the closure returns.
    type Returned: Future<Output = Result<R, Self::Error>> + Send + 'static;
    /// The type of the error.
    type Error: Display + 'static;
}

#[cfg(feature = "async")]
impl<F, T, R, Fut, E> AsyncServeResultFn<T, R> for F
where
    F: FnMut(&Message<T, R>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<R, E>> + Send + 'static,
    E: Display + 'static,
{
    type Returned = Fut;
    type Error = E;
}
