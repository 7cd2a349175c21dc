//! Stopping handlers (H13) and draining buses (L09) from tasks, also on a runtime with one thread whose tasks are the handlers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use support::{ByHand, LONG, SHORT, block_on, gate, wait_until, within_limit};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::yield_now;
use tramline::{Bus, Handler, HandlerTask, Hub, Retry};

fn on_tokio(task: HandlerTask) {
    tokio::spawn(task);
}

/// Runs the test on a runtime with one thread, on one with two, and fails if it hangs. The runtimes have no timer of their own.
fn on_each_runtime<Fut: Future<Output = ()>>(test: impl Fn() -> Fut + Send + 'static) {
    within_limit(move || {
        Builder::new_current_thread().build().unwrap().block_on(test());
        Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(test());
    });
}

/// A handler that is a task, reports each message, and waits for a permit before it is done with it.
fn held(bus: &Bus<u32>, topic: &str) -> (Handler, UnboundedReceiver<u32>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let (entering, entered) = unbounded_channel();
    let inner = Arc::clone(&gate);
    let handler = bus.on_async(topic, on_tokio, move |n| pass(**n, entering.clone(), Arc::clone(&inner)));
    (handler.unwrap(), entered, gate)
}

async fn pass(n: u32, entering: UnboundedSender<u32>, gate: Arc<Semaphore>) {
    let _ = entering.send(n);
    gate.acquire().await.unwrap().forget();
}

fn is_send<A: Send>(value: A) -> A {
    value
}

#[test]
fn h13_stop_async_finishes_what_is_queued() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let handled = Arc::new(AtomicU32::new(0));
        let (by_task, by_thread) = (Arc::clone(&handled), Arc::clone(&handled));
        let task = bus.subscription("n").workers(2).handle_async(on_tokio, move |_| {
            let handled = Arc::clone(&by_task);
            async move {
                yield_now().await;
                handled.fetch_add(1, Ordering::Relaxed);
            }
        });
        let thread = bus.subscription("n").workers(2).handle(move |_| _ = by_thread.fetch_add(100, Ordering::Relaxed));
        (0..50).for_each(|n| bus.fire("n", n));
        for handler in [task.unwrap(), thread.unwrap()] {
            let stopping = is_send(handler.stop_async(Duration::MAX));
            let report = stopping.await;
            assert!(report.is_complete(), "{report}");
        }
        assert_eq!(handled.load(Ordering::Relaxed), 50 * 101);
        assert!(bus.stats().subscriptions.is_empty());
        assert_eq!(bus.stats().abandoned, 0);
    });
}

#[test]
fn h13_stop_async_past_its_deadline_reports_what_was_left() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let (handler, mut entered, gate) = held(&bus, "n");
        (0..3).for_each(|n| bus.fire("n", n));
        assert_eq!(entered.recv().await, Some(0));
        let report = handler.stop_async(Duration::from_millis(5)).await;
        assert_eq!((report.remaining(), report.running()), (2, 1), "{report}");
        assert_eq!(bus.stats().abandoned, 2);
        gate.add_permits(9);
        assert_eq!(entered.recv().await, None, "the worker ends after the message in its hand");
        let idle = bus.on_async("n", on_tokio, |_| async {}).unwrap();
        assert!(idle.stop_async(Duration::ZERO).await.is_complete());
    });
}

#[test]
fn h13_stop_async_is_woken_by_the_end_of_the_workers() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, key) = gate();
        let handler = bus.on("n", move |n| gate.pass(**n)).unwrap();
        bus.fire("n", 1);
        entered.recv().unwrap();
        let waiting = ByHand::waiting(handler.stop_async(LONG));
        let watch = waiting.watch();
        // Not a wait for something to happen: this is the time over which nothing is polled.
        std::thread::sleep(SHORT);
        assert_eq!(watch.wakes(), 0, "it does not poll");
        drop(key);
        wait_until("it is woken", || watch.wakes() > 0);
        assert!(waiting.woken().is_complete());
    });
}

#[test]
fn h13_dropping_stop_async_drops_the_handler() {
    on_each_runtime(|| async {
        for is_polled in [false, true] {
            let bus = Bus::<u32>::new();
            let letters = bus.dead_letters();
            let gate = Arc::new(Semaphore::new(0));
            let (entering, mut entered) = unbounded_channel();
            let inner = Arc::clone(&gate);
            // An error, whose retry a handler that is dropped does not wait for.
            let handler = bus.subscription("n").retry(Retry::fixed(1, LONG)).handle_async(on_tokio, move |n| {
                let passing = pass(**n, entering.clone(), Arc::clone(&inner));
                async move {
                    passing.await;
                    Err("no")
                }
            });
            (0..3).for_each(|n| bus.fire("n", n));
            assert_eq!(entered.recv().await, Some(0));
            let mut stopping = ByHand::new(handler.unwrap().stop_async(LONG));
            if is_polled {
                assert!(stopping.poll().is_pending());
                assert!(bus.stats().subscriptions.is_empty(), "it has unsubscribed");
            } else {
                assert_eq!(bus.stats().subscriptions[0].depth, 2, "nothing has happened");
            }
            drop(stopping);
            assert!(bus.stats().subscriptions.is_empty());
            assert_eq!(bus.stats().abandoned, 2);
            gate.add_permits(9);
            assert_eq!(entered.recv().await, None, "the worker ends after the message in its hand");
            assert_eq!(*letters.recv_async().await.unwrap().payload(), 0);
        }
    });
}

#[test]
fn h13_a_task_that_stops_its_own_handler_does_not_wait_for_itself() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let own = Arc::new(std::sync::Mutex::new(None::<Handler>));
        let gate = Arc::new(Semaphore::new(0));
        let (reporting, mut reported) = unbounded_channel();
        let (inner, opened) = (Arc::clone(&own), Arc::clone(&gate));
        let stopper = bus.on_async("n", on_tokio, move |n| {
            let (n, inner, opened, reporting) = (**n, Arc::clone(&inner), Arc::clone(&opened), reporting.clone());
            async move {
                let _ = opened.acquire().await.unwrap();
                let own = inner.lock().unwrap().take();
                let report = match own {
                    Some(own) => Some(own.stop_async(Duration::MAX).await),
                    None => None,
                };
                reporting.send((n, report.map(|report| (report.remaining(), report.running())))).unwrap();
            }
        });
        *own.lock().unwrap() = Some(stopper.unwrap());
        (1..=2).for_each(|n| bus.fire("n", n));
        gate.add_permits(1);
        let (n, report) = reported.recv().await.unwrap();
        assert_eq!((n, report), (1, Some((1, 1))));
        assert_eq!(reported.recv().await, Some((2, None)), "what is queued is finished");
        assert_eq!(reported.recv().await, None);
    });
}

#[test]
fn l09_drain_async_lets_tasks_on_the_same_thread_finish() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let handled = Arc::new(AtomicU32::new(0));
        let handlers = [("ping", "pong"), ("pong", "ping")].map(|(own, other)| {
            let (weak, handled) = (bus.downgrade(), Arc::clone(&handled));
            let handler = bus.on_async(own, on_tokio, move |n| {
                let (n, weak, handled) = (**n, weak.clone(), Arc::clone(&handled));
                async move {
                    yield_now().await;
                    handled.fetch_add(1, Ordering::Relaxed);
                    if let Some(next) = n.checked_sub(1) {
                        weak.upgrade().unwrap().publish_async(other, next).await.unwrap();
                    }
                }
            });
            handler.unwrap()
        });
        bus.publish_async("ping", 9).await.unwrap();
        let draining = is_send(bus.drain_async(Duration::MAX));
        assert!(!bus.is_closed(), "nothing happens before the first poll");
        let report = draining.await;
        assert!(report.is_complete() && bus.is_closed(), "{report}");
        assert_eq!(handled.load(Ordering::Relaxed), 10);
        drop(handlers);
    });
}

#[test]
fn l09_drain_async_past_its_deadline_reports_what_was_left() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let (_handler, mut entered, gate) = held(&bus, "n");
        let unread = bus.subscription("*").name("unread").open().unwrap();
        (0..3).for_each(|n| bus.fire("n", n));
        assert_eq!(entered.recv().await, Some(0));
        let report = bus.drain_async(Duration::from_millis(5)).await;
        assert_eq!((report.remaining(), report.running(), report.unfinished().len()), (5, 1, 2), "{report}");
        assert!(report.elapsed() >= Duration::from_millis(5));
        gate.add_permits(9);
        assert_eq!((entered.recv().await, entered.recv().await, entered.recv().await), (Some(1), Some(2), None));
        assert_eq!(unread.try_iter().count(), 3);
    });
}

#[test]
fn l09_drain_handlers_async_waits_for_handlers_alone() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let (_handler, mut entered, gate) = held(&bus, "n");
        let unread = bus.subscribe("n").unwrap();
        (0..3).for_each(|n| bus.fire("n", n));
        gate.add_permits(3);
        let report = bus.drain_handlers_async(Duration::MAX).await;
        assert!(report.is_complete(), "{report}");
        assert_eq!([entered.try_recv(), entered.try_recv(), entered.try_recv()], [Ok(0), Ok(1), Ok(2)]);
        assert_eq!(unread.try_iter().count(), 3);
    });
}

#[test]
fn l09_drain_async_of_a_hub_finishes_work_that_goes_through_several_buses() {
    on_each_runtime(|| async {
        for handlers_alone in [false, true] {
            let hub = Hub::new();
            let lengths = Arc::new(AtomicUsize::new(0));
            let (weak, sum) = (hub.downgrade(), Arc::clone(&lengths));
            let _measuring = hub.bus::<String>().on_async("text", on_tokio, move |text| {
                let (length, weak) = (text.len(), weak.clone());
                async move {
                    yield_now().await;
                    weak.upgrade().unwrap().bus::<usize>().publish_async("length", length).await.unwrap();
                }
            });
            let _summing = hub.bus::<usize>().on_async("length", on_tokio, move |length| {
                let (length, sum) = (**length, Arc::clone(&sum));
                async move { _ = sum.fetch_add(length, Ordering::Relaxed) }
            });
            let _unread = handlers_alone.then(|| hub.bus::<usize>().subscribe("length").unwrap());
            for text in ["tea", "milk"] {
                hub.bus::<String>().publish_async("text", text.to_owned()).await.unwrap();
            }
            let report = if handlers_alone {
                is_send(hub.drain_handlers_async(Duration::MAX)).await
            } else {
                is_send(hub.drain_async(Duration::MAX)).await
            };
            assert!(report.is_complete() && hub.is_closed(), "{report}");
            assert_eq!(lengths.load(Ordering::Relaxed), 7);
        }
    });
}

#[test]
fn l09_a_task_that_drains_its_own_bus_does_not_wait_for_itself() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let (weak, (reporting, mut reported)) = (bus.downgrade(), unbounded_channel());
        // Two workers of one handler drain at the same time, and a third message is left for nobody.
        let _handler = bus.subscription("n").workers(2).handle_async(on_tokio, move |n| {
            let (n, bus, reporting) = (**n, weak.upgrade(), reporting.clone());
            async move {
                let Some(bus) = bus.filter(|_| n < 2) else { return };
                let report = bus.drain_async(Duration::MAX).await;
                reporting.send((report.remaining(), report.running())).unwrap();
            }
        });
        (0..3).for_each(|n| bus.fire("n", n));
        for _ in 0..2 {
            let (remaining, running) = reported.recv().await.unwrap();
            assert!(remaining <= 1 && running <= 1);
        }
        assert!(bus.is_closed());
    });
}

#[test]
fn l09_dropping_drain_async_leaves_the_bus_refusing_and_the_handlers_at_work() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let (_handler, mut entered, gate) = held(&bus, "n");
        (0..2).for_each(|n| bus.fire("n", n));
        assert_eq!(entered.recv().await, Some(0));
        drop(bus.drain_async(LONG));
        assert_eq!(bus.publish("n", 2).unwrap().delivered(), 1, "nothing happens before the first poll");
        drop(ByHand::waiting(bus.drain_async(LONG)));
        assert!(bus.is_closed() && bus.publish("n", 3).unwrap_err().is_closed());
        gate.add_permits(9);
        assert_eq!((entered.recv().await, entered.recv().await), (Some(1), Some(2)));
        assert!(bus.drain_async(LONG).await.is_complete(), "it may be drained again");
        assert_eq!(entered.recv().await, None);
    });
}

#[test]
fn l09_drain_async_needs_no_runtime() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let handled = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&handled);
        let _thread = bus.on("n", move |n| _ = counter.fetch_add(**n, Ordering::Relaxed)).unwrap();
        (0..100).for_each(|n| bus.fire("n", n));
        assert!(block_on(bus.drain_async(LONG)).is_complete());
        assert_eq!(handled.load(Ordering::Relaxed), 4950);
    });
}
