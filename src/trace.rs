//! Spans: what happens to one message, for the subscriber of the `tracing` crate.
//!
//! A subscriber is user code, so spans are made, written to and let go of under no lock of the bus. Without the feature
//! everything here is empty and vanishes.

#[cfg(not(feature = "tracing"))]
pub(crate) use silent::{Handling, Publishing, Requesting};
#[cfg(feature = "tracing")]
pub(crate) use telling::{Handling, Publishing, Requesting};

#[cfg(feature = "tracing")]
mod telling {
    use std::fmt;
    use std::sync::atomic::{AtomicBool, Ordering};

    use ::tracing::field::Empty;
    use ::tracing::span::EnteredSpan;
    use ::tracing::{Span, debug_span, dispatcher, trace_span};

    use crate::topic::{Pattern, Topic};

    const TARGET: &str = "tramline";

    /// A message is being published, on this thread.
    pub(crate) struct Publishing(EnteredSpan);

    impl Publishing {
        #[inline]
        pub(crate) fn enter(topic: &Topic) -> Self {
            let span = trace_span!(
                target: TARGET,
                "publish",
                topic = %topic,
                delivered = Empty,
                dropped = Empty,
                outcome = Empty,
            );
            Self(span.entered())
        }

        #[inline]
        pub(crate) fn end(&self, delivered: usize, dropped: usize, outcome: &'static str) {
            if !self.0.is_none() {
                self.0.record("delivered", delivered).record("dropped", dropped).record("outcome", outcome);
            }
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
        pub(crate) fn enter(
            request: Option<&Requesting>,
            topic: &Topic,
            patterns: &[Pattern],
            group: Option<&str>,
            name: Option<&str>,
        ) -> Self {
            let new = |parent| {
                debug_span!(
                    target: TARGET,
                    parent: parent,
                    "handle",
                    topic = %topic,
                    pattern = %Patterns(patterns),
                    group = group,
                    name = name,
                    outcome = Empty,
                    attempts = Empty,
                )
            };
            // No other subscriber than the caller's knows the number of its span.
            let child = request.and_then(|request| {
                request
                    .span
                    .with_subscriber(|(parent, own)| dispatcher::with_default(own, || new(Some(parent.clone()))))
            });
            Self(Some(child.unwrap_or_else(|| new(None)).entered()))
        }

        pub(crate) fn end(&self, outcome: &'static str, attempts: u32) {
            if let Some(span) = self.0.as_ref().filter(|span| !span.is_none()) {
                span.record("outcome", outcome).record("attempts", attempts);
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
    use crate::topic::{Pattern, Topic};

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
        pub(crate) fn enter(
            _: Option<&Requesting>,
            _: &Topic,
            _: &[Pattern],
            _: Option<&str>,
            _: Option<&str>,
        ) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn end(&self, _: &'static str, _: u32) {}
    }
}
