//! A1: full mailboxes, see the section O.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use futures_lite::StreamExt;
use futures_lite::future::{poll_once, yield_now};
use tramline::{Bus, DeadLetterReason, Delivery, Overflow, PublishError, Publisher, Subscriber};

use crate::runtime::{Runtime, Task, on_every_runtime};
use crate::support::{ByHand, LONG, block_on, block_on_counting, counts, letters, taken, wait_until, within_limit};

type Outcome = Result<Delivery, PublishError<u32>>;

fn publish(runtime: &impl Runtime, publisher: &Publisher<u32>, number: u32) -> Task<Outcome> {
    let publisher = publisher.clone();
    runtime.spawn(async move { publisher.publish_async(number).await })
}

/// It is not ready, also after others have had their turn.
async fn assert_waits(task: &mut Task<Outcome>) {
    for _ in 0..20 {
        assert!(poll_once(&mut *task).await.is_none(), "the publisher waits");
        yield_now().await;
    }
}

/// A publisher task that waits with the message 2 at a full mailbox, which holds the message 1.
struct Blocked {
    bus: Bus<u32>,
    full: Subscriber<u32>,
    /// Has room, and has got both messages.
    other: Subscriber<u32>,
    task: Task<Outcome>,
}

impl Blocked {
    async fn new(runtime: &impl Runtime) -> Self {
        let bus = Bus::new();
        let full = bus.subscription("work").capacity(1).open().unwrap();
        let other = bus.subscribe("work").unwrap();
        let work = bus.publisher("work").unwrap();
        work.publish_async(1).await.unwrap();
        let mut task = publish(runtime, &work, 2);
        for number in 1..=2 {
            assert_eq!(*other.recv_async().await.unwrap(), number);
        }
        assert_waits(&mut task).await;
        Self { bus, full, other, task }
    }
}

on_every_runtime![
    a01_o01_a_publisher_waits_for_room_and_goes_on,
    a01_o01_nothing_is_lost_through_a_capacity_of_one,
    a01_o02_drop_newest_keeps_the_queue_and_counts_the_rest,
    a01_o03_drop_oldest_always_takes_the_new_and_counts_the_evicted,
    a01_o04_disconnect_ends_the_subscription,
    a01_o04_a_reader_that_waits_learns_of_the_overflow_at_once,
    a01_o05_a_stuck_subscriber_delays_no_other,
    a01_o05_a_mailbox_that_gets_room_does_not_wait_for_a_stuck_one,
    a01_o06_a_blocked_publisher_wakes_when_there_is_room,
    a01_o06_a_blocked_publisher_wakes_when_the_subscriber_is_dropped,
    a01_o06_a_blocked_publisher_wakes_when_the_subscriber_unsubscribes,
    a01_o06_a_blocked_publisher_wakes_when_the_bus_closes,
    a01_o11_a_close_says_how_many_mailboxes_have_the_message,
    a01_o08_drop_oldest_under_many_publishers_counts_exactly,
    a01_many_blocked_publishers_all_wake_when_the_subscriber_leaves,
    a01_a_message_reaches_every_one_of_many_full_mailboxes,
];

async fn a01_o01_a_publisher_waits_for_room_and_goes_on(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let subscriber = bus.subscription("work").capacity(3).open().unwrap();
    let work = bus.publisher("work").unwrap();
    for number in 0..3 {
        assert_eq!(counts(work.publish_async(number).await.unwrap()), (1, 0));
    }
    let mut task = publish(&runtime, &work, 3);
    assert_waits(&mut task).await;
    assert_eq!(*subscriber.recv_async().await.unwrap(), 0);
    assert_eq!(counts(task.await.unwrap()), (1, 0));
    assert_eq!(taken(&subscriber), [1, 2, 3]);
    assert_eq!((subscriber.dropped(), bus.stats().dropped, dead_letters.len()), (0, 0, 0));
}

async fn a01_o01_nothing_is_lost_through_a_capacity_of_one(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let subscriber = bus.subscription("work").capacity(1).open().unwrap();
    let work = bus.publisher("work").unwrap();
    let publishing = runtime.spawn(async move {
        for number in 0..10_000 {
            assert_eq!(counts(work.publish_async(number).await.unwrap()), (1, 0));
        }
    });
    for number in 0..10_000 {
        let message = subscriber.recv_async().await.unwrap();
        assert_eq!((*message, message.lost_before()), (number, 0));
    }
    publishing.await;
    assert_eq!((subscriber.len(), bus.stats().dropped), (0, 0));
}

async fn a01_o02_drop_newest_keeps_the_queue_and_counts_the_rest(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let subscriber = bus.subscription("tick").capacity(10).overflow(Overflow::DropNewest).open().unwrap();
    let tick = bus.publisher("tick").unwrap();
    for number in 0..25 {
        let delivery = tick.publish_async(number).await.unwrap();
        assert_eq!(counts(delivery), if number < 10 { (1, 0) } else { (0, 1) });
    }
    let stats = bus.stats();
    assert_eq!((stats.dropped, stats.unheard, stats.dead_letters), (15, 15, 15));
    assert_eq!((stats.subscriptions[0].delivered, stats.subscriptions[0].dropped), (10, 15));
    let expected: Vec<_> = (10..25).map(|number| (number, DeadLetterReason::Full)).collect();
    assert_eq!(letters(&dead_letters), expected);
    for number in 0..10 {
        let message = subscriber.recv_async().await.unwrap();
        assert_eq!((*message, message.lost_before()), (number, 0));
    }
    for (number, lost_before) in [(25, 15), (26, 0)] {
        assert_eq!(counts(tick.publish_async(number).await.unwrap()), (1, 0));
        let message = subscriber.recv_async().await.unwrap();
        assert_eq!((*message, message.lost_before()), (number, lost_before));
    }
}

async fn a01_o03_drop_oldest_always_takes_the_new_and_counts_the_evicted(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let subscriber = bus.subscription("tick").capacity(10).overflow(Overflow::DropOldest).open().unwrap();
    let tick = bus.publisher("tick").unwrap();
    for number in 0..25 {
        let delivery = tick.publish_async(number).await.unwrap();
        assert_eq!(counts(delivery), if number < 10 { (1, 0) } else { (1, 1) });
    }
    assert_eq!((bus.stats().dropped, bus.stats().unheard, subscriber.dropped()), (15, 0, 15));
    let expected: Vec<_> = (0..15).map(|number| (number, DeadLetterReason::Evicted)).collect();
    assert_eq!(letters(&dead_letters), expected);
    for number in 15..25 {
        let message = subscriber.recv_async().await.unwrap();
        assert_eq!((*message, message.lost_before()), (number, if number == 15 { 15 } else { 0 }));
    }
}

async fn a01_o04_disconnect_ends_the_subscription(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let subscriber = bus.subscription("tick").capacity(10).overflow(Overflow::Disconnect).open().unwrap();
    let tick = bus.publisher("tick").unwrap();
    for number in 0..10 {
        assert_eq!(counts(tick.publish_async(number).await.unwrap()), (1, 0));
    }
    assert_eq!(counts(tick.publish_async(10).await.unwrap()), (0, 1));
    assert_eq!(tick.subscriber_count(), 0);
    assert_eq!(counts(tick.publish_async(11).await.unwrap()), (0, 0));
    assert_eq!(letters(&dead_letters), [(10, DeadLetterReason::Overflowed), (11, DeadLetterReason::Unheard)]);
    for number in 0..10 {
        assert_eq!(*subscriber.recv_async().await.unwrap(), number);
    }
    assert!(subscriber.recv_async().await.unwrap_err().is_overflowed());
    assert!(subscriber.recv_many_async(&mut Vec::new(), 9).await.unwrap_err().is_overflowed());
    // The bus's end does not hide the reason.
    bus.close();
    assert!(subscriber.recv_async().await.unwrap_err().is_overflowed());
}

async fn a01_o04_a_reader_that_waits_learns_of_the_overflow_at_once(runtime: impl Runtime) {
    // A publisher that waits elsewhere must not hold the news back.
    let bus = Bus::<u32>::builder().capacity(1).build();
    let before = bus.subscription("tick").overflow(Overflow::Disconnect).open().unwrap();
    let stuck = bus.subscribe("tick").unwrap();
    let after = bus.subscription("*").overflow(Overflow::Disconnect).open().unwrap();
    let tick = bus.publisher("tick").unwrap();
    tick.publish_async(1).await.unwrap();
    let mut task = publish(&runtime, &tick, 2);
    for mut overflowed in [before, after] {
        // Nobody has taken 1 yet, so that 2 is one too many.
        while tick.subscriber_count() > 1 {
            yield_now().await;
        }
        assert_eq!(overflowed.next().await.map(|message| *message), Some(1));
        assert!(overflowed.next().await.is_none());
        assert!(overflowed.recv_async().await.unwrap_err().is_overflowed());
    }
    assert_waits(&mut task).await;
    assert_eq!(*stuck.recv_async().await.unwrap(), 1);
    assert_eq!(counts(task.await.unwrap()), (1, 2));
}

async fn a01_o05_a_stuck_subscriber_delays_no_other(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let first = bus.subscribe("work").unwrap();
    let stuck = bus.subscription("work").capacity(5).open().unwrap();
    let third = bus.subscribe("*").unwrap();
    let work = bus.publisher("work").unwrap();
    let mut task = runtime.spawn(async move {
        for number in 0..5 {
            work.publish_async(number).await?;
        }
        work.publish_async(5).await
    });
    for reading in [&first, &third] {
        for number in 0..6 {
            assert_eq!(*reading.recv_async().await.unwrap(), number);
        }
    }
    assert_waits(&mut task).await;
    for number in 0..5 {
        assert_eq!(*stuck.recv_async().await.unwrap(), number);
    }
    assert_eq!(counts(task.await.unwrap()), (3, 0));
}

async fn a01_o05_a_mailbox_that_gets_room_does_not_wait_for_a_stuck_one(runtime: impl Runtime) {
    let bus = Bus::<u32>::builder().capacity(1).build();
    let stuck = bus.subscribe("work").unwrap();
    let reading: Vec<_> = (0..70).map(|_| bus.subscribe("work").unwrap()).collect();
    let work = bus.publisher("work").unwrap();
    work.publish_async(1).await.unwrap();
    // All are full now, and only the first stays so.
    let mut task = publish(&runtime, &work, 2);
    assert_waits(&mut task).await;
    for subscriber in reading.iter().rev() {
        for number in 1..=2 {
            assert_eq!(*subscriber.recv_async().await.unwrap(), number);
        }
    }
    assert_waits(&mut task).await;
    assert_eq!(*stuck.recv_async().await.unwrap(), 1);
    assert_eq!(counts(task.await.unwrap()), (71, 0));
}

async fn a01_o06_a_blocked_publisher_wakes_when_there_is_room(runtime: impl Runtime) {
    let blocked = Blocked::new(&runtime).await;
    assert_eq!(*blocked.full.recv_async().await.unwrap(), 1);
    assert_eq!(counts(blocked.task.await.unwrap()), (2, 0));
    assert_eq!(*blocked.full.recv_async().await.unwrap(), 2);
}

async fn a01_o06_a_blocked_publisher_wakes_when_the_subscriber_is_dropped(runtime: impl Runtime) {
    let Blocked { bus, full, other, task } = Blocked::new(&runtime).await;
    drop(full);
    assert_eq!(counts(task.await.unwrap()), (1, 0));
    // To end a subscription is no loss.
    assert_eq!((bus.stats().dropped, bus.stats().subscriptions.len(), other.len()), (0, 1, 0));
}

async fn a01_o06_a_blocked_publisher_wakes_when_the_subscriber_unsubscribes(runtime: impl Runtime) {
    let Blocked { bus, full, other, task } = Blocked::new(&runtime).await;
    assert_eq!(full.unsubscribe(), 1);
    assert_eq!(counts(task.await.unwrap()), (1, 0));
    assert_eq!((bus.stats().dropped, bus.stats().subscriptions.len(), other.len()), (0, 1, 0));
}

async fn a01_o06_a_blocked_publisher_wakes_when_the_bus_closes(runtime: impl Runtime) {
    let blocked = Blocked::new(&runtime).await;
    blocked.bus.close();
    let error = blocked.task.await.unwrap_err();
    assert_eq!((error.is_closed(), counts(error.delivery()), error.into_inner()), (true, (1, 0), 2));
    // What was in stays, and then there is no more.
    assert_eq!(*blocked.full.recv_async().await.unwrap(), 1);
    assert!(blocked.full.recv_async().await.unwrap_err().is_closed());
    assert!(blocked.other.recv_async().await.unwrap_err().is_closed());
}

/// The same, with a look at the wake-up alone: nothing but the waker says that it is worth another poll.
#[test]
fn a01_o06_each_way_a_wait_can_end_calls_the_waker() {
    type End = fn(&Bus<u32>, &mut Option<Subscriber<u32>>);
    let ends: [(End, _); 4] = [
        (|_, full| assert_eq!(taken(full.as_ref().unwrap()), [1]), Ok((1, 0))),
        (|_, full| drop(full.take()), Ok((0, 0))),
        (|_, full| assert_eq!(full.take().unwrap().unsubscribe(), 1), Ok((0, 0))),
        (|bus, _| bus.close(), Err(2)),
    ];
    for (number, (end, expected)) in ends.into_iter().enumerate() {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let mut full = Some(bus.subscribe("work").unwrap());
        let work = bus.publisher("work").unwrap();
        work.publish(1).unwrap();
        let waiting = ByHand::waiting(work.publish_async(2));
        assert_eq!(waiting.wakes(), 0);
        end(&bus, &mut full);
        assert!(waiting.wakes() > 0, "end {number}");
        assert_eq!(waiting.woken().map(counts).map_err(PublishError::into_inner), expected, "end {number}");
    }
}

async fn a01_o11_a_close_says_how_many_mailboxes_have_the_message(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let (_full, other) = (bus.subscription("work").capacity(1).open().unwrap(), bus.subscribe("work").unwrap());
    let work = bus.publisher("work").unwrap();
    work.publish_async(1).await.unwrap();
    let (retained, batch) = (work.clone(), work.clone());
    let retained = runtime.spawn(async move { retained.publish_retained_async(2).await });
    let batch = runtime.spawn(async move { batch.publish_all_async(3..6).await });
    let mut waiting =
        [other.recv_async().await, other.recv_async().await, other.recv_async().await].map(|n| *n.unwrap());
    waiting.sort_unstable();
    assert_eq!(waiting, [1, 2, 3]);
    bus.close();
    let retained = retained.await.unwrap_err();
    assert_eq!((counts(retained.delivery()), retained.into_inner()), ((1, 0), 2));
    let batch = batch.await.unwrap_err();
    assert_eq!((counts(batch.delivery()), counts(batch.first_delivery())), ((1, 0), (1, 0)));
    assert_eq!(batch.to_string(), "the bus is closed, 3 payloads are left; 1 mailbox has the first");
    assert_eq!(batch.into_inner(), [3, 4, 5]);
}

/// What is there of O7: a future that is given up is a loss like that of a publisher that does not wait.
#[test]
fn a01_o07_publishers_that_give_up_count_the_loss() {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();
    let full = bus.subscription("work").capacity(1).open().unwrap();
    let other = bus.subscribe("*").unwrap();
    let work = bus.publisher("work").unwrap();
    work.publish(1).unwrap();
    drop(ByHand::waiting(work.publish_async(2)));
    drop(ByHand::waiting(bus.publish_async("work", 3)));
    drop(ByHand::waiting(work.request_async(4)));
    drop(ByHand::waiting(work.gather_async(5)));
    // Never polled: never published.
    drop(ByHand::new(work.publish_async(6)));
    assert_eq!(taken(&other), [1, 2, 3, 4, 5]);
    assert_eq!((full.dropped(), other.dropped(), bus.stats().dropped), (4, 0, 4));
    let expected: Vec<_> = (2..6).map(|number| (number, DeadLetterReason::Cancelled)).collect();
    assert_eq!(letters(&dead_letters), expected);
    assert_eq!(taken(&full), [1]);
    work.publish(7).unwrap();
    let next = full.try_recv().unwrap();
    assert_eq!((*next, next.lost_before()), (7, 4));
}

async fn a01_o08_drop_oldest_under_many_publishers_counts_exactly(runtime: impl Runtime) {
    const PUBLISHERS: u64 = 8;
    const EACH: u64 = 1000;

    let bus = Bus::<(u64, u64)>::new();
    let mut subscriber = bus.subscription("tick").capacity(4).overflow(Overflow::DropOldest).open().unwrap();
    let reader = runtime.spawn(async move {
        let (mut received, mut lost) = (0, 0);
        let mut last = [None; PUBLISHERS as usize];
        while let Some(message) = subscriber.next().await {
            let (publisher, number) = *message;
            let last = &mut last[publisher as usize];
            assert!(last.is_none_or(|last| last < number), "the order of publisher {publisher}");
            *last = Some(number);
            received += 1;
            lost += message.lost_before();
        }
        (received, lost, subscriber.dropped())
    });
    let publishing: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let tick = bus.publisher("tick").unwrap();
            runtime.spawn(async move {
                let mut evicted = 0;
                for number in 0..EACH {
                    let delivery = tick.publish_async((publisher, number)).await.unwrap();
                    assert_eq!(delivery.delivered(), 1, "the new message always gets in");
                    evicted += delivery.dropped() as u64;
                }
                evicted
            })
        })
        .collect();
    let mut evicted = 0;
    for task in publishing {
        evicted += task.await;
    }
    bus.close();
    let (received, lost, dropped) = reader.await;
    assert_eq!(received + dropped, PUBLISHERS * EACH);
    assert_eq!((evicted, lost, bus.stats().dropped), (dropped, dropped, dropped));
}

/// A handler's thread that runs a future publishes from its own thread, as far as the bus can tell.
#[test]
fn a01_o09_a_handler_that_publishes_to_its_own_full_mailbox_is_refused() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let work = bus.publisher("work").unwrap();
        let (seen, handled) = channel();
        let _handler = bus
            .subscription("work")
            .capacity(1)
            .handle(move |message| {
                let numbers = if **message == 1 { 2..5 } else { 0..0 };
                // The first fills the mailbox. There is nobody but this thread to make room for the others.
                let deliveries: Vec<_> =
                    numbers.map(|number| counts(block_on(work.publish_async(number)).unwrap())).collect();
                seen.send((**message, deliveries)).unwrap();
            })
            .unwrap();
        let handled = || handled.recv_timeout(LONG).unwrap();

        bus.publish("work", 1).unwrap();
        assert_eq!(handled(), (1, vec![(1, 0), (0, 1), (0, 1)]));
        assert_eq!(handled(), (2, vec![]));
        assert_eq!(letters(&dead_letters), [(3, DeadLetterReason::SelfDeadlock), (4, DeadLetterReason::SelfDeadlock)]);
        assert_eq!(bus.stats().dropped, 2);
        // The bus lives on.
        bus.publish("work", 10).unwrap();
        assert_eq!(handled(), (10, vec![]));
    });
}

/// Some of the workers wait asleep, some as futures; the last one that comes to wait must tell the others.
#[test]
fn a01_o09_workers_that_all_publish_to_their_own_full_mailbox_are_not_stuck() {
    within_limit(|| {
        for _ in 0..5 {
            let bus = Bus::<u32>::new();
            let work = bus.publisher("work").unwrap();
            let (seen, handled) = channel();
            let _handler = bus
                .subscription("work")
                .capacity(1)
                .workers(3)
                .handle(move |message| {
                    // Each message becomes two of the next number, up to 5: soon all workers wait for room at once.
                    for copy in 0..if **message < 5 { 2 } else { 0 } {
                        let number = **message + 1;
                        let delivery = match copy {
                            0 => block_on(work.publish_async(number)).unwrap(),
                            _ => work.publish(number).unwrap(),
                        };
                        assert_eq!(delivery.delivered() + delivery.dropped(), 1);
                    }
                    seen.send(**message).unwrap();
                })
                .unwrap();
            for _ in 0..10 {
                bus.publish("work", 0).unwrap();
            }
            // What was not refused is handled.
            for _ in 0..10 {
                let _ = handled.recv_timeout(LONG).unwrap();
            }
            assert!(bus.drain(LONG).is_complete());
            assert_eq!(10 + handled.try_iter().count() as u64, bus.stats().subscriptions[0].delivered);
        }
    });
}

/// The other worker, who would make room, comes to wait for the end of all work: the future must hear of that.
#[test]
fn a01_o09_a_worker_whose_colleague_drains_the_bus_is_refused() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let weak = bus.downgrade();
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let (go, gates): (Vec<_>, Vec<_>) = (0..2).map(|_| crossbeam_channel::bounded::<()>(1)).unzip();
        let (seen, begins) = channel();
        let (report, reports) = channel();
        let _handler = bus
            .subscription("work")
            .capacity(1)
            .workers(2)
            .handle(move |message| {
                seen.send(**message).unwrap();
                let bus = weak.upgrade().unwrap();
                match **message {
                    1 => {
                        gates[0].recv().unwrap();
                        let delivery = block_on_counting(&counted, bus.publish_async("work", 4));
                        assert_eq!(counts(delivery.unwrap()), (0, 1));
                    }
                    2 => {
                        gates[1].recv().unwrap();
                        report.send(bus.drain(LONG).is_complete()).unwrap();
                    }
                    _ => {}
                }
            })
            .unwrap();
        for number in 1..=2 {
            bus.publish("work", number).unwrap();
            assert_eq!(begins.recv_timeout(LONG), Ok(number));
        }
        bus.publish("work", 3).unwrap();
        go[0].send(()).unwrap();
        wait_until("it has looked", || polls.load(Ordering::SeqCst) > 0);
        go[1].send(()).unwrap();
        assert_eq!(begins.recv_timeout(LONG / 2), Ok(3));
        assert!(reports.recv_timeout(LONG).unwrap());
        assert_eq!((bus.stats().dropped, bus.stats().handler_panics), (1, 0));
    });
}

/// The mailbox is full as long as it has a subscriber. One that looks while the subscriber leaves may find it empty: then
/// its message is abandoned with the others.
async fn a01_many_blocked_publishers_all_wake_when_the_subscriber_leaves(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let work = bus.publisher("work").unwrap();
    let mut abandoned = 0;
    for _ in 0..30 {
        let full = bus.subscription("work").capacity(1).open().unwrap();
        work.publish_async(1).await.unwrap();
        let mut tasks: Vec<_> = (0..8).map(|_| publish(&runtime, &work, 2)).collect();
        for task in &mut tasks {
            assert_waits(task).await;
        }
        drop(full);
        abandoned += 1;
        for task in tasks {
            let (delivered, dropped) = counts(task.await.unwrap());
            assert_eq!(dropped, 0);
            abandoned += delivered as u64;
        }
    }
    let stats = bus.stats();
    assert_eq!((stats.dropped, stats.abandoned, stats.unheard), (0, abandoned, 240 + 30 - abandoned));
}

async fn a01_a_message_reaches_every_one_of_many_full_mailboxes(runtime: impl Runtime) {
    let bus = Bus::<u32>::builder().capacity(1).build();
    let subscribers: Vec<_> = (0..150).map(|_| bus.subscribe("work").unwrap()).collect();
    let work = bus.publisher("work").unwrap();
    assert_eq!(counts(work.publish_async(1).await.unwrap()), (150, 0));
    let mut task = publish(&runtime, &work, 2);
    assert_waits(&mut task).await;
    // A few leave, at both ends and in the middle, while the publisher waits.
    let (leaving, staying): (Vec<_>, Vec<_>) =
        subscribers.into_iter().enumerate().partition(|(index, _)| matches!(index, 0 | 63 | 64 | 65 | 149));
    drop(leaving);
    for number in 1..=2 {
        for (index, subscriber) in &staying {
            assert_eq!(*subscriber.recv_async().await.unwrap(), number, "mailbox {index}");
        }
    }
    assert_eq!(counts(task.await.unwrap()), (145, 0));
}

/// Of three mailboxes, any can be the one that has room, and in any order.
#[test]
fn a01_free_room_in_any_mailbox_is_used_at_once() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let subscribers = [(); 3].map(|()| bus.subscribe("work").unwrap());
        let work = bus.publisher("work").unwrap();
        work.publish(1).unwrap();
        let mut waiting = ByHand::waiting(work.publish_async(2));
        for (round, index) in order.into_iter().enumerate() {
            assert_eq!(waiting.wakes(), round);
            assert_eq!(*subscribers[index].recv().unwrap(), 1);
            assert_eq!(waiting.wakes(), round + 1);
            assert_eq!(waiting.poll().is_ready(), round == 2);
            assert_eq!(taken(&subscribers[index]), [2]);
        }
    }
}
