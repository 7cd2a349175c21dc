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
use tracing::{Level, Span, Subscriber};
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
