//! The life of a bus: closing, draining, dropping, and user code that runs meanwhile. What measures the whole process
//! is in files of its own: memory in `memory.rs`, processor time and threads in `threads.rs`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use support::{LONG, SHORT, gate, wait_until, within_limit};
use tramline::{Bus, DeadLetterReason, Handler, Overflow, Publisher, Subscriber, WeakBus};

#[test]
fn l01_the_reader_gets_every_buffered_message_then_closed_and_new_work_is_refused() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let publisher = bus.publisher("news").unwrap();
        let reader = bus.subscription("news").capacity(300).open().unwrap();
        for n in 0..300 {
            assert_eq!(publisher.publish(n).unwrap().delivered(), 1);
        }
        bus.close();
        assert!(bus.is_closed());

        assert_eq!(publisher.publish(9).unwrap_err().into_inner(), 9);
        assert!(publisher.try_publish(9).unwrap_err().is_closed());
        assert!(publisher.publish_timeout(9, LONG).unwrap_err().is_closed());
        assert!(publisher.publish_retained(9).unwrap_err().is_closed());
        assert!(publisher.request(9).unwrap_err().is_closed());
        assert!(publisher.gather(9).unwrap_err().is_closed());
        assert!(bus.publish("news", 9).unwrap_err().is_closed());
        assert!(bus.publisher("news").unwrap().publish(9).unwrap_err().is_closed());
        assert!(bus.request("news", 9).unwrap_err().is_closed());
        assert!(bus.subscribe("news").unwrap_err().is_closed());
        assert!(bus.on("news", |_| {}).unwrap_err().is_closed());
        assert!(bus.retained("news").is_none());

        for n in 0..300 {
            assert_eq!(*reader.recv().unwrap(), n);
        }
        // For good, and whichever way it asks.
        for _ in 0..2 {
            assert!(reader.recv().unwrap_err().is_closed());
            assert!(reader.try_recv().unwrap_err().is_closed());
            assert!(reader.recv_timeout(LONG).unwrap_err().is_closed());
        }
        assert_eq!(reader.iter().count(), 0);
        bus.close();
    });
}

#[test]
fn l01_a_handler_handles_buffered_messages_before_it_ends() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (sender, seen) = channel();
        let (go, gate) = channel::<()>();
        let _handler = bus
            .subscription("news")
            .capacity(300)
            .handle(move |n| {
                let _ = gate.recv();
                sender.send(**n).unwrap();
            })
            .unwrap();
        for n in 0..300 {
            bus.publish("news", n).unwrap();
        }
        bus.close();
        drop(go);
        assert_eq!(seen.iter().collect::<Vec<_>>(), Vec::from_iter(0..300));
    });
}

#[test]
fn l02_close_racing_subscribe_publish_and_request_from_8_threads() {
    const ROUNDS: usize = 1000;
    within_limit(|| {
        let buses: Vec<_> = (0..ROUNDS).map(|_| Bus::<u32>::builder().capacity(1).build()).collect();
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for thread in 0..8 {
                let (buses, start) = (&buses, &start);
                scope.spawn(move || {
                    for (round, bus) in buses.iter().enumerate() {
                        start.wait();
                        // Another thread closes in every round; it is not always the first to come.
                        if round % 8 == thread {
                            bus.close();
                        } else {
                            race(bus, thread);
                        }
                    }
                });
            }
        });
        for bus in &buses {
            assert!(bus.is_closed());
            assert!(bus.subscribe("a").unwrap_err().is_closed());
        }
    });
}

/// What one thread does while another closes the bus: whatever comes first, there is an end, and only `Closed` is one.
fn race(bus: &Bus<u32>, thread: usize) {
    match thread % 4 {
        0 => match bus.subscribe("a") {
            // Nobody else reads it, so it also keeps publishers waiting until it goes.
            Ok(subscriber) => subscriber.iter().for_each(|message| drop(message.reply(1))),
            Err(error) => assert!(error.is_closed(), "{error}"),
        },
        1 => {
            let publisher = bus.publisher("a").unwrap();
            while publisher.publish(1).is_ok() {}
            assert!(publisher.publish(1).unwrap_err().is_closed());
        }
        2 => loop {
            match bus.request("a", 1) {
                Ok(pending) => drop(pending.wait()),
                Err(error) if error.is_no_responders() => {}
                Err(error) => break assert!(error.is_closed(), "{error}"),
            }
        },
        _ => match bus.subscription("*").group("g").serve(|n| **n) {
            Ok(_server) => wait_until("the bus is closed", || bus.is_closed()),
            Err(error) => assert!(error.is_closed(), "{error}"),
        },
    }
}

#[test]
fn l03_drain_under_load_with_32_members_replaced_in_mid_stream_handles_all() {
    const MESSAGES: usize = 4096;
    const MEMBERS: usize = 32;
    within_limit(|| {
        let bus = Bus::<usize>::new();
        let handled: Arc<Vec<AtomicUsize>> = Arc::new((0..MESSAGES).map(|_| AtomicUsize::new(0)).collect());
        let seen = Arc::new(AtomicUsize::new(0));
        let join = || {
            let (handled, seen) = (Arc::clone(&handled), Arc::clone(&seen));
            bus.subscription("work").group("crew").capacity(MESSAGES).handle(move |n| {
                handled[**n].fetch_add(1, Ordering::SeqCst);
                seen.fetch_add(1, Ordering::SeqCst);
                thread::yield_now();
            })
        };
        let mut members: Vec<_> = (0..MEMBERS).map(|_| join().unwrap()).collect();
        let replaced = thread::scope(|scope| {
            let publisher = scope.spawn(|| {
                for n in 0..MESSAGES {
                    assert_eq!(bus.publish("work", n).unwrap().delivered(), 1);
                }
            });
            // Goes on while the bus is drained: a group that exists can still be joined.
            let replacer = scope.spawn(|| {
                wait_until("messages flow", || seen.load(Ordering::SeqCst) > 0);
                let mut replaced = 0;
                while let Ok(member) = join() {
                    // The old one is dropped when the new one has joined: the group never dies out.
                    members[replaced % MEMBERS] = member;
                    replaced += 1;
                }
                replaced
            });
            wait_until("the stream is in its middle", || seen.load(Ordering::SeqCst) > MESSAGES / 8);
            publisher.join().unwrap();
            let report = bus.drain(LONG);
            assert!(report.is_complete(), "{report:?}");
            assert!(bus.publish("work", 0).unwrap_err().is_closed());
            replacer.join().unwrap()
        });
        assert!(replaced >= MEMBERS, "only {replaced} were replaced");
        assert!(handled.iter().all(|times| times.load(Ordering::SeqCst) == 1));
    });
}

#[test]
fn l03_drain_lets_handlers_publish_and_request_for_accepted_work() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (sender, seen) = channel();
        let (gate, entered, go) = gate();
        let _last = bus.on("third", move |n| sender.send(**n).unwrap()).unwrap();
        let _double = bus.serve("double", |n| **n * 2).unwrap();
        let weak = bus.downgrade();
        let _second = bus
            .on("second", move |n| {
                let bus = weak.upgrade().unwrap();
                let doubled = bus.request("double", **n).unwrap().wait().unwrap();
                assert_eq!(bus.publish("third", doubled).unwrap().delivered(), 1);
            })
            .unwrap();
        let weak = bus.downgrade();
        let _first = bus
            .on("first", move |n| {
                gate.pass(());
                assert_eq!(weak.upgrade().unwrap().publish("second", **n).unwrap().delivered(), 1);
            })
            .unwrap();
        for n in 0..50 {
            bus.publish("first", n).unwrap();
        }
        entered.recv().unwrap();
        let draining = bus.clone();
        let drain = thread::spawn(move || draining.drain(LONG));
        wait_until("the bus refuses new work", || bus.is_closed());
        assert!(bus.publish("first", 99).unwrap_err().is_closed());
        assert!(bus.request("double", 99).unwrap_err().is_closed());
        assert!(bus.subscribe("first").unwrap_err().is_closed());
        drop(go);
        assert!(drain.join().unwrap().is_complete());
        assert_eq!(seen.iter().collect::<Vec<_>>(), (0..50).map(|n| n * 2).collect::<Vec<_>>());
    });
}

#[test]
fn l03_drain_waits_for_a_busy_handler_though_every_queue_is_empty() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, go) = gate();
        let weak = bus.downgrade();
        let _handler = bus
            .on("work", move |n| {
                gate.pass(());
                weak.upgrade().unwrap().fire("done", **n);
            })
            .unwrap();
        let done = bus.subscribe("done").unwrap();
        bus.publish("work", 7).unwrap();
        entered.recv().unwrap();
        let draining = bus.clone();
        let drain = thread::spawn(move || draining.drain(LONG));
        wait_until("the bus refuses new work", || bus.is_closed());
        // Refused, but not closed: what the handler has still to say must be heard.
        assert!(done.recv_timeout(SHORT).unwrap_err().is_timeout());
        drop(go);
        assert_eq!(*done.recv().unwrap(), 7);
        assert!(done.recv().unwrap_err().is_closed());
        assert!(drain.join().unwrap().is_complete());
    });
}

#[test]
fn l04_drain_past_its_deadline_reports_exactly_what_was_left() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, go) = gate();
        let handler = bus.on("work", move |n| gate.pass(**n)).unwrap();
        let unread = bus.subscribe("news").unwrap();
        for n in 0..6 {
            bus.publish("work", n).unwrap();
        }
        for n in 0..3 {
            bus.publish("news", n).unwrap();
        }
        assert_eq!(entered.recv().unwrap(), 0);

        let report = bus.drain(SHORT);
        // Five wait behind the one in hand, three were never read.
        assert_eq!((report.remaining(), report.running(), report.is_complete()), (8, 1, false));
        assert!(report.elapsed() >= SHORT);
        // Nothing of it is lost: both sides drain what they have.
        assert!(bus.publish("work", 9).unwrap_err().is_closed());
        assert_eq!(unread.iter().map(|n| *n).collect::<Vec<_>>(), [0, 1, 2]);
        drop(go);
        assert!(handler.stop(LONG).is_complete());
        assert_eq!(entered.iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    });
}

#[test]
fn l04_drain_of_a_bus_at_rest_is_complete_at_once() {
    within_limit(|| {
        for within in [Duration::ZERO, LONG, Duration::MAX] {
            let bus = Bus::<u32>::new();
            let reader = bus.subscribe("news").unwrap();
            let report = bus.drain(within);
            assert_eq!((report.remaining(), report.running(), report.is_complete()), (0, 0, true));
            assert!(reader.recv().unwrap_err().is_closed());
            assert!(bus.drain(within).is_complete());
        }
    });
}

#[test]
fn l04_drain_with_a_timeout_of_zero_leaves_queued_messages() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let reader = bus.subscribe("news").unwrap();
        bus.publish("news", 1).unwrap();
        assert_eq!(bus.drain(Duration::ZERO).remaining(), 1);
        assert_eq!(*reader.recv().unwrap(), 1);
        assert!(reader.recv().unwrap_err().is_closed());
    });
}

/// Twenty handlers that count what they handle.
fn twenty_handlers(bus: &Bus<u32>) -> (Vec<Handler>, Arc<AtomicUsize>) {
    let handled = Arc::new(AtomicUsize::new(0));
    let handler = |_| {
        let handled = Arc::clone(&handled);
        bus.on("news", move |_| _ = handled.fetch_add(1, Ordering::SeqCst)).unwrap()
    };
    ((0..20).map(handler).collect(), handled)
}

#[test]
fn l04_drain_past_its_deadline_counts_busy_workers_alone() {
    within_limit(|| {
        for round in 0..100 {
            let bus = Bus::<u32>::new();
            let (_idle, handled) = twenty_handlers(&bus);
            let (gate, entered, _go) = gate();
            let _stuck = bus.on("work", move |n| gate.pass(**n)).unwrap();
            bus.publish("news", 1).unwrap();
            wait_until("the others are done", || handled.load(Ordering::SeqCst) == 20);
            bus.publish("work", 1).unwrap();
            entered.recv().unwrap();
            let report = bus.drain(Duration::from_millis(round % 20));
            assert_eq!(
                (report.remaining(), report.running(), report.is_complete()),
                (0, 1, false),
                "{round}: {report:?}"
            );
        }
    });
}

#[test]
fn l04_drain_of_idle_handlers_needs_no_time() {
    within_limit(|| {
        for round in 0..100 {
            // Their threads may not have begun, or have begun and found nothing.
            let bus = Bus::<u32>::new();
            let (_idle, handled) = twenty_handlers(&bus);
            if round % 2 == 0 {
                // Or have just handled their last message.
                bus.publish("news", 1).unwrap();
                wait_until("the message is handled", || handled.load(Ordering::SeqCst) == 20);
            }
            let report = bus.drain(Duration::ZERO);
            assert!(report.is_complete(), "{round}: {report:?}");
        }
    });
}

#[test]
fn l04_drain_counts_no_message_twice_and_none_not_at_all() {
    within_limit(|| {
        for round in 0..300 {
            let bus = Bus::<u32>::new();
            let (go, opened) = channel::<()>();
            let opened = Mutex::new(opened);
            // Each worker keeps the first message that it takes, whenever that is.
            let _handler =
                bus.subscription("work").workers(3).handle(move |_| _ = opened.lock().unwrap().recv()).unwrap();
            let publisher = bus.publisher("work").unwrap();
            let publishing = thread::spawn(move || (0..8).filter(|n| publisher.publish(*n).is_ok()).count());
            if round % 2 == 0 {
                thread::yield_now();
            }
            let report = bus.drain(Duration::ZERO);
            let delivered = publishing.join().unwrap();
            // One that was on its way may have come after the report.
            let counted = report.remaining() + report.running();
            assert!(counted == delivered || counted + 1 == delivered, "{round}: {delivered}, {report:?}");
            drop(go);
        }
    });
}

#[test]
fn l04_drain_wakes_waiting_publishers_when_it_times_out() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _stuck = bus.subscription("news").capacity(1).open().unwrap();
        bus.publish("news", 1).unwrap();
        let publisher = bus.publisher("news").unwrap();
        let (starting, started) = channel();
        let blocked = thread::spawn(move || {
            starting.send(()).unwrap();
            publisher.publish(2)
        });
        started.recv().unwrap();
        assert_eq!(bus.drain(SHORT).remaining(), 1);
        let error = blocked.join().unwrap().unwrap_err();
        assert!(error.is_closed());
        assert_eq!(error.into_inner(), 2);
    });
}

// What topics and subscriptions leave on the heap is in memory.rs.

/// Where the payload below acts on its bus.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Drop,
    Clone,
    Nowhere,
}

/// A payload whose `Drop` or `Clone` uses the bus on which it travels.
struct Busy {
    place: Place,
    bus: WeakBus<Busy>,
    acted: Arc<AtomicUsize>,
}

impl Busy {
    fn new(place: Place, bus: &Bus<Busy>, acted: &Arc<AtomicUsize>) -> Self {
        Self { place, bus: bus.downgrade(), acted: Arc::clone(acted) }
    }

    fn act(&self) {
        act(&self.bus, &self.acted);
    }
}

/// Subscribes, publishes and unsubscribes, on the topic in use and on others; once at a time on each thread.
fn act(bus: &WeakBus<Busy>, acted: &Arc<AtomicUsize>) {
    thread_local!(static ACTING: Cell<bool> = const { Cell::new(false) });
    let Some(bus) = bus.upgrade() else { return };
    if ACTING.replace(true) {
        return;
    }
    let plain = || Busy::new(Place::Nowhere, &bus, acted);
    // After a close all this is refused, and must not hang either.
    if let (Ok(same), Ok(every), Ok(publisher)) = (bus.subscribe("busy"), bus.subscribe(">"), bus.publisher("busy.own"))
    {
        let _ = bus.try_publish("busy", plain());
        let _ = publisher.publish(plain());
        let _ = bus.publish_retained("busy.kept", plain());
        drop(bus.clear_retained("busy.kept"));
        drop((same.try_recv(), every.try_recv()));
    }
    acted.fetch_add(1, Ordering::SeqCst);
    ACTING.set(false);
}

/// Sends payloads that act in `place` every way there is, and lets them be cloned, dropped, evicted and left behind.
fn exercise(place: Place) -> usize {
    let bus = Bus::<Busy>::new();
    let acted = Arc::new(AtomicUsize::new(0));
    let busy = || Busy::new(place, &bus, &acted);
    let letters = bus.dead_letters();
    let readers = [(); 3].map(|()| bus.subscribe("busy").unwrap());
    let evicting = bus.subscription("busy").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
    let refusing = bus.subscription("busy").capacity(1).overflow(Overflow::DropNewest).open().unwrap();
    let ending = bus.subscription("busy").capacity(1).overflow(Overflow::Disconnect).open().unwrap();
    let handler = bus.on("busy", |_| {}).unwrap();
    for _ in 0..3 {
        bus.publish("busy", busy()).unwrap();
        bus.publish("nobody", busy()).unwrap();
        drop(bus.request("busy", busy()).unwrap());
    }
    for _ in 0..2 {
        bus.publish_retained("busy.last", busy()).unwrap();
    }
    drop(bus.subscription("busy.*").with_retained().open().unwrap().recv().unwrap());
    drop(bus.retained("busy.last"));
    drop(readers[0].recv().unwrap());
    drop(letters.try_iter().next());
    let [one, two, left] = readers;
    one.unsubscribe();
    drop((two, evicting, refusing, ending));
    assert!(handler.stop(LONG).is_complete());
    bus.close();
    drop((left, letters, bus));
    acted.load(Ordering::SeqCst)
}

#[test]
fn l06_a_payload_may_use_the_bus_while_it_is_dropped() {
    within_limit(|| assert!(exercise(Place::Drop) > 10));
}

#[test]
fn l06_a_payload_may_use_the_bus_while_it_is_cloned() {
    within_limit(|| assert!(exercise(Place::Clone) > 10));
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.place == Place::Drop {
            self.act();
        }
    }
}

impl Clone for Busy {
    fn clone(&self) -> Self {
        if self.place == Place::Clone {
            self.act();
        }
        Self { place: self.place, bus: self.bus.clone(), acted: Arc::clone(&self.acted) }
    }
}

#[test]
fn l06_a_filter_may_use_the_bus() {
    within_limit(|| {
        let bus = Bus::<Busy>::new();
        let acted = Arc::new(AtomicUsize::new(0));
        let busy = || Busy::new(Place::Nowhere, &bus, &acted);
        let (weak, count) = (bus.downgrade(), Arc::clone(&acted));
        let filtered = bus
            .subscription("busy")
            .filter(move |_| {
                act(&weak, &count);
                true
            })
            .open()
            .unwrap();
        let publisher = bus.publisher("busy").unwrap();
        assert_eq!(publisher.publish(busy()).unwrap().delivered(), 1);
        assert_eq!(bus.publish("busy", busy()).unwrap().delivered(), 1);
        drop(bus.request("busy", busy()).unwrap());
        publisher.publish_retained(busy()).unwrap();
        assert_eq!(acted.load(Ordering::SeqCst), 4);
        assert!(filtered.recv().is_ok());
    });
}

#[test]
fn l06_a_filter_may_close_the_bus() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let weak = bus.downgrade();
        let _filtered = bus
            .subscription("news")
            .filter(move |_| {
                weak.upgrade().unwrap().close();
                true
            })
            .open()
            .unwrap();
        assert!(bus.publish("news", 1).unwrap_err().is_closed());
    });
}

#[test]
fn l06_a_filter_may_own_handles_of_its_bus_wherever_it_is_dropped() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let owning = |bus: &Bus<u32>| {
            // The only publisher of its topic and a subscription of its own: dropping them changes the bus.
            let (publisher, subscriber) = (bus.publisher("seen").unwrap(), bus.subscribe("other").ok());
            move |n: &u32| {
                publisher.fire(*n);
                subscriber.as_ref().is_none_or(Subscriber::is_empty)
            }
        };
        let weak = bus.downgrade();

        // With its subscription.
        drop(bus.subscription("news").filter(owning(&bus)).open().unwrap());
        // When it cannot join a group, because it captures values; when its capacity is refused; when that differs.
        let group = || bus.subscription("news").group("g").filter(owning(&bus));
        let first = group().open().unwrap();
        assert!(group().open().unwrap_err().is_group_mismatch());
        assert!(group().capacity(0).open().is_err());
        assert!(group().capacity(7).open().is_err());
        drop(first);
        // When the bus is closed.
        let late = bus.subscription("news").filter(owning(&bus));
        bus.close();
        assert!(late.open().unwrap_err().is_closed());
        drop(bus);
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn l06_a_payload_may_hold_the_last_handle_of_its_bus() {
    struct Last(#[expect(dead_code, reason = "dropped with the payload")] Option<Bus<Last>>);
    impl Clone for Last {
        fn clone(&self) -> Self {
            Self(None)
        }
    }
    within_limit(|| {
        // Unread in a mailbox that goes.
        let bus = Bus::<Last>::new();
        let (weak, reader) = (bus.downgrade(), bus.subscribe("news").unwrap());
        let other = bus.subscribe("other").unwrap();
        bus.publish("news", Last(Some(bus.clone()))).unwrap();
        drop(bus);
        assert!(weak.upgrade().is_some());
        drop(reader);
        assert!(weak.upgrade().is_none());
        assert!(other.recv().unwrap_err().is_closed());

        // In the hand of a handler.
        let bus = Bus::<Last>::new();
        let (weak, other) = (bus.downgrade(), bus.subscribe("other").unwrap());
        let handler = bus.on("news", |_| {}).unwrap();
        let publisher = bus.publisher("news").unwrap();
        publisher.publish(Last(Some(bus))).unwrap();
        drop(publisher);
        assert!(other.recv().unwrap_err().is_closed());
        assert!(weak.upgrade().is_none());
        assert!(handler.stop(LONG).is_complete());
    });
}

// Idle subscribers and left-over threads are counted in threads.rs.

#[test]
fn l08_dropping_every_bus_and_publisher_ends_subscribers_and_handlers() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (clone, publisher) = (bus.clone(), bus.publisher("news").unwrap());
        let reader = bus.subscribe("news").unwrap();
        let letters = bus.dead_letters();
        let (sender, seen) = channel();
        let _handler = bus.on("news", move |n| sender.send(**n).unwrap()).unwrap();
        drop(bus);
        drop(clone);
        // A publisher alone keeps the bus open.
        assert_eq!(publisher.publish(1).unwrap().delivered(), 2);
        drop(publisher);
        assert_eq!(*reader.recv().unwrap(), 1);
        assert!(reader.recv().unwrap_err().is_closed());
        // The closure, and with it the sender, goes when the handler's thread ends.
        assert_eq!(seen.iter().collect::<Vec<_>>(), [1]);
        assert!(letters.recv().unwrap_err().is_closed());
    });
}

#[test]
fn an_overflowed_subscriber_hears_of_it_while_its_publisher_is_stuck_elsewhere() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let ending = bus.subscription("news").capacity(1).overflow(Overflow::Disconnect).open().unwrap();
        let stuck = bus.subscription("news").capacity(1).open().unwrap();
        let letters = bus.dead_letters();
        bus.publish("news", 1).unwrap();
        let publisher = bus.clone();
        let blocked = thread::spawn(move || publisher.publish("news", 2));
        // The letter is written when the one mailbox has run over; the publisher goes on to wait for the other.
        assert_eq!(letters.recv().unwrap().reason(), &DeadLetterReason::Overflowed);
        assert_eq!(*ending.recv().unwrap(), 1);
        let end = ending.recv_timeout(LONG);
        drop(stuck);
        assert_eq!(blocked.join().unwrap().unwrap().dropped(), 1);
        assert!(end.unwrap_err().is_overflowed());
    });
}

#[test]
fn closing_wakes_every_publisher_that_waits_for_room() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _stuck = [(); 3].map(|()| bus.subscription("news").capacity(1).open().unwrap());
        bus.publish("news", 99).unwrap();
        // It has room: who has given it the message has been at the full ones.
        let watching = bus.subscribe("news").unwrap();
        let publishers: Vec<_> =
            (0..8)
                .map(|n| {
                    let publisher: Publisher<u32> = bus.publisher("news").unwrap();
                    thread::spawn(move || {
                        if n % 2 == 0 { publisher.publish(n) } else { publisher.publish_timeout(n, LONG * 2) }
                    })
                })
                .collect();
        assert_eq!(watching.iter().take(8).count(), 8);
        // A moment in which they go to sleep; the outcome is the same if they have not yet.
        assert!(watching.recv_timeout(SHORT).unwrap_err().is_timeout());
        bus.close();
        for (n, publisher) in (0..).zip(publishers) {
            let error = publisher.join().unwrap().unwrap_err();
            assert!(error.is_closed());
            assert_eq!(error.into_inner(), n);
        }
    });
}

#[test]
fn members_that_leave_while_publishers_wait_for_their_group_wake_them() {
    within_limit(|| {
        for _ in 0..100 {
            let bus = Bus::<u32>::new();
            let members = [(); 2].map(|()| bus.subscription("news").group("g").capacity(1).open().unwrap());
            bus.publish("news", 1).unwrap();
            let start = Barrier::new(3);
            thread::scope(|scope| {
                let publisher = scope.spawn(|| {
                    start.wait();
                    bus.publish("news", 2)
                });
                for member in members {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        drop(member);
                    });
                }
                assert!(publisher.join().unwrap().is_ok());
            });
            assert!(bus.stats().subscriptions.is_empty());
        }
    });
}

#[test]
fn two_drains_at_the_same_time_both_end() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let handled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&handled);
        let _handler = bus
            .subscription("work")
            .workers(2)
            .handle(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
        for n in 0..200 {
            bus.publish("work", n).unwrap();
        }
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert!(bus.drain(Duration::MAX).is_complete()));
            }
        });
        assert_eq!(handled.load(Ordering::SeqCst), 200);
    });
}

#[test]
fn two_handlers_that_drain_their_bus_do_not_wait_for_each_other() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let together = Arc::new(Barrier::new(2));
        let (sender, done) = channel();
        let handlers: Vec<_> = (0..2)
            .map(|_| {
                let (weak, together, sender) = (bus.downgrade(), Arc::clone(&together), sender.clone());
                bus.on("work", move |_| {
                    let bus = weak.upgrade().unwrap();
                    together.wait();
                    let _report = bus.drain(Duration::MAX);
                    sender.send(()).unwrap();
                })
                .unwrap()
            })
            .collect();
        bus.publish("work", 1).unwrap();
        for _ in &handlers {
            done.recv_timeout(LONG).unwrap();
        }
    });
}

#[test]
fn a_drain_waits_for_a_handler_that_was_just_started() {
    within_limit(|| {
        for _ in 0..100 {
            let bus = Bus::<u32>::new();
            bus.publish_retained("work", 1).unwrap();
            let handled = Arc::new(AtomicBool::new(false));
            let mark = Arc::clone(&handled);
            let _handler =
                bus.subscription("work").with_retained().handle(move |_| mark.store(true, Ordering::SeqCst)).unwrap();
            assert!(bus.drain(LONG).is_complete());
            assert!(handled.load(Ordering::SeqCst));
        }
    });
}

#[test]
fn whatever_comes_and_goes_at_the_same_time_everything_ends_with_the_bus() {
    within_limit(|| {
        for _ in 0..20 {
            let bus = Bus::<u32>::builder().capacity(1).build();
            let sum = AtomicUsize::new(0);
            thread::scope(|scope| {
                for topic in ["a.x", "a.y", "b.x"] {
                    let publisher = bus.publisher(topic).unwrap();
                    // Until the bus says that it is over, whoever is there to listen.
                    scope.spawn(move || while publisher.publish(1).is_ok() {});
                }
                let staying = bus.subscribe("*.x").unwrap();
                let sum = &sum;
                scope.spawn(move || sum.fetch_add(staying.iter().count(), Ordering::SeqCst));
                let going = scope.spawn(|| {
                    for round in 0..20 {
                        let Ok(subscriber) = bus.subscription("a.*").also("a.x").open() else { return };
                        let group = || bus.subscription(">").group("g").handle(|_| {});
                        let (Ok(one), Ok(other)) = (group(), group()) else { return };
                        drop(subscriber.recv());
                        match round % 3 {
                            0 => drop(subscriber),
                            1 => drop(subscriber.unsubscribe()),
                            _ => assert!(subscriber.recv_timeout(LONG).is_ok()),
                        }
                        let _ = one.stop(Duration::ZERO);
                        assert!(other.stop(LONG).is_complete());
                    }
                });
                going.join().unwrap();
                bus.close();
            });
            assert!(sum.load(Ordering::SeqCst) > 0);
            assert!(bus.stats().subscriptions.is_empty());
        }
    });
}
