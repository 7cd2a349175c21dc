//! Payloads of many kilobytes by value: on the stack of a handler, and through every kind of mailbox.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::env;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;

use support::{LONG, within_limit};
use tramline::{Bus, DeadLetterReason, Overflow, Subscriber};

const KIB: usize = 1024;

/// Says to a test that it is the child.
const CHILD: &str = "LARGE_PAYLOADS_CHILD";

/// Runs the test in a process of its own, since a thread that overflows its stack aborts. Its handlers have the default stack.
fn in_a_child(test: &str, run: impl FnOnce() + Send + 'static) {
    if env::var_os(CHILD).is_some() {
        // The test's own thread has room, so that an overflow is one of a handler.
        return within_limit(|| with_room(run));
    }
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .env_remove("RUST_MIN_STACK")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}: {}", child.status, String::from_utf8_lossy(&child.stderr));
}

/// Runs this on a stack with room for all copies that a publisher makes in a debug build.
fn with_room<A: Send>(run: impl FnOnce() -> A + Send) -> A {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(512 * KIB * KIB).spawn_scoped(scope, run).unwrap();
        thread.join().unwrap()
    })
}

#[test]
fn h11_a_handler_with_the_default_stack_takes_256_kib_by_value() {
    in_a_child("h11_a_handler_with_the_default_stack_takes_256_kib_by_value", || {
        const SIZE: usize = 256 * KIB;
        for (pattern, retained) in [("blob", false), ("*", false), ("blob", true)] {
            let bus = Bus::<[u8; SIZE], u8>::builder().capacity(2).build();
            if retained {
                with_room(|| bus.publish_retained("blob", [7; SIZE]).unwrap());
            }
            let (seen, handled) = channel();
            let _handler = with_room(|| {
                let handler = bus.subscription(pattern).with_retained();
                handler.handle(move |blob| seen.send((blob[0], blob[SIZE - 1])).map_err(|_| "gone")).unwrap()
            });
            if !retained {
                with_room(|| bus.publish("blob", [7; SIZE]).unwrap());
            }
            assert_eq!(handled.recv_timeout(LONG).unwrap(), (7, 7));
        }
    });
}

#[test]
fn h11_a_handler_with_a_larger_stack_takes_1_mib_by_value() {
    in_a_child("h11_a_handler_with_a_larger_stack_takes_1_mib_by_value", || {
        const SIZE: usize = KIB * KIB;
        let bus = Bus::<[u8; SIZE], u8>::builder().capacity(2).build();
        let _one = with_room(|| bus.subscription("one").stack_size(16 * SIZE).serve(|blob| blob[0]).unwrap());
        let _four =
            with_room(|| bus.subscription("four").stack_size(16 * SIZE).workers(4).serve(|blob| blob[0]).unwrap());
        for topic in ["one", "four"] {
            assert_eq!(with_room(|| bus.request(topic, [7; SIZE]).unwrap()).wait_timeout(LONG).unwrap(), 7);
        }
    });
}

#[test]
fn h11_a_stack_that_the_platform_does_not_provide_is_an_error() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        for bytes in [usize::MAX, usize::MAX / 2, 1 << 60] {
            let absurd = bus.subscription("work").stack_size(bytes).handle(|_| {});
            assert!(absurd.unwrap_err().is_thread_failure(), "{bytes}");
        }
        assert_eq!(bus.stats().subscriptions.len(), 0, "nothing is left of them");
        let small = bus.subscription("work").stack_size(0).handle(|_| {});
        assert!(small.is_ok(), "it is the least that the platform allows");
    });
}

/// Beyond the size from which on messages wait in boxes.
type Large = [u8; 5000];

fn large(number: u8) -> Large {
    [number; 5000]
}

fn first(subscriber: &Subscriber<Large>) -> (u8, u64, String) {
    let message = subscriber.try_recv().unwrap();
    assert_eq!(*message, large(message[0]));
    (message[0], message.lost_before(), message.topic().to_string())
}

#[test]
fn h11_large_payloads_go_through_every_kind_of_mailbox_as_small_ones_do() {
    within_limit(|| {
        let bus = Bus::<Large>::builder().capacity(2).build();
        let letters = bus.dead_letters();
        bus.publish_retained("a.b", large(1)).unwrap();
        let kept = bus.subscription("a.*").with_retained().open().unwrap();
        let rejected = bus.subscription("a.b").with_retained().filter(|large| large[0] > 1).open().unwrap();
        assert_eq!(first(&kept), (1, 0, "a.b".to_owned()));
        assert!(rejected.try_recv().unwrap_err().is_empty());
        drop((kept, rejected));

        let picky = bus.subscription("a.b").filter(|large| large[0] > 1).open().unwrap();
        let oldest = bus.subscription("a.b").overflow(Overflow::DropOldest).open().unwrap();
        let newest = bus.subscription(">").overflow(Overflow::DropNewest).open().unwrap();
        for (number, delivered) in [(1, 2), (2, 3), (3, 2), (4, 1)] {
            assert_eq!(bus.try_publish("a.b", large(number)).unwrap().delivered(), delivered, "{number}");
        }
        for (subscriber, expected) in
            [(&picky, [(2, 0), (3, 0)]), (&oldest, [(3, 2), (4, 0)]), (&newest, [(1, 0), (2, 0)])]
        {
            for (number, lost) in expected {
                assert_eq!(first(subscriber), (number, lost, "a.b".to_owned()));
            }
        }
        // The next message reports the loss.
        bus.publish("a.b", large(5)).unwrap();
        assert_eq!([&picky, &oldest, &newest].map(|subscriber| first(subscriber).1), [1, 0, 2]);
        // Beside these five losses, nobody heard the first of all.
        assert_eq!(letters.try_iter().count(), 6);

        // A timeout hands the payload back.
        (6..8).for_each(|number| assert_eq!(bus.publish("a.b", large(number)).unwrap().delivered(), 3));
        let error = bus.publish_timeout("a.b", large(8), std::time::Duration::ZERO).unwrap_err();
        assert_eq!((error.delivery().delivered(), error.into_inner()), (1, large(8)));
    });
}

#[test]
fn h11_handlers_of_large_payloads_answer_fail_and_report_losses() {
    within_limit(|| {
        let bus = Bus::<Large, u8>::builder().capacity(4).build();
        let letters = bus.dead_letters();
        let _server = bus.serve("ask", |large| large[0] + 1).unwrap();
        assert_eq!(bus.request("ask", large(1)).unwrap().wait_timeout(LONG).unwrap(), 2);
        let _failing = bus.on("fail", |_| Err("no")).unwrap();
        bus.publish("fail", large(3)).unwrap();
        let letter = letters.recv_timeout(LONG).unwrap();
        assert_eq!((letter.reason(), *letter.payload()), (&DeadLetterReason::Failed("no".to_owned()), large(3)));

        let (gate, entered, go) = support::gate();
        let (seen, handled) = channel();
        let latest = bus.subscription("tick").capacity(1).overflow(Overflow::DropOldest);
        let _latest = latest
            .handle(move |large| {
                seen.send((large[0], large.lost_before())).unwrap();
                gate.pass(u32::from(large[0]));
            })
            .unwrap();
        bus.publish("tick", large(0)).unwrap();
        entered.recv_timeout(LONG).unwrap();
        (1..4).for_each(|number| bus.fire("tick", large(number)));
        go.send(()).unwrap();
        assert_eq!(handled.recv_timeout(LONG).unwrap(), (0, 0));
        assert_eq!(handled.recv_timeout(LONG).unwrap(), (3, 2));
        drop(go);
    });
}
