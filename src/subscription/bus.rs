//! The methods of `Bus` with which subscriptions and handlers begin.

use std::fmt::Display;
use std::sync::Arc;

use super::{Subscriber, SubscriptionBuilder};
use crate::bus::Bus;
use crate::handler::{Handler, Outcome};
use crate::message::Message;
use crate::routing::SubscribeError;
use crate::topic::{Pattern, TopicError};

/// Subscribing.
impl<T, R> Bus<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Subscribes with the options of the bus. Everything published after this returns, to a topic that matches, is
    /// delivered; nothing that was published before.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the pattern is invalid, the bus is closed, or its default capacity is invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.>")?;
    /// bus.publish("orders.eu.new", 1)?;
    /// assert_eq!(*orders.recv()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
    ) -> Result<Subscriber<T, R>, SubscribeError> {
        self.subscription(pattern).open()
    }

    /// Returns a builder for a subscription with options of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let even = bus.subscription("numbers").filter(|n| n % 2 == 0).open()?;
    /// for n in 1..=4 {
    ///     bus.publish("numbers", n)?;
    /// }
    /// assert_eq!(even.try_iter().map(|n| *n).collect::<Vec<_>>(), [2, 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscription(&self, pattern: impl TryInto<Pattern, Error: Into<TopicError>>) -> SubscriptionBuilder<T, R> {
        SubscriptionBuilder::new(Arc::clone(self.inner()), pattern)
    }

    /// Calls `f` with every message, on a thread of its own: `subscription(pattern).handle(f)`. See
    /// [`SubscriptionBuilder::handle`].
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the pattern is invalid, the bus is closed, or the thread cannot be spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let (sender, seen) = std::sync::mpsc::channel();
    /// let _handler = bus.on("orders.*", move |order| sender.send(**order).unwrap())?;
    /// bus.publish("orders.new", 7)?;
    /// assert_eq!(seen.recv_timeout(Duration::from_secs(5))?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on<F, O>(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
        f: F,
    ) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> O + Send + 'static,
        O: Outcome,
    {
        self.subscription(pattern).handle(f)
    }

    /// Answers every request with what `f` returns, on a thread of its own: `subscription(pattern).serve(f)`. See
    /// [`SubscriptionBuilder::serve`].
    ///
    /// A request whose caller has gone is skipped and counted. To refuse a request, use
    /// [`serve_result`](Self::serve_result), whose closure may return an error.
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _server = bus.serve("double", |n| 2 * **n)?;
    /// assert_eq!(bus.request("double", 21)?.wait()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve<F>(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
        f: F,
    ) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> R + Send + 'static,
    {
        self.subscription(pattern).serve(f)
    }

    /// Answers every request with what `f` returns, or with the text of its error, on a thread of its own:
    /// `subscription(pattern).serve_result(f)`. See [`SubscriptionBuilder::serve_result`].
    ///
    /// As [`serve`](Self::serve), but `f` may fail: then the caller gets
    /// [`ReplyError::Failed`](crate::ReplyError::Failed), and the message becomes a dead letter.
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on).
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _server = bus.serve_result("half", |n| if **n % 2 == 0 { Ok(**n / 2) } else { Err("it is odd") })?;
    /// assert_eq!(bus.request("half", 42)?.wait()?, 21);
    /// assert_eq!(bus.request("half", 43)?.wait().unwrap_err().to_string(), "the request failed: it is odd");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_result<F, E>(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<TopicError>>,
        f: F,
    ) -> Result<Handler, SubscribeError>
    where
        F: FnMut(&Message<T, R>) -> Result<R, E> + Send + 'static,
        E: Display,
    {
        self.subscription(pattern).serve_result(f)
    }
}
