//! The threads and the processor time that a bus takes. The tests measure the whole process, so they have a file of their
//! own, and take turns. Only Linux reports what they read.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use support::process::{self, Threads};
use support::{LONG, in_turn, wait_until};
use tramline::Bus;

/// A tick as Linux shows it to programs, on every processor that it runs on.
const TICK: Duration = Duration::from_millis(10);

#[test]
fn l07_64_idle_subscribers_use_next_to_no_processor_time() {
    in_turn(LONG, || {
        let bus = Bus::<u32>::new();
        let start = Barrier::new(65);
        thread::scope(|scope| {
            for n in 0..64 {
                let (bus, start) = (&bus, &start);
                scope.spawn(move || {
                    let subscriber = bus.subscribe(format!("idle.{n}")).unwrap();
                    start.wait();
                    assert!(subscriber.recv().unwrap_err().is_closed());
                });
            }
            // Handlers and pending replies are idle too.
            let _handlers = [(); 4].map(|()| bus.subscription("idle").workers(2).handle(|_| {}).unwrap());
            start.wait();
            let before = process::ticks();
            // Not a wait for something to happen: this is the time over which is measured.
            thread::sleep(Duration::from_secs(2));
            let used = TICK * u32::try_from(process::ticks() - before).unwrap();
            bus.close();
            assert!(used < Duration::from_millis(50), "they used {used:?}");
        });
    });
}

#[test]
fn l08_no_thread_is_left_over_when_every_bus_and_publisher_is_dropped() {
    let counting = || {
        let bus = Bus::<u32>::new();
        let publisher = bus.publisher("work").unwrap();
        let one = bus.subscription("work").name("l08-one").handle(|_| {}).unwrap();
        let many = bus.subscription("work").name("l08-many").workers(4).handle(|_| {}).unwrap();
        let group = [(); 3].map(|()| bus.subscription("*").group("g").name("l08-group").serve(|n| **n).unwrap());
        let panicking = bus.subscription("work").name("l08-panic").handle(|n| assert!(**n > 9)).unwrap();
        let reader = bus.subscribe("work").unwrap();
        let blocked =
            thread::Builder::new().name("l08-reader".to_owned()).spawn(move || while reader.recv().is_ok() {}).unwrap();
        for n in 0..100 {
            publisher.publish(n).unwrap();
        }
        // The names are set by the threads themselves.
        wait_until("all threads run", || Threads::named("l08-").count == 1 + 4 + 3 + 1 + 1);
        drop(bus);
        assert_eq!(Threads::named("l08-").count, 10, "a publisher keeps the bus open");
        drop(publisher);
        // Their handles are still there: the threads end by themselves.
        blocked.join().unwrap();
        wait_until("no thread is left over", || Threads::named("l08-").count == 0);
        // One without a name has that of the thread that made it.
        wait_until("no thread without a name is left either", || Threads::named("l08+").count == 1);
        drop((one, many, group, panicking));
    };
    in_turn(LONG, move || {
        let counting = thread::Builder::new().name("l08+".to_owned()).spawn(counting).unwrap();
        counting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn l08_no_thread_is_left_over_when_handlers_are_dropped_or_stopped() {
    in_turn(LONG, || {
        let bus = Bus::<u32>::new();
        let handler = || bus.subscription("work").name("l08-gone").workers(2).handle(|_| {}).unwrap();
        for _ in 0..50 {
            drop(handler());
            bus.publish("work", 1).unwrap();
            // Joined, not only told to end.
            assert!(handler().stop(LONG).is_complete());
        }
        wait_until("no thread is left over", || Threads::named("l08-gone").count == 0);
    });
}

#[test]
fn l08_a_busy_handler_ends_its_thread_after_the_last_bus_is_gone() {
    in_turn(LONG, || {
        let bus = Bus::<u32>::new();
        let (go, gate) = channel::<()>();
        let handler = bus
            .subscription("work")
            .name("l08-busy")
            .handle(move |_| {
                let _ = gate.recv();
            })
            .unwrap();
        bus.publish("work", 1).unwrap();
        drop(bus);
        drop(handler);
        drop(go);
        wait_until("no thread is left over", || Threads::named("l08-busy").count == 0);
    });
}
