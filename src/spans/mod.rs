//! Spans: what happens to one message, for the subscriber of the `tracing` crate.
//!
//! A subscriber is user code, so spans are made, written to and let go of under no lock of the bus. Without the feature
//! everything here is empty and vanishes.

use crate::topic::Pattern;

#[cfg(not(feature = "tracing"))]
pub(crate) use silent::{Carried, Handling, Publishing, Requesting};
#[cfg(all(feature = "async", not(feature = "tracing")))]
pub(crate) use silent::{HandlingTask, PublishingTask};
#[cfg(feature = "tracing")]
pub(crate) use telling::{Carried, Handling, Publishing, Requesting};
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
    use ::tracing::level_filters::LevelFilter;
    use ::tracing::span::{EnteredSpan, Id};
    use ::tracing::{Level, Span, debug_span, dispatcher, trace_span};

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

    /// The span in which a message was published, for the spans of its handlers to follow from.
    ///
    /// The span stays open as long as this does.
    #[derive(Clone)]
    pub(crate) struct Carried(Span);

    impl Carried {
        /// Captures the span that this thread is in. Called before the message's own `publish` span is entered.
        pub(crate) fn current() -> Self {
            // One look at a number, if no subscriber wants any span.
            Self(if LevelFilter::current() == LevelFilter::OFF { Span::none() } else { Span::current() })
        }

        /// Returns `true` if there was no span, so that there is nothing to follow from.
        pub(crate) fn is_none(&self) -> bool {
            self.0.is_disabled()
        }

        fn into_span(mut self) -> Span {
            std::mem::replace(&mut self.0, Span::none())
        }
    }

    impl Drop for Carried {
        fn drop(&mut self) {
            let_go(std::mem::replace(&mut self.0, Span::none()));
        }
    }

    /// A request is on its way, until its caller has the outcome.
    pub(crate) struct Requesting {
        /// The span of the request. If the subscriber does not want that, the span in which the caller is, so that the
        /// handler belongs to it all the same.
        span: Span,
        /// The span is that of the request.
        is_own: bool,
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
            let caller = if span.is_disabled() { Carried::current() } else { Carried(Span::none()) };
            let is_own = caller.is_none();
            let span = if is_own { span } else { caller.into_span() };
            Self { span, is_own, ended: AtomicBool::new(false) }
        }

        /// For one of several that answer the same request: the parent of its span, with no outcome of its own.
        pub(crate) fn part(&self) -> Self {
            Self { span: self.span.clone(), is_own: self.is_own, ended: AtomicBool::new(true) }
        }

        /// Sends the request within its span.
        pub(crate) fn within<A>(&self, f: impl FnOnce() -> A) -> A {
            // The caller is in its own span already.
            if self.is_own { self.span.in_scope(f) } else { f() }
        }

        /// Runs the callback of the caller, on whatever thread: within the span of the request, or that of the caller.
        pub(crate) fn run_callback<A>(&self, f: impl FnOnce() -> A) -> A {
            // A caller that sets the callback too late is in its own span already.
            if self.is_own || Span::current() != self.span { self.span.in_scope(f) } else { f() }
        }

        /// The first outcome is the one that counts.
        pub(crate) fn end(&self, outcome: &'static str) {
            // The span of the caller may have a field of the same name.
            if self.is_own && !self.span.is_none() && !self.ended.swap(true, Ordering::Relaxed) {
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
    pub(crate) struct Handling {
        span: Option<EnteredSpan>,
        is_own: bool,
    }

    impl Handling {
        pub(crate) fn enter(
            request: Option<&Requesting>,
            published: Option<&Carried>,
            topic: &Topic,
            labels: Labels<'_>,
        ) -> Self {
            let HandleSpan { span, is_own } = handle(request, published, topic, labels);
            Self { span: Some(span.entered()), is_own }
        }

        pub(crate) fn end(&self, outcome: &'static str, attempts: u32) {
            if let (Some(span), true) = (&self.span, self.is_own) {
                handled(span, outcome, attempts);
            }
        }
    }

    impl Drop for Handling {
        fn drop(&mut self) {
            if let Some(span) = self.span.take() {
                let_go(span.exit());
            }
        }
    }

    /// A task of a handler has a message in hand: the span is entered while a part of that runs.
    #[cfg(feature = "async")]
    pub(crate) struct HandlingTask(HandleSpan);

    #[cfg(feature = "async")]
    impl HandlingTask {
        pub(crate) fn new(
            request: Option<&Requesting>,
            published: Option<&Carried>,
            topic: &Topic,
            labels: Labels<'_>,
        ) -> Self {
            Self(handle(request, published, topic, labels))
        }

        pub(crate) fn within<A>(&self, f: impl FnOnce() -> A) -> A {
            self.0.span.in_scope(f)
        }

        pub(crate) fn end(&self, outcome: &'static str, attempts: u32) {
            if self.0.is_own {
                handled(&self.0.span, outcome, attempts);
            }
        }
    }

    #[cfg(feature = "async")]
    impl Drop for HandlingTask {
        fn drop(&mut self) {
            let_go(std::mem::replace(&mut self.0.span, Span::none()));
        }
    }

    /// The span in which a handler runs.
    struct HandleSpan {
        span: Span,
        /// The span is that of the handler, and not that of the request, in its place.
        is_own: bool,
    }

    impl HandleSpan {
        fn own(span: Span) -> Self {
            Self { span, is_own: true }
        }

        /// The subscriber does not want the span of the handler: what it makes belongs to the request, or its caller.
        fn of(request: &Requesting) -> Self {
            Self { span: request.span.clone(), is_own: false }
        }
    }

    fn handle(
        request: Option<&Requesting>,
        published: Option<&Carried>,
        topic: &Topic,
        labels: Labels<'_>,
    ) -> HandleSpan {
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
        if let Some(request) = request.filter(|request| !request.span.is_disabled()) {
            // One look at a number, where that says that no subscriber wants spans at debug.
            if Level::DEBUG > LevelFilter::current() {
                return HandleSpan::of(request);
            }
            let child = of_the_subscriber(&request.span, |parent| new(Some(parent.clone())));
            return match child.filter(|child| !child.is_disabled()) {
                Some(child) => HandleSpan::own(child),
                None => HandleSpan::of(request),
            };
        }
        let follower = published.and_then(|published| {
            of_the_subscriber(&published.0, |cause| {
                let span = new(None);
                span.follows_from(cause.clone());
                span
            })
        });
        HandleSpan::own(follower.unwrap_or_else(|| new(None)))
    }

    /// Makes a span that refers to `other`, for the subscriber of that: no other knows the number of its span. `None` if
    /// `other` is disabled.
    fn of_the_subscriber(other: &Span, new: impl FnOnce(&Id) -> Span) -> Option<Span> {
        other.with_subscriber(|(id, own)| dispatcher::with_default(own, || new(id)))
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

    #[derive(Clone)]
    pub(crate) struct Carried;

    impl Carried {
        #[inline(always)]
        pub(crate) fn current() -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn is_none(&self) -> bool {
            true
        }
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
        pub(crate) fn run_callback<A>(&self, f: impl FnOnce() -> A) -> A {
            f()
        }

        #[inline(always)]
        pub(crate) fn end(&self, _: &'static str) {}
    }

    pub(crate) struct Handling;

    impl Handling {
        #[inline(always)]
        pub(crate) fn enter(_: Option<&Requesting>, _: Option<&Carried>, _: &Topic, _: Labels<'_>) -> Self {
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
        pub(crate) fn new(_: Option<&Requesting>, _: Option<&Carried>, _: &Topic, _: Labels<'_>) -> Self {
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

#[cfg(all(test, feature = "tracing", not(any(loom, shuttle))))]
mod tests {
    use std::sync::{Arc, Mutex};

    use ::tracing::span::{Attributes, Id};
    use ::tracing::subscriber::{DefaultGuard, set_default};
    use ::tracing::{Subscriber, info_span};
    use tracing_subscriber::Registry;
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
    use tracing_subscriber::registry::LookupSpan;

    use super::{Carried, Handling, Labels};
    use crate::topic::Topic;

    /// Writes down what happens to spans.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    impl Log {
        fn new(level: LevelFilter) -> (Self, DefaultGuard) {
            let log = Self::default();
            let guard = set_default(Registry::default().with(level).with(log.clone()));
            (log, guard)
        }

        fn add(&self, line: String) {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(line);
        }

        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
        }
    }

    fn name<S: Subscriber + for<'a> LookupSpan<'a>>(id: &Id, context: &Context<'_, S>) -> &'static str {
        context.span(id).map_or("no span", |span| span.name())
    }

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
        fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
            let parent = context.span(id).and_then(|span| span.parent()).map_or("none", |parent| parent.name());
            self.add(format!("new {}, parent {parent}", name(id, &context)));
        }

        fn on_follows_from(&self, id: &Id, cause: &Id, context: Context<'_, S>) {
            self.add(format!("{} follows from {}", name(id, &context), name(cause, &context)));
        }

        fn on_close(&self, id: Id, context: Context<'_, S>) {
            self.add(format!("closed {}", name(&id, &context)));
        }
    }

    fn topic() -> Topic {
        Topic::new("a").unwrap_or_else(|error| panic!("{error}"))
    }

    fn handle(carried: Option<&Carried>) {
        let labels = Labels { patterns: &[], group: None, name: None };
        Handling::enter(None, carried, &topic(), labels).end("ok", 1);
    }

    #[test]
    fn a_handle_span_follows_from_the_span_that_its_message_carries() {
        let (log, _guard) = Log::new(LevelFilter::TRACE);
        let carried = info_span!("publisher").in_scope(Carried::current);
        let copy = carried.clone();
        assert!(!carried.is_none());
        assert_eq!(log.take(), ["new publisher, parent none"], "it stays open");
        let (other, other_guard) = Log::new(LevelFilter::TRACE);
        // This thread has another subscriber now.
        handle(Some(&carried));
        drop(carried);
        let handled = ["new handle, parent none", "handle follows from publisher", "closed handle"];
        assert_eq!(log.take(), handled);
        drop(copy);
        assert_eq!(log.take(), ["closed publisher"]);
        assert!(other.take().is_empty());
        drop(other_guard);
    }

    #[test]
    fn nothing_follows_from_no_span() {
        let (log, _guard) = Log::new(LevelFilter::TRACE);
        let carried = Carried::current();
        assert!(carried.is_none());
        handle(Some(&carried));
        handle(None);
        assert_eq!(log.take(), ["new handle, parent none", "closed handle"].repeat(2));
    }

    #[test]
    fn a_message_that_carries_a_span_makes_none_at_info() {
        let (log, _guard) = Log::new(LevelFilter::INFO);
        let carried = info_span!("publisher").in_scope(Carried::current);
        handle(Some(&carried));
        drop(carried);
        assert_eq!(log.take(), ["new publisher, parent none", "closed publisher"]);
    }
}

#[cfg(all(test, not(feature = "tracing")))]
mod tests {
    use super::{Carried, Requesting};

    #[test]
    fn without_the_feature_spans_take_no_room() {
        assert_eq!(size_of::<(Carried, Requesting)>(), 0);
        assert!(Carried::current().clone().is_none());
    }
}
