//! Everything at once: threads and tasks that publish, ask, receive, give up, come and go, and a bus that closes in the
//! middle of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;

use futures_lite::StreamExt;
use tramline::{Bus, Message, Overflow, Publisher, Subscriber};

use crate::runtime::Chance;
use crate::support::{ByHand, block_on, within_limit};

const PUBLISHERS: u32 = 3;
const EACH: u32 = 300;

/// Publishes numbers in every way that there is. Tells those that came into every mailbox, and those of which that is not
/// certain; fewer than all if the bus was closed.
fn publish(bus: &Bus<u32>, work: &Publisher<u32>, seed: u64, from: u32) -> (Vec<u32>, Vec<u32>) {
    let mut chance = Chance::new(seed);
    let (mut whole, mut unclear) = (Vec::new(), Vec::new());
    for number in from..from + EACH {
        let delivery = match chance.below(6) {
            0 => work.publish(number),
            1 => work.try_publish(number),
            2 => block_on(work.publish_async(number)),
            3 => {
                // Given up at once, or after a few looks.
                let mut publishing = ByHand::new(work.publish_async(number));
                let polled = (0..=chance.below(3)).find_map(|_| match publishing.poll() {
                    Poll::Ready(delivery) => Some(delivery),
                    Poll::Pending => None,
                });
                let Some(delivery) = polled else {
                    unclear.push(number);
                    continue;
                };
                delivery
            }
            way => {
                let Ok(pending) = block_on(work.request_async(number)) else {
                    unclear.push(number);
                    return (whole, unclear);
                };
                // A mailbox whose reader has seen the end and gone counts as one that left.
                if bus.is_closed() { &mut unclear } else { &mut whole }.push(number);
                // Answered by one, or dropped by all, or the end of the bus; or nobody looks.
                if way == 4 {
                    assert!(block_on(pending).ok().is_none_or(|answer| answer == number));
                }
                continue;
            }
        };
        match delivery {
            Ok(delivery) if delivery.delivered() == 3 => whole.push(number),
            Ok(_) => unclear.push(number),
            Err(_) => {
                unclear.push(number);
                return (whole, unclear);
            }
        }
    }
    (whole, unclear)
}

/// Receives in every way that there is, until the end or, if it is a guest, a few messages.
fn receive(mut subscriber: Subscriber<u32>, seed: u64, limit: usize) -> (Vec<u32>, u64) {
    let mut chance = Chance::new(seed);
    let (mut received, mut lost) = (Vec::new(), 0);
    let mut is_open = true;
    while is_open && received.len() < limit {
        let mut messages: Vec<Message<u32>> = Vec::new();
        match chance.below(6) {
            0 => messages.extend(subscriber.recv()),
            1 => messages.extend(block_on(subscriber.recv_async())),
            2 => messages.extend(block_on(subscriber.next())),
            3 => drop(block_on(subscriber.recv_many_async(&mut messages, 3))),
            4 => match ByHand::new(subscriber.recv_async()).poll() {
                Poll::Ready(message) => messages.extend(message),
                Poll::Pending => continue,
            },
            _ => match subscriber.try_recv() {
                Err(error) if error.is_empty() => {
                    thread::yield_now();
                    continue;
                }
                message => messages.extend(message),
            },
        }
        is_open = !messages.is_empty();
        for message in messages {
            received.push(*message);
            lost += message.lost_before();
            if message.is_request() && chance.below(4) > 0 {
                let _ = message.reply(*message);
            }
        }
    }
    (received, lost)
}

fn round(seed: u64) {
    let mut chance = Chance::new(seed);
    let closes_early = chance.below(2) == 0;
    let bus = Bus::<u32>::builder().capacity(1 + chance.below(3) as usize).build();
    let member = || bus.subscription("work").group("members").open().unwrap();
    let kept = member();
    let alone = bus.subscribe("*").unwrap();
    let latest = bus.subscription("work").overflow(Overflow::DropOldest).open().unwrap();
    let work = bus.publisher("work").unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let members = [1, 2, 3].map(|number| {
            let member = member();
            scope.spawn(move || receive(member, seed + 10 * number, usize::MAX))
        });
        let guests = scope.spawn(|| {
            let mut received = (Vec::new(), 0);
            let mut chance = Chance::new(seed + 5);
            while !over.load(Ordering::SeqCst) {
                let Ok(guest) = bus.subscription("work").group("members").open() else { break };
                let (messages, lost) = receive(guest, chance.below(1000), 1 + chance.below(5) as usize);
                received.0.extend(messages);
                received.1 += lost;
            }
            received
        });
        let alone = scope.spawn(move || receive(alone, seed + 6, usize::MAX));
        let latest = scope.spawn(move || receive(latest, seed + 7, usize::MAX));
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let (bus, work) = (&bus, &work);
                scope.spawn(move || publish(bus, work, seed + u64::from(publisher), publisher * EACH))
            })
            .collect();
        if closes_early {
            (0..chance.below(200_000)).for_each(|_| std::hint::spin_loop());
            bus.close();
        }
        let (mut whole, mut unclear) = (HashSet::new(), HashSet::new());
        for publisher in publishers {
            let numbers = publisher.join().unwrap();
            whole.extend(numbers.0);
            unclear.extend(numbers.1);
        }
        over.store(true, Ordering::SeqCst);
        let dropped = bus.stats().subscriptions.iter().map(|mailbox| mailbox.dropped).collect::<Vec<_>>();
        bus.close();
        let mut of_group = guests.join().unwrap();
        for member in members {
            let (received, lost) = member.join().unwrap();
            of_group.0.extend(received);
            of_group.1 += lost;
        }
        let alone = alone.join().unwrap();
        for publisher in 0..PUBLISHERS {
            let own = alone.0.iter().filter(|number| **number / EACH == publisher);
            assert!(own.is_sorted_by(|one, next| one < next), "the order of publisher {publisher}");
        }
        let latest = latest.join().unwrap();
        for (index, (received, lost)) in [of_group, alone, latest].into_iter().enumerate() {
            let numbers: HashSet<_> = received.iter().copied().collect();
            assert_eq!(numbers.len(), received.len(), "none twice");
            assert!(numbers.iter().all(|number| whole.contains(number) || unclear.contains(number)));
            if index < 2 {
                assert!(whole.is_subset(&numbers), "mailbox {index}: what is delivered is received");
            }
            if !closes_early {
                assert_eq!(received.len() as u64 + dropped[index], u64::from(PUBLISHERS * EACH), "mailbox {index}");
                assert!(lost <= dropped[index]);
            }
        }
    });
    drop(kept);
}

#[test]
fn everything_at_once_loses_nothing_and_ends() {
    within_limit(|| (0..40).for_each(round));
}
