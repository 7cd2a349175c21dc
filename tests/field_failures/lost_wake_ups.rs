//! Waiters that give up and take a wake-up with them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tramline::Bus;

use crate::in_turn;
use crate::support::{LONG, wait_until};

/// A waiter that gives up takes the wake-up with it that was meant for the next one, and a message stays in the queue
/// while readers sleep: flume, where iroh's tasks cancelled `recv_async` (n0-computer/iroh, pull requests 2533 and 2536;
/// zesterer/flume, issue 104). Futures are in the module `tasks`; threads give up when their time is over.
#[test]
fn lost_wake_ups() {
    const ROUNDS: usize = 1_500;
    /// About as long as the others take to get to their part, so that it is over before, while and after.
    const HASTE: Duration = Duration::from_micros(20);

    in_turn(|| {
        // A patient reader, and two who give up each time that there is a message.
        let bus = Bus::<u32>::builder().capacity(1).build();
        let member = || bus.subscription("work").group("g").open().unwrap();
        let (patient, hasty) = (member(), [member(), member()]);
        let (received, round) = (AtomicUsize::new(0), Barrier::new(3));
        thread::scope(|scope| {
            let (received, round) = (&received, &round);
            for hasty in hasty {
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        round.wait();
                        if hasty.recv_timeout(HASTE).is_ok() {
                            received.fetch_add(1, Ordering::SeqCst);
                        }
                        round.wait();
                    }
                });
            }
            scope.spawn(move || {
                patient.iter().for_each(|_| {
                    received.fetch_add(1, Ordering::SeqCst);
                });
            });
            for n in 1..=ROUNDS {
                round.wait();
                (0..n % 7).for_each(|_| thread::yield_now());
                bus.publish("work", 1).unwrap();
                round.wait();
                // Those who were hasty are gone: nobody else wakes up by chance.
                wait_until("the message is taken by somebody", || received.load(Ordering::SeqCst) == n);
            }
            bus.close();
        });

        // A patient publisher, and one who gives up each time that there is room.
        let bus = Bus::<u32>::builder().capacity(1).build();
        let reader = bus.subscribe("work").unwrap();
        let round = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| while bus.publish("work", 1).is_ok() {});
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    round.wait();
                    let _ = bus.publish_timeout("work", 2, HASTE);
                    round.wait();
                }
            });
            for n in 0..ROUNDS {
                round.wait();
                (0..n % 7).for_each(|_| thread::yield_now());
                assert!(reader.recv_timeout(LONG).is_ok());
                round.wait();
                assert!(reader.recv_timeout(LONG).is_ok(), "the patient publisher does not use the room");
            }
            bus.close();
        });
    });
}
