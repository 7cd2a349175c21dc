//! Handlers and dead letters (section H) when the workers are tasks.

mod support;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use support::{LONG, wait_until, within_limit};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::{spawn_blocking, yield_now};
use tramline::{Bus, DeadLetterReason, Handler, HandlerTask, Overflow, Retry};

fn on_tokio(task: HandlerTask) {
    tokio::spawn(task);
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Runs the test on a runtime with one thread, on one with two, and fails if it hangs.
fn on_each_runtime<Fut: Future<Output = ()>>(test: impl Fn() -> Fut + Send + 'static) {
    within_limit(move || {
        one_thread().block_on(test());
        let two = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        two.block_on(test());
    });
}

/// Waits for a message that another task or thread sends, without holding up the runtime.
async fn next<A: Send + 'static>(receiver: Receiver<A>) -> (A, Receiver<A>) {
    let next = spawn_blocking(move || (receiver.recv_timeout(LONG).expect("it is sent"), receiver));
    next.await.expect("no panic")
}

/// Stops a handler, which finishes what is queued, without holding up the runtime.
async fn stop(handler: Handler) {
    let report = spawn_blocking(move || handler.stop(LONG)).await.expect("no panic");
    assert!(report.is_complete());
}

async fn take<A: Send + 'static>(receiver: Receiver<A>, count: usize) -> Vec<A> {
    spawn_blocking(move || (0..count).map(|_| receiver.recv_timeout(LONG).expect("it is sent")).collect())
        .await
        .expect("no panic")
}

fn told<A>() -> (impl Fn(A) + Clone, Receiver<A>) {
    let (sender, receiver): (Sender<A>, _) = channel();
    (move |item| drop(sender.send(item)), receiver)
}

/// Reports the message in hand, and waits until the gate has a permit.
async fn hold(n: u32, tell: impl Fn(u32), gate: Arc<Semaphore>) {
    tell(n);
    let _ = gate.acquire().await;
}

#[test]
fn h01_one_task_keeps_the_order() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let (tell, handled) = told();
        let _handler = bus
            .on_async("n", on_tokio, move |n| {
                let (n, tell) = (**n, tell.clone());
                async move {
                    // Longer for some: a task that had several in hand would mix them up.
                    for _ in 0..n % 3 {
                        yield_now().await;
                    }
                    tell(n);
                }
            })
            .expect("valid");
        for n in 0..1_000 {
            assert_eq!(bus.publish_async("n", n).await.expect("open").delivered(), 1);
        }
        assert_eq!(take(handled, 1_000).await, (0..1_000).collect::<Vec<_>>());
    });
}

#[test]
fn h01_each_of_several_workers_has_a_message_in_hand() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let gate = Arc::new(Semaphore::new(0));
        let (tell, begun) = told();
        let inner = Arc::clone(&gate);
        let handler = bus
            .subscription("n")
            .workers(3)
            .handle_async(on_tokio, move |n| hold(**n, tell.clone(), Arc::clone(&inner)))
            .expect("valid");
        (0..5).for_each(|n| bus.fire("n", n));
        let mut first = take(begun, 3).await;
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2]);
        assert_eq!(bus.stats().subscriptions[0].depth, 2);
        gate.add_permits(5);
        stop(handler).await;
    });
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn h02_a_panic_anywhere_is_dead_lettered_and_the_next_is_handled() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let (tell, handled) = told();
        let handler = bus
            .on_async("n", on_tokio, move |n| {
                let (n, tell) = (**n, tell.clone());
                assert_ne!(n, 1, "in the closure");
                async move {
                    yield_now().await;
                    assert_ne!(n, 2, "in the future");
                    let _held = (n == 3).then(|| PanicsWhenDropped);
                    yield_now().await;
                    tell(n);
                }
            })
            .expect("valid");
        (1..=4).for_each(|n| bus.fire("n", n));
        stop(handler).await;
        let letters: Vec<_> =
            dead_letters.try_iter().map(|letter| (*letter.payload(), letter.reason().clone())).collect();
        assert_eq!(letters.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2, 3]);
        for ((_, reason), text) in letters.into_iter().zip(["in the closure", "in the future", "dropped"]) {
            assert!(matches!(&reason, DeadLetterReason::Panicked(why) if why.contains(text)), "{reason:?}");
        }
        assert_eq!(handled.try_iter().collect::<Vec<_>>(), [3, 4]);
        assert_eq!(bus.stats().handler_panics, 3);
    });
}

#[test]
fn h03_errors_are_retried_and_then_dead_lettered_with_their_attempts() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let attempts = Arc::new(AtomicU32::new(0));
        let inner = Arc::clone(&attempts);
        let handler = bus
            .subscription("n")
            .retry(Retry::fixed(3, Duration::from_millis(1)))
            .handle_async(on_tokio, move |n| {
                let (always, attempts) = (**n == 13, Arc::clone(&inner));
                async move {
                    let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                    if always || attempt < 2 { Err(format!("attempt {attempt}")) } else { Ok(()) }
                }
            })
            .expect("valid");
        bus.fire("n", 1);
        bus.fire("n", 13);
        stop(handler).await;
        assert_eq!(attempts.load(Ordering::Relaxed), 3 + 4);
        let letter = dead_letters.try_recv().expect("one letter");
        assert_eq!((*letter.payload(), letter.attempts()), (13, 4));
        assert_eq!(*letter.reason(), DeadLetterReason::Failed("attempt 6".to_owned()));
        assert!(dead_letters.try_recv().is_err());
    });
}

#[test]
fn h03_a_handler_that_is_dropped_does_not_wait_for_the_next_attempt() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let (tell, tried) = told();
        let handler = bus
            .subscription("n")
            .retry(Retry::fixed(3, 100 * LONG))
            .handle_async(on_tokio, move |_| {
                tell(());
                async { Err("not now") }
            })
            .expect("valid");
        bus.fire("n", 1);
        let ((), _tried) = next(tried).await;
        drop(handler);
        let letter = spawn_blocking(move || dead_letters.recv_timeout(LONG)).await.expect("no panic");
        assert_eq!(letter.expect("the handler has given up").attempts(), 1);
    });
}

#[test]
fn h04_a_stop_past_its_deadline_reports_what_was_left() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let gate = Arc::new(Semaphore::new(0));
        let (tell, begun) = told();
        let inner = Arc::clone(&gate);
        let handler = bus.on_async("n", on_tokio, move |n| hold(**n, tell.clone(), Arc::clone(&inner))).expect("valid");
        (0..3).for_each(|n| bus.fire("n", n));
        let (begun, _rest) = next(begun).await;
        assert_eq!(begun, 0);
        let report = spawn_blocking(move || handler.stop(Duration::ZERO)).await.expect("no panic");
        assert_eq!((report.remaining(), report.running()), (2, 1));
        gate.add_permits(1);
    });
}

#[test]
fn l04_a_drain_and_a_stop_of_idle_tasks_need_no_time() {
    on_each_runtime(|| async {
        for round in 0..20 {
            let bus = Bus::<u32>::new();
            let handlers: Vec<_> = (0..10).map(|_| bus.on_async("n", on_tokio, |_| async {}).expect("valid")).collect();
            if round % 2 == 0 {
                // The tasks begin, and find nothing.
                tokio::task::yield_now().await;
            }
            let done = spawn_blocking(move || {
                let mut handlers = handlers;
                let stopped = handlers.pop().map(|handler| handler.stop(Duration::ZERO));
                (stopped, bus.drain(Duration::ZERO), handlers)
            });
            let (stopped, drained, _handlers) = done.await.expect("no panic");
            assert!(stopped.is_some_and(|report| report.is_complete()), "{round}: {stopped:?}");
            assert!(drained.is_complete(), "{round}: {drained:?}");
        }
    });
}

#[test]
fn l04_a_task_that_never_ran_is_not_reported_as_running() {
    let tasks = Mutex::new(Vec::new());
    let bus = Bus::<u32>::new();
    let _handler = bus.on_async("n", |task| tasks.lock().expect("no panic").push(task), |_| async {}).expect("valid");
    bus.fire("n", 1);
    let report = bus.drain(Duration::ZERO);
    assert_eq!((report.remaining(), report.running()), (1, 0));
    assert_eq!(report.unfinished()[0].to_string(), "n: 1 message remaining");
}

#[test]
fn h05_a_dropped_handler_finishes_the_message_in_hand_and_takes_no_more() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let gate = Arc::new(Semaphore::new(0));
        let (tell, told) = told();
        let inner = Arc::clone(&gate);
        let handler = bus
            .on_async("n", on_tokio, move |n| {
                let (n, tell, gate) = (**n, tell.clone(), Arc::clone(&inner));
                async move {
                    hold(n, &tell, gate).await;
                    tell(100 + n);
                }
            })
            .expect("valid");
        (0..3).for_each(|n| bus.fire("n", n));
        let (begun, told) = next(told).await;
        drop(handler);
        assert!(bus.publish("n", 3).expect("open").is_unheard());
        gate.add_permits(9);
        // The closure, and with it the sender, is dropped when the task ends.
        let rest = spawn_blocking(move || told.iter().collect::<Vec<_>>()).await.expect("no panic");
        assert_eq!((begun, rest), (0, vec![100]));
        assert_eq!(bus.stats().abandoned, 2);
    });
}

#[test]
fn h06_a_handler_may_stop_itself_publish_subscribe_and_close() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let place = Arc::new(Mutex::new(None));
        let (inner, weak, (tell, told)) = (Arc::clone(&place), bus.downgrade(), told());
        let gate = Arc::new(Semaphore::new(0));
        let waits = Arc::clone(&gate);
        let handler = bus
            .on_async("n", on_tokio, move |_| {
                let (place, bus, tell) = (Arc::clone(&inner), weak.upgrade(), tell.clone());
                let gate = Arc::clone(&waits);
                async move {
                    gate.acquire().await.expect("open").forget();
                    let bus = bus.expect("alive");
                    let other = bus.subscribe("other").expect("open");
                    bus.publish_async("other", 1).await.expect("open");
                    assert_eq!(*other.recv_async().await.expect("open"), 1);
                    let handler: tramline::Handler = place.lock().expect("no panic").take().expect("it is there");
                    let report = handler.stop(LONG);
                    bus.close();
                    tell((report.remaining(), report.running()));
                }
            })
            .expect("valid");
        *place.lock().expect("no panic") = Some(handler);
        bus.fire("n", 1);
        bus.fire("n", 2);
        // Both are there before the first is handled, or there may be nothing left.
        gate.add_permits(1);
        let ((left, busy), _told) = next(told).await;
        assert_eq!((left, busy), (1, 1));
        assert!(bus.is_closed());
    });
}

#[test]
fn o09_a_handler_that_publishes_to_its_own_full_mailbox_is_refused() {
    on_each_runtime(|| async {
        for asynchronous in [true, false] {
            let bus = Bus::<u32>::builder().capacity(1).build();
            let dead_letters = bus.dead_letters();
            let (weak, (tell, told)) = (bus.downgrade(), told());
            let _handler = bus
                .on_async("n", on_tokio, move |n| {
                    let (n, bus, tell) = (**n, weak.upgrade(), tell.clone());
                    async move {
                        let (Some(bus), 1) = (bus, n) else { return };
                        bus.try_publish("n", 2).expect("open");
                        let delivery = if asynchronous { bus.publish_async("n", 3).await } else { bus.publish("n", 3) };
                        let delivery = delivery.expect("open");
                        tell((delivery.delivered(), delivery.dropped()));
                    }
                })
                .expect("valid");
            bus.publish_async("n", 1).await.expect("open");
            let (refused, _told) = next(told).await;
            assert_eq!(refused, (0, 1), "asynchronous: {asynchronous}");
            let letter = dead_letters.try_recv().expect("a letter");
            assert_eq!((*letter.payload(), letter.reason()), (3, &DeadLetterReason::SelfDeadlock));
        }
    });
}

#[test]
fn o09_workers_that_all_publish_to_their_own_full_mailbox_are_not_stuck() {
    on_each_runtime(|| async {
        const WORKERS: u32 = 4;
        let bus = Bus::<u32>::builder().capacity(1).build();
        let (weak, (tell, told)) = (bus.downgrade(), told());
        let refused = Arc::new(AtomicUsize::new(0));
        let inner = Arc::clone(&refused);
        let _handler = bus
            .subscription("n")
            .workers(WORKERS as usize)
            .handle_async(on_tokio, move |n| {
                let (n, bus, tell, refused) = (**n, weak.upgrade(), tell.clone(), Arc::clone(&inner));
                async move {
                    let Some(bus) = bus else { return };
                    // Each message makes two of the next generation: soon all workers wait for room.
                    for _ in 0..if n < 6 { 2 } else { 0 } {
                        let delivery = bus.publish_async("n", n + 1).await.expect("open");
                        refused.fetch_add(delivery.dropped(), Ordering::Relaxed);
                    }
                    tell(n);
                }
            })
            .expect("valid");
        for _ in 0..WORKERS {
            bus.publish_async("n", 0).await.expect("open");
        }
        // It comes to an end: nobody waits for ever, and what was not handled was refused and counted.
        let report = spawn_blocking(move || (bus.drain(LONG), bus)).await.expect("no panic");
        assert!(report.0.is_complete(), "{:?}", report.0);
        let handled = told.try_iter().count();
        let stats = report.1.stats();
        assert_eq!(stats.dropped, refused.load(Ordering::Relaxed) as u64);
        assert!(handled >= WORKERS as usize);
    });
}

#[test]
fn o09_a_worker_that_waits_is_refused_when_the_last_other_one_is_gone() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let tasks = Mutex::new(Vec::new());
        let (weak, (begin, begun), (tell, dropped)) = (bus.downgrade(), told(), told());
        let _handler = bus
            .subscription("n")
            .workers(2)
            .handle_async(
                |task: HandlerTask| tasks.lock().expect("no panic").push(tokio::spawn(task)),
                move |n| {
                    let (n, bus, begin, tell) = (**n, weak.upgrade(), begin.clone(), tell.clone());
                    async move {
                        begin(tokio::task::id());
                        match (n, bus) {
                            (1, _) => std::future::pending().await,
                            (2, Some(bus)) => {
                                bus.publish_async("n", 3).await.expect("open");
                                tell(bus.publish_async("n", 4).await.expect("open").dropped());
                            }
                            _ => {}
                        }
                    }
                },
            )
            .expect("valid");
        bus.fire("n", 1);
        let (one, begun) = next(begun).await;
        bus.fire("n", 2);
        let (two, _begun) = next(begun).await;
        assert_ne!(one, two);
        // On one thread, the other waits for room by now.
        let tasks = tasks.into_inner().expect("no panic");
        tasks.iter().find(|task| task.id() == one).expect("it is one of them").abort();
        assert_eq!(next(dropped).await.0, 1);
    });
}

/// A future whose `Drop` panics after it was ready.
struct PanicsAfterwards {
    _held: PanicsWhenDropped,
}

impl Future for PanicsAfterwards {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[test]
fn h02_a_future_that_panics_when_it_is_dropped_is_caught() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let handler = bus.on_async("n", on_tokio, |_| PanicsAfterwards { _held: PanicsWhenDropped }).expect("valid");
        (1..=2).for_each(|n| bus.fire("n", n));
        stop(handler).await;
        assert_eq!(dead_letters.try_iter().map(|letter| *letter.payload()).collect::<Vec<_>>(), [1, 2]);
    });
}

#[test]
fn a_drain_waits_for_a_busy_task_when_an_idle_one_was_aborted() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let task = Mutex::new(None);
        let idle = bus.on_async(
            "idle",
            |t: HandlerTask| *task.lock().expect("no panic") = Some(tokio::spawn(t)),
            |_| async {},
        );
        yield_now().await;
        let task = task.into_inner().expect("no panic").expect("it was spawned");
        task.abort();
        assert!(task.await.is_err());

        let (weak, (begin, begun), (tell, told)) = (bus.downgrade(), told(), told());
        let busy = bus.on_async("busy", on_tokio, move |_| {
            let (bus, begin, tell) = (weak.upgrade(), begin.clone(), tell.clone());
            async move {
                let bus = bus.expect("alive");
                begin(());
                while !bus.is_closed() {
                    yield_now().await;
                }
                // The drain has begun. It must not come to its end while this goes on.
                for _ in 0..1_000 {
                    yield_now().await;
                    if bus.publish_async("nobody", 1).await.is_err() {
                        return tell(false);
                    }
                }
                tell(true);
            }
        });
        bus.fire("busy", 1);
        let ((), _begun) = next(begun).await;
        let report = spawn_blocking(move || bus.drain(LONG)).await.expect("no panic");
        assert!(report.is_complete(), "{report:?}");
        assert!(next(told).await.0, "the bus was closed too early");
        drop((idle.expect("valid"), busy.expect("valid")));
    });
}

#[test]
fn a_runtime_that_ends_ends_its_handlers() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let runtime = one_thread();
        let _handler = runtime.block_on(async {
            let handler = bus.on_async("n", on_tokio, |_| std::future::pending::<()>()).expect("valid");
            bus.publish_async("n", 1).await.expect("open");
            yield_now().await;
            handler
        });
        bus.publish("n", 2).expect("there is room: the first is in hand");
        let blocked = std::thread::spawn({
            let bus = bus.clone();
            move || bus.publish("n", 3).expect("open").delivered()
        });
        // Whether it waits already or comes later: nobody will ever take from the mailbox.
        drop(runtime);
        assert_eq!(blocked.join().expect("no panic"), 0);
        wait_until("it has unsubscribed", || bus.stats().subscriptions.is_empty());
        assert!(bus.publish("n", 4).expect("open").is_unheard());
        assert_eq!(bus.stats().abandoned, 1);
        assert!(bus.drain(LONG).is_complete());
    });
}

#[test]
fn a_task_that_is_never_run_is_no_handler() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _handler = bus.on_async("n", drop, |_| async {}).expect("valid");
        assert!(bus.publish("n", 1).expect("open").is_unheard());
        assert!(bus.drain(LONG).is_complete());
    });
}

#[test]
fn one_of_two_tasks_that_is_aborted_leaves_the_work_to_the_other() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let tasks = Mutex::new(Vec::new());
        let (tell, told) = told();
        let _handler = bus
            .subscription("n")
            .workers(2)
            .handle_async(
                |task: HandlerTask| tasks.lock().expect("no panic").push(tokio::spawn(task)),
                move |n| {
                    tell(**n);
                    async {}
                },
            )
            .expect("valid");
        let aborted = tasks.into_inner().expect("no panic").remove(0);
        aborted.abort();
        assert!(aborted.await.expect_err("it was aborted").is_cancelled());
        (0..100).for_each(|n| bus.fire("n", n));
        assert_eq!(take(told, 100).await, (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn a_drain_finishes_what_tasks_do_for_one_another() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::builder().capacity(4).build();
        let (weak, (tell, told)) = (bus.downgrade(), told());
        let _first = bus
            .on_async("first", on_tokio, move |n| {
                let (n, bus) = (**n, weak.upgrade());
                async move {
                    yield_now().await;
                    bus.expect("alive").publish_async("second", n).await.expect("from a handler");
                }
            })
            .expect("valid");
        let _second = bus
            .on_async("second", on_tokio, move |n| {
                let (n, tell) = (**n, tell.clone());
                async move {
                    yield_now().await;
                    tell(n);
                }
            })
            .expect("valid");
        for n in 0..100 {
            bus.publish_async("first", n).await.expect("open");
        }
        let report = spawn_blocking(move || bus.drain(LONG)).await.expect("no panic");
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(told.try_iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn tasks_threads_and_subscribers_share_the_work_of_a_group() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::builder().capacity(8).build();
        let (tell, told) = told();
        let in_group = || bus.subscription("n").group("g");
        let by_task = {
            let tell = tell.clone();
            in_group().handle_async(on_tokio, move |n| {
                tell(**n);
                yield_now()
            })
        };
        let by_thread = {
            let tell = tell.clone();
            in_group().handle(move |n| tell(**n))
        };
        let subscriber = in_group().open().expect("valid");
        let reads = tokio::spawn(async move {
            while let Ok(n) = subscriber.recv_async().await {
                tell(*n);
            }
        });
        for n in 0..2_000 {
            assert_eq!(bus.publish_async("n", n).await.expect("open").delivered(), 1);
        }
        let mut seen = take(told, 2_000).await;
        seen.sort_unstable();
        assert_eq!(seen, (0..2_000).collect::<Vec<_>>());
        bus.close();
        reads.await.expect("no panic");
        drop((by_task.expect("valid"), by_thread.expect("valid")));
    });
}

#[test]
fn a_busy_handler_gives_way_to_other_tasks() {
    within_limit(|| {
        one_thread().block_on(async {
            let bus = Bus::<u32>::new();
            let turns = Arc::new(AtomicUsize::new(0));
            let others = {
                let turns = Arc::clone(&turns);
                tokio::spawn(async move {
                    loop {
                        turns.fetch_add(1, Ordering::Relaxed);
                        // Not `yield_now`, which waits until the runtime has nothing else to do.
                        let mut waits = true;
                        let once = poll_fn(|context| {
                            context.waker().wake_by_ref();
                            if std::mem::take(&mut waits) { Poll::Pending } else { Poll::Ready(()) }
                        });
                        once.await;
                    }
                })
            };
            let (weak, inner) = (bus.downgrade(), Arc::clone(&turns));
            let (tell, told) = told();
            // Every message makes the next, so that its mailbox is never empty when it looks.
            let _handler = bus
                .on_async("n", on_tokio, move |n| {
                    match weak.upgrade() {
                        Some(bus) if **n < 1_000 => bus.fire("n", **n + 1),
                        _ => tell(inner.load(Ordering::Relaxed)),
                    }
                    async {}
                })
                .expect("valid");
            bus.fire("n", 0);
            let (turns, _told) = next(told).await;
            others.abort();
            assert!(turns >= 1_000 / 64, "others had {turns} turns");
        });
    });
}

#[test]
fn payloads_need_not_be_sync() {
    on_each_runtime(|| async {
        let bus = Bus::<Cell<u32>, Cell<u32>>::builder().build();
        let _server = bus
            .serve_async("double", on_tokio, |n| {
                let n = n.get();
                async move { Cell::new(2 * n) }
            })
            .expect("valid");
        assert_eq!(bus.request("double", Cell::new(21)).expect("a server").await.expect("a reply").get(), 42);
    });
}

#[test]
fn a_failed_server_answers_with_its_failure() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let _server = bus
            .serve_async("n", on_tokio, |n| {
                let n = **n;
                async move {
                    assert_ne!(n, 1, "one is too few");
                    n
                }
            })
            .expect("valid");
        let failed = bus.request("n", 1).expect("a server").await.expect_err("it panics");
        assert!(failed.is_failed() && failed.to_string().contains("one is too few"), "{failed}");
        assert_eq!(bus.request("n", 2).expect("a server").await.expect("a reply"), 2);
    });
}

#[test]
fn o04_a_mailbox_that_overflows_ends_its_tasks() {
    on_each_runtime(|| async {
        let bus = Bus::<u32>::new();
        let gate = Arc::new(Semaphore::new(0));
        let (inner, (tell, told)) = (Arc::clone(&gate), told());
        let _handler = bus
            .subscription("n")
            .capacity(2)
            .overflow(Overflow::Disconnect)
            .handle_async(on_tokio, move |n| hold(**n, tell.clone(), Arc::clone(&inner)))
            .expect("valid");
        bus.fire("n", 0);
        let (begun, told) = next(told).await;
        (1..=3).for_each(|n| bus.fire("n", n));
        gate.add_permits(9);
        let rest = spawn_blocking(move || told.iter().collect::<Vec<_>>()).await.expect("no panic");
        assert_eq!((begun, rest), (0, vec![1, 2]));
    });
}
