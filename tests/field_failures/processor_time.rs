//! Threads that run for nothing, and costs that grow faster than the number of subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(target_os = "linux")]
use std::thread;
#[cfg(target_os = "linux")]
use std::time::Duration;

use tramline::Bus;
#[cfg(target_os = "linux")]
use tramline::Overflow;

use crate::support::Counted;
#[cfg(target_os = "linux")]
use crate::support::process::Threads;
#[cfg(target_os = "linux")]
use crate::support::{LONG, wait_until};
use crate::{HEAP, in_turn};

/// Spawns a thread of this name.
#[cfg(target_os = "linux")]
fn named<O: Send + 'static>(name: &str, run: impl FnOnce() -> O + Send + 'static) -> thread::JoinHandle<O> {
    thread::Builder::new().name(name.to_owned()).spawn(run).unwrap()
}

/// Twenty readers of the crate `bus` that wait for nothing use half a core, because they park with a time limit and look
/// again (jonhoo/bus, issues 23 and 5); receivers of async-channel woke each other in a circle (smol-rs/async-channel,
/// issue 13).
///
/// Here whoever waits is asleep until there is a reason. Counted are the times that a thread went to sleep again, and the
/// time that it ran without doing so. That readers who never had a message use no processor time is a case of its own
/// (L7); these have had messages, and not only readers wait.
#[cfg(target_os = "linux")]
#[test]
fn idle_cpu_and_spinning() {
    in_turn(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let stuck = bus.subscribe("stuck").unwrap();
        bus.publish("stuck", 0).unwrap();
        let silent = bus.subscription("silent").capacity(8).open().unwrap();
        let mut waiting = Vec::new();
        for n in 0..20 {
            let reader = match n % 4 {
                0 => bus.subscribe("news").unwrap(),
                1 => bus.subscription("news").group("g").open().unwrap(),
                2 => bus.subscription("*").filter(|n| *n < 100).open().unwrap(),
                _ => bus.subscription("news").overflow(Overflow::DropOldest).open().unwrap(),
            };
            waiting.push(named("idle-reader", move || reader.iter().for_each(drop)));
        }
        let handlers =
            [(); 5].map(|()| bus.subscription("news").workers(2).name("idle-worker").handle(|_| {}).unwrap());
        for _ in 0..4 {
            let publisher = bus.publisher("stuck").unwrap();
            waiting.push(named("idle-publisher", move || drop(publisher.publish(1))));
            let pending = bus.request("silent", 1).unwrap();
            waiting.push(named("idle-caller", move || drop(pending.wait())));
            let letters = bus.dead_letters();
            waiting.push(named("idle-letters", move || letters.iter().for_each(drop)));
        }
        for n in 0..1000 {
            bus.publish("news", n).unwrap();
        }
        bus.publish("unheard.by.all", 1).unwrap();
        let all = 20 + 10 + 4 * 3;
        let idle = || Threads::named("idle-");
        wait_until("all are asleep, and have nothing to wake up for", || {
            idle().asleep == all
                && bus
                    .stats()
                    .subscriptions
                    .iter()
                    .all(|mailbox| mailbox.depth == 0 || mailbox.patterns[0].as_str().starts_with('s'))
        });
        wait_until("the last that woke up is asleep again", || idle().asleep == all);
        let before = idle();
        // Not a wait for something to happen: this is the time over which is counted.
        thread::sleep(Duration::from_secs(1));
        let after = idle();
        assert_eq!((before.count, after.count, after.asleep), (all, all, all));
        // One that looks every 10 ms would have done so a hundred times.
        let (sleeps, ticks) = (after.sleeps - before.sleeps, after.ticks - before.ticks);
        assert!(sleeps < all, "they woke up {sleeps} times");
        assert!(ticks < 5, "they ran for {ticks} ticks");
        bus.close();
        drop((stuck, silent));
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
        handlers.into_iter().for_each(|handler| assert!(handler.stop(LONG).is_complete()));
    });
}

/// From about 40 receivers on, sending to tokio's `broadcast` got quadratically slower, up to minutes, when each receiver
/// had a thread of its own: all of them fight for the lock of the channel's end (tokio-rs/tokio, issues 5923 and 5465).
///
/// Here a message costs each mailbox the same, however many there are. Counted are operations: clones, looks of filters,
/// bytes of the heap, and how often the receivers' threads went to sleep; who waits for a lock goes to sleep.
#[test]
fn superlinear_fan_out_beyond_40_receivers() {
    const MESSAGES: usize = 50;

    /// Counts the operations for each message and receiver, where all have room. Returns how many bytes the heap has grown.
    fn operations(receivers: usize) -> usize {
        let bus = Bus::<Counted>::new();
        let (clones, looks) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let subscribers: Vec<_> = (0..receivers)
            .map(|_| {
                let looks = Arc::clone(&looks);
                let look = move |_: &Counted| looks.fetch_add(1, Ordering::SeqCst) < usize::MAX;
                bus.subscription("news").capacity(MESSAGES).filter(look).open().unwrap()
            })
            .collect();
        let publisher = bus.publisher("news").unwrap();
        // The first message makes the queues.
        publisher.publish(Counted::with(&clones)).unwrap();
        subscribers.iter().for_each(|subscriber| drop(subscriber.recv().unwrap()));
        clones.store(0, Ordering::SeqCst);
        looks.store(0, Ordering::SeqCst);
        let before = HEAP.current_usage();
        for _ in 0..MESSAGES {
            assert_eq!(publisher.publish(Counted::with(&clones)).unwrap().delivered(), receivers);
        }
        let grown = HEAP.current_usage().saturating_sub(before);
        assert_eq!(clones.load(Ordering::SeqCst), MESSAGES * (receivers - 1));
        assert_eq!(looks.load(Ordering::SeqCst), MESSAGES * receivers);
        assert!(subscribers.iter().all(|subscriber| subscriber.len() == MESSAGES));
        grown
    }

    /// How often each receiver went to sleep for a message, on average, in hundredths.
    #[cfg(target_os = "linux")]
    fn sleeps(receivers: usize) -> u64 {
        let bus = Bus::<u32>::new();
        let received = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..receivers)
            .map(|_| {
                let (subscriber, received) = (bus.subscribe("news").unwrap(), Arc::clone(&received));
                named("fan-out", move || {
                    for _ in &subscriber {
                        received.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        wait_until("all wait", || Threads::named("fan-out").asleep == receivers as u64);
        let before = Threads::named("fan-out").sleeps;
        for n in 1..=MESSAGES {
            bus.publish("news", 1).unwrap();
            wait_until("all have it", || received.load(Ordering::SeqCst) == n * receivers);
        }
        let sleeps = Threads::named("fan-out").sleeps - before;
        bus.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        sleeps * 100 / (MESSAGES * receivers) as u64
    }

    in_turn(|| {
        for receivers in [10, 40, 80, 320] {
            // Mailboxes have their memory by then. The least of three buses: the test harness, which reports another
            // test, may allocate meanwhile.
            let grown = [(); 3].map(|()| operations(receivers)).into_iter().min().unwrap();
            assert!(grown <= 1024, "{grown} bytes more");
        }
        #[cfg(target_os = "linux")]
        for receivers in [10, 40, 160] {
            let sleeps = sleeps(receivers);
            // Once for each message, and now and then for the lock that guards the sleep of this very receiver.
            assert!(sleeps <= 200, "{receivers} receivers went to sleep {sleeps} times for 100 messages each");
        }
    });
}
