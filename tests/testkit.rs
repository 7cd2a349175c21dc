//! The test kit: what it records, how its assertions fail, its responders and its faults.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Once, OnceLock};
use std::thread;
use std::time::Duration;

use tramline::testkit::{Recorded, RecordedKind, Recorder, Script, TestKit, wait_until_hub_idle};
use tramline::{Bus, DeadLetterReason, Hub, Message, Overflow, Publisher, ReplyError, Retry};

use support::{LONG, within_limit};

const NOW: Duration = Duration::ZERO;

/// What happened, without the times.
/// A [`RecordedKind`] that a test can make itself.
#[derive(Debug, PartialEq)]
enum Kind<T> {
    Published(T),
    Requested(T),
    Replied(String),
    DeadLetter { payload: T, reason: DeadLetterReason, attempts: u32 },
}

fn kind<T: Clone>(recorded: &Recorded<T>) -> Kind<T> {
    match recorded.kind.clone() {
        RecordedKind::Published(payload) => Kind::Published(payload),
        RecordedKind::Requested(payload) => Kind::Requested(payload),
        RecordedKind::Replied(reply) => Kind::Replied(reply),
        RecordedKind::DeadLetter { payload, reason, attempts, .. } => Kind::DeadLetter { payload, reason, attempts },
        _ => panic!("no test expects this kind"),
    }
}

fn what<T: Clone + Send + 'static>(recorder: &Recorder<T>) -> Vec<(String, Kind<T>)> {
    recorder.recorded().iter().map(|recorded| (recorded.topic.to_string(), kind(recorded))).collect()
}

fn topics<T: Clone + Send + 'static>(recorder: &Recorder<T>) -> Vec<String> {
    recorder.recorded().iter().map(|recorded| recorded.topic.to_string()).collect()
}

fn unheard<T>(payload: T) -> Kind<T> {
    Kind::DeadLetter { payload, reason: DeadLetterReason::Unheard, attempts: 0 }
}

/// A handler that publishes again what it gets.
fn relay(to: Publisher<u32>) -> impl FnMut(&Message<u32>) + Send + 'static {
    move |n| {
        to.publish(**n).unwrap();
    }
}

/// The text of a failure, with `#` for each time; and the file that it is said to be in.
fn failure(fails: impl FnOnce()) -> (String, String) {
    thread_local! {
        static FILE: RefCell<Option<String>> = const { RefCell::new(None) };
        static FAILING: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if FAILING.get() {
                FILE.set(info.location().map(|location| location.file().to_owned()));
            } else {
                before(info);
            }
        }));
    });
    FAILING.set(true);
    let panic = catch_unwind(AssertUnwindSafe(fails)).expect_err("it must fail");
    FAILING.set(false);
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).expect("a text");
    let lines: Vec<_> = text.lines().map(without_time).collect();
    (lines.join("\n"), FILE.take().expect("a place"))
}

fn without_time(line: &str) -> String {
    match line.split_once(" ms  ") {
        Some((time, rest)) if time.trim().parse::<f64>().is_ok() => format!("# {rest}"),
        _ => line.to_owned(),
    }
}

#[track_caller]
fn fails_with(text: &str, fails: impl FnOnce()) {
    let (found, file) = failure(fails);
    assert_eq!(found, text);
    assert!(file.ends_with("testkit.rs") && file.contains("tests"), "the failure is said to be in {file}");
}

mod recording {
    use super::*;

    #[test]
    fn a_recorder_takes_nothing() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record("a.*").unwrap();

            assert!(bus.publish("a.b", 1).unwrap().is_unheard());
            assert!(bus.request("a.b", 2).unwrap_err().is_no_responders());
            assert!(bus.gather("a.b", 3).unwrap_err().is_no_responders());
            let subscriber = bus.subscribe("a.b").unwrap();
            assert_eq!(bus.publish("a.b", 4).unwrap().delivered(), 1);
            assert_eq!(*subscriber.recv().unwrap(), 4);

            let expected = [Kind::Published(1), unheard(1), Kind::Requested(2), Kind::Requested(3), Kind::Published(4)];
            assert_eq!(what(&recorder), expected.map(|what| ("a.b".to_owned(), what)));
        });
    }

    /// Publishes and requests in every way, with nobody there; and what could count recorders.
    fn nobody_is_there(bus: &Bus<u32>) -> (usize, usize, u64, u64, u64) {
        let publisher = bus.publisher("a.b").unwrap();
        let deliveries = [
            bus.publish_retained("a.b", 1).unwrap(),
            publisher.publish(2).unwrap(),
            publisher.try_publish(3).unwrap(),
            publisher.publish_all([4]).unwrap(),
            publisher.message(5).header("tenant", "acme").timeout(LONG).publish().unwrap(),
        ];
        assert!(deliveries.iter().all(|delivery| delivery.is_unheard() && delivery.dropped() == 0));
        assert!(bus.message("a.b", 6).header("tenant", "acme").request().unwrap_err().is_no_responders());
        assert!(bus.gather("a.b", 7).unwrap_err().is_no_responders());
        let tramline::BusStats { topics, subscriptions, unheard, dropped, abandoned, .. } = bus.stats();
        assert!(subscriptions.is_empty(), "{subscriptions:?}");
        (publisher.subscriber_count(), topics, unheard, dropped, abandoned)
    }

    #[test]
    fn a_recorder_counts_nowhere() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorders = ["a.b", "a.*", ">"].map(|pattern| TestKit::new(&bus).record(pattern).unwrap());
            assert_eq!(nobody_is_there(&bus), nobody_is_there(&Bus::new()));
            assert!(!bus.stats().to_string().contains("recorder"), "{}", bus.stats());

            let _subscriber = bus.subscribe("a.b").unwrap();
            let publisher = bus.publisher("a.b").unwrap();
            assert_eq!((publisher.publish(8).unwrap().delivered(), publisher.subscriber_count()), (1, 1));
            assert_eq!(bus.stats().subscriptions.len(), 1);
            for recorder in &recorders {
                let seen = recorder.recorded().iter().filter_map(|one| one.message().copied()).collect::<Vec<_>>();
                assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8]);
            }
            let report = bus.drain(NOW);
            assert_eq!((report.remaining(), report.unfinished().len()), (1, 1));
        });
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn metrics_do_not_show_a_recorder() {
        use metrics_util::debugging::{DebugValue, DebuggingRecorder};

        let bus = Bus::<u32>::new();
        let _recorder = TestKit::new(&bus).record(">").unwrap();
        bus.fire("a", 1);
        let recorder = DebuggingRecorder::new();
        metrics::with_local_recorder(&recorder, || bus.record_metrics());
        let recorded = recorder.snapshotter().snapshot().into_vec();
        let values = |name: &str| {
            let named = recorded.iter().filter(|(key, ..)| key.key().name() == name);
            named.map(|(.., value)| value).collect::<Vec<_>>()
        };
        assert_eq!(values("tramline_subscriptions"), [&DebugValue::Gauge(0.0.into())]);
        assert!(values("tramline_queue_depth").is_empty() && values("tramline_queue_capacity").is_empty());
    }

    #[test]
    fn headers_are_recorded_with_messages_requests_and_dead_letters() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let recorder = kit.record(">").unwrap();
            kit.reply_to("ask").unwrap().with(42);
            let message = |topic| bus.message(topic, 7).header("tenant", "acme").header("user", "42");
            let full = bus.subscription("full").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
            message("full").publish_retained().unwrap();
            bus.publish("full", 8).unwrap();
            assert_eq!(message("ask").request().unwrap().wait().unwrap(), 42);
            assert_eq!(message("ask").gather().unwrap().collect_within(LONG), [42]);
            drop(full);
            let lines: Vec<_> = recorder.recorded().iter().map(|one| without_time(&one.to_string())).collect();
            let expected = [
                "# published    full  7  {\"tenant\": \"acme\", \"user\": \"42\"}",
                "# published    full  8",
                "# dead letter  full  7: it was the oldest in a full mailbox  {\"tenant\": \"acme\", \"user\": \"42\"}",
                "# requested    ask  7  {\"tenant\": \"acme\", \"user\": \"42\"}",
                "# replied      ask  42",
                "# requested    ask  7  {\"tenant\": \"acme\", \"user\": \"42\"}",
                "# replied      ask  42",
            ];
            assert_eq!(lines, expected);
            let tenants =
                recorder.recorded().iter().map(|one| one.headers().get("tenant").is_some()).collect::<Vec<_>>();
            assert_eq!(tenants, [true, false, true, true, false, true, false]);
        });
    }

    #[cfg(feature = "async")]
    #[test]
    fn headers_of_what_tasks_publish_are_recorded() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record("a").unwrap();
            let _subscriber = bus.subscribe("a").unwrap();
            let message = |n| bus.message("a", n).header("n", n.to_string());
            futures_lite::future::block_on(async {
                message(1).publish_async().await.unwrap();
                message(2).publish_retained_async().await.unwrap();
                drop(message(3).request_async().await.unwrap());
            });
            let recorded = recorder.recorded();
            let headers: Vec<_> = recorded.iter().map(|one| one.headers().get("n")).collect();
            assert_eq!(headers, [Some("1"), Some("2"), Some("3")]);
        });
    }

    #[test]
    fn it_sees_every_way_to_publish() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record("a").unwrap();
            let publisher = bus.publisher("a").unwrap();
            bus.publish("a", 1).unwrap();
            bus.try_publish("a", 2).unwrap();
            bus.publish_timeout("a", 3, LONG).unwrap();
            bus.fire("a", 4);
            bus.publish_retained("a", 5).unwrap();
            publisher.publish(6).unwrap();
            publisher.publish_all([7, 8]).unwrap();
            let messages: Vec<_> =
                recorder.recorded().iter().filter_map(|recorded| recorded.message().copied()).collect();
            assert_eq!(messages, [1, 2, 3, 4, 5, 6, 7, 8]);
        });
    }

    #[cfg(feature = "async")]
    #[test]
    fn it_sees_what_tasks_publish() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let recorder = kit.record("a").unwrap();
            kit.reply_to("a").unwrap().with(42);
            futures_lite::future::block_on(async {
                bus.publish_async("a", 1).await.unwrap();
                assert_eq!(bus.request_async("a", 2).await.unwrap().await.unwrap(), 42);
            });
            let expected = [Kind::Published(1), Kind::Requested(2), Kind::Replied("42".to_owned())];
            assert_eq!(what(&recorder), expected.map(|what| ("a".to_owned(), what)));
        });
    }

    #[test]
    fn only_what_matches_is_recorded() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record("a.>").unwrap();
            for topic in ["a", "b", "a.b", "b.a", "a.b.c"] {
                bus.fire(topic, 1);
            }
            assert_eq!(topics(&recorder), ["a.b", "a.b", "a.b.c", "a.b.c"]); // each with its dead letter
        });
    }

    #[test]
    fn causes_come_before_effects() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record(">").unwrap();
            let (second, third) = (bus.publisher("second").unwrap(), bus.publisher("third").unwrap());
            let _one = bus.on("first", relay(second)).unwrap();
            let _two = bus.on("second", relay(third)).unwrap();
            let _three = bus.on("third", |_| {}).unwrap();
            for n in 0..200 {
                bus.publish("first", n).unwrap();
            }
            let recorded = recorder.wait_for(600, LONG);
            let place = |topic: &str, n| {
                recorded.iter().position(|one| one.topic == *topic && one.message() == Some(&n)).expect("it is there")
            };
            for n in 0..200 {
                assert!(place("first", n) < place("second", n));
                assert!(place("second", n) < place("third", n));
            }
            assert!(recorded.is_sorted_by_key(|one| one.at));
        });
    }

    #[test]
    fn it_has_a_message_before_any_mailbox_however_late_it_was_made() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let (sender, seen) = channel();
            let recorder = Arc::new(OnceLock::<Recorder<u32>>::new());
            let look = || {
                let (recorder, sender) = (Arc::clone(&recorder), sender.clone());
                move |_: &u32| sender.send(recorder.get().unwrap().recorded().len()).is_ok()
            };
            let _earlier = bus.subscription("a").filter(look()).open().unwrap();
            recorder.set(TestKit::new(&bus).record("a").unwrap()).unwrap();
            let _later = bus.subscription("a").filter(look()).open().unwrap();
            bus.publish("a", 1).unwrap();
            bus.publish_retained("a", 2).unwrap();
            assert_eq!(seen.try_iter().collect::<Vec<_>>(), [1, 1, 2, 2]);
        });
    }

    #[test]
    fn it_makes_nobody_wait_and_loses_nothing() {
        within_limit(|| {
            let bus = Bus::<u32>::builder().capacity(1).build();
            let recorder = TestKit::new(&bus).record("a").unwrap();
            for n in 0..5000 {
                bus.publish("a", n).unwrap();
            }
            let recorded = recorder.wait_for(5000, NOW);
            assert!(recorded.iter().zip(0..).all(|(recorded, n)| recorded.message() == Some(&n)));
            assert_eq!(bus.stats().dropped, 0);
        });
    }

    #[test]
    fn losses_are_recorded_where_they_happen() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record("a").unwrap();
            let _latest = bus.subscription("a").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
            bus.publish("a", 1).unwrap();
            bus.publish("a", 2).unwrap();
            let evicted = Kind::DeadLetter { payload: 1, reason: DeadLetterReason::Evicted, attempts: 0 };
            let expected = [Kind::Published(1), Kind::Published(2), evicted];
            assert_eq!(what(&recorder), expected.map(|what| ("a".to_owned(), what)));
        });
    }

    #[test]
    fn a_handler_that_gives_up_is_recorded_with_its_attempts() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record("print").unwrap();
            let printer = bus.subscription("print").retry(Retry::fixed(2, Duration::ZERO));
            let _printer = printer.handle(|_| Err::<(), _>("no paper")).unwrap();
            bus.publish("print", 7).unwrap();
            let letters = recorder.wait_for_dead_letters(1, LONG);
            let reason = DeadLetterReason::Failed("no paper".to_owned());
            assert_eq!(kind(&letters[0]), Kind::DeadLetter { payload: 7, reason, attempts: 3 });
            let line = without_time(&letters[0].to_string());
            assert_eq!(line, "# dead letter  print  7: its handler failed: no paper, 3 attempts");
        });
    }

    #[test]
    fn each_recorder_has_its_own_list() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let (one, other) = (kit.record("a").unwrap(), kit.record("*").unwrap());
            let _subscriber = bus.subscribe(">").unwrap();
            bus.publish("a", 1).unwrap();
            bus.publish("b", 2).unwrap();
            assert_eq!((topics(&one).len(), topics(&other).len()), (1, 2));
        });
    }

    #[test]
    fn dropping_a_recorder_leaves_nothing_behind() {
        within_limit(|| {
            let bus = Bus::<Arc<()>>::new();
            let recorder = TestKit::new(&bus).record("a").unwrap();
            let payload = Arc::new(());
            bus.fire("a", Arc::clone(&payload));
            assert_eq!((Arc::strong_count(&payload), bus.stats().dead_letters), (3, 1));
            drop(recorder);
            bus.fire("a", Arc::clone(&payload));
            assert_eq!(bus.stats().dead_letters, 1);
            assert_eq!((bus.stats().topics, Arc::strong_count(&payload)), (0, 1));
        });
    }

    #[test]
    fn what_was_recorded_outlives_kit_and_bus() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let recorder = kit.record("a").unwrap();
            bus.fire("a", 1);
            drop((kit, bus));
            recorder.assert_published("a", &1);
        });
    }

    #[test]
    fn a_kit_does_not_keep_the_bus_open() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let _recorder = kit.record(">").unwrap();
            kit.reply_to("ask").unwrap().with(1);
            kit.panic_on("work", 1).unwrap();
            kit.always_full("full", Overflow::Block).unwrap();
            let subscriber = bus.subscribe("a").unwrap();
            drop(bus);
            assert!(subscriber.recv().unwrap_err().is_closed());
            let error = kit.record("a").unwrap_err();
            assert_eq!(error.to_string(), "cannot subscribe: the bus is closed");
        });
    }

    #[test]
    fn neither_payloads_nor_replies_have_to_be_more_than_the_bus_asks_for() {
        within_limit(|| {
            struct Opaque;
            let bus = Bus::<Cell<u32>, Box<dyn Error + Send>>::builder().build();
            let recorder = TestKit::new(&bus).record("a").unwrap();
            bus.fire("a", Cell::new(1));
            recorder.assert_published("a", &Cell::new(1));

            let bus = Bus::<(), Opaque>::builder().build();
            let kit = TestKit::new(&bus);
            let script: Script<(), Opaque> = kit.reply_to("a").unwrap().then_ignore();
            assert_eq!(format!("{script:?}"), "Script { answers: 1, .. }");
        });
    }

    #[test]
    fn threads_may_share_a_recorder() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record("a").unwrap();
            let both = Barrier::new(3);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        both.wait();
                        recorder.wait_for(100, LONG);
                    });
                }
                both.wait();
                (0..100).for_each(|n| bus.fire("a", n));
            });
        });
    }

    #[test]
    fn a_clone_may_publish_what_is_recorded() {
        /// Publishes when it is cloned, once.
        struct Loud(Arc<AtomicBool>, Bus<Loud>);
        impl Clone for Loud {
            fn clone(&self) -> Self {
                if self.0.swap(false, Ordering::Relaxed) {
                    self.1.fire("a", self.clone());
                }
                Self(Arc::clone(&self.0), self.1.clone())
            }
        }
        within_limit(|| {
            let bus = Bus::<Loud>::new();
            let recorder = TestKit::new(&bus).record("a").unwrap();
            let armed = Arc::new(AtomicBool::new(false));
            bus.fire("a", Loud(Arc::clone(&armed), bus.clone()));
            let before = topics(&recorder).len();
            armed.store(true, Ordering::Relaxed);
            let _ = recorder.recorded(); // clones, and so publishes
            assert!(!armed.load(Ordering::Relaxed));
            assert_eq!(topics(&recorder).len(), 2 * before);
            // The payloads hold the bus, and the recorder what it recorded of them.
            bus.close();
        });
    }
}

mod asserting {
    use super::*;

    #[test]
    fn waiting_ends_when_the_last_message_comes() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record("a").unwrap();
            let publisher = bus.publisher("a").unwrap();
            let publishing = thread::spawn(move || (1..=3).for_each(|n| publisher.fire(n)));
            let recorded = recorder.wait_for(3, Duration::MAX);
            assert_eq!(recorded.iter().filter_map(Recorded::message).collect::<Vec<_>>(), [&1, &2, &3]);
            publishing.join().unwrap();
        });
    }

    #[test]
    fn too_few_messages_are_listed() {
        within_limit(|| {
            let bus = Bus::<&str, u32>::builder().build();
            let kit = TestKit::new(&bus);
            let recorder = kit.record(">").unwrap();
            kit.reply_to("price.*").unwrap().with(350).then_fail("out of stock").then_ignore();
            let _orders = bus.subscribe("order.*").unwrap();
            bus.publish("order.new", "tea").unwrap();
            for _ in 0..3 {
                let _ = bus.request("price.tea", "a pound").unwrap().wait();
            }
            bus.fire("order.old.gone", "soup");
            let text = "\
waited 1ms for 6 messages, got 5; recorded on `>`:
# published    order.new  \"tea\"
# requested    price.tea  \"a pound\"
# replied      price.tea  350
# requested    price.tea  \"a pound\"
# refused      price.tea  out of stock
# requested    price.tea  \"a pound\"
# ignored      price.tea
# published    order.old.gone  \"soup\"
# dead letter  order.old.gone  \"soup\": no subscription wanted it";
            fails_with(text, || drop(recorder.wait_for(6, Duration::from_millis(1))));
        });
    }

    #[test]
    fn nothing_at_all_is_told_as_such() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record("a.*").unwrap();
            let text = "waited 0ns for 1 message, got 0; nothing was recorded on `a.*`";
            fails_with(text, || drop(recorder.wait_for(1, NOW)));
            let text = "waited 0ns for 2 dead letters, got 0; nothing was recorded on `a.*`";
            fails_with(text, || drop(recorder.wait_for_dead_letters(2, NOW)));
        });
    }

    #[test]
    fn published_is_what_and_where() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record(">").unwrap();
            let _subscriber = bus.subscribe(">").unwrap();
            bus.publish("a.b", 1).unwrap();
            let _pending = bus.request("a.c", 2).unwrap();
            recorder.assert_published("a.b", &1);
            recorder.assert_published("a.c", &2);
            recorder.assert_published("a.*", &2);
            recorder.assert_published_where(">", |n| n % 2 == 0);

            let list = "recorded on `>`:\n# published    a.b  1\n# requested    a.c  2";
            fails_with(&format!("2 was not published on `a.b`; {list}"), || recorder.assert_published("a.b", &2));
            fails_with(&format!("1 was not published on `b.*`; {list}"), || recorder.assert_published("b.*", &1));
            let text = format!("a message that the closure accepts was not published on `a.*`; {list}");
            fails_with(&text, || recorder.assert_published_where("a.*", |n| *n > 2));
            let (found, _) = failure(|| recorder.assert_published("a..b", &1));
            assert!(found.contains("a..b"), "{found}");
        });
    }

    #[test]
    fn a_dead_letter_is_not_published() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let _latest = bus.subscription("a").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
            bus.publish("a", 1).unwrap();
            let recorder = TestKit::new(&bus).record("a").unwrap();
            recorder.assert_no_dead_letters();
            bus.publish("a", 2).unwrap();
            let list =
                "recorded on `a`:\n# published    a  2\n# dead letter  a  1: it was the oldest in a full mailbox";
            fails_with(&format!("1 was not published on `a`; {list}"), || recorder.assert_published("a", &1));
            fails_with(&format!("expected no dead letters, got 1; {list}"), || recorder.assert_no_dead_letters());
        });
    }

    #[test]
    fn more_is_what_comes_beyond_what_was_waited_for() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let recorder = TestKit::new(&bus).record("a").unwrap();
            let _subscriber = bus.subscribe("a").unwrap();
            recorder.assert_nothing_more(NOW);
            recorder.assert_nothing_more(Duration::from_millis(2));
            recorder.assert_no_dead_letters();
            bus.fire("a", 1);
            let text = "expected no message, got 1; recorded on `a`:\n# published    a  1";
            fails_with(text, || recorder.assert_nothing_more(LONG));
            recorder.wait_for(1, NOW);
            recorder.assert_nothing_more(NOW);
            bus.fire("a", 2);
            let text =
                "expected 1 message and no more, got 2; recorded on `a`:\n# published    a  1\n# published    a  2";
            fails_with(text, || recorder.assert_nothing_more(NOW));
            assert_eq!(recorder.wait_for(1, NOW).len(), 1);
            recorder.wait_for(2, NOW);
            recorder.wait_for(1, NOW); // what was waited for before counts
            recorder.assert_nothing_more(NOW);
        });
    }

    #[test]
    fn replies_and_dead_letters_are_not_more() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let recorder = kit.record("a").unwrap();
            kit.reply_to("a").unwrap().with(2);
            assert_eq!(bus.request("a", 1).unwrap().wait().unwrap(), 2);
            recorder.wait_for(1, NOW);
            recorder.assert_nothing_more(NOW);
        });
    }
}

mod idling {
    use super::*;

    #[test]
    fn idle_is_after_the_last_of_a_chain_of_handlers() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let sum = Arc::new(AtomicU32::new(0));
            let total = Arc::clone(&sum);
            let (second, third) = (bus.publisher("second").unwrap(), bus.publisher("third").unwrap());
            let _one = bus.on("first", relay(second)).unwrap();
            let _two = bus.on("second", relay(third)).unwrap();
            let _three = bus.on("third", move |n| _ = total.fetch_add(**n, Ordering::Relaxed)).unwrap();
            let mut expected = 0;
            for n in 1..=200 {
                bus.publish("first", n).unwrap();
                expected += n;
                if n % 10 == 0 {
                    kit.wait_until_idle(LONG);
                    assert_eq!(sum.load(Ordering::Relaxed), expected);
                }
            }
            assert!(!bus.is_closed());
        });
    }

    #[test]
    fn a_busy_handler_is_not_idle() {
        within_limit(|| {
            let bus = Bus::<u32>::builder().name("shop").build();
            let kit = TestKit::new(&bus);
            let (go, gate) = channel::<()>();
            let (begun, has_begun) = channel::<()>();
            let handler = move |_: &tramline::Message<u32>| {
                begun.send(()).unwrap();
                let _ = gate.recv();
            };
            let _handler = bus.subscription("work").name("worker").handle(handler).unwrap();
            bus.publish("work", 1).unwrap();
            // Before that the message is in the queue, and no worker is busy.
            has_begun.recv().unwrap();
            let (text, file) = failure(|| kit.wait_until_idle(Duration::from_millis(1)));
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("not idle after 1ms, busy handler threads: 1"));
            assert!(lines.next().is_some_and(|line| line.starts_with("shop: 1 topic, 1 subscription")), "{text}");
            assert!(text.contains("worker"), "{text}");
            assert!(file.ends_with("testkit.rs") && file.contains("tests"), "{file}");
            drop(go);
            kit.wait_until_idle(LONG);
        });
    }

    #[test]
    fn a_message_that_waits_for_its_reader_is_not_idle() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let subscriber = bus.subscribe("a").unwrap();
            kit.wait_until_idle(NOW);
            bus.fire("a", 1);
            let (text, _) = failure(|| kit.wait_until_idle(NOW));
            assert!(text.starts_with("not idle after 0ns, busy handler threads: 0\n"), "{text}");
            assert!(text.contains("1/256"), "{text}");
            let _ = subscriber.recv().unwrap();
            kit.wait_until_idle(NOW);
        });
    }

    #[test]
    fn a_bus_that_is_gone_is_told_as_such() {
        within_limit(|| {
            let kit = TestKit::new(&Bus::<u32>::new());
            fails_with("the bus is gone: its last handle was dropped", || kit.wait_until_idle(NOW));
        });
    }

    #[test]
    fn a_handler_may_wait_for_the_others() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let (done, is_done) = channel();
            let _handler = bus
                .on("work", move |_| {
                    kit.wait_until_idle(LONG);
                    done.send(()).unwrap();
                })
                .unwrap();
            bus.publish("work", 1).unwrap();
            is_done.recv().unwrap();
        });
    }

    #[test]
    fn a_hub_is_idle_when_all_its_buses_are() {
        within_limit(|| {
            let hub = Hub::new();
            let sum = Arc::new(AtomicU32::new(0));
            let total = Arc::clone(&sum);
            let (go, gate) = channel::<()>();
            let numbers = hub.bus::<u32>();
            let _parsing =
                hub.bus::<String>().on("text", move |text| numbers.fire("number", text.parse().unwrap())).unwrap();
            let adding = move |n: &Message<u32>| {
                let _ = gate.recv();
                total.fetch_add(**n, Ordering::Relaxed);
            };
            let _adding = hub.bus::<u32>().on("number", adding).unwrap();
            hub.bus::<String>().publish("text", "42".to_owned()).unwrap();
            let (text, file) = failure(|| wait_until_hub_idle(&hub, Duration::from_millis(1)));
            assert!(text.starts_with("not idle after 1ms\nalloc::string::String: "), "{text}");
            assert!(text.contains("\nu32: "), "{text}");
            assert!(file.contains("tests"), "{file}");
            drop(go);
            wait_until_hub_idle(&hub, LONG);
            assert_eq!(sum.load(Ordering::Relaxed), 42);
        });
    }
}

mod scripts {
    use super::*;

    #[test]
    fn answers_come_in_order_and_the_last_stays() {
        within_limit(|| {
            let bus = Bus::<u32, String>::builder().build();
            let kit = TestKit::new(&bus);
            let mut calls = 0;
            kit.reply_to("ask.*")
                .unwrap()
                .with("first".to_owned())
                .then_fail("second")
                .then_ignore()
                .with("fourth".to_owned())
                .after(Duration::from_millis(1))
                .by(move |n| {
                    calls += 1;
                    format!("{calls}: {n}")
                });
            let answers: Vec<_> = (1..=6)
                .map(|n| match bus.request("ask.it", n).unwrap().wait() {
                    Ok(reply) => reply,
                    Err(error) => error.to_string(),
                })
                .collect();
            let unanswered = ReplyError::<String>::Unanswered.to_string();
            assert_eq!(answers, ["first", "the request failed: second", &unanswered, "fourth", "1: 5", "2: 6"]);
        });
    }

    #[test]
    fn an_answer_may_depend_on_headers() {
        within_limit(|| {
            let bus = Bus::<u32, String>::builder().build();
            let kit = TestKit::new(&bus);
            let script = kit.reply_to("ask.*").unwrap();
            script.by_message(|message| {
                format!("{} {} {:?}", message.topic(), **message, message.headers().get("tenant"))
            });
            let ask = || bus.message("ask.it", 7);
            assert_eq!(ask().header("tenant", "acme").request().unwrap().wait().unwrap(), "ask.it 7 Some(\"acme\")");
            assert_eq!(ask().request().unwrap().wait().unwrap(), "ask.it 7 None");
        });
    }

    #[test]
    fn an_ignored_request_is_unanswered() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            kit.reply_to("ask").unwrap().then_ignore();
            assert!(bus.request("ask", 1).unwrap().wait().unwrap_err().is_unanswered());
        });
    }

    #[test]
    fn an_empty_script_fails_every_request() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let script = kit.reply_to("ask").unwrap();
            let error = bus.request("ask", 1).unwrap().wait().unwrap_err();
            assert_eq!(error.to_string(), "the request failed: the script has no answer");
            script.with(42);
            assert_eq!(bus.request("ask", 1).unwrap().wait().unwrap(), 42);
        });
    }

    #[test]
    fn a_message_that_is_no_request_takes_no_answer() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let recorder = kit.record("ask").unwrap();
            kit.reply_to("ask").unwrap().with(1).with(2);
            bus.publish("ask", 0).unwrap();
            assert_eq!(bus.request("ask", 0).unwrap().wait().unwrap(), 1);
            assert_eq!(bus.request("ask", 0).unwrap().wait().unwrap(), 2);
            recorder.assert_no_dead_letters();
        });
    }

    #[test]
    fn a_reply_is_recorded_before_what_it_leads_to() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let recorder = kit.record(">").unwrap();
            let (go, gate) = channel::<()>();
            kit.reply_to("ask").unwrap().by(move |n| {
                let _ = gate.recv();
                n + 1
            });
            let answers = bus.publisher("answer").unwrap();
            // Called by the responder, while it answers.
            bus.request("ask", 41).unwrap().on_reply(move |reply| answers.fire(reply.unwrap()));
            drop(go);
            recorder.wait_for(2, LONG);
            let expected = [("ask", Kind::Requested(41)), ("ask", Kind::Replied("42".to_owned()))];
            let expected = expected.into_iter().chain([("answer", Kind::Published(42)), ("answer", unheard(42))]);
            kit.wait_until_idle(LONG);
            assert_eq!(what(&recorder), expected.map(|(topic, what)| (topic.to_owned(), what)).collect::<Vec<_>>());
        });
    }

    #[test]
    fn the_end_of_the_kit_cuts_a_pause_short() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            kit.reply_to("ask").unwrap().with(42).after(Duration::from_secs(3600));
            let pending = bus.request("ask", 1).unwrap();
            let (text, _) = failure(|| kit.wait_until_idle(Duration::from_millis(5)));
            assert!(text.contains("busy handler threads: 1"), "{text}");
            drop(kit);
            assert!(pending.wait().unwrap_err().is_unanswered());
            assert!(bus.request("ask", 1).unwrap_err().is_no_responders());
        });
    }

    #[test]
    fn a_pause_needs_an_answer() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let script = kit.reply_to("ask").unwrap();
            fails_with("`after` has no answer before it to delay", || drop(script.after(LONG)));
        });
    }

    #[test]
    fn a_closure_that_panics_fails_the_request() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            kit.reply_to("ask").unwrap().by(|n| 10 / n);
            assert_eq!(bus.request("ask", 5).unwrap().wait().unwrap(), 2);
            let error = bus.request("ask", 0).unwrap().wait().unwrap_err();
            assert!(error.to_string().contains("attempt to divide by zero"), "{error}");
            let error = bus.request("ask", 5).unwrap().wait().unwrap_err();
            assert_eq!(error.to_string(), "the request failed: its closure has panicked");
        });
    }
}

mod faults {
    use super::*;

    #[test]
    #[should_panic(expected = "n must be at least 1, got 0")]
    fn the_message_number_of_a_panic_begins_at_1() {
        let bus = Bus::<u32>::new();
        let _ = TestKit::new(&bus).panic_on("a", 0);
    }

    #[test]
    fn a_handler_panics_on_its_nth_message_only() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let recorder = kit.record("a").unwrap();
            kit.panic_on("a", 3).unwrap();
            for n in 1..=5 {
                bus.publish("a", n).unwrap();
            }
            kit.wait_until_idle(LONG);
            let letters = recorder.wait_for_dead_letters(1, NOW);
            let reason = DeadLetterReason::Panicked("a fault of the test kit, on message 3".to_owned());
            assert_eq!(kind(&letters[0]), Kind::DeadLetter { payload: 3, reason, attempts: 1 });
            assert_eq!(bus.stats().handler_panics, 1);
        });
    }

    #[test]
    fn a_request_fails_with_its_handler() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            kit.panic_on("ask", 2).unwrap();
            assert!(bus.request("ask", 1).unwrap().wait().unwrap_err().is_unanswered());
            let error = bus.request("ask", 1).unwrap().wait().unwrap_err();
            assert!(error.to_string().ends_with("a fault of the test kit, on message 2"), "{error}");
        });
    }

    #[test]
    fn a_full_mailbox_that_blocks() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            let recorder = kit.record("a").unwrap();
            kit.always_full("a", Overflow::Block).unwrap();
            let other = bus.subscribe("a").unwrap();
            let soon = Duration::from_millis(1);
            assert!(bus.publish_timeout("a", 1, soon).unwrap_err().is_timeout());
            let delivery = bus.try_publish("a", 2).unwrap();
            assert_eq!((delivery.delivered(), delivery.dropped()), (1, 1));
            let letters = recorder.wait_for_dead_letters(1, NOW);
            let reason = DeadLetterReason::Full;
            assert_eq!(kind(&letters[0]), Kind::DeadLetter { payload: 2, reason, attempts: 0 });
            assert_eq!(other.try_iter().count(), 2);
            kit.wait_until_idle(NOW);
        });
    }

    #[test]
    fn who_waits_at_a_full_mailbox_wakes_with_the_end_of_the_kit() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            kit.always_full("a.*", Overflow::Block).unwrap();
            let publisher = bus.publisher("a.b").unwrap();
            let (done, is_done) = channel();
            let _module = bus
                .on("work", move |n| {
                    publisher.publish(**n).unwrap();
                    done.send(()).unwrap();
                })
                .unwrap();
            bus.publish("work", 1).unwrap();
            let (text, _) = failure(|| kit.wait_until_idle(Duration::from_millis(5)));
            assert!(text.contains("busy handler threads: 1"), "{text}");
            assert!(is_done.try_recv().is_err());
            drop(kit);
            is_done.recv().unwrap();
            TestKit::new(&bus).wait_until_idle(LONG);
        });
    }

    #[test]
    fn full_mailboxes_that_do_not_block() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            kit.always_full("newest", Overflow::DropNewest).unwrap();
            kit.always_full("oldest", Overflow::DropOldest).unwrap();
            kit.always_full("disconnect", Overflow::Disconnect).unwrap();
            let publish = |topic, n| {
                let delivery = bus.publish(topic, n).unwrap();
                (delivery.delivered(), delivery.dropped())
            };
            assert_eq!([1, 2, 3].map(|n| publish("newest", n)), [(0, 1), (0, 1), (0, 1)]);
            assert_eq!([1, 2, 3].map(|n| publish("oldest", n)), [(1, 0), (1, 1), (1, 1)]);
            assert_eq!([1, 2, 3].map(|n| publish("disconnect", n)), [(0, 1), (0, 0), (0, 0)]);
            kit.wait_until_idle(NOW);
            assert!(bus.stats().to_string().contains("always full"));
        });
    }

    #[test]
    fn a_full_mailbox_holds_up_a_request() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            kit.always_full("ask", Overflow::Block).unwrap();
            let asking = bus.publisher("ask").unwrap();
            let asking = thread::spawn(move || asking.request(1).map(drop));
            bus.close();
            assert!(asking.join().unwrap().unwrap_err().is_closed());
        });
    }

    #[cfg(feature = "async")]
    #[test]
    fn a_task_waits_at_a_full_mailbox_too() {
        use futures_lite::future::{block_on, poll_once};

        within_limit(|| {
            let bus = Bus::<u32>::new();
            let kit = TestKit::new(&bus);
            kit.always_full("a", Overflow::Block).unwrap();
            block_on(async {
                let mut publishing = Box::pin(bus.publish_async("a", 1));
                assert!(poll_once(&mut publishing).await.is_none());
                drop(kit);
                assert!(publishing.await.unwrap().is_unheard());
            });
        });
    }
}
