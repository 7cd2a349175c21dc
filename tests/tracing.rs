//! Spans: what a subscriber gets to see of publishes, requests and handlers.
#![cfg(feature = "tracing")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::ThreadId;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use tramline::{Bus, Overflow, Responder, Retry, WeakBus};

use support::{LONG, wait_until, within_limit};

/// One span as the subscriber saw it.
#[derive(Debug, Clone)]
struct Seen {
    name: &'static str,
    level: Level,
    target: &'static str,
    thread: ThreadId,
    /// Its place in the list of all.
    parent: Option<usize>,
    fields: BTreeMap<&'static str, String>,
    /// The place of the span that it follows from.
    follows: Option<usize>,
    closed: bool,
}

impl Seen {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let before = self.fields.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
        assert_eq!(before, None, "{} was recorded twice", field.name());
    }
}

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Seen>>>);

struct Place(usize);

impl Spans {
    /// Of the whole test program; every test has topics of its own.
    fn global() -> &'static Self {
        static SPANS: OnceLock<Spans> = OnceLock::new();
        SPANS.get_or_init(|| {
            let spans = Spans::default();
            tracing::subscriber::set_global_default(Registry::default().with(spans.clone())).unwrap();
            spans
        })
    }

    /// The only span of this name and topic.
    #[track_caller]
    fn only(&self, name: &str, topic: &str) -> (usize, Seen) {
        let all = self.0.lock().unwrap();
        let matches = |seen: &Seen| seen.name == name && seen.field("topic") == Some(topic);
        let mut found = all.iter().enumerate().filter(|(_, seen)| matches(seen));
        let (place, seen) = found.next().unwrap_or_else(|| panic!("no {name} of {topic}"));
        assert!(found.next().is_none(), "more than one {name} of {topic}");
        (place, seen.clone())
    }

    fn outcome(&self, name: &str, topic: &str) -> Option<String> {
        self.only(name, topic).1.field("outcome").map(str::to_owned)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span.parent().map(|parent| parent.extensions().get::<Place>().unwrap().0);
        let metadata = attributes.metadata();
        let mut seen = Seen {
            name: metadata.name(),
            level: *metadata.level(),
            target: metadata.target(),
            thread: std::thread::current().id(),
            parent,
            fields: BTreeMap::new(),
            follows: None,
            closed: false,
        };
        attributes.record(&mut seen);
        let mut all = self.0.lock().unwrap();
        span.extensions_mut().insert(Place(all.len()));
        all.push(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let place = context.span(id).unwrap().extensions().get::<Place>().unwrap().0;
        values.record(&mut self.0.lock().unwrap()[place]);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let place = |id: &Id| context.span(id).unwrap().extensions().get::<Place>().unwrap().0;
        self.0.lock().unwrap()[place(id)].follows = Some(place(follows));
    }

    /// An event is there like a span that is closed, by the name of its message.
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let parent = context.event_span(event).map(|parent| parent.extensions().get::<Place>().unwrap().0);
        let metadata = event.metadata();
        let mut seen = Seen {
            name: metadata.name(),
            level: *metadata.level(),
            target: metadata.target(),
            thread: std::thread::current().id(),
            parent,
            fields: BTreeMap::new(),
            follows: None,
            closed: true,
        };
        event.record(&mut seen);
        if seen.field("message") == Some("working") {
            seen.name = "working";
        }
        self.0.lock().unwrap().push(seen);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let place = context.span(&id).unwrap().extensions().get::<Place>().unwrap().0;
        self.0.lock().unwrap()[place].closed = true;
    }
}

fn current() -> Option<&'static str> {
    Span::current().metadata().map(|metadata| metadata.name())
}

#[test]
fn the_span_of_a_handler_on_another_thread_is_a_child_of_the_request() {
    within_limit(|| {
        let spans = Spans::global();
        let bus = Bus::<u32>::new();
        let (sender, seen) = channel();
        let server = bus.subscription("child.*").also("other").group("servers").name("server");
        let server = server.serve(move |n| {
            sender.send(current()).unwrap();
            2 * **n
        });
        let caller = tracing::info_span!("caller", topic = "child");
        let pending = caller.in_scope(|| bus.request("child.a", 21)).unwrap();
        assert_eq!(seen.recv().unwrap(), Some("handle"), "the closure runs within the span");
        assert_eq!(spans.only("request", "child.a").1.field("outcome"), None);
        assert!(!spans.only("request", "child.a").1.closed, "the caller does not have the answer");
        assert_eq!(pending.wait().unwrap(), 42);
        assert!(server.unwrap().stop(LONG).is_complete());

        let (caller, _) = spans.only("caller", "child");
        let (request, requested) = spans.only("request", "child.a");
        let (_, handled) = spans.only("handle", "child.a");
        assert_eq!(requested.parent, Some(caller));
        assert_eq!(handled.parent, Some(request));
        assert_ne!(handled.thread, requested.thread);
        assert_eq!(requested.field("outcome"), Some("replied"));
        let fields = ["pattern", "group", "name", "outcome", "attempts"].map(|name| handled.field(name));
        assert_eq!(fields, [Some("child.*, other"), Some("servers"), Some("server"), Some("ok"), Some("1")]);
        assert_eq!((requested.level, handled.level), (Level::DEBUG, Level::DEBUG));
        assert_eq!((requested.target, handled.target), ("tramline", "tramline"));
        assert!(requested.closed && handled.closed);
    });
}

#[test]
fn the_span_of_a_request_has_its_outcome() {
    within_limit(|| {
        let spans = Spans::global();
        let bus = Bus::<u32>::new();
        let service = bus.subscribe("outcome.*").unwrap();
        let request = |kind: &str| bus.request(format!("outcome.{kind}"), 1).unwrap();
        let outcome = |kind: &str| spans.outcome("request", &format!("outcome.{kind}"));

        let pending = request("replied");
        service.recv().unwrap().reply(1).unwrap();
        assert_eq!(outcome("replied"), None, "the caller has not looked");
        assert_eq!(pending.try_take().unwrap().unwrap(), 1);
        assert_eq!(outcome("replied").as_deref(), Some("replied"));
        drop(pending);

        let pending = request("failed");
        service.recv().unwrap().fail("why").unwrap();
        let pending = pending.wait_timeout(LONG).unwrap_err();
        assert!(pending.is_failed());
        assert_eq!(outcome("failed").as_deref(), Some("failed"));

        let pending = request("unanswered");
        let pending = pending.wait_timeout(Duration::ZERO).unwrap_err().into_inner().unwrap();
        assert_eq!(outcome("unanswered"), None, "a wait that ran out of time is no outcome");
        drop(service.recv().unwrap());
        assert!(pending.wait().unwrap_err().is_unanswered());
        assert_eq!(outcome("unanswered").as_deref(), Some("unanswered"));

        drop(request("cancelled"));
        assert_eq!(outcome("cancelled").as_deref(), Some("cancelled"));
        drop(service.recv().unwrap());

        let (sender, called) = channel();
        request("callback").on_reply(move |reply| sender.send(reply.is_ok()).unwrap());
        service.recv().unwrap().reply(1).unwrap();
        assert!(called.recv().unwrap());
        assert_eq!(outcome("callback").as_deref(), Some("replied"));

        let (waiting, called_back) = (request("closed"), request("closed-callback"));
        called_back.on_reply(|reply| assert!(reply.unwrap_err().is_closed()));
        bus.close();
        assert_eq!(outcome("closed-callback").as_deref(), Some("closed"));
        assert!(waiting.wait().unwrap_err().is_closed());
        assert_eq!(outcome("closed").as_deref(), Some("closed"));

        let bus = Bus::<u32>::new();
        assert!(bus.request("outcome.nobody", 1).unwrap_err().is_no_responders());
        assert_eq!(outcome("nobody").as_deref(), Some("no_responders"));
        bus.close();
        assert!(bus.request("outcome.late", 1).unwrap_err().is_closed());
        assert_eq!(outcome("late").as_deref(), Some("closed"));
    });
}

#[test]
fn the_handlers_of_a_gathered_request_are_its_children() {
    within_limit(|| {
        let spans = Spans::global();
        let bus = Bus::<u32>::new();
        let servers = [bus.serve("gathered", |n| **n), bus.serve("gathered", |n| **n)];
        assert_eq!(bus.gather("gathered", 1).unwrap().collect_within(LONG), [1, 1]);
        for server in servers {
            assert!(server.unwrap().stop(LONG).is_complete());
        }
        let (gather, gathered) = spans.only("gather", "gathered");
        assert_eq!(gathered.field("outcome"), Some("asked"));
        assert!(gathered.closed);
        let all = spans.0.lock().unwrap();
        let children = all.iter().filter(|seen| seen.name == "handle" && seen.parent == Some(gather));
        assert_eq!(children.count(), 2);
    });
}

#[test]
fn the_span_of_a_publish_has_what_became_of_the_message() {
    let spans = Spans::global();
    let bus = Bus::<u32>::new();
    let publish = |topic: &'static str| {
        let _ = bus.try_publish(topic, 1);
        let (_, seen) = spans.only("publish", topic);
        assert_eq!((seen.level, seen.target, seen.closed), (Level::TRACE, "tramline", true));
        ["delivered", "dropped", "outcome"].map(|name| seen.field(name).unwrap().to_owned())
    };
    let _latest = bus.subscription("publish.>").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
    let _other = bus.subscription("publish.b").capacity(1).open().unwrap();
    assert_eq!(publish("publish.a"), ["1", "0", "delivered"]);
    assert_eq!(publish("publish.b"), ["2", "1", "delivered"]);
    assert_eq!(publish("publishes.nowhere"), ["0", "0", "unheard"]);
    let _full = bus.subscription("full.>").capacity(1).overflow(Overflow::DropNewest).open().unwrap();
    assert_eq!(publish("full.a"), ["1", "0", "delivered"]);
    assert_eq!(publish("full.b"), ["0", "1", "dropped"]);
    let _blocking = bus.subscription("blocks.>").capacity(1).open().unwrap();
    assert_eq!(publish("blocks.a"), ["1", "0", "delivered"]);
    assert!(bus.publish_timeout("blocks.b", 1, Duration::ZERO).unwrap_err().is_timeout());
    assert_eq!(spans.outcome("publish", "blocks.b").as_deref(), Some("timeout"));
    bus.close();
    assert_eq!(publish("publish.closed"), ["0", "0", "closed"]);
}

#[test]
fn filters_and_clones_run_within_the_span_of_the_publish() {
    within_limit(|| {
        let _ = Spans::global();
        let bus = Bus::<u32>::new();
        let within = Arc::new(AtomicBool::new(false));
        let is_within = Arc::clone(&within);
        let filter = move |_: &u32| {
            is_within.store(current() == Some("publish"), Ordering::Relaxed);
            true
        };
        let _reader = bus.subscription("filtered").filter(filter).open().unwrap();
        bus.publish("filtered", 1).unwrap();
        assert!(within.load(Ordering::Relaxed));
        assert_eq!(current(), None, "and nothing else does");
    });
}

#[test]
fn the_span_of_a_handler_has_the_outcome_and_the_attempts() {
    within_limit(|| {
        let spans = Spans::global();
        let bus = Bus::<u32>::new();
        let handler = bus.subscription("attempts.>").retry(Retry::fixed(2, Duration::ZERO));
        let handler = handler.handle(|n| match **n {
            0 => Err("zero"),
            1 => panic!("one"),
            _ => Ok(()),
        });
        for (n, topic) in ["attempts.failed", "attempts.panicked", "attempts.ok"].into_iter().enumerate() {
            bus.publish(topic, n as u32).unwrap();
        }
        assert!(handler.unwrap().stop(LONG).is_complete());
        for (outcome, attempts) in [("failed", "3"), ("panicked", "1"), ("ok", "1")] {
            let (_, seen) = spans.only("handle", &format!("attempts.{outcome}"));
            assert_eq!((seen.field("outcome"), seen.field("attempts")), (Some(outcome), Some(attempts)));
            assert_eq!((seen.field("group"), seen.field("name")), (None, None));
            assert_eq!(seen.parent, None, "a message that is no request has no parent to name");
        }
    });
}

#[test]
fn the_span_of_a_request_that_is_skipped_says_so() {
    within_limit(|| {
        let spans = Spans::global();
        let bus = Bus::<u32>::new();
        let member = || bus.subscription("skipped").group("group");
        let idle = member().open().unwrap();
        drop(bus.request("skipped", 1).unwrap());
        let server = member().serve(|n| **n).unwrap();
        drop(idle);
        assert!(server.stop(LONG).is_complete());
        let (_, seen) = spans.only("handle", "skipped");
        assert_eq!((seen.field("outcome"), seen.field("attempts")), (Some("skipped"), Some("0")));
        assert_eq!(spans.outcome("request", "skipped").as_deref(), Some("cancelled"));
    });
}

#[test]
fn a_handler_tells_the_subscriber_of_the_caller() {
    within_limit(|| {
        let global = Spans::global();
        let own = Spans::default();
        let bus = Bus::<u32>::new();
        let server = bus.serve("own", |n| **n);
        let service = bus.subscribe("own.late").unwrap();
        tracing::subscriber::with_default(Registry::default().with(own.clone()), || {
            // Numbers that the spans of the other subscriber do not have.
            let _spans: Vec<_> = (0..1000).map(|_| tracing::info_span!("other")).collect();
            let caller = tracing::info_span!("caller", topic = "own");
            assert_eq!(caller.in_scope(|| bus.request("own", 7)).unwrap().wait().unwrap(), 7);
            let caller = tracing::info_span!("caller", topic = "own.late");
            drop(caller.in_scope(|| bus.request("own.late", 7)).unwrap());
        });
        // Holds the last of the request, on a thread whose subscriber has nothing to do with it.
        drop(service.recv().unwrap());
        assert!(own.only("request", "own.late").1.closed && own.only("caller", "own.late").1.closed);
        assert!(server.unwrap().stop(LONG).is_complete());
        let (request, requested) = own.only("request", "own");
        let handled = own.only("handle", "own").1;
        assert!(handled.closed && requested.closed && own.only("caller", "own").1.closed);
        assert_eq!(handled.parent, Some(request));
        assert!(global.0.lock().unwrap().iter().all(|seen| seen.field("topic") != Some("own")));
    });
}

/// A subscriber that uses the bus, as anybody's code may.
struct Meddling {
    bus: WeakBus<u32>,
    /// Of the request whose span may be at hand.
    responder: Arc<Mutex<Option<Responder<u32>>>>,
    busy: AtomicBool,
}

impl Meddling {
    fn meddle(&self) {
        // What it does makes spans too.
        if !self.busy.swap(true, Ordering::Relaxed) {
            if let Some(responder) = &*self.responder.lock().unwrap() {
                responder.is_cancelled();
            }
            if let Some(bus) = self.bus.upgrade() {
                drop(bus.subscribe("meddling.>").unwrap_or_else(|_| Bus::new().subscribe("a").unwrap()));
                drop(bus.publisher("meddling.a").unwrap());
                bus.fire("meddling.b", 1);
            }
            self.busy.store(false, Ordering::Relaxed);
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Meddling {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.meddle();
    }

    fn on_record(&self, _: &Id, _: &Record<'_>, _: Context<'_, S>) {
        self.meddle();
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        self.meddle();
    }
}

#[test]
fn the_subscriber_runs_under_no_lock() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let responder = Arc::default();
        let meddling =
            Meddling { bus: bus.downgrade(), responder: Arc::clone(&responder), busy: AtomicBool::new(false) };
        tracing::subscriber::with_default(Registry::default().with(meddling), || {
            let service = bus.subscription("m.*").capacity(2).overflow(Overflow::DropOldest).open().unwrap();
            let server = bus.serve("m.served", |n| **n).unwrap();
            assert_eq!(bus.request("m.served", 1).unwrap().wait().unwrap(), 1);
            drop(service.recv().unwrap());
            for n in 0..4 {
                // Evicted with their spans.
                bus.request("m.called", n).unwrap().on_reply(|_| {});
            }
            drop(bus.request("m.dropped", 1).unwrap());
            let pending = bus.request("m.closed", 1).unwrap();
            bus.request("m.closed", 1).unwrap().on_reply(|_| {});
            assert!(server.stop(LONG).is_complete());
            drop(service);
            let service = bus.subscribe("n").unwrap();
            let ask = || {
                let pending = bus.request("n", 1).unwrap();
                let request = service.recv().unwrap();
                let before = std::mem::replace(&mut *responder.lock().unwrap(), request.responder());
                drop(before);
                (request, pending)
            };
            let (request, waiting) = ask();
            request.reply(1).unwrap();
            assert_eq!(waiting.wait().unwrap(), 1);
            let (request, called) = ask();
            called.on_reply(|_| {});
            request.reply(1).unwrap();
            drop(ask());
            let (_request, pending_at_the_end) = ask();
            let (_other, called_at_the_end) = ask();
            called_at_the_end.on_reply(|_| {});
            bus.close();
            assert!(pending.wait().is_err());
            assert!(pending_at_the_end.wait().is_err());
            let last = responder.lock().unwrap().take();
            drop(last);
        });
        wait_until("the bus is at rest", || bus.stats().subscriptions.is_empty());
    });
}

#[cfg(feature = "async")]
mod tasks {
    use futures_lite::future::{block_on, poll_once};
    use tokio::runtime::Builder;
    use tokio::task::yield_now;
    use tramline::HandlerTask;

    use super::{Bus, LONG, Spans, channel, current, within_limit};

    fn on_tokio(task: HandlerTask) {
        tokio::spawn(task);
    }

    #[test]
    fn the_span_of_an_async_handler_is_a_child_of_the_request_and_entered_in_every_poll() {
        within_limit(|| {
            let spans = Spans::global();
            let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
            let (sender, seen) = channel();
            let bus = Bus::<u32>::new();
            let _context = runtime.enter();
            let server = bus.subscription("task.*").name("server").serve_async(on_tokio, move |n| {
                let (n, sender) = (**n, sender.clone());
                sender.send(current()).unwrap();
                async move {
                    sender.send(current()).unwrap();
                    yield_now().await;
                    sender.send(current()).unwrap();
                    2 * n
                }
            });
            let caller = tracing::info_span!("caller", topic = "task");
            let pending = {
                let _entered = caller.enter();
                bus.request("task.a", 21).unwrap()
            };
            assert_eq!(block_on(pending).unwrap(), 42);
            assert!(server.unwrap().stop(LONG).is_complete());
            assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Some("handle"); 3]);
            assert_eq!(current(), None);

            let (request, requested) = spans.only("request", "task.a");
            let (_, handled) = spans.only("handle", "task.a");
            assert_eq!(handled.parent, Some(request));
            assert_ne!(handled.thread, requested.thread);
            assert_eq!(requested.parent, Some(spans.only("caller", "task").0));
            assert_eq!((requested.field("outcome"), handled.field("outcome")), (Some("replied"), Some("ok")));
            assert!(requested.closed && handled.closed);
        });
    }

    #[test]
    fn an_async_publish_tells_its_outcome_or_that_it_was_cancelled() {
        within_limit(|| {
            let spans = Spans::global();
            let bus = Bus::<u32>::new();
            let full = bus.subscription("task-full").capacity(1).open().unwrap();
            let _other = bus.subscription("task-full").also("task-empty").open().unwrap();
            block_on(async {
                bus.publish_async("task-empty", 1).await.unwrap();
                bus.try_publish("task-full", 1).unwrap();
                assert!(poll_once(bus.publish_async("task-full", 2)).await.is_none());
                assert!(poll_once(bus.request_async("task-full", 3)).await.is_none());
                assert_eq!(bus.publish_async("task-nobody", 4).await.unwrap().delivered(), 0);
                bus.close();
                assert!(bus.publish_async("task-closed", 5).await.is_err());
            });
            assert_eq!(current(), None, "no span stays entered");
            for (topic, outcome) in [("task-empty", "delivered"), ("task-nobody", "unheard"), ("task-closed", "closed")]
            {
                assert_eq!(spans.outcome("publish", topic).as_deref(), Some(outcome), "{topic}");
                assert!(spans.only("publish", topic).1.closed);
            }
            assert_eq!(spans.outcome("request", "task-full").as_deref(), Some("cancelled"));
            let all = spans.0.lock().unwrap();
            let cancelled =
                all.iter().rev().find(|seen| seen.name == "publish" && seen.field("topic") == Some("task-full"));
            assert_eq!(cancelled.and_then(|seen| seen.field("outcome")), Some("cancelled"));
            drop(all);
            assert_eq!(full.len(), 1);
        });
    }
}

/// Cases M12: a subscriber that does not want the bus's own spans.
mod at_info {
    use tracing::dispatcher::{Dispatch, with_default};
    use tracing::{info, info_span};
    use tracing_subscriber::filter::{LevelFilter, filter_fn};

    use super::*;

    /// A subscriber of its own, which handlers use in their closures as threads of a program use that of the program.
    fn subscriber(wants: impl Fn(&str) -> bool + Send + Sync + 'static) -> (Spans, Dispatch) {
        let spans = Spans::default();
        let filter = filter_fn(move |metadata| metadata.target() != "tramline" || wants(metadata.name()));
        let dispatch = Dispatch::new(Registry::default().with(filter).with(spans.clone()));
        // Numbers that the spans of other subscribers do not have.
        let others: Vec<_> = with_default(&dispatch, || (0..100).map(|_| info_span!("other")).collect());
        drop(others);
        (spans, dispatch)
    }

    fn nothing_of_the_bus(_: &str) -> bool {
        false
    }

    /// What a handler does: a span and an event.
    fn work(own: &Dispatch, topic: &'static str) {
        with_default(own, || {
            info!(topic, "working");
            drop(info_span!("work", topic));
        });
    }

    fn caller(topic: &'static str) -> Span {
        // The outcome of the request is no field of the caller.
        info_span!("caller", topic, outcome = tracing::field::Empty)
    }

    impl Spans {
        /// Asserts that what was made for the topic has this parent.
        #[track_caller]
        fn assert_parent(&self, name: &str, topic: &str, parent: &str) {
            let (place, _) = self.only(parent, topic);
            assert_eq!(self.only(name, topic).1.parent, Some(place), "{name} of {topic} is no child of {parent}");
        }
    }

    #[test]
    fn m12_at_info_what_a_handler_makes_belongs_to_the_caller_across_threads() {
        within_limit(|| {
            let _ = Spans::global();
            let spans = Spans::default();
            let own = Dispatch::new(Registry::default().with(LevelFilter::INFO).with(spans.clone()));
            let bus = Bus::<u32>::new();
            let (in_handler, topic) = (own.clone(), "info.thread");
            let (sender, seen) = channel();
            let server = bus.serve(topic, move |n| {
                sender.send(with_default(&in_handler, current)).unwrap();
                work(&in_handler, topic);
                2 * **n
            });
            with_default(&own, || {
                let caller = caller(topic);
                let pending = caller.in_scope(|| bus.request(topic, 21)).unwrap();
                drop(caller);
                assert_eq!(pending.wait().unwrap(), 42);
            });
            assert!(server.unwrap().stop(LONG).is_complete());
            assert_eq!(seen.recv().unwrap(), Some("caller"));
            spans.assert_parent("work", topic, "caller");
            spans.assert_parent("working", topic, "caller");
            let (_, caller) = spans.only("caller", topic);
            assert_ne!(spans.only("work", topic).1.thread, caller.thread);
            assert_eq!(caller.field("outcome"), None, "the span is the caller's");
            assert!(caller.closed, "neither thread keeps it");
            assert!(spans.0.lock().unwrap().iter().all(|seen| seen.target != "tramline"), "none of the bus's own");
        });
    }

    #[test]
    fn m12_every_handler_of_a_gathered_request_belongs_to_the_caller() {
        within_limit(|| {
            let (spans, own) = subscriber(nothing_of_the_bus);
            let bus = Bus::<u32>::new();
            let topics = ["info.gather.a", "info.gather.b"];
            let servers = topics.map(|topic| {
                let own = own.clone();
                bus.serve("info.gather", move |n| {
                    work(&own, topic);
                    **n
                })
            });
            let replies = with_default(&own, || caller("info.gather").in_scope(|| bus.gather("info.gather", 1)));
            assert_eq!(replies.unwrap().collect_within(LONG), [1, 1]);
            for server in servers {
                assert!(server.unwrap().stop(LONG).is_complete());
            }
            let (caller, seen) = spans.only("caller", "info.gather");
            assert!(seen.closed && seen.field("outcome").is_none());
            for topic in topics {
                assert_eq!(spans.only("work", topic).1.parent, Some(caller));
            }
        });
    }

    #[test]
    fn m12_a_handle_span_whose_request_has_none_is_a_child_of_the_caller() {
        within_limit(|| {
            let (spans, own) = subscriber(|name| name == "handle");
            let bus = Bus::<u32>::new();
            let (in_handler, topic) = (own.clone(), "info.handle");
            let server = bus.serve(topic, move |n| {
                work(&in_handler, topic);
                **n
            });
            let pending = with_default(&own, || caller(topic).in_scope(|| bus.request(topic, 1))).unwrap();
            assert_eq!(pending.wait().unwrap(), 1);
            assert!(server.unwrap().stop(LONG).is_complete());
            spans.assert_parent("handle", topic, "caller");
            spans.assert_parent("work", topic, "handle");
            let (_, handled) = spans.only("handle", topic);
            assert_eq!((handled.field("outcome"), handled.closed), (Some("ok"), true));
            assert!(spans.only("caller", topic).1.closed);
        });
    }

    #[test]
    fn m12_without_a_handle_span_what_a_handler_makes_belongs_to_the_request() {
        within_limit(|| {
            let (spans, own) = subscriber(|name| name == "request");
            let bus = Bus::<u32>::new();
            let (in_handler, topic) = (own.clone(), "info.request");
            let server = bus.serve(topic, move |n| {
                work(&in_handler, topic);
                **n
            });
            let pending = with_default(&own, || caller(topic).in_scope(|| bus.request(topic, 1))).unwrap();
            assert_eq!(pending.wait().unwrap(), 1);
            assert!(server.unwrap().stop(LONG).is_complete());
            spans.assert_parent("request", topic, "caller");
            spans.assert_parent("work", topic, "request");
            let (_, requested) = spans.only("request", topic);
            assert_eq!((requested.field("outcome"), requested.closed), (Some("replied"), true));
        });
    }

    #[test]
    fn m12_a_callback_belongs_to_the_caller_wherever_it_runs() {
        within_limit(|| {
            let (spans, own) = subscriber(nothing_of_the_bus);
            let bus = Bus::<u32>::new();
            let service = bus.subscribe("info.>").unwrap();
            for topic in ["info.replied", "info.answered-before", "info.closed"] {
                let pending = with_default(&own, || caller(topic).in_scope(|| bus.request(topic, 1))).unwrap();
                let responder = service.recv().unwrap().responder().unwrap();
                let in_callback = own.clone();
                let callback = move |_| work(&in_callback, topic);
                match topic {
                    "info.replied" => {
                        pending.on_reply(callback);
                        // A thread that has nothing to do with the caller, in no handler.
                        std::thread::spawn(move || responder.reply(1).unwrap()).join().unwrap();
                    }
                    "info.answered-before" => {
                        responder.reply(1).unwrap();
                        with_default(&own, || caller("info.later").in_scope(|| pending.on_reply(callback)));
                    }
                    _ => {
                        pending.on_reply(callback);
                        bus.close();
                        drop(responder);
                    }
                }
            }
            for topic in ["info.replied", "info.answered-before", "info.closed"] {
                spans.assert_parent("work", topic, "caller");
            }
            assert!(spans.0.lock().unwrap().iter().all(|seen| seen.closed), "nothing keeps a span");
        });
    }

    #[test]
    fn m12_a_request_outside_any_span_carries_none() {
        within_limit(|| {
            let (spans, own) = subscriber(nothing_of_the_bus);
            let bus = Bus::<u32>::new();
            let (in_handler, topic) = (own.clone(), "info.outside");
            let server = bus.serve(topic, move |n| {
                work(&in_handler, topic);
                **n
            });
            assert_eq!(with_default(&own, || bus.request(topic, 1)).unwrap().wait().unwrap(), 1);
            bus.publish(topic, 2).unwrap_or_else(|error| panic!("{error}"));
            assert!(server.unwrap().stop(LONG).is_complete());
            let all = spans.0.lock().unwrap();
            let parents: Vec<_> = all.iter().filter(|seen| seen.name == "work").map(|seen| seen.parent).collect();
            assert_eq!(parents, [None, None]);
        });
    }

    #[cfg(feature = "async")]
    #[test]
    fn m12_at_info_what_a_task_makes_belongs_to_the_caller_in_every_poll() {
        use tokio::runtime::Builder;
        use tokio::task::yield_now;
        use tracing::Instrument;

        within_limit(|| {
            let (spans, own) = subscriber(nothing_of_the_bus);
            let runtime = Builder::new_current_thread().build().unwrap();
            let bus = Bus::<u32>::new();
            let topics = ["info.task.a", "info.task.b", "info.task.c"];
            with_default(&own, || {
                runtime.block_on(async {
                    let on_tokio = |task| drop(tokio::spawn(task));
                    let server = bus.serve_async("info.task", on_tokio, move |n| {
                        let n = **n;
                        drop(info_span!("work", topic = topics[0]));
                        async move {
                            drop(info_span!("work", topic = topics[1]));
                            yield_now().await;
                            drop(info_span!("work", topic = topics[2]));
                            n
                        }
                    });
                    let _server = server.unwrap();
                    let ask = async { bus.request_async("info.task", 21).await.unwrap().await.unwrap() };
                    let asked = tokio::spawn({
                        let bus = bus.clone();
                        async move { bus.request_async("info.task.nobody", 1).await.is_err() }
                    });
                    assert_eq!(ask.instrument(caller("info.task")).await, 21);
                    assert!(asked.await.unwrap());
                    assert_eq!(current(), None, "no span stays entered");
                });
            });
            drop(runtime);
            let (caller, seen) = spans.only("caller", "info.task");
            assert!(seen.closed && seen.field("outcome").is_none());
            for topic in topics {
                assert_eq!(spans.only("work", topic).1.parent, Some(caller), "{topic}");
            }
        });
    }
}

/// Cases M12: messages that carry the span in which they are published.
mod traced_messages {
    use tracing::info_span;

    use super::*;

    fn traced() -> Bus<u32> {
        Bus::builder().trace_messages(true).build()
    }

    fn assert_follows(spans: &Spans, topic: &str) {
        let (publisher, _) = spans.only("checkout", topic);
        assert_eq!(spans.only("handle", topic).1.follows, Some(publisher), "{topic}");
    }

    #[test]
    fn m12_the_handler_of_a_message_follows_from_its_publisher() {
        within_limit(|| {
            let spans = Spans::global();
            let bus = traced();
            let handler = bus.on("traced.*", |_| {}).unwrap();
            let publisher = bus.publisher("traced.publisher").unwrap();
            type Publish<'a> = Box<dyn Fn() -> Result<tramline::Delivery, tramline::PublishError<u32>> + 'a>;
            let ways: [(&str, Publish<'_>); 6] = [
                ("traced.publisher", Box::new(|| publisher.publish(1))),
                ("traced.bus", Box::new(|| bus.publish("traced.bus", 1))),
                ("traced.try", Box::new(|| bus.try_publish("traced.try", 1))),
                ("traced.all", Box::new(|| Ok(bus.publish_all("traced.all", [1]).unwrap()))),
                ("traced.retained", Box::new(|| bus.publish_retained("traced.retained", 1))),
                ("traced.header", Box::new(|| bus.message("traced.header", 1).header("tenant", "acme").publish())),
            ];
            for (topic, publish) in &ways {
                let topic = *topic;
                assert_eq!(info_span!("checkout", topic).in_scope(publish).unwrap().delivered(), 1);
            }
            assert!(handler.stop(LONG).is_complete());
            for (topic, _) in &ways {
                assert_follows(spans, topic);
            }
            // Kept as long as the value is, and no longer.
            assert!(!spans.only("checkout", "traced.retained").1.closed);
            bus.clear_retained("traced.retained");
            assert!(ways.iter().all(|(topic, _)| spans.only("checkout", topic).1.closed));
        });
    }

    #[test]
    fn m12_without_a_span_or_the_option_nothing_is_carried() {
        within_limit(|| {
            let spans = Spans::global();
            let (traces, silent) = (traced(), Bus::<u32>::new());
            let handlers = [traces.on("untraced.*", |_| {}).unwrap(), silent.on("untraced.*", |_| {}).unwrap()];
            traces.publish("untraced.outside", 1).unwrap();
            info_span!("checkout", topic = "untraced.off").in_scope(|| silent.publish("untraced.off", 1)).unwrap();
            handlers.into_iter().for_each(|handler| assert!(handler.stop(LONG).is_complete()));
            assert_eq!(spans.only("handle", "untraced.outside").1.follows, None);
            assert_eq!(spans.only("handle", "untraced.off").1.follows, None);
        });
    }

    #[cfg(feature = "async")]
    #[test]
    fn m12_the_task_of_a_message_follows_from_its_publisher() {
        use tracing::Instrument;

        within_limit(|| {
            let spans = Spans::global();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let bus = traced();
                let on_tokio = |task| drop(tokio::spawn(task));
                let handler = bus.on_async("traced.task.*", on_tokio, |_| async {}).unwrap();
                let span = info_span!("checkout", topic = "traced.task.publish");
                bus.publish_async("traced.task.publish", 1).instrument(span).await.unwrap();
                let span = info_span!("checkout", topic = "traced.task.message");
                bus.message("traced.task.message", 1).header("a", "b").publish_async().instrument(span).await.unwrap();
                assert!(handler.stop_async(LONG).await.is_complete());
            });
            assert_follows(spans, "traced.task.publish");
            assert_follows(spans, "traced.task.message");
        });
    }
}
