//! Routes that outlive their subscribers.

use std::sync::Barrier;
use std::thread;

use tramline::Bus;

use crate::in_turn;
use crate::support::counts;

/// The last subscriber of a topic leaves, the topic is taken off the map, and whoever came in between, or kept a handle,
/// is attached to what nobody finds any more: a consumer whose entry was deleted by the one before it (Surnet/
/// graphql-amqp-subscriptions, pull request 11), registrations lost while the first of a type was set up
/// (greenrobot/EventBus, issue 34), a hub that removed the entry without its subscriber (Effect-TS/io, pull request 459).
///
/// Here the last one leaves while another comes, and then everybody who publishes, by whatever handle, reaches the new
/// one and only that.
#[test]
fn stale_route_after_the_last_unsubscribe() {
    const ROUNDS: u32 = 1_000;
    in_turn(|| {
        for (pattern, group) in [("a.b", None), ("a.*", None), (">", None), ("a.b", Some("g")), ("a.*", Some("g"))] {
            let bus = Bus::<u32>::new();
            let subscribe = || {
                let builder = bus.subscription(pattern).capacity(8);
                match group {
                    Some(group) => builder.group(group).open(),
                    None => builder.open(),
                }
            };
            let early = bus.publisher("a.b").unwrap();
            let mut last = subscribe().unwrap();
            for n in 0..ROUNDS {
                let start = Barrier::new(3);
                let (next, of_the_race) = thread::scope(|scope| {
                    let leaves = scope.spawn(|| {
                        start.wait();
                        last.unsubscribe()
                    });
                    let comes = scope.spawn(|| {
                        start.wait();
                        // A publisher that is dropped is another reason to take the topic off the map.
                        drop(bus.publisher("a.b"));
                        subscribe().unwrap()
                    });
                    start.wait();
                    let delivered = early.publish(n).unwrap().delivered();
                    let next = comes.join().unwrap();
                    (next, (delivered, leaves.join().unwrap()))
                });
                assert!(of_the_race.0 <= 2 && of_the_race.1 <= 1);
                next.try_iter().for_each(drop);
                let late = bus.publisher("a.b").unwrap();
                let handles = [early.publish(n), late.publish(n), bus.publish("a.b", n), early.clone().try_publish(n)];
                for delivery in handles {
                    assert_eq!(counts(delivery.unwrap()), (1, 0), "round {n} of {pattern}");
                }
                assert_eq!(next.try_iter().filter(|message| **message == n).count(), 4);
                last = next;
            }
            // And nobody reaches one that is gone.
            last.unsubscribe();
            for delivery in [early.publish(0), bus.publish("a.b", 0), bus.publish_retained("a.b", 0)] {
                assert!(delivery.unwrap().is_unheard());
            }
            assert_eq!(early.subscriber_count(), 0);
        }
    });
}
