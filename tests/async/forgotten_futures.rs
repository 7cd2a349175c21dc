//! A3: futures that are leaked, or polled once and never again, keep nothing from others.

use std::thread;

use futures_lite::StreamExt;
use futures_lite::future::{poll_once, yield_now};
use tramline::{Bus, PendingReply, Publisher, Subscriber};

use crate::runtime::{Runtime, Task, on_every_runtime};
use crate::support::{ByHand, block_on, within_limit};

on_every_runtime![
    a03_forgotten_receives_keep_no_message_from_others,
    a03_forgotten_publishers_keep_no_room_from_others,
    a03_a_forgotten_publisher_does_not_hide_the_end,
    a03_what_a_forgotten_publisher_has_kept_comes_before_what_is_kept_later,
];

/// Leaves futures behind that wait for a message and will not be polled again.
fn forget_receives(subscriber: &Subscriber<u32>) {
    ByHand::waiting(subscriber.recv_async()).forget();
    ByHand::waiting(subscriber.recv_many_async(&mut Vec::new(), 9)).forget();
}

async fn a03_forgotten_receives_keep_no_message_from_others(_: impl Runtime) {
    for on_another_member in [true, false] {
        for sync in [true, false] {
            let bus = Bus::<u32>::new();
            let member = || bus.subscription("work").group("members").open().unwrap();
            let mut leaking = member();
            forget_receives(&leaking);
            assert!(poll_once(leaking.next()).await.is_none());
            let (kept, subscriber) = if on_another_member { (Some(leaking), member()) } else { (None, leaking) };
            let work = bus.publisher("work").unwrap();
            // One message at a time: there is no other to make good for one that was missed.
            for number in 0..100 {
                // On a thread of its own: the runtime's may be the one that the receiver holds up.
                let publishing = work.clone();
                let publishing = thread::spawn(move || block_on(publishing.publish_async(number)).unwrap());
                let message = if sync { subscriber.recv() } else { subscriber.recv_async().await };
                assert_eq!(*message.unwrap(), number);
                assert_eq!(publishing.join().unwrap().delivered(), 1);
                forget_receives(kept.as_ref().unwrap_or(&subscriber));
            }
        }
    }
}

async fn a03_what_a_forgotten_publisher_has_kept_comes_before_what_is_kept_later(_: impl Runtime) {
    for by_task in [true, false] {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let subscriber = bus.subscribe("level").unwrap();
        bus.publish_async("level", 0).await.unwrap();
        let level = bus.publisher("level").unwrap();
        ByHand::waiting(level.publish_retained_async(1)).forget();
        let later = level.clone();
        let publishing =
            thread::spawn(
                move || {
                    if by_task { block_on(later.publish_retained_async(2)) } else { later.publish_retained(2) }
                },
            );
        for value in 0..3 {
            assert_eq!(*subscriber.recv_async().await.unwrap(), value);
        }
        assert_eq!(publishing.join().unwrap().unwrap().delivered(), 1);
        assert_eq!(bus.retained("level"), Some(2));
    }
}

/// A cancelled publish takes its message out, and those behind it go on.
#[test]
fn a03_a_cancelled_publish_of_a_retained_value_lets_the_next_one_go_on() {
    let bus = Bus::<u32>::builder().capacity(1).build();
    let subscriber = bus.subscribe("level").unwrap();
    let level = bus.publisher("level").unwrap();
    level.fire(0);
    let cancelled = ByHand::waiting(level.publish_retained_async(1));
    let next = ByHand::waiting(level.publish_retained_async(2));
    drop(cancelled);
    assert_eq!(*subscriber.recv().unwrap(), 0);
    assert_eq!(next.woken().unwrap().delivered(), 1);
    assert_eq!(*subscriber.recv().unwrap(), 2);
    assert_eq!((bus.stats().dropped, bus.retained("level")), (1, Some(2)));
}

/// The same, with a look at the wake-up alone; whether those that are forgotten came first or later.
#[test]
fn a03_a_single_message_wakes_a_future_that_is_still_polled() {
    for forgotten_first in [true, false] {
        let bus = Bus::<u32>::new();
        let member = || bus.subscription("work").group("members").open().unwrap();
        let (leaking, asking) = (member(), member());
        if forgotten_first {
            forget_receives(&leaking);
        }
        let receiving = ByHand::waiting(asking.recv_async());
        let on_the_same = ByHand::waiting(leaking.recv_async());
        if !forgotten_first {
            forget_receives(&leaking);
        }
        bus.publish("work", 1).unwrap();
        assert_eq!(*receiving.woken().unwrap(), 1);
        assert!({ on_the_same }.poll().is_pending());
        // Nor does one that goes with its subscriber.
        let receiving = ByHand::waiting(asking.recv_async());
        drop(leaking);
        bus.publish("work", 2).unwrap();
        assert_eq!(*receiving.woken().unwrap(), 2);
    }
}

#[test]
fn a03_a_forgotten_receive_keeps_no_message_from_a_sleeping_thread() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let subscriber = bus.subscribe("work").unwrap();
        for number in 0..500 {
            forget_receives(&subscriber);
            thread::scope(|scope| {
                let receiving = scope.spawn(|| *subscriber.recv().unwrap());
                // Asleep at some of these, awake at others.
                (0..number % 10 * 500).for_each(|_| std::hint::spin_loop());
                bus.publish("work", number).unwrap();
                assert_eq!(receiving.join().unwrap(), number);
            });
        }
    });
}

/// Leaves a future behind that waits for room and will not be polled again. It owns its publisher.
fn forget_publish(publisher: &Publisher<u32>, number: u32) {
    let publisher = publisher.clone();
    ByHand::waiting(async move { publisher.publish_async(number).await }).forget();
}

async fn a03_forgotten_publishers_keep_no_room_from_others(runtime: impl Runtime) {
    for (capacity, of_thread) in [(1, 0), (1, 100), (3, 0), (3, 100)] {
        let bus = Bus::<u32>::builder().capacity(capacity).build();
        let subscriber = bus.subscribe("work").unwrap();
        let work = bus.publisher("work").unwrap();
        while work.try_publish(0).unwrap().delivered() == 1 {}
        for _ in 0..5 {
            forget_publish(&work, 1);
        }
        let publisher = work.clone();
        let task = runtime.spawn(async move {
            for _ in 0..100 {
                publisher.publish_async(2).await.unwrap();
            }
        });
        let publisher = work.clone();
        let thread = thread::spawn(move || {
            for _ in 0..of_thread {
                publisher.publish(3).unwrap();
            }
        });
        let mut counts = (0, 0);
        for received in 0.. {
            match *subscriber.recv_async().await.unwrap() {
                2 => counts.0 += 1,
                3 => counts.1 += 1,
                0 => {}
                other => panic!("{other} was never to get in"),
            }
            if counts == (100, of_thread) {
                break;
            }
            if received % 10 == 0 {
                // One more, which may be told of room before the others are.
                while work.try_publish(0).unwrap().delivered() == 1 {}
                forget_publish(&work, 1);
                yield_now().await;
            }
        }
        task.await;
        thread.join().unwrap();
    }
}

async fn a03_a_forgotten_publisher_does_not_hide_the_end(runtime: impl Runtime) {
    for sync in [true, false] {
        for by_dropping in [true, false] {
            let bus = Bus::<u32>::builder().capacity(1).build();
            let subscriber = bus.subscribe("work").unwrap();
            let work = bus.publisher("work").unwrap();
            work.publish_async(1).await.unwrap();
            let mut asked_again = None;
            if by_dropping {
                // One that owns no handle of the bus.
                ByHand::waiting(work.publish_async(2)).forget();
                ByHand::waiting(work.request_async(2)).forget();
            } else {
                forget_publish(&work, 2);
                let work = work.clone();
                asked_again = Some(ByHand::waiting(async move { work.publish_async(3).await }));
            }
            let receiving: Task<_> = if sync {
                let reader = thread::spawn(move || (subscriber.iter().count(), subscriber.recv()));
                Box::pin(async { reader.join().unwrap() })
            } else {
                runtime.spawn(async move {
                    let mut subscriber = subscriber;
                    ((&mut subscriber).count().await, subscriber.recv_async().await)
                })
            };
            if by_dropping {
                drop((bus, work));
            } else {
                bus.close();
            }
            let (received, end) = receiving.await;
            assert!(received == 1 && end.unwrap_err().is_closed());
            if let Some(publishing) = asked_again {
                assert!(publishing.woken().unwrap_err().is_closed());
            }
        }
    }
}

/// An end that comes when a forgotten publisher has been told of room, and not used it.
#[test]
fn a03_a_sleeping_reader_sees_the_end() {
    within_limit(|| {
        for _ in 0..200 {
            let bus = Bus::<u32>::builder().capacity(1).build();
            let subscriber = bus.subscribe("work").unwrap();
            let work = bus.publisher("work").unwrap();
            work.publish(1).unwrap();
            forget_publish(&work, 2);
            thread::scope(|scope| {
                let reader = scope.spawn(|| subscriber.iter().count());
                scope.spawn(|| bus.close());
                assert_eq!(reader.join().unwrap(), 1);
            });
        }
    });
}

/// A request whose future is forgotten is in the mailboxes that had room; who answers it finds nobody.
#[test]
fn a03_forgotten_replies_block_no_other() {
    let bus = Bus::<u32>::new();
    let service = bus.subscribe("ask").unwrap();
    let forget = |pending: PendingReply<u32>| ByHand::waiting(pending).forget();
    forget(bus.request("ask", 1).unwrap());
    let mut replies = bus.gather("ask", 2).unwrap();
    ByHand::waiting(replies.next()).forget();
    std::mem::forget(replies);
    let waiting = ByHand::waiting(bus.request("ask", 3).unwrap());
    service.recv().unwrap().reply(10).unwrap();
    drop(service.recv().unwrap());
    service.recv().unwrap().reply(30).unwrap();
    assert_eq!(waiting.woken().unwrap(), 30);
    forget(bus.request("ask", 4).unwrap());
    let waiting = ByHand::waiting(bus.request("ask", 5).unwrap());
    bus.close();
    assert!(waiting.woken().unwrap_err().is_closed());
}
