//! Spans: what happens to one message, for the subscriber of the `tracing` crate.
//!
//! A subscriber is user code, so spans are made, written to and let go of under no lock of the bus. Without the feature
//! everything here is empty and vanishes.

use crate::topic::Pattern;

#[cfg(not(feature = "tracing"))]
pub(crate) use silent::{Handling, Publishing, Requesting};
#[cfg(all(feature = "async", not(feature = "tracing")))]
pub(crate) use silent::{HandlingTask, PublishingTask};
#[cfg(feature = "tracing")]
pub(crate) use telling::{Handling, Publishing, Requesting};
#[cfg(all(feature = "async", feature = "tracing"))]
pub(crate) use telling::{HandlingTask, PublishingTask};

/// What the span of a handler says of the subscription.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "nothing reads them without spans"))]
pub(crate) struct Labels<'a> {
    pub(crate) patterns: &'a [Pattern],
    pub(crate) group: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
}

#[cfg(feature = "tracing")]
mod telling {
    use std::fmt;

    use ::tracing::field::Empty;
    use ::tracing::span::EnteredSpan;
    use ::tracing::{Span, debug_span, dispatcher, trace_span};

    use super::Labels;
    use crate::sync::counters::{AtomicBool, Ordering};
    use crate::topic::{Pattern, Topic};

    const TARGET: &str = "tramline";

    /// A message is being published, on this thread.
    pub(crate) struct Publishing(EnteredSpan);

    impl Publishing {
        #[inline]
        pub(crate) fn enter(topic: &Topic) -> Self {
            Self(publish(topic).entered())
        }

        #[inline]
        pub(crate) fn end(&self, delivered: usize, dropped: usize, outcome: &'static str) {
            published(&self.0, delivered, dropped, outcome);
        }
    }

    /// A message is being published by a task: the span is entered while a part of that runs.
    #[cfg(feature = "async")]
    pub(crate) struct PublishingTask {
        span: Span,
        ended: bool,
    }

    #[cfg(feature = "async")]
    impl PublishingTask {
        pub(crate) fn new(topic: &Topic) -> Self {
            Self { span: publish(topic), ended: false }
        }

        pub(crate) fn within<A>(&self, f: impl FnOnce() -> A) -> A {
            self.span.in_scope(f)
        }

        pub(crate) fn end(mut self, delivered: usize, dropped: usize, outcome: &'static str) {
            self.ended = true;
            published(&self.span, delivered, dropped, outcome);
        }
    }

    #[cfg(feature = "async")]
    impl Drop for PublishingTask {
        fn drop(&mut self) {
            if !self.ended {
                self.span.record("outcome", "cancelled");
            }
        }
    }

    #[inline]
    fn publish(topic: &Topic) -> Span {
        trace_span!(
            target: TARGET,
            "publish",
            topic = %topic,
            delivered = Empty,
            dropped = Empty,
            outcome = Empty,
        )
    }

    #[inline]
    fn published(span: &Span, delivered: usize, dropped: usize, outcome: &'static str) {
        if !span.is_none() {
            span.record("delivered", delivered).record("dropped", dropped).record("outcome", outcome);
        }
    }

    /// A request is on its way, until its caller has the outcome.
    pub(crate) struct Requesting {
        span: Span,
        /// The outcome has been told; a subscriber would show a second one beside it.
        ended: AtomicBool,
    }

    impl Requesting {
        pub(crate) fn one(topic: &Topic) -> Self {
            Self::new(debug_span!(target: TARGET, "request", topic = %topic, outcome = Empty))
        }

        pub(crate) fn many(topic: &Topic) -> Self {
            Self::new(debug_span!(target: TARGET, "gather", topic = %topic, outcome = Empty))
        }

        fn new(span: Span) -> Self {
            Self { span, ended: AtomicBool::new(false) }
        }

        /// For one of several that answer the same request: the parent of its span, with no outcome of its own.
        pub(crate) fn part(&self) -> Self {
            Self { span: self.span.clone(), ended: AtomicBool::new(true) }
        }

        /// Runs `f` within the span.
        pub(crate) fn within<A>(&self, f: impl FnOnce() -> A) -> A {
            self.span.in_scope(f)
        }

        /// The first outcome is the one that counts.
        pub(crate) fn end(&self, outcome: &'static str) {
            if !self.span.is_none() && !self.ended.swap(true, Ordering::Relaxed) {
                self.span.record("outcome", outcome);
            }
        }
    }

    impl Drop for Requesting {
        fn drop(&mut self) {
            let_go(std::mem::replace(&mut self.span, Span::none()));
        }
    }

    /// A caller may have a subscriber of its own, which is not the one of the thread that lets go of the span.
    /// Registries let go of the parent of a span through the subscriber of the thread, and would keep it for ever.
    fn let_go(span: Span) {
        if let Some(own) = span.with_subscriber(|(_, own)| own.clone()) {
            dispatcher::with_default(&own, || drop(span));
        }
    }

    /// A handler has a message in hand, on this thread. The span is there until this is dropped.
    pub(crate) struct Handling(Option<EnteredSpan>);

    impl Handling {
        pub(crate) fn enter(request: Option<&Requesting>, topic: &Topic, labels: Labels<'_>) -> Self {
            Self(Some(handle(request, topic, labels).entered()))
        }

        pub(crate) fn end(&self, outcome: &'static str, attempts: u32) {
            if let Some(span) = &self.0 {
                handled(span, outcome, attempts);
            }
        }
    }

    impl Drop for Handling {
        fn drop(&mut self) {
            if let Some(span) = self.0.take() {
                let_go(span.exit());
            }
        }
    }

    /// A task of a handler has a message in hand: the span is entered while a part of that runs.
    #[cfg(feature = "async")]
    pub(crate) struct HandlingTask(Span);

    #[cfg(feature = "async")]
    impl HandlingTask {
        pub(crate) fn new(request: Option<&Requesting>, topic: &Topic, labels: Labels<'_>) -> Self {
            Self(handle(request, topic, labels))
        }

        pub(crate) fn within<A>(&self, f: impl FnOnce() -> A) -> A {
            self.0.in_scope(f)
        }

        pub(crate) fn end(&self, outcome: &'static str, attempts: u32) {
            handled(&self.0, outcome, attempts);
        }
    }

    #[cfg(feature = "async")]
    impl Drop for HandlingTask {
        fn drop(&mut self) {
            let_go(std::mem::replace(&mut self.0, Span::none()));
        }
    }

    fn handle(request: Option<&Requesting>, topic: &Topic, labels: Labels<'_>) -> Span {
        let new = |parent| {
            debug_span!(
                target: TARGET,
                parent: parent,
                "handle",
                topic = %topic,
                pattern = %Patterns(labels.patterns),
                group = labels.group,
                name = labels.name,
                outcome = Empty,
                attempts = Empty,
            )
        };
        // No other subscriber than the caller's knows the number of its span.
        let child = request.and_then(|request| {
            request.span.with_subscriber(|(parent, own)| dispatcher::with_default(own, || new(Some(parent.clone()))))
        });
        child.unwrap_or_else(|| new(None))
    }

    fn handled(span: &Span, outcome: &'static str, attempts: u32) {
        if !span.is_none() {
            span.record("outcome", outcome).record("attempts", attempts);
        }
    }

    struct Patterns<'a>(&'a [Pattern]);

    impl fmt::Display for Patterns<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for (index, pattern) in self.0.iter().enumerate() {
                let separator = if index > 0 { ", " } else { "" };
                write!(f, "{separator}{pattern}")?;
            }
            Ok(())
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod silent {
    use super::Labels;
    use crate::topic::Topic;

    pub(crate) struct Publishing;

    impl Publishing {
        #[inline(always)]
        pub(crate) fn enter(_: &Topic) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn end(&self, _: usize, _: usize, _: &'static str) {}
    }

    pub(crate) struct Requesting;

    impl Requesting {
        #[inline(always)]
        pub(crate) fn one(_: &Topic) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn many(_: &Topic) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn part(&self) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn within<A>(&self, f: impl FnOnce() -> A) -> A {
            f()
        }

        #[inline(always)]
        pub(crate) fn end(&self, _: &'static str) {}
    }

    pub(crate) struct Handling;

    impl Handling {
        #[inline(always)]
        pub(crate) fn enter(_: Option<&Requesting>, _: &Topic, _: Labels<'_>) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn end(&self, _: &'static str, _: u32) {}
    }

    #[cfg(feature = "async")]
    pub(crate) struct PublishingTask;

    #[cfg(feature = "async")]
    impl PublishingTask {
        #[inline(always)]
        pub(crate) fn new(_: &Topic) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn within<A>(&self, f: impl FnOnce() -> A) -> A {
            f()
        }

        #[inline(always)]
        pub(crate) fn end(self, _: usize, _: usize, _: &'static str) {}
    }

    #[cfg(feature = "async")]
    pub(crate) struct HandlingTask;

    #[cfg(feature = "async")]
    impl HandlingTask {
        #[inline(always)]
        pub(crate) fn new(_: Option<&Requesting>, _: &Topic, _: Labels<'_>) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn within<A>(&self, f: impl FnOnce() -> A) -> A {
            f()
        }

        #[inline(always)]
        pub(crate) fn end(&self, _: &'static str, _: u32) {}
    }
}
