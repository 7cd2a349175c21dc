//! Metrics: what a recorder gets to see of a bus.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, with_local_recorder};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tramline::{Bus, Hub, Overflow, Retry, WeakBus};

use support::{LONG, gate, wait_until, within_limit};

/// A recorder for one test, and what it has.
struct Recorded {
    recorder: DebuggingRecorder,
    snapshotter: Snapshotter,
}

impl Recorded {
    fn new() -> Self {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        Self { recorder, snapshotter }
    }

    fn with<A>(&self, f: impl FnOnce() -> A) -> A {
        with_local_recorder(&self.recorder, f)
    }

    /// What `f` records, and what was recorded by itself before.
    fn by(&self, f: impl FnOnce()) -> Metrics {
        self.with(f);
        // A snapshot starts everything afresh.
        let recorded = self.snapshotter.snapshot().into_vec();
        let named = recorded.into_iter().map(|(key, _, _, value)| {
            let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            (format!("{}{{{}}}", key.key().name(), labels.join(",")), value)
        });
        Metrics(named.collect())
    }
}

/// By `name{label=value,..}`.
#[derive(Debug)]
struct Metrics(BTreeMap<String, DebugValue>);

impl Metrics {
    fn counter(&self, name: &str) -> u64 {
        match self.0.get(name) {
            Some(DebugValue::Counter(count)) => *count,
            other => panic!("{name} is {other:?} in {self:#?}"),
        }
    }

    fn gauge(&self, name: &str) -> f64 {
        match self.0.get(name) {
            Some(DebugValue::Gauge(value)) => **value,
            other => panic!("{name} is {other:?} in {self:#?}"),
        }
    }
}

fn bus() -> Bus<u32> {
    Bus::builder().name("b").build()
}

#[test]
fn every_loss_is_counted_by_its_reason() {
    within_limit(|| {
        let (recorded, bus) = (Recorded::new(), bus());
        let dead_letters = bus.dead_letters();
        let _full = bus.subscription("full").capacity(1).overflow(Overflow::DropNewest).open().unwrap();
        let _latest = bus.subscription("latest").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
        let _strict = bus.subscription("strict").capacity(1).overflow(Overflow::Disconnect).open().unwrap();
        for (topic, messages) in [("full", 2), ("latest", 3), ("strict", 2)] {
            (0..messages).for_each(|n| bus.fire(topic, n));
        }
        let weak = bus.downgrade();
        let echo = bus.subscription("echo").capacity(1);
        let echo = echo.handle(move |n| {
            if **n == 0 {
                // The second finds the mailbox full, and nobody but this thread could make room.
                let bus = weak.upgrade().unwrap();
                assert_eq!(bus.publish("echo", 1).unwrap().dropped(), 0);
                assert_eq!(bus.publish("echo", 2).unwrap().dropped(), 1);
            }
        });
        bus.publish("echo", 0).unwrap();
        wait_until("both are handled", || {
            recorded.by(|| bus.record_metrics()).counter("tramline_handled_total{bus=b,outcome=ok}") == 2
        });
        bus.fire("in.*.valid", 1);
        bus.close();
        bus.fire("full", 9);
        bus.fire("full", 9);
        bus.fire("full", 9);
        let recorded = recorded.by(|| bus.record_metrics());
        let dropped = |reason| recorded.counter(&format!("tramline_dropped_total{{bus=b,reason={reason}}}"));
        let reasons = ["full", "evicted", "overflowed", "self_deadlock", "closed", "invalid_topic"];
        assert_eq!(reasons.map(dropped), [1, 2, 1, 1, 3, 1]);
        assert_eq!(reasons.map(dropped).iter().sum::<u64>(), bus.stats().dropped);
        assert_eq!(recorded.counter("tramline_dead_letters_total{bus=b}"), dead_letters.len() as u64);
        drop(echo);
    });
}

#[test]
fn messages_are_counted_whether_anybody_takes_them_or_not() {
    let (recorded, bus) = (Recorded::new(), bus());
    let (one, _two) = (bus.subscribe("a.*").unwrap(), bus.subscribe("a.b").unwrap());
    let publisher = bus.publisher("a.b").unwrap();
    publisher.publish(1).unwrap();
    publisher.publish_all([2, 3]).unwrap();
    bus.publish_retained("a.c", 4).unwrap();
    bus.fire("nobody", 5);
    drop(bus.request("a.b", 6).unwrap());
    assert!(bus.request("nobody", 7).is_err());
    assert!(bus.gather("a.b", 8).unwrap().collect_within(Duration::ZERO).is_empty());
    drop(one);
    let recorded = recorded.by(|| bus.record_metrics());
    assert_eq!(recorded.counter("tramline_published_total{bus=b}"), 8);
    assert_eq!(recorded.counter("tramline_delivered_total{bus=b}"), 11);
    assert_eq!(recorded.counter("tramline_unheard_total{bus=b}"), 2);
    assert_eq!(recorded.counter("tramline_abandoned_total{bus=b}"), 6);
    assert_eq!(recorded.gauge("tramline_subscriptions{bus=b}"), 1.0);
    assert_eq!(recorded.gauge("tramline_topics{bus=b}"), 2.0, "one has a publisher, one a retained value");
}

#[test]
fn what_was_delivered_stays_counted_when_the_mailbox_has_gone() {
    let (recorded, bus) = (Recorded::new(), bus());
    let delivered = || recorded.by(|| bus.record_metrics()).counter("tramline_delivered_total{bus=b}");
    let reader = bus.subscribe("a").unwrap();
    bus.publish("a", 1).unwrap();
    assert_eq!(delivered(), 1);
    drop(reader);
    assert_eq!(delivered(), 1);
    let _reader = bus.subscribe("a").unwrap();
    bus.publish("a", 1).unwrap();
    assert_eq!(delivered(), 2);
}

#[test]
fn handled_messages_are_counted_by_outcome_and_timed_by_handler() {
    within_limit(|| {
        let (recorded, bus) = (Recorded::new(), bus());
        let handlers = recorded.with(|| {
            let shaky = bus.subscription("work").name("shaky").retry(Retry::fixed(2, Duration::ZERO));
            let shaky = shaky.handle(|n| match **n {
                0 => Err("zero"),
                1 => panic!("one"),
                _ => Ok(()),
            });
            let steady = bus.subscription("work").workers(2).handle(|_| {});
            [shaky.unwrap(), steady.unwrap()]
        });
        (0..10).for_each(|n| bus.fire("work", n));
        // Joined, so that the last durations are recorded too.
        for handler in handlers {
            assert!(handler.stop(LONG).is_complete());
        }
        let all = recorded.by(|| bus.record_metrics()).0;
        let handled = |outcome| all.get(&format!("tramline_handled_total{{bus=b,outcome={outcome}}}"));
        assert_eq!(handled("ok"), Some(&DebugValue::Counter(18)));
        assert_eq!(handled("failed"), Some(&DebugValue::Counter(1)));
        assert_eq!(handled("panicked"), Some(&DebugValue::Counter(1)));
        for handler in ["shaky", "work"] {
            let name = format!("tramline_handler_duration_seconds{{bus=b,handler={handler}}}");
            let Some(DebugValue::Histogram(durations)) = all.get(&name) else { panic!("{name} in {:#?}", all.keys()) };
            assert_eq!(durations.len(), 10, "one for each message, however often it was tried");
            let limit = LONG.as_secs_f64();
            assert!(durations.iter().all(|duration| (0.0..limit).contains(&**duration)), "{durations:?}");
        }
    });
}

#[test]
fn requests_that_are_skipped_have_an_outcome_of_their_own_and_no_duration() {
    within_limit(|| {
        let (recorded, bus) = (Recorded::new(), bus());
        let (gate, entered, key) = gate();
        let server = recorded.with(|| {
            bus.serve("ask", move |n| {
                gate.pass(**n);
                **n
            })
        });
        let server = server.unwrap();
        let first = bus.request("ask", 0).unwrap();
        entered.recv().unwrap();
        (1..=3).for_each(|n| drop(bus.request("ask", n).unwrap()));
        drop(key);
        first.wait().unwrap();
        assert!(server.stop(LONG).is_complete());
        let all = recorded.by(|| bus.record_metrics()).0;
        let handled = |outcome| all.get(&format!("tramline_handled_total{{bus=b,outcome={outcome}}}"));
        assert_eq!(handled("ok"), Some(&DebugValue::Counter(1)));
        assert_eq!(handled("skipped"), Some(&DebugValue::Counter(3)));
        let durations = all.get("tramline_handler_duration_seconds{bus=b,handler=ask}");
        assert!(matches!(durations, Some(DebugValue::Histogram(durations)) if durations.len() == 1), "{durations:?}");
    });
}

#[test]
fn queues_have_gauges_by_the_name_of_their_subscription() {
    let (recorded, bus) = (Recorded::new(), bus());
    let _named = bus.subscription("a").name("named").group("not this").capacity(4).open().unwrap();
    let _grouped = bus.subscription("a").group("grouped").capacity(5).open().unwrap();
    let plain = bus.subscription("a").also("b").capacity(6).open().unwrap();
    let _namesake = bus.subscription("b").name("a,b").capacity(7).open().unwrap();
    bus.fire("a", 1);
    bus.fire("b", 1);
    let queues = |metrics: &Metrics, what, names: &[&str]| -> Vec<f64> {
        let name = |name| format!("tramline_queue_{what}{{bus=b,subscription={name}}}");
        names.iter().map(|subscription| metrics.gauge(&name(subscription))).collect()
    };
    let metrics = recorded.by(|| bus.record_metrics());
    assert_eq!(queues(&metrics, "depth", &["named", "grouped", "a,b"]), [1.0, 1.0, 3.0]);
    assert_eq!(queues(&metrics, "capacity", &["named", "grouped", "a,b"]), [4.0, 5.0, 13.0]);
    drop(plain);
    let metrics = recorded.by(|| bus.record_metrics());
    assert_eq!(queues(&metrics, "depth", &["named", "grouped", "a,b"]), [1.0, 1.0, 1.0]);
    assert_eq!(queues(&metrics, "capacity", &["a,b"]), [7.0], "a namesake is left");
}

#[test]
fn the_gauges_of_a_subscription_that_has_gone_are_zero() {
    let (recorded, bus) = (Recorded::new(), bus());
    let reader = bus.subscribe("a").unwrap();
    bus.fire("a", 1);
    let gauges = ["queue_depth", "queue_capacity"];
    let before = recorded.by(|| bus.record_metrics());
    assert!(gauges.iter().all(|gauge| before.gauge(&format!("tramline_{gauge}{{bus=b,subscription=a}}")) > 0.0));
    drop(reader);
    // Recorders that have never heard of it tell what is recorded from what is left.
    let after = Recorded::new().by(|| bus.record_metrics());
    for gauge in gauges.into_iter().chain(["oldest_message_age_seconds"]) {
        assert_eq!(after.gauge(&format!("tramline_{gauge}{{bus=b,subscription=a}}")), 0.0);
    }
    let later = Recorded::new().by(|| bus.record_metrics());
    assert!(!later.0.keys().any(|name| name.contains("subscription=")), "once: {later:#?}");
}

#[test]
fn the_oldest_message_ages_from_one_recording_to_the_next() {
    within_limit(|| {
        let (recorded, bus) = (Recorded::new(), bus());
        let reader = bus.subscribe("a").unwrap();
        bus.fire("a", 1);
        let age = || {
            let metrics = recorded.by(|| bus.record_metrics());
            metrics.gauge("tramline_oldest_message_age_seconds{bus=b,subscription=a}")
        };
        let before = Instant::now();
        assert_eq!(age(), 0.0);
        let first = Instant::now();
        wait_until("time passes", || first.elapsed() > Duration::from_millis(2));
        let known = age();
        // Looked at after the recording, which may take its time.
        let most = before.elapsed().as_secs_f64();
        assert!((0.002..=most).contains(&known), "it is known since the first recording: {known}, at most {most}");
        bus.fire("a", 2);
        let second = Instant::now();
        assert!(age() >= 0.002);
        let _ = reader.recv().unwrap();
        let known = age();
        assert!(known <= second.elapsed().as_secs_f64(), "the second message is younger: {known}");
        let _ = reader.recv().unwrap();
        assert_eq!(age(), 0.0);
    });
}

#[test]
fn a_hub_records_all_its_buses() {
    let (recorded, hub) = (Recorded::new(), Hub::new());
    hub.bus::<u32>().fire("nobody", 1);
    hub.bus_with_reply::<u32, bool>().fire("nobody", 1);
    hub.bus_with_reply::<u32, bool>().fire("nobody", 1);
    let recorded = recorded.by(|| hub.record_metrics());
    assert_eq!(recorded.counter("tramline_unheard_total{bus=u32}"), 1);
    assert_eq!(recorded.counter("tramline_unheard_total{bus=u32 -> bool}"), 2);
}

#[test]
fn m11_metrics_have_the_name_of_the_bus() {
    let (recorded, hub) = (Recorded::new(), Hub::new());
    let (bus, _prices) = (hub.named::<u32>("orders"), hub.named_with_reply::<u32, bool>("prices"));
    let handler = recorded.with(|| bus.on("a", |_| {})).unwrap();
    bus.publish("a", 1).unwrap();
    assert!(handler.stop(LONG).is_complete());
    let _reader = bus.subscribe("b").unwrap();
    bus.publish("b", 2).unwrap();
    let before = recorded.by(|| hub.record_metrics());
    assert_eq!(before.counter("tramline_published_total{bus=orders}"), 2);
    assert_eq!(before.counter("tramline_published_total{bus=prices}"), 0);
    assert_eq!(before.gauge("tramline_queue_depth{bus=orders,subscription=b}"), 1.0);
    let duration = "tramline_handler_duration_seconds{bus=orders,handler=a}";
    assert!(matches!(&before.0[duration], DebugValue::Histogram(durations) if durations.len() == 1), "{before:#?}");
    assert!(before.0.keys().all(|name| !name.contains("u32")), "{before:#?}");
}

#[test]
fn m11_a_bus_that_is_renamed_leaves_no_gauges_behind() {
    let hub = Hub::new();
    // A recorder for each time, which shows what is set then.
    let record = || Recorded::new().by(|| hub.record_metrics());
    let bus = hub.bus::<u32>();
    let reader = bus.subscribe("a").unwrap();
    let gone = bus.subscribe("b").unwrap();
    bus.publish("a", 1).unwrap();
    let before = record();
    assert_eq!(before.gauge("tramline_queue_depth{bus=u32,subscription=a}"), 1.0);
    assert_eq!(before.gauge("tramline_subscriptions{bus=u32}"), 2.0);

    hub.named::<u32>("orders");
    drop(gone);
    let after = record();
    assert_eq!(after.counter("tramline_published_total{bus=orders}"), 1, "it goes on counting");
    assert_eq!(after.gauge("tramline_queue_depth{bus=orders,subscription=a}"), 1.0);
    assert_eq!(after.gauge("tramline_subscriptions{bus=orders}"), 1.0);
    for gauge in ["tramline_subscriptions{bus=u32}", "tramline_topics{bus=u32}"] {
        assert_eq!(after.gauge(gauge), 0.0, "{gauge}");
    }
    for gauge in ["queue_depth", "queue_capacity", "oldest_message_age_seconds"] {
        for topic in ["a", "b"] {
            assert_eq!(after.gauge(&format!("tramline_{gauge}{{bus=u32,subscription={topic}}}")), 0.0, "{gauge}");
        }
    }
    assert!(!after.0.contains_key("tramline_queue_depth{bus=orders,subscription=b}"), "it never had that name");

    // Once is enough, and the name changes nothing about the age of what waits.
    let later = record();
    assert!(later.0.keys().all(|name| !name.contains("bus=u32")), "{later:#?}");
    assert!(later.gauge("tramline_oldest_message_age_seconds{bus=orders,subscription=a}") > 0.0);
    drop(reader);
}

#[test]
fn a_closed_bus_is_recorded_as_before() {
    let (recorded, bus) = (Recorded::new(), bus());
    let _reader = bus.subscribe("a").unwrap();
    bus.fire("a", 1);
    bus.close();
    let recorded = recorded.by(|| bus.record_metrics());
    assert_eq!(recorded.gauge("tramline_queue_depth{bus=b,subscription=a}"), 1.0);
    assert_eq!(recorded.counter("tramline_published_total{bus=b}"), 1);
}

/// A recorder that uses the bus, as anybody's code may.
struct Meddling {
    bus: WeakBus<u32>,
    described: AtomicUsize,
    registered: Mutex<Vec<String>>,
}

impl Meddling {
    fn meddle(&self, name: &str) {
        if let Some(bus) = self.bus.upgrade() {
            drop(bus.subscribe("meddling").unwrap());
            drop(bus.publisher("meddling").unwrap());
            // Once, and not from within.
            if name == "tramline_queue_depth" && self.registered.lock().unwrap().len() < 100 {
                self.registered.lock().unwrap().extend(vec![String::new(); 100]);
                bus.record_metrics();
            }
        }
        self.registered.lock().unwrap().push(name.to_owned());
    }
}

impl Recorder for Meddling {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.fetch_add(1, Ordering::Relaxed);
        self.meddle("");
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.fetch_add(1, Ordering::Relaxed);
        self.meddle("");
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.fetch_add(1, Ordering::Relaxed);
        self.meddle("");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.meddle(key.name());
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.meddle(key.name());
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.meddle(key.name());
        Histogram::noop()
    }
}

#[test]
fn the_recorder_runs_under_no_lock_and_every_name_is_described_once() {
    within_limit(|| {
        let bus = bus();
        let recorder = Meddling { bus: bus.downgrade(), described: AtomicUsize::new(0), registered: Mutex::default() };
        with_local_recorder(&recorder, || {
            let _handler = bus.on("a", |_| {}).unwrap();
            bus.record_metrics();
            bus.record_metrics();
        });
        let mut names = recorder.registered.into_inner().unwrap();
        names.retain(|name| !name.is_empty());
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 13);
        assert_eq!(recorder.described.into_inner(), names.len());
    });
}

#[cfg(feature = "async")]
#[test]
fn what_tasks_publish_handle_and_give_up_on_is_counted_too() {
    use futures_lite::future::{block_on, poll_once};

    within_limit(|| {
        let (recorded, bus) = (Recorded::new(), bus());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let _full = bus.subscription("full").capacity(1).open().unwrap();
        let _other = bus.subscription("full").open().unwrap();
        let on_tokio = |task| drop(runtime.spawn(task));
        let handler = recorded.with(|| {
            let mail = bus.subscription("mail").name("mail");
            mail.handle_async(on_tokio, |n| {
                let n = **n;
                async move { if n == 13 { Err("bad luck") } else { Ok(()) } }
            })
        });
        block_on(async {
            bus.publish_async("mail", 1).await.unwrap();
            bus.publish_async("mail", 13).await.unwrap();
            bus.publish_async("full", 1).await.unwrap();
            assert!(poll_once(bus.publish_async("full", 2)).await.is_none());
        });
        assert!(handler.unwrap().stop(LONG).is_complete());
        let metrics = recorded.by(|| bus.record_metrics());
        assert_eq!(metrics.counter("tramline_published_total{bus=b}"), 4);
        assert_eq!(metrics.counter("tramline_delivered_total{bus=b}"), 2 + 2 + 1);
        assert_eq!(metrics.counter("tramline_dropped_total{bus=b,reason=cancelled}"), 1);
        assert_eq!(metrics.counter("tramline_handled_total{bus=b,outcome=ok}"), 1);
        assert_eq!(metrics.counter("tramline_handled_total{bus=b,outcome=failed}"), 1);
        match metrics.0.get("tramline_handler_duration_seconds{bus=b,handler=mail}") {
            Some(DebugValue::Histogram(durations)) => assert_eq!(durations.len(), 2),
            other => panic!("{other:?}"),
        }
    });
}
