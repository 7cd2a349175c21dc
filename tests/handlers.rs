//! Handlers and dead letters: threads, retries, panics, stopping, and what a handler may do from inside.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::collections::HashSet;
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use support::{LONG, SHORT, gate, wait_until, within_limit};
use tramline::{Bus, DeadLetterReason, Handler, Overflow, ReplyError, Retry, StopReport};

/// A handler of `work` that says when it has a message and keeps it until it is let go.
struct Held {
    handler: Handler,
    entered: Receiver<u32>,
    go: Sender<()>,
}

impl Held {
    fn new(bus: &Bus<u32>) -> Self {
        let (gate, entered, go) = gate();
        let handler = bus.on("work", move |n| gate.pass(**n)).unwrap();
        Self { handler, entered, go }
    }
}

fn publish(bus: &Bus<u32>, topic: &str, payloads: impl IntoIterator<Item = u32>) {
    for payload in payloads {
        bus.publish(topic, payload).unwrap();
    }
}

#[test]
fn h01_one_worker_runs_off_the_publishing_thread_and_in_order() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (sender, seen) = channel();
        let handler = bus.on("work", move |n| sender.send((thread::current().id(), **n)).unwrap()).unwrap();
        publish(&bus, "work", 0..1000);
        assert!(handler.stop(LONG).is_complete());
        let seen: Vec<_> = seen.iter().collect();
        assert_eq!(seen.iter().map(|(_, n)| *n).collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
        let threads: HashSet<_> = seen.iter().map(|(thread, _)| *thread).collect();
        assert_eq!(threads.len(), 1);
        assert!(!threads.contains(&thread::current().id()));
    });
}

#[test]
fn h01_n_workers_run_on_n_threads_at_the_same_time() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let all = Arc::new(Barrier::new(4));
        let (sender, seen) = channel();
        let handler = bus
            .subscription("work")
            .name("crew")
            .workers(4)
            .handle(move |_| {
                // Opens when four threads have a message each, and not before.
                all.wait();
                let thread = thread::current();
                sender.send((thread.id(), thread.name().unwrap_or_default().to_owned())).unwrap();
            })
            .unwrap();
        publish(&bus, "work", 0..4);
        assert!(handler.stop(LONG).is_complete());
        let seen: Vec<_> = seen.iter().collect();
        assert_eq!(seen.len(), 4);
        let threads: HashSet<_> = seen.iter().map(|(id, _)| *id).collect();
        assert_eq!(threads.len(), 4);
        assert!(!threads.contains(&thread::current().id()));
        assert!(seen.iter().all(|(_, name)| name.contains("crew")), "{seen:?}");
    });
}

#[test]
fn h01_no_workers_and_too_many_are_refused() {
    let bus = Bus::<u32>::new();
    for workers in [0, 100_000] {
        let error = bus.subscription("work").workers(workers).handle(|_| {}).unwrap_err();
        assert!(error.to_string().contains(&workers.to_string()), "{error}");
    }
    assert!(bus.stats().subscriptions.is_empty(), "nothing is left of what was refused");
}

#[test]
fn h02_a_panic_is_dead_lettered_with_its_text_and_the_next_message_is_handled() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let (sender, seen) = channel();
        let handler = bus
            .on("work", move |n| {
                assert!(**n != 3, "cannot do {}", **n);
                sender.send(**n).unwrap();
            })
            .unwrap();
        publish(&bus, "work", 1..=5);
        assert!(handler.stop(LONG).is_complete());
        assert_eq!(seen.iter().collect::<Vec<_>>(), [1, 2, 4, 5]);

        let letter = letters.recv().unwrap();
        assert_eq!(letter.topic(), &"work");
        assert_eq!(*letter.payload(), 3);
        assert_eq!(letter.reason(), &DeadLetterReason::Panicked("cannot do 3".to_owned()));
        assert_eq!(letter.attempts(), 1);
        assert!(letters.is_empty());
        assert_eq!((bus.stats().handler_panics, bus.stats().handler_failures), (1, 0));
    });
}

/// Panics when it is dropped.
struct Unruly;

impl Drop for Unruly {
    fn drop(&mut self) {
        panic_any(Unruly);
    }
}

#[test]
fn h02_a_panic_payload_may_panic_when_it_is_dropped() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let _server = bus.serve("ask", |n| if **n == 0 { panic_any(Unruly) } else { **n }).unwrap();
        assert!(bus.request("ask", 0).unwrap().wait().unwrap_err().is_failed());
        assert_eq!(bus.request("ask", 1).unwrap().wait().unwrap(), 1);
        assert_eq!(letters.recv().unwrap().attempts(), 1);

        let _picky = bus.subscription("news").filter(|_| panic_any(Unruly)).open().unwrap();
        let reader = bus.subscribe("news").unwrap();
        assert_eq!(bus.publish("news", 1).unwrap().delivered(), 1);
        assert_eq!((reader.len(), bus.stats().filter_panics), (1, 1));

        let pending = bus.request("ask", 1).unwrap();
        pending.on_reply(|_| panic_any(Unruly));
        wait_until("the callback panicked", || bus.stats().callback_panics == 1);
        assert_eq!(reader.try_iter().count(), 1);
        assert!(bus.drain(LONG).is_complete());
    });
}

#[test]
fn h02_a_panic_is_not_retried() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let handler = bus
            .subscription("work")
            .retry(Retry::fixed(3, Duration::ZERO))
            .handle(move |n| {
                count.fetch_add(1, Ordering::SeqCst);
                assert!(**n == 0, "a fixed text");
            })
            .unwrap();
        publish(&bus, "work", [1]);
        assert!(handler.stop(LONG).is_complete());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        let letter = letters.recv().unwrap();
        assert_eq!((letter.attempts(), letter.reason()), (1, &DeadLetterReason::Panicked("a fixed text".to_owned())));
    });
}

#[test]
fn h03_an_error_twice_then_success_is_handled_once_and_makes_no_dead_letter() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let (sender, attempts) = channel();
        let mut failures = 0;
        let handler = bus
            .subscription("work")
            .retry(Retry::fixed(3, Duration::from_millis(1)))
            .handle(move |n| {
                sender.send(**n).unwrap();
                failures += 1;
                if failures <= 2 { Err("not yet") } else { Ok(()) }
            })
            .unwrap();
        publish(&bus, "work", [7, 8]);
        assert!(handler.stop(LONG).is_complete());
        // Three attempts at the first, one at the second: handled once each, and in order.
        assert_eq!(attempts.iter().collect::<Vec<_>>(), [7, 7, 7, 8]);
        assert!(letters.is_empty());
        let stats = bus.stats();
        assert_eq!((stats.handler_failures, stats.dead_letters), (0, 0));
    });
}

#[test]
fn h03_an_error_every_time_is_one_dead_letter_with_the_error_and_four_attempts() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let calls = Arc::new(AtomicUsize::new(0));
        for retry in [Retry::fixed(3, Duration::ZERO), Retry::exponential(3, Duration::from_micros(1))] {
            let count = Arc::clone(&calls);
            let handler = bus
                .subscription("work")
                .retry(retry)
                .handle(move |_| {
                    count.fetch_add(1, Ordering::SeqCst);
                    Err::<(), _>("no paper")
                })
                .unwrap();
            publish(&bus, "work", [7]);
            assert!(handler.stop(LONG).is_complete());
            assert_eq!(calls.swap(0, Ordering::SeqCst), 4);
            let letter = letters.recv().unwrap();
            assert_eq!((*letter.payload(), letter.attempts()), (7, 4));
            assert_eq!(letter.reason(), &DeadLetterReason::Failed("no paper".to_owned()));
            assert!(letters.is_empty());
        }
        assert_eq!(bus.stats().handler_failures, 2);
    });
}

#[test]
fn h03_without_retry_the_first_error_is_the_last() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let handler = bus.on("work", |_| Err::<(), _>("no paper")).unwrap();
        publish(&bus, "work", [7]);
        assert!(handler.stop(LONG).is_complete());
        assert_eq!(letters.recv().unwrap().attempts(), 1);
    });
}

#[test]
fn h03_a_stop_past_its_deadline_and_a_drop_do_not_wait_for_a_long_retry() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let hopeless = || {
            let (sender, tried) = channel();
            let handler = bus
                .subscription("work")
                .retry(Retry::fixed(u32::MAX, Duration::MAX))
                .handle(move |_| {
                    sender.send(()).unwrap();
                    Err::<(), _>("no paper")
                })
                .unwrap();
            publish(&bus, "work", [7]);
            tried.recv().unwrap();
            handler
        };
        // The deadline cut it short, so it is not complete, however soon the thread ends then.
        let report = hopeless().stop(Duration::from_millis(10));
        assert_eq!((report.running(), report.is_complete()), (1, false));
        assert_eq!(letters.recv().unwrap().attempts(), 1);
        drop(hopeless());
        assert_eq!(letters.recv().unwrap().attempts(), 1);
    });
}

#[test]
fn h04_stop_finishes_what_is_queued() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let Held { handler, entered, go } = Held::new(&bus);
        publish(&bus, "work", 0..10);
        assert_eq!(entered.recv().unwrap(), 0);
        let stopping = thread::spawn(move || handler.stop(LONG));
        // Unsubscribed at once: what comes now is not for it.
        wait_until("the handler has left", || bus.stats().subscriptions.is_empty());
        assert!(bus.publish("work", 99).unwrap().is_unheard());
        drop(go);
        let report = stopping.join().unwrap();
        assert_eq!((report.remaining(), report.running(), report.is_complete()), (0, 0, true));
        assert_eq!(entered.iter().collect::<Vec<_>>(), (1..10).collect::<Vec<_>>());
    });
}

#[test]
fn h04_stop_of_an_idle_handler_needs_no_time() {
    within_limit(|| {
        for round in 0..100 {
            let bus = Bus::<u32>::new();
            let handled = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&handled);
            let handler =
                bus.subscription("work").workers(4).handle(move |_| _ = count.fetch_add(1, Ordering::SeqCst)).unwrap();
            if round % 2 == 0 {
                publish(&bus, "work", 0..4);
                wait_until("the messages are handled", || handled.load(Ordering::SeqCst) == 4);
            }
            let report = handler.stop(Duration::ZERO);
            assert!(report.is_complete(), "{round}: {report:?}");
        }
    });
}

#[test]
fn h04_stop_past_the_deadline_counts_busy_workers_alone() {
    within_limit(|| {
        for round in 0..100 {
            let bus = Bus::<u32>::new();
            let (gate, entered, _go) = gate();
            let handler = bus.subscription("work").workers(4).handle(move |n| gate.pass(**n)).unwrap();
            publish(&bus, "work", [1]);
            entered.recv().unwrap();
            let report = handler.stop(Duration::from_millis(round % 5));
            assert_eq!((report.remaining(), report.running()), (0, 1), "{round}: {report:?}");
        }
    });
}

#[test]
fn h04_stop_past_the_deadline_reports_what_was_left() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let Held { handler, entered, go } = Held::new(&bus);
        publish(&bus, "work", 0..5);
        let request = bus.request("work", 5).unwrap();
        assert_eq!(entered.recv().unwrap(), 0);
        let report = handler.stop(Duration::from_millis(20));
        assert_eq!((report.remaining(), report.running(), report.is_complete()), (5, 1, false));
        // What was reported as left is dropped, while the thread is still busy, and not handled after all.
        assert!(matches!(request.wait_timeout(LONG), Err(ReplyError::Unanswered)));
        drop(go);
        assert!(entered.recv().is_err());
    });
}

#[test]
fn h04_a_second_stop_is_not_possible_by_type() {
    // `stop` takes the handler away, and a handler cannot be cloned: the compiler refuses the second call.
    let _by_value: fn(Handler, Duration) -> StopReport = Handler::stop;
}

#[test]
fn h04_stop_without_limit_of_a_handler_without_work_returns() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        for workers in [1, 3] {
            let handler = bus.subscription("work").workers(workers).handle(|_| {}).unwrap();
            assert!(handler.stop(Duration::MAX).is_complete());
        }
    });
}

#[test]
fn h05_dropping_a_handler_unsubscribes_and_the_message_in_hand_is_finished() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let finished = Arc::new(Mutex::new(Vec::new()));
        let (gate, entered, go) = gate();
        let done = Arc::clone(&finished);
        let handler = bus
            .on("work", move |n| {
                gate.pass(());
                done.lock().unwrap().push(**n);
            })
            .unwrap();
        publish(&bus, "work", 0..3);
        entered.recv().unwrap();
        drop(handler);
        // It did not wait for the message in hand.
        assert!(finished.lock().unwrap().is_empty());
        assert!(bus.stats().subscriptions.is_empty());
        assert!(bus.publish("work", 9).unwrap().is_unheard());
        drop(go);
        // The closure is dropped when its thread ends.
        assert!(entered.recv().is_err());
        assert_eq!(*finished.lock().unwrap(), [0]);
    });
}

/// Runs `act` inside a handler that has been handed itself, and waits until it has returned.
fn inside(bus: &Bus<u32>, mut act: impl FnMut(&Bus<u32>, Handler) + Send + 'static) {
    let (hand_over, handed) = channel::<Handler>();
    let (done, ended) = channel();
    let weak = bus.downgrade();
    let handler = bus
        .subscription("inside")
        .capacity(2)
        .handle(move |_| {
            let Ok(own) = handed.recv() else { return };
            act(&weak.upgrade().unwrap(), own);
            done.send(()).unwrap();
        })
        .unwrap();
    publish(bus, "inside", [1]);
    hand_over.send(handler).unwrap();
    ended.recv_timeout(LONG).unwrap();
}

#[test]
fn h06_a_handler_may_unsubscribe_itself() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        inside(&bus, |_, own| drop(own));
        assert!(bus.stats().subscriptions.is_empty());
        inside(&bus, |bus, own| {
            publish(bus, "inside", [2]);
            let report = own.stop(Duration::MAX);
            // It cannot wait for itself.
            assert_eq!((report.remaining(), report.running()), (1, 1));
        });
        assert!(bus.stats().subscriptions.is_empty());
        assert!(bus.publish("inside", 3).unwrap().is_unheard());
    });
}

#[test]
fn h06_a_handler_may_publish_and_subscribe() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        inside(&bus, |bus, _own| {
            let heard = bus.subscribe("heard").unwrap();
            publish(bus, "heard", [5]);
            publish(bus, "inside", [6]);
            assert_eq!(*heard.recv().unwrap(), 5);
            let nested = bus.serve("nested", |n| **n + 1).unwrap();
            assert_eq!(bus.request("nested", 1).unwrap().wait().unwrap(), 2);
            assert!(nested.stop(LONG).is_complete());
            bus.publish_retained("kept", 1).unwrap();
            assert_eq!(bus.clear_retained("kept"), Some(1));
        });
    });
}

#[test]
fn h06_a_handler_may_close_the_bus() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let reader = bus.subscribe("other").unwrap();
        inside(&bus, |bus, _own| {
            bus.close();
            assert!(bus.publish("inside", 2).unwrap_err().is_closed());
        });
        assert!(reader.recv().unwrap_err().is_closed());
    });
}

#[test]
fn h06_a_handler_may_drain_the_bus_without_limit() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (sender, seen) = channel();
        let _other = bus.on("other", move |n| sender.send(**n).unwrap()).unwrap();
        publish(&bus, "other", 0..100);
        inside(&bus, |bus, _own| assert!(bus.drain(Duration::MAX).is_complete()));
        assert_eq!(seen.iter().count(), 100);
    });
}

#[test]
fn h06_a_handler_that_drains_does_not_wait_for_what_only_it_could_handle() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        inside(&bus, |bus, _own| {
            publish(bus, "inside", [2]);
            let _report = bus.drain(Duration::MAX);
        });
        assert!(bus.is_closed());
    });
}

#[test]
fn h06_a_handler_may_drop_the_last_bus() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let reader = bus.subscribe("other").unwrap();
        let (hand_over, handed) = channel::<Bus<u32>>();
        let _handler = bus
            .on("inside", move |_| {
                let Ok(last) = handed.recv() else { return };
                publish(&last, "other", [1]);
                drop(last);
            })
            .unwrap();
        publish(&bus, "inside", [1]);
        hand_over.send(bus).unwrap();
        assert_eq!(*reader.recv().unwrap(), 1);
        assert!(reader.recv().unwrap_err().is_closed());
    });
}

#[test]
fn h07_a_reader_that_republishes_to_nowhere_does_not_loop() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        publish(&bus, "nobody", 0..3);
        let mut read = 0;
        while let Ok(letter) = letters.try_recv() {
            read += 1;
            assert!(read <= 3, "the letters feed back");
            assert!(bus.publish("nobody", letter.into_payload()).unwrap().is_unheard());
        }
        assert_eq!(read, 3);
        // Not a letter, but counted.
        assert_eq!((bus.stats().unheard, bus.stats().dead_letters), (6, 3));
        publish(&bus, "nobody", [9]);
        assert_eq!(letters.recv().unwrap().into_payload(), 9);
    });
}

#[test]
fn h07_a_reader_with_a_thread_of_its_own_does_not_loop_either() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let full = bus.subscription("full").capacity(1).overflow(Overflow::DropNewest).open().unwrap();
        let again = bus.downgrade();
        let reader = thread::spawn(move || {
            let mut read = 0;
            for letter in letters.iter() {
                read += 1;
                if let Some(bus) = again.upgrade() {
                    bus.fire("full", letter.into_payload());
                }
            }
            read
        });
        publish(&bus, "full", 0..100);
        // Every letter is published again and lost again before the bus goes.
        wait_until("the reader is done", || bus.stats().dropped == 99 * 2);
        drop(bus);
        assert_eq!(reader.join().unwrap(), 99);
        drop(full);
    });
}

#[test]
fn h07_the_queue_of_letters_is_bounded_drops_the_oldest_and_counts() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        publish(&bus, "nobody", 0..1500);
        let kept = u32::try_from(letters.len()).unwrap();
        assert_eq!(kept, 1024);
        assert_eq!(letters.dropped(), u64::from(1500 - kept));
        assert_eq!(
            letters.try_iter().map(|letter| letter.into_payload()).collect::<Vec<_>>(),
            Vec::from_iter(1500 - kept..1500)
        );
        assert_eq!(bus.stats().dead_letters, 1500);
    });
}

#[test]
fn h07_every_reader_gets_every_letter_and_one_that_leaves_harms_no_other() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let readers: Vec<_> = (0..4).map(|_| bus.dead_letters()).collect();
        let publishing = AtomicBool::new(true);
        thread::scope(|scope| {
            // Others come and go all the while.
            scope.spawn(|| {
                while publishing.load(Ordering::Relaxed) {
                    drop(bus.dead_letters());
                }
            });
            let publisher = scope.spawn(|| publish(&bus, "nobody", 0..1000));
            publisher.join().unwrap();
            publishing.store(false, Ordering::Relaxed);
        });
        bus.close();
        for reader in readers {
            assert_eq!(reader.iter().map(|letter| letter.into_payload()).collect::<Vec<_>>(), Vec::from_iter(0..1000));
            assert!(reader.recv().unwrap_err().is_closed());
        }
    });
}

#[test]
fn h08_a_thread_that_panics_while_it_holds_handles_poisons_nothing() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let staying = bus.subscribe("work").unwrap();
        let publisher = bus.publisher("work").unwrap();
        let subscriber = bus.subscribe("work").unwrap();
        let shared = bus.subscription("work").group("g").open().unwrap();
        let member = bus.subscription("work").group("g").open().unwrap();
        let letters = bus.dead_letters();
        let pending = bus.request("work", 0).unwrap();
        let message = subscriber.recv().unwrap();
        let asked = bus.request("work", 1).unwrap();
        let last_copy =
            [staying.recv().unwrap(), staying.recv().unwrap(), shared.recv().unwrap(), shared.recv().unwrap()];
        let panicked = thread::spawn(move || {
            let _held = (publisher, subscriber, message, member, letters, pending, last_copy);
            panic!("while it holds a publisher, a subscriber and a message");
        });
        assert!(panicked.join().is_err());

        // What it held was dropped as by any other thread.
        assert!(matches!(asked.wait(), Err(ReplyError::Unanswered)));
        assert_eq!(bus.stats().subscriptions.len(), 2);
        let publisher = bus.publisher("work").unwrap();
        assert_eq!(publisher.publish(2).unwrap().delivered(), 2);
        assert_eq!((*staying.recv().unwrap(), *shared.recv().unwrap()), (2, 2));
        let letters = bus.dead_letters();
        publish(&bus, "nobody", [3]);
        assert_eq!(letters.recv().unwrap().into_payload(), 3);
        let answer = bus.request("work", 4).unwrap();
        staying.recv().unwrap().reply(5).unwrap();
        assert_eq!(answer.wait().unwrap(), 5);
    });
}

thread_local! {
    /// Payloads on this thread panic in `Clone`, in `Drop`.
    static FRAGILE: Cell<(bool, bool)> = const { Cell::new((false, false)) };
}

/// A payload that panics where a test wants it to. In the thread of a handler always in `Clone` if `poor` says so.
#[derive(Debug)]
struct Fragile {
    n: u32,
    poor: Poor,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Poor {
    /// Panics as the thread has been told to.
    AsTold,
    /// Panics in `Clone` on threads of handlers.
    CloneInHandlers,
    /// Panics in `Drop` on threads of handlers.
    DropInHandlers,
}

fn fragile(n: u32, poor: Poor) -> Fragile {
    Fragile { n, poor }
}

/// The threads of handlers have the name of the pattern.
fn in_a_handler() -> bool {
    thread::current().name().is_some_and(|name| name.starts_with("work"))
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(!FRAGILE.get().0, "in clone");
        assert!(!(self.poor == Poor::CloneInHandlers && in_a_handler()), "in clone");
        Self { n: self.n, poor: self.poor }
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        assert!(!FRAGILE.get().1, "in drop");
        assert!(!(self.poor == Poor::DropInHandlers && in_a_handler()), "in drop");
    }
}

#[test]
fn a_panic_in_the_clone_of_a_payload_reaches_its_publisher_and_nobody_else() {
    within_limit(|| {
        let bus = Bus::<Fragile>::new();
        let subscribers = [(); 3].map(|()| bus.subscribe("work").unwrap());
        let publisher = bus.clone();
        let panicked = thread::spawn(move || {
            FRAGILE.set((true, false));
            let _ = publisher.publish("work", fragile(1, Poor::AsTold));
        });
        assert!(panicked.join().is_err());
        bus.publish("work", fragile(2, Poor::AsTold)).unwrap();
        for subscriber in &subscribers {
            assert_eq!(subscriber.iter().find(|message| message.n == 2).map(|message| message.n), Some(2));
        }
        bus.close();
        assert!(subscribers.iter().all(|subscriber| subscriber.recv().unwrap_err().is_closed()));
    });
}

#[test]
fn a_panic_in_the_drop_of_a_payload_does_not_end_the_handler() {
    within_limit(|| {
        let bus = Bus::<Fragile>::new();
        let (sender, seen) = channel();
        let handler = bus.on("work", move |message| sender.send(message.n).unwrap()).unwrap();
        bus.publish("work", fragile(1, Poor::DropInHandlers)).unwrap();
        bus.publish("work", fragile(2, Poor::AsTold)).unwrap();
        assert!(handler.stop(LONG).is_complete());
        assert_eq!(seen.iter().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(bus.stats().handler_panics, 1);
    });
}

#[test]
fn a_panic_in_the_clone_of_a_retained_value_does_not_end_the_handler() {
    within_limit(|| {
        let bus = Bus::<Fragile>::new();
        bus.publish_retained("work", fragile(1, Poor::CloneInHandlers)).unwrap();
        let (sender, seen) = channel();
        let handler =
            bus.subscription("work").with_retained().handle(move |message| sender.send(message.n).unwrap()).unwrap();
        bus.publish("work", fragile(2, Poor::AsTold)).unwrap();
        assert_eq!(seen.recv_timeout(LONG), Ok(2));
        assert!(handler.stop(LONG).is_complete());
        assert!(bus.drain(LONG).is_complete());
    });
}

#[test]
fn a_panic_in_the_drop_of_a_retained_value_does_not_keep_the_bus_from_closing() {
    within_limit(|| {
        let bus = Bus::<Fragile>::new();
        let letters = bus.dead_letters();
        let reader = bus.subscribe("work").unwrap();
        bus.publish_retained("kept", fragile(1, Poor::AsTold)).unwrap();
        drop(letters.try_recv());
        let closing = bus.clone();
        // It may panic, but it has to do its work.
        let _ = thread::spawn(move || {
            FRAGILE.set((false, true));
            closing.close();
        })
        .join();
        assert!(reader.recv().unwrap_err().is_closed());
        assert!(letters.recv_timeout(LONG).unwrap_err().is_closed());
    });
}

#[test]
fn workers_that_all_publish_into_their_own_full_mailbox_do_not_wait_for_one_another() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let weak = bus.downgrade();
        let handled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&handled);
        let together = Arc::new(Barrier::new(4));
        let handler = bus
            .subscription("work")
            .capacity(2)
            .workers(4)
            .handle(move |n| {
                if **n < 4 {
                    // All four at once, into a mailbox that has room for two.
                    together.wait();
                    for again in 0..3 {
                        weak.upgrade().unwrap().publish("work", 100 + **n * 10 + again).unwrap();
                    }
                }
                count.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
        publish(&bus, "work", 0..4);
        let accounted = || handled.load(Ordering::SeqCst) + usize::try_from(bus.stats().dropped).unwrap();
        wait_until("every message is handled or lost", || accounted() == 4 + 12);
        assert!(handler.stop(LONG).is_complete());
        // Somebody had to give way, and it was told.
        let lost: Vec<_> = letters.try_iter().collect();
        assert!(!lost.is_empty());
        assert!(lost.iter().all(|letter| letter.reason() == &DeadLetterReason::SelfDeadlock), "{lost:?}");
        assert_eq!(lost.len(), usize::try_from(bus.stats().dropped).unwrap());
    });
}

#[test]
fn stopping_a_handler_wakes_a_publisher_that_waits_for_it() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, go) = gate();
        let handler = bus.subscription("work").capacity(1).handle(move |n| gate.pass(**n)).unwrap();
        publish(&bus, "work", [0]);
        entered.recv().unwrap();
        publish(&bus, "work", [1]);
        let publisher = bus.clone();
        let blocked = thread::spawn(move || publisher.publish("work", 2));
        // There is no seeing that somebody waits; either way it has to come to an end.
        let report = handler.stop(SHORT);
        assert_eq!((report.remaining(), report.running()), (1, 1));
        assert!(blocked.join().unwrap().is_ok_and(|delivery| delivery.is_unheard()));
        drop(go);
        assert!(entered.recv().is_err(), "what was left is not handled");
    });
}

#[test]
fn stopping_a_handler_does_not_wait_for_a_publisher_that_is_stuck_elsewhere() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (sender, seen) = channel();
        let handler = bus.on("work", move |n| sender.send(**n).unwrap()).unwrap();
        let stuck = bus.subscription("*").capacity(1).open().unwrap();
        publish(&bus, "work", [0]);
        let publisher = bus.clone();
        let blocked = thread::spawn(move || publisher.publish("work", 1));
        assert_eq!((seen.recv().unwrap(), seen.recv().unwrap()), (0, 1));
        assert!(handler.stop(Duration::MAX).is_complete());
        drop(stuck);
        assert_eq!(blocked.join().unwrap().unwrap().delivered(), 1);
    });
}

#[test]
fn one_member_of_a_group_may_stop_another() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, go) = gate();
        // The other member holds the first message.
        let other = bus.subscription("work").group("g").handle(move |n| gate.pass(**n)).unwrap();
        publish(&bus, "work", [1]);
        entered.recv().unwrap();
        let (sender, report) = channel();
        let mut other = Some(other);
        let mut go = Some(go);
        let _stopping = bus
            .subscription("work")
            .group("g")
            .handle(move |_| {
                drop(go.take());
                if let Some(other) = other.take() {
                    sender.send(other.stop(LONG)).unwrap();
                }
            })
            .unwrap();
        publish(&bus, "work", [2]);
        assert!(report.recv_timeout(LONG).unwrap().is_complete());
    });
}

#[test]
fn letters_of_another_bus_do_not_lift_the_ban_on_feeding_back() {
    within_limit(|| {
        let (bus, quiet) = (Bus::<u32>::new(), Bus::<u32>::new());
        let (letters, no_letters) = (bus.dead_letters(), quiet.dead_letters());
        publish(&bus, "nobody", [1]);
        let mut read = 0;
        while let Ok(letter) = letters.try_recv() {
            read += 1;
            assert!(read < 10, "the letters feed back");
            // One loop that reads the letters of two buses.
            assert!(no_letters.try_recv().is_err());
            publish(&bus, "nobody", [letter.into_payload()]);
        }
        assert_eq!(read, 1);
    });
}

#[test]
fn a_reader_dropped_by_another_thread_does_not_silence_this_one_for_ever() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        publish(&bus, "nobody", [1]);
        assert_eq!(*letters.recv().unwrap().payload(), 1);
        thread::spawn(move || drop(letters)).join().unwrap();
        let letters = bus.dead_letters();
        publish(&bus, "nobody", [2]);
        assert_eq!(letters.len(), 1);
    });
}

#[test]
fn a_worker_that_waits_elsewhere_is_no_reason_to_refuse_its_own_mailbox() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let weak = bus.downgrade();
        let (entering, entered) = channel();
        let (telling, told) = channel();
        let (gates, opened): (Vec<Sender<()>>, Vec<_>) = (0..3).map(|_| channel::<()>()).unzip();
        let opened: Vec<_> = opened.into_iter().map(Mutex::new).collect();
        let _handler = bus
            .subscription("work")
            .also("fill")
            .capacity(1)
            .workers(2)
            .handle(move |n| {
                let Some(gate) = opened.get(**n as usize) else { return };
                entering.send(**n).unwrap();
                let _ = gate.lock().unwrap().recv();
                let bus = weak.upgrade().unwrap();
                match **n {
                    0 => drop(bus.publish("work", 10)),
                    2 => telling.send(bus.publish_timeout("fill", 11, Duration::from_millis(200))).unwrap(),
                    _ => {}
                }
            })
            .unwrap();
        let stuck = bus.subscription("work").capacity(1).open().unwrap();
        let watching = bus.subscribe("work").unwrap();
        // Both workers have a message, one more fills their mailbox.
        publish(&bus, "work", [0]);
        assert_eq!(entered.recv().unwrap(), 0);
        publish(&bus, "fill", [1]);
        assert_eq!(entered.recv().unwrap(), 1);
        publish(&bus, "fill", [2]);
        // The first publishes: its own mailbox is full, and that of another subscriber too. Only the third has room.
        let mut gates = gates.into_iter();
        drop(gates.next());
        assert_eq!((*watching.recv().unwrap(), *watching.recv().unwrap()), (0, 10));
        // A moment in which it goes to sleep; the outcome is the same if it has not yet.
        assert!(watching.recv_timeout(SHORT).unwrap_err().is_timeout());
        // The second makes room in their own: the first now waits for the other subscriber alone.
        drop(gates.next());
        assert_eq!(entered.recv().unwrap(), 2);
        wait_until("the first got into its own mailbox", || bus.stats().subscriptions[0].depth == 1);
        // The second finds it full. That the first will come back to drain it is reason enough to wait.
        drop(gates.next());
        let outcome = told.recv_timeout(LONG).unwrap();
        drop(stuck);
        assert!(outcome.is_err_and(|error| error.is_timeout()), "it was refused");
    });
}

#[test]
fn a_worker_that_drains_does_not_keep_another_from_being_refused() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let together = Arc::new(Barrier::new(2));
        let (sender, outcome) = channel();
        let weak = bus.downgrade();
        // One worker drains the bus, the other then publishes into the full mailbox that only these two could empty.
        let _handler = bus
            .subscription("work")
            .capacity(1)
            .workers(2)
            .handle(move |n| {
                let bus = weak.upgrade().unwrap();
                match **n {
                    1 => {
                        together.wait();
                        let _ = bus.drain(Duration::MAX);
                    }
                    2 => {
                        together.wait();
                        wait_until("the other worker drains", || bus.is_closed());
                        bus.publish("work", 3).unwrap();
                        sender.send(bus.publish("work", 4).unwrap().dropped()).unwrap();
                    }
                    _ => {}
                }
            })
            .unwrap();
        publish(&bus, "work", [1, 2]);
        assert_eq!(outcome.recv_timeout(LONG), Ok(1));
    });
}

#[test]
fn dead_letters_are_waited_for_until_an_instant_and_iterated() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let start = std::time::Instant::now();
        assert!(letters.recv_deadline(start).unwrap_err().is_timeout());
        bus.fire("nobody.listens", 1);
        // Past its deadline it still takes what is there.
        assert_eq!(letters.recv_deadline(start).unwrap().into_payload(), 1);
        let other = bus.clone();
        let losing = thread::spawn(move || {
            (2..=4).for_each(|n| other.fire("nobody.listens", n));
            other.close();
        });
        assert_eq!(letters.recv_deadline(start + 2 * LONG).unwrap().into_payload(), 2);
        let mut seen = Vec::new();
        for letter in &letters {
            seen.push(letter.into_payload());
        }
        assert_eq!(seen, [3, 4]);
        assert!(letters.recv_deadline(start).unwrap_err().is_closed());
        assert!((&letters).into_iter().next().is_none() && letters.try_iter().next().is_none());
        losing.join().unwrap();
    });
}
