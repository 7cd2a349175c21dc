//! Handlers that stop or are dropped while others still use them: publishers that wait for room, members of the same group,
//! a bus that closes or drains.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use support::{LONG, SHORT, gate, wait_until, within_limit};
use tramline::{Bus, Handler, Message, Retry, StopReport, Subscriber};

/// A handler of `work` with room for one message, that holds the first one until it is let go.
struct Held {
    handler: Handler,
    go: Sender<()>,
}

impl Held {
    fn new(bus: &Bus<u32>) -> Self {
        let (gate, entered, go) = gate();
        let handler = bus.subscription("work").capacity(1).handle(move |n| gate.pass(**n)).unwrap();
        bus.publish("work", 0).unwrap();
        assert_eq!(entered.recv().unwrap(), 0);
        Self { handler, go }
    }
}

/// Stops the only handler of `work` on a thread of its own, and returns when it has left.
fn stop_aside(bus: &Bus<u32>, handler: Handler) -> JoinHandle<StopReport> {
    let publisher = bus.publisher("work").unwrap();
    let stopping = thread::spawn(move || handler.stop(Duration::MAX));
    wait_until("the handler has left", || publisher.subscriber_count() == 0);
    stopping
}

#[test]
fn closing_wakes_a_publisher_that_waits_for_a_handler_that_is_being_stopped() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let Held { handler, go } = Held::new(&bus);
        bus.publish("work", 1).unwrap();
        // It has room: who has given it the message has been at the full one.
        let watching = bus.subscribe("work").unwrap();
        let publisher = bus.publisher("work").unwrap();
        let blocked = thread::spawn(move || publisher.publish(2));
        assert_eq!(*watching.recv().unwrap(), 2);
        drop(watching);
        let stopping = stop_aside(&bus, handler);
        bus.close();
        assert!(blocked.join().unwrap().unwrap_err().is_closed());
        drop(go);
        assert!(stopping.join().unwrap().is_complete());
    });
}

#[test]
fn closing_wakes_a_publisher_that_waits_for_a_handler_that_stopped_itself() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (giving, given) = channel::<Handler>();
        let (go, gate) = channel::<()>();
        let (telling, told) = channel();
        let handler = bus
            .subscription("work")
            .capacity(1)
            .handle(move |n| {
                if **n == 0 {
                    telling.send(given.recv().unwrap().stop(Duration::ZERO)).unwrap();
                    let _ = gate.recv();
                }
            })
            .unwrap();
        let watching = bus.subscribe("work").unwrap();
        bus.publish("work", 0).unwrap();
        wait_until("the handler has it in hand", || bus.stats().subscriptions[0].depth == 0);
        bus.publish("work", 1).unwrap();
        let publisher = bus.publisher("work").unwrap();
        let blocked = thread::spawn(move || publisher.publish(2));
        assert_eq!(watching.iter().take(3).map(|n| *n).collect::<Vec<_>>(), [0, 1, 2]);
        giving.send(handler).unwrap();
        let report = told.recv().unwrap();
        assert_eq!((report.remaining(), report.running()), (1, 1));
        bus.close();
        assert!(blocked.join().unwrap().unwrap_err().is_closed());
        drop(go);
    });
}

#[test]
fn a_drain_counts_what_a_handler_that_is_being_stopped_has_queued() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let Held { handler, go } = Held::new(&bus);
        bus.publish("work", 1).unwrap();
        let stopping = stop_aside(&bus, handler);
        assert!(bus.stats().subscriptions.is_empty(), "it is no member any more");
        let report = bus.drain(Duration::from_millis(1));
        assert_eq!((report.remaining(), report.running()), (1, 1));
        drop(go);
        assert!(stopping.join().unwrap().is_complete());
    });
}

#[test]
fn a_drain_waits_for_a_handler_that_is_being_stopped() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let Held { handler, go } = Held::new(&bus);
        bus.publish("work", 1).unwrap();
        let stopping = stop_aside(&bus, handler);
        let draining = thread::spawn(move || bus.drain(LONG));
        drop(go);
        assert!(draining.join().unwrap().is_complete());
        assert!(stopping.join().unwrap().is_complete());
    });
}

/// A member of the group `g` with room for one message. It holds message 0 until it is let go, then runs `first`.
fn group_member<A: Send + 'static>(
    bus: &Bus<u32>,
    mut first: impl FnMut(&Bus<u32>) -> A + Send + 'static,
) -> (Held, Receiver<A>) {
    let (gate, entered, go) = gate();
    let (telling, told) = channel();
    let weak = bus.downgrade();
    let handler = bus
        .subscription("work")
        .group("g")
        .capacity(1)
        .handle(move |n| {
            if **n == 0 {
                gate.pass(());
                telling.send(first(&weak.upgrade().unwrap())).unwrap();
            }
        })
        .unwrap();
    bus.publish("work", 0).unwrap();
    entered.recv().unwrap();
    (Held { handler, go }, told)
}

fn other_member(bus: &Bus<u32>) -> Subscriber<u32> {
    bus.subscription("work").group("g").capacity(1).open().unwrap()
}

#[test]
fn a_member_that_was_dropped_may_publish_into_the_mailbox_that_the_others_empty() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let (member, told) =
            group_member(&bus, |bus| [bus.publish("work", 1).unwrap(), bus.publish("work", 2).unwrap()]);
        let other = other_member(&bus);
        drop(member.handler);
        drop(member.go);
        // The second has no room until the other member reads.
        assert!(told.recv_timeout(SHORT).is_err());
        assert_eq!((*other.recv().unwrap(), *other.recv().unwrap()), (1, 2));
        assert!(told.recv().unwrap().iter().all(|delivery| (delivery.delivered(), delivery.dropped()) == (1, 0)));
        assert!(letters.is_empty());
    });
}

#[test]
fn a_member_that_was_dropped_may_drain_what_the_others_empty() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (member, told) = group_member(&bus, |bus| bus.drain(LONG));
        let other = other_member(&bus);
        drop(member.handler);
        bus.publish("work", 1).unwrap();
        drop(member.go);
        assert!(told.recv_timeout(SHORT).is_err(), "the other member has not read it yet");
        assert_eq!(*other.recv().unwrap(), 1);
        assert!(told.recv().unwrap().is_complete());
    });
}

#[test]
fn a_worker_that_waits_for_room_is_not_refused_because_its_handler_is_being_stopped() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let (gate, entered, go) = gate();
        let handled = Arc::new(AtomicU32::new(0));
        let (weak, count) = (bus.downgrade(), Arc::clone(&handled));
        let handler = bus
            .subscription("work")
            .capacity(1)
            .workers(2)
            .handle(move |n| {
                match **n {
                    0 => gate.pass(()),
                    1 => {
                        let bus = weak.upgrade().unwrap();
                        bus.publish("work", 10).unwrap();
                        bus.publish("work", 11).unwrap();
                    }
                    _ => {}
                }
                count.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
        let watching = bus.subscribe("work").unwrap();
        bus.publish("work", 0).unwrap();
        entered.recv().unwrap();
        bus.publish("work", 1).unwrap();
        // All are published; in which order, the handler and this thread decide.
        assert_eq!(watching.iter().take(4).map(|n| *n).collect::<HashSet<_>>(), HashSet::from([0, 1, 10, 11]));
        drop(watching);
        let stopping = stop_aside(&bus, handler);
        assert!(letters.recv_timeout(SHORT).unwrap_err().is_timeout(), "the other worker is about to make room");
        drop(go);
        assert!(stopping.join().unwrap().is_complete());
        assert_eq!(handled.load(Ordering::SeqCst), 4);
        assert!(letters.is_empty());
    });
}

/// Publishes while it is cloned.
struct Nested(u32, Option<Arc<dyn Fn() + Send + Sync>>);

impl Clone for Nested {
    fn clone(&self) -> Self {
        if let Some(publish) = &self.1 {
            publish();
        }
        Self(self.0, self.1.clone())
    }
}

#[test]
fn a_worker_that_waits_and_publishes_once_more_while_it_clones_is_one_worker() {
    within_limit(|| {
        let bus = Bus::<Nested>::new();
        let letters = bus.dead_letters();
        let (gate, entered, go) = gate();
        let clones = AtomicU32::new(0);
        let weak = bus.downgrade();
        let (nesting, nested) = channel();
        // The first clone is for the other mailbox when it is offered, the second when there is room in it.
        let publish = Arc::new(move || {
            if clones.fetch_add(1, Ordering::SeqCst) == 1 {
                nesting.send(()).unwrap();
                weak.upgrade().unwrap().publish("own", Nested(99, None)).unwrap();
            }
        });
        let weak = bus.downgrade();
        let handle = move |message: &Message<Nested>| match message.payload().0 {
            0 => gate.pass(()),
            1 => {
                let bus = weak.upgrade().unwrap();
                bus.publish("own", Nested(5, None)).unwrap();
                bus.publish("both", Nested(7, Some(publish.clone()))).unwrap();
            }
            _ => {}
        };
        let others = [(); 2].map(|()| bus.subscription("both").capacity(1).open().unwrap());
        let handler = bus.subscription("own").also("both").capacity(1).workers(2).handle(handle).unwrap();
        // Both other mailboxes are full, and the handler's own will be, so the last clone is made when there is room.
        bus.publish("both", Nested(50, None)).unwrap();
        bus.publish("own", Nested(0, None)).unwrap();
        entered.recv().unwrap();
        bus.publish("own", Nested(1, None)).unwrap();
        wait_until("its own mailbox is full", || bus.stats().subscriptions[2].depth == 1);
        assert!(letters.recv_timeout(SHORT).unwrap_err().is_timeout());
        let _ = others[0].recv().unwrap();
        nested.recv().unwrap();
        assert!(letters.recv_timeout(SHORT).unwrap_err().is_timeout(), "the second worker will come back");
        drop(go);
        assert_eq!(others[0].recv().unwrap().payload().0, 7);
        assert_eq!((others[1].recv().unwrap().payload().0, others[1].recv().unwrap().payload().0), (50, 7));
        assert!(handler.stop(LONG).is_complete());
        assert!(letters.is_empty());
    });
}

#[test]
fn a_member_that_stops_in_time_tries_the_message_in_hand_again() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let (trying, tries) = channel();
        let mut outcomes = [Err("no"), Err("still no"), Ok(())].into_iter();
        let member = bus
            .subscription("work")
            .group("g")
            .retry(Retry::fixed(5, Duration::from_millis(20)))
            .handle(move |_| {
                trying.send(()).unwrap();
                outcomes.next().unwrap()
            })
            .unwrap();
        bus.publish("work", 1).unwrap();
        tries.recv().unwrap();
        let other = bus.subscription("work").group("g").open().unwrap();
        assert!(member.stop(LONG).is_complete());
        assert_eq!(tries.iter().count(), 2);
        assert!(letters.is_empty());
        assert!(other.is_empty());
    });
}

static TO_CLOSE: Mutex<Option<Bus<u32>>> = Mutex::new(None);

/// Closes a bus when it is dropped. It has no size, so a filter that holds it can be compared with others of its type.
struct Closes;

impl Drop for Closes {
    fn drop(&mut self) {
        let bus = TO_CLOSE.lock().unwrap().take();
        if let Some(bus) = bus {
            bus.close();
        }
    }
}

fn filter(closes: Closes) -> impl Fn(&u32) -> bool + Send + Sync + 'static {
    move |_| {
        let _ = &closes;
        true
    }
}

#[test]
fn a_bus_that_closes_while_a_handler_starts_still_hears_of_its_failures() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let other = bus.subscription("work").group("g").filter(filter(Closes)).open().unwrap();
        bus.publish("work", 1).unwrap();
        *TO_CLOSE.lock().unwrap() = Some(bus.clone());
        // It joins the group, so its own filter is dropped, before its thread has begun.
        let failing =
            bus.subscription("work").group("g").filter(filter(Closes)).handle(|_| Err::<(), _>("no")).unwrap();
        assert!(bus.is_closed());
        assert_eq!(letters.iter().map(|letter| letter.into_payload()).collect::<Vec<_>>(), [1]);
        assert!(failing.stop(LONG).is_complete());
        assert_eq!((bus.stats().handler_failures, bus.stats().dead_letters), (1, 1));
        drop(other);
    });
}
