//! A waiting future polls, registers its waker, and polls again. Here the event it waits for comes between the two polls, in
//! many rounds. It comes once a round: no later event would make good for a missed wake-up.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use futures_lite::StreamExt;
use tramline::{Bus, Message};

use crate::runtime::Chance;
use crate::support::{block_on, within_limit};

const ROUNDS: usize = 3000;

/// A place where two threads meet without sleeping, so that they go on at the same time.
#[derive(Default)]
struct Meeting(AtomicUsize);

impl Meeting {
    fn meet(&self) {
        let all = self.0.fetch_add(1, Ordering::SeqCst) / 2 * 2 + 2;
        for look in 1_u64.. {
            if self.0.load(Ordering::SeqCst) >= all {
                return;
            }
            if look % 1000 == 0 {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

/// In each round one thread waits for an event, and another makes the event happen, a little earlier or later.
fn at_about_the_same_time<S: Sync>(
    start: impl Fn(usize) -> S + Send + Sync + 'static,
    waits: impl Fn(&S, usize) + Send + Sync + 'static,
    happens: impl Fn(&S, usize) + Send + Sync + 'static,
) {
    within_limit(move || {
        let mut chance = Chance::new(7);
        for part in 0..ROUNDS / 100 {
            let rounds: Vec<_> =
                (0..100).map(|round| (part * 100 + round, chance.below(100))).map(|(n, d)| (n, d, start(n))).collect();
            let meeting = Meeting::default();
            thread::scope(|scope| {
                scope.spawn(|| {
                    for (number, _, state) in &rounds {
                        meeting.meet();
                        waits(state, *number);
                    }
                });
                for (number, delay, state) in &rounds {
                    meeting.meet();
                    (0..*delay).for_each(|_| std::hint::spin_loop());
                    happens(state, *number);
                }
            });
        }
    });
}

fn bus() -> Bus<usize> {
    Bus::builder().capacity(1).build()
}

#[test]
fn a_message_that_comes_between_two_polls_is_found() {
    at_about_the_same_time(
        |_| {
            let bus = bus();
            (bus.subscribe("work").unwrap(), bus.publisher("work").unwrap())
        },
        |(subscriber, _), number| assert_eq!(*block_on(subscriber.recv_async()).unwrap(), number),
        |(_, publisher), number| assert_eq!(publisher.publish(number).unwrap().delivered(), 1),
    );
}

#[test]
fn room_that_comes_between_two_polls_is_found() {
    at_about_the_same_time(
        |_| {
            let bus = bus();
            let subscriber = bus.subscribe("work").unwrap();
            let publisher = bus.publisher("work").unwrap();
            publisher.publish(0).unwrap();
            (subscriber, publisher)
        },
        |(_, publisher), number| assert_eq!(block_on(publisher.publish_async(number)).unwrap().delivered(), 1),
        // Once, and without a second look, which would wake whoever waits at an empty queue.
        |(subscriber, _), _| assert_eq!(*subscriber.recv().unwrap(), 0),
    );
}

/// Answers two of three requests, and closes the bus on the third.
fn answer_or_close(request: &Message<usize>, bus: &Bus<usize>, number: usize) {
    if number % 3 > 0 {
        request.reply(number).unwrap();
    } else {
        bus.close();
    }
}

#[test]
fn an_answer_that_comes_between_two_polls_is_found() {
    at_about_the_same_time(
        |number| {
            let bus = bus();
            let service = bus.subscribe("ask").unwrap();
            let pending = bus.request("ask", number).unwrap();
            (Mutex::new(Some(pending)), service.recv().unwrap(), bus, service)
        },
        |(pending, ..), number| {
            let answer = block_on(pending.lock().unwrap().take().unwrap());
            assert_eq!(answer.ok(), (number % 3 > 0).then_some(number));
        },
        |(_, request, bus, _), number| answer_or_close(request, bus, number),
    );
}

#[test]
fn outcomes_that_come_between_two_polls_are_found() {
    at_about_the_same_time(
        |number| {
            let bus = bus();
            let service = bus.subscribe("ask").unwrap();
            let replies = bus.gather("ask", number).unwrap();
            (Mutex::new(replies), service.recv().unwrap(), bus, service)
        },
        |(replies, ..), number| {
            let mut replies = replies.lock().unwrap();
            if number % 3 > 0 {
                assert_eq!(block_on(replies.next()), Some(Ok(number)));
            }
            assert_eq!(block_on(replies.next()), None);
        },
        |(_, request, bus, _), number| answer_or_close(request, bus, number),
    );
}

#[test]
fn an_end_that_comes_between_two_polls_is_found() {
    at_about_the_same_time(
        |number| {
            let bus = bus();
            let idle = bus.subscribe("idle").unwrap();
            let full = bus.subscribe("full").unwrap();
            bus.publish("full", number).unwrap();
            (Mutex::new(Some((bus.clone(), full))), idle, bus.publisher("full").unwrap())
        },
        |(_, idle, publisher), number| match number % 3 {
            0 => assert!(block_on(idle.recv_async()).unwrap_err().is_closed()),
            1 => assert!(block_on(publisher.publish_async(number)).unwrap_err().is_closed()),
            _ => {
                let delivery = block_on(publisher.publish_async(number)).unwrap();
                // Who leaves makes room for a moment: what gets in then is abandoned with the rest.
                assert!(delivery.is_unheard() || delivery.delivered() == 1);
            }
        },
        |(bus, ..), number| {
            let (bus, full) = bus.lock().unwrap().take().unwrap();
            if number % 3 < 2 {
                bus.close();
                // It stays: otherwise it might count as one that has left.
                std::mem::forget(full);
            }
        },
    );
}
