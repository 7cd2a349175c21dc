//! A2: futures that are dropped before they are ready, at every point at which that can happen.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Instant;

use futures_lite::future::{or, poll_once, yield_now};
use futures_lite::{FutureExt, StreamExt};
use tramline::{Bus, Message, Subscriber};

use crate::runtime::{Chance, Runtime, Task, on_every_runtime};
use crate::support::{ByHand, LONG};

on_every_runtime![
    a02_a_receive_that_is_cancelled_ten_thousand_times_loses_nothing,
    a02_receives_that_are_cancelled_in_a_group_lose_nothing,
    a02_a_publish_that_is_cancelled_is_in_the_mailbox_or_counted_as_lost,
    a02_a_pending_reply_that_is_no_longer_awaited_loses_no_answer,
];

const CANCELLED: usize = 10_000;

/// Each of them waits for another task or thread.
const PUBLISHES: usize = 2_000;

/// Gives way to other tasks, and now and then to other threads, until the future has been woken.
async fn until_woken<F: Future>(future: &ByHand<F>) {
    let start = Instant::now();
    for round in 1_u64.. {
        if future.wakes() > 0 {
            return;
        }
        if round % 32 == 0 {
            assert!(start.elapsed() < LONG, "nothing wakes it");
            thread::yield_now();
        }
        yield_now().await;
    }
}

/// One attempt to receive, which is given up if it comes to a wait: in one of several ways.
async fn receive_or_cancel(way: u64, subscriber: &mut Subscriber<u32>) -> Vec<Message<u32>> {
    let one = |received: Poll<Result<_, _>>| match received {
        Poll::Ready(received) => vec![received.unwrap()],
        Poll::Pending => Vec::new(),
    };
    match way {
        // After it was woken, before it is polled again: the message was as good as its own.
        0 => {
            let mut receiving = ByHand::new(subscriber.recv_async());
            let received = receiving.poll();
            if received.is_pending() {
                until_woken(&receiving).await;
            }
            one(received)
        }
        // After it was woken and polled again.
        1 => {
            let mut receiving = ByHand::new(subscriber.recv_async());
            let received = receiving.poll();
            if received.is_ready() {
                return one(received);
            }
            until_woken(&receiving).await;
            one(receiving.poll())
        }
        // At once.
        2 => one(ByHand::new(subscriber.recv_async()).poll()),
        // It loses a race.
        3 => {
            let received = or(async { Some(subscriber.recv_async().await) }, async {
                yield_now().await;
                None
            });
            received.await.into_iter().map(Result::unwrap).collect()
        }
        // The stream has its place in the subscriber, and keeps it.
        4 => poll_once(subscriber.next()).await.into_iter().map(Option::unwrap).collect(),
        _ => {
            let mut messages = Vec::new();
            let received = poll_once(subscriber.recv_many_async(&mut messages, 3)).await;
            assert_eq!(received.map_or(0, Result::unwrap), messages.len());
            messages
        }
    }
}

/// Publishes numbers that count up, some at once and then none until all were taken, until it is told to stop; tells how
/// many.
fn flow(runtime: &impl Runtime, bus: &Bus<u32>, stop: &Arc<AtomicBool>) -> Task<u32> {
    let (bus, publisher, stop) = (bus.clone(), bus.publisher("work").unwrap(), Arc::clone(stop));
    runtime.spawn(async move {
        let mut chance = Chance::new(1);
        for number in 0.. {
            if stop.load(Ordering::SeqCst) {
                return number;
            }
            publisher.publish_async(number).await.unwrap();
            while number % 4 < 3 && bus.stats().subscriptions[0].depth > 0 {
                yield_now().await;
            }
            chance.give_way(6).await;
        }
        unreachable!("there are not so many numbers");
    })
}

/// Receives and cancels until it has done enough of both, and then what is left.
async fn receive_and_cancel(mut subscriber: Subscriber<u32>, stop: Arc<AtomicBool>, enough: usize) -> Vec<u32> {
    let (mut received, mut cancelled) = (Vec::new(), 0);
    let mut chance = Chance::new(2);
    while cancelled < enough || received.len() < enough / 10 {
        // Most of the time in a way that needs nobody else to go on: a change of thread takes long.
        let way = if chance.below(64) == 0 { chance.below(2) } else { 2 + chance.below(4) };
        let messages = receive_or_cancel(way, &mut subscriber).await;
        cancelled += usize::from(messages.is_empty());
        received.extend(messages.into_iter().map(Message::into_payload));
        chance.give_way(2).await;
    }
    stop.store(true, Ordering::SeqCst);
    while let Ok(message) = subscriber.recv_async().await {
        received.push(message.into_payload());
    }
    received
}

async fn a02_a_receive_that_is_cancelled_ten_thousand_times_loses_nothing(runtime: impl Runtime) {
    let bus = Bus::<u32>::builder().capacity(4).build();
    let stop = Arc::default();
    let subscriber = bus.subscribe("work").unwrap();
    let receiving = runtime.spawn(receive_and_cancel(subscriber, Arc::clone(&stop), CANCELLED));
    let published = flow(&runtime, &bus, &stop).await;
    bus.close();
    assert!(receiving.await.into_iter().eq(0..published));
}

async fn a02_receives_that_are_cancelled_in_a_group_lose_nothing(runtime: impl Runtime) {
    let bus = Bus::<u32>::builder().capacity(4).build();
    let stops = [Arc::default(), Arc::default()];
    let member = || bus.subscription("work").group("members").open().unwrap();
    let (members, plain) = ([member(), member()], member());
    let receiving: Vec<_> = members
        .into_iter()
        .zip(&stops)
        .map(|(member, stop)| runtime.spawn(receive_and_cancel(member, Arc::clone(stop), 1000)))
        .collect();
    let others = runtime.spawn(async move {
        let mut received = Vec::new();
        let mut chance = Chance::new(3);
        while let Ok(message) = plain.recv_async().await {
            received.push(message.into_payload());
            chance.give_way(9).await;
        }
        received
    });
    // One after the other, so that there is a flow until both have enough.
    let first = flow(&runtime, &bus, &stops[0]).await;
    let second = flow(&runtime, &bus, &stops[1]).await;
    bus.close();
    let mut received = others.await;
    for member in receiving {
        received.extend(member.await);
    }
    received.sort_unstable();
    let mut published: Vec<_> = (0..first).chain(0..second).collect();
    published.sort_unstable();
    assert_eq!(received, published);
}

async fn a02_a_publish_that_is_cancelled_is_in_the_mailbox_or_counted_as_lost(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let full = [1, 2].map(|capacity| bus.subscription("work").capacity(capacity).open().unwrap());
    let roomy = bus.subscribe("work").unwrap();
    let publisher = bus.publisher("work").unwrap();
    let receiving = full.map(|subscriber| {
        runtime.spawn(async move {
            let (mut received, mut lost) = (Vec::new(), 0);
            let mut chance = Chance::new(4);
            while let Ok(message) = subscriber.recv_async().await {
                received.push(*message);
                lost += message.lost_before();
                // Slower than the publisher.
                chance.give_way(9).await;
            }
            (received, lost, subscriber.dropped())
        })
    });
    let (mut cancelled, mut published) = (0, 0);
    let mut whole = HashSet::new();
    let mut chance = Chance::new(5);
    while cancelled < PUBLISHES {
        let number = published;
        published += 1;
        let mut publishing = ByHand::new(publisher.publish_async(number));
        let mut ready = publishing.poll();
        let way = chance.below(32);
        if way < 2 && ready.is_pending() {
            // By the room in one mailbox or in the other. Then it is cancelled there and then, or polled again.
            until_woken(&publishing).await;
            if way == 1 {
                ready = publishing.poll();
            }
        }
        drop(publishing);
        match ready {
            Poll::Ready(delivery) => {
                assert_eq!(delivery.unwrap().delivered(), 3);
                whole.insert(number);
            }
            Poll::Pending => cancelled += 1,
        }
        assert_eq!(*roomy.try_recv().unwrap(), number, "it had room");
        chance.give_way(3).await;
    }
    // The last in each mailbox tells of what was lost before it.
    publisher.publish_async(published).await.unwrap();
    whole.insert(published);
    published += 1;
    bus.close();
    let mut dropped = 0;
    for mailbox in receiving {
        let (received, lost, counted) = mailbox.await;
        assert!(received.is_sorted_by(|one, next| one < next), "in order, and none twice");
        let received: HashSet<_> = received.into_iter().collect();
        assert!(whole.is_subset(&received), "what was not cancelled is in");
        assert_eq!(received.len() as u64 + counted, u64::from(published));
        assert_eq!(lost, counted);
        dropped += counted;
    }
    assert_eq!(bus.stats().dropped, dropped);
    assert!(dropped >= PUBLISHES as u64);
}

async fn a02_a_pending_reply_that_is_no_longer_awaited_loses_no_answer(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let service = bus.subscribe("double").unwrap();
    let answered = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&answered);
    let serving = runtime.spawn(async move {
        while let Ok(request) = service.recv_async().await {
            for _ in 0..*request % 3 {
                yield_now().await;
            }
            request.reply(2 * *request).unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let double = bus.publisher("double").unwrap();
    let mut cancelled = 0;
    for number in 0.. {
        let mut pending = double.request_async(number).await.unwrap();
        for way in 0_u32.. {
            let answer = match (number + way) % 32 {
                1 => {
                    let mut polled = ByHand::new(&mut pending);
                    match polled.poll() {
                        Poll::Ready(answer) => Some(answer),
                        Poll::Pending => {
                            until_woken(&polled).await;
                            None
                        }
                    }
                }
                way if way % 3 == 0 => poll_once(&mut pending).await,
                way if way % 3 == 1 => {
                    let patience = async {
                        yield_now().await;
                        None
                    };
                    async { Some((&mut pending).await) }.or(patience).await
                }
                _ => pending.try_take(),
            };
            if let Some(answer) = answer {
                assert_eq!(answer.unwrap(), 2 * number);
                break;
            }
            cancelled += 1;
            yield_now().await;
        }
        if cancelled >= CANCELLED {
            assert_eq!(answered.load(Ordering::SeqCst), number + 1);
            break;
        }
    }
    bus.close();
    serving.await;
}

/// A publisher that is told of room and does not use it tells the next.
#[test]
fn a02_the_room_of_a_cancelled_publisher_goes_to_the_next() {
    let bus = Bus::<u32>::builder().capacity(1).build();
    let subscriber = bus.subscribe("work").unwrap();
    let work = bus.publisher("work").unwrap();
    work.publish(1).unwrap();
    let first = ByHand::waiting(work.publish_async(2));
    let second = ByHand::waiting(work.publish_async(3));
    let third = ByHand::waiting(work.publish_async(4));
    assert_eq!(*subscriber.recv().unwrap(), 1);
    assert_eq!([&first, &second, &third].map(ByHand::wakes), [1, 0, 0]);
    drop(first);
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    // One that was not told takes nothing with it.
    drop(third);
    assert_eq!(second.wakes(), 1);
    assert_eq!(second.woken().unwrap().delivered(), 1);
    let last = subscriber.recv().unwrap();
    assert_eq!((*last, last.lost_before()), (3, 2));
}

/// Whoever waits for a message and goes leaves nothing behind, and is not woken.
#[test]
fn a02_a_dropped_future_is_not_woken() {
    let bus = Bus::<u32>::new();
    let mut subscriber = bus.subscribe("work").unwrap();
    let [stays, left, other] = [(); 3].map(|()| ByHand::waiting(subscriber.recv_async()));
    let watch = left.watch();
    drop(left);
    bus.publish("work", 1).unwrap();
    assert_eq!((watch.wakes(), stays.wakes(), other.wakes()), (0, 1, 1));
    assert_eq!(*stays.woken().unwrap(), 1);
    drop(other);
    let mut next = ByHand::waiting(subscriber.next());
    assert!(next.poll().is_pending());
    let watch = next.watch();
    drop(next);
    // The stream's task waits on: it has its place in the subscriber.
    bus.publish("work", 2).unwrap();
    assert_eq!(watch.wakes(), 1);
    assert_eq!(*subscriber.recv().unwrap(), 2);
}

/// What is in the mailbox, what is lost, and what the caller still has: together all.
#[test]
fn a_batch_that_is_cancelled_has_published_those_before_the_one_it_waited_with() {
    let bus = Bus::<u32>::builder().capacity(2).build();
    let (slow, roomy) = (bus.subscribe("work").unwrap(), bus.subscription("work").capacity(9).open().unwrap());
    let letters = bus.dead_letters();
    let work = bus.publisher("work").unwrap();
    let mut payloads = 1..=5;
    let batch = ByHand::waiting(work.publish_all_async(payloads.by_ref()));
    drop(batch);
    let taken = |subscriber: &Subscriber<u32>| subscriber.try_iter().map(|n| *n).collect::<Vec<_>>();
    assert_eq!((taken(&slow), taken(&roomy)), (vec![1, 2], vec![1, 2, 3]));
    let letter = letters.try_recv().unwrap();
    assert_eq!((*letter.payload(), letter.reason()), (3, &tramline::DeadLetterReason::Cancelled));
    assert_eq!(letter.reason().to_string(), "its publish was cancelled before there was room");
    assert!(letters.try_recv().unwrap_err().is_empty());
    assert!(payloads.eq([4, 5]));
}

#[test]
fn a_batch_hands_back_what_a_closed_bus_and_an_invalid_topic_did_not_take() {
    let bus = Bus::<u32>::builder().capacity(2).build();
    let slow = bus.subscribe("work").unwrap();
    let batch = ByHand::waiting(bus.publish_all_async("work", 1..=5));
    bus.close();
    let error = batch.woken().unwrap_err();
    assert!(error.is_closed());
    assert_eq!((error.into_inner(), slow.len()), (vec![3, 4, 5], 2));
    let error = ByHand::new(bus.publish_all_async("wo rk", 1..=5)).ready().unwrap_err();
    assert!(error.is_invalid_topic());
    assert_eq!(error.into_inner(), [1, 2, 3, 4, 5]);
}
