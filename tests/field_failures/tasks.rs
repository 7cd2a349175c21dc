//! The same failures as tasks meet them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_lite::StreamExt;
use tramline::{Bus, Overflow, WeakBus};

use crate::support::{ByHand, LONG};
use crate::{HEAP, in_turn};

/// See the test of this name for threads. Each order in which some of four who wait give up, after the wake-up was sent
/// and before they were asked again: one of those who are left has been woken, and gets it.
#[test]
fn lost_wake_ups_and_cancelled_futures() {
    in_turn(|| {
        for given_up in 0..15_u32 {
            let stays = |index: usize| given_up & (1 << index) == 0;

            // Those who wait for a message.
            let bus = Bus::<u32>::new();
            let reader = bus.subscribe("work").unwrap();
            let mut waiting: Vec<_> = (0..4).map(|_| Some(ByHand::waiting(reader.recv_async()))).collect();
            bus.publish("work", 1).unwrap();
            for (index, asked) in waiting.iter_mut().enumerate() {
                if !stays(index) {
                    *asked = None;
                }
            }
            let mut woken = waiting.iter_mut().flatten().filter(|asked| asked.wakes() > 0);
            let received = woken.find_map(|asked| match asked.poll() {
                Poll::Ready(message) => Some(*message.unwrap()),
                Poll::Pending => None,
            });
            assert_eq!(received, Some(1), "nobody was woken for the message, {given_up:04b} have given up");

            // Those who wait for room.
            let bus = Bus::<u32>::builder().capacity(1).build();
            let reader = bus.subscribe("work").unwrap();
            let work = bus.publisher("work").unwrap();
            work.publish(0).unwrap();
            let mut waiting: Vec<_> = (1..=4).map(|n| Some(ByHand::waiting(work.publish_async(n)))).collect();
            assert_eq!(*reader.recv().unwrap(), 0);
            for (index, asked) in waiting.iter_mut().enumerate() {
                if !stays(index) {
                    *asked = None;
                }
            }
            let mut woken = waiting.iter_mut().flatten().filter(|asked| asked.wakes() > 0);
            let published = woken.any(|asked| asked.poll().is_ready());
            assert!(published, "nobody was woken for the room, {given_up:04b} have given up");
            assert_eq!(reader.len(), 1);
        }
    });
}

/// See the test of this name for threads. Wakers are called, and dropped, when no lock is held: another thread can use
/// the bus meanwhile.
#[test]
fn user_code_under_the_lock() {
    struct Meddler {
        bus: WeakBus<u32>,
        times: Arc<AtomicUsize>,
        hung: Arc<AtomicUsize>,
    }

    impl Meddler {
        /// Has another thread take the locks of all who wait here.
        fn meddle(&self) {
            let (bus, (done, ended)) = (self.bus.clone(), std::sync::mpsc::channel());
            thread::spawn(move || {
                if let Some(bus) = bus.upgrade() {
                    bus.fire("work", 9);
                    bus.fire("silent", 9);
                    let _ = bus.stats();
                    // Waits there as others do, with a waker of its own, and gives up.
                    let member = bus.subscription("work").group("g").overflow(Overflow::DropOldest).open().unwrap();
                    drop(ByHand::new(member.recv_async()).poll());
                    drop(ByHand::new(bus.publish_async("silent", 9)).poll());
                }
                let _ = done.send(());
            });
            let ended = ended.recv_timeout(LONG / 6).is_ok();
            if ended { &self.times } else { &self.hung }.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Wake for Meddler {
        fn wake(self: Arc<Self>) {
            self.meddle();
        }
    }

    impl Drop for Meddler {
        fn drop(&mut self) {
            self.meddle();
        }
    }

    in_turn(|| {
        let (times, hung) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let bus = Bus::<u32>::builder().capacity(1).build();
        let meddler = || {
            let (times, hung) = (Arc::clone(&times), Arc::clone(&hung));
            Waker::from(Arc::new(Meddler { bus: bus.downgrade(), times, hung }))
        };
        let reader = bus.subscription("work").group("g").overflow(Overflow::DropOldest).open().unwrap();
        let silent = bus.subscribe("silent").unwrap();
        {
            let mut receiving = Box::pin(reader.recv_async());
            let mut asking = Box::pin(bus.request("silent", 1).unwrap());
            let mut publishing = Box::pin(bus.publish_async("silent", 2));
            // The second waker takes the place of the first, which is dropped there.
            for _ in 0..2 {
                let _ = receiving.as_mut().poll(&mut Context::from_waker(&meddler()));
                let _ = asking.as_mut().poll(&mut Context::from_waker(&meddler()));
                let _ = publishing.as_mut().poll(&mut Context::from_waker(&meddler()));
            }
            // Each is woken: by a message, by room, by an answer.
            bus.publish("work", 1).unwrap();
            drop(silent.recv().unwrap());
        }
        // Each has been called or dropped, at the least.
        assert_eq!(hung.load(Ordering::SeqCst), 0, "another thread could not use the bus");
        assert!(times.load(Ordering::SeqCst) >= 6, "{times:?}");
    });
}

/// See the test of this name for threads.
#[test]
fn lag_treated_as_the_end() {
    in_turn(|| {
        let bus = Bus::<u32>::new();
        let mut reader = bus.subscription("news").capacity(2).overflow(Overflow::DropOldest).open().unwrap();
        let mut told = 0;
        for burst in 1..=3 {
            (0..100).for_each(|n| bus.fire("news", n));
            for _ in 0..2 {
                let mut next = reader.next();
                let Poll::Ready(message) = Pin::new(&mut next).poll(&mut Context::from_waker(Waker::noop())) else {
                    panic!("there is a message");
                };
                told += message.expect("the lag has ended the stream").lost_before();
            }
            assert_eq!(told, 98 * burst);
        }
        bus.close();
        assert!(futures_lite::future::block_on(reader.next()).is_none());
    });
}

/// See the test of this name for threads: a task that waits is called when there is a reason, and then once.
#[test]
fn idle_cpu_and_spinning() {
    in_turn(|| {
        let bus = Bus::<u32>::builder().capacity(4).build();
        let readers: Vec<_> = (0..50).map(|_| bus.subscribe("idle").unwrap()).collect();
        let mut waiting: Vec<_> = readers.iter().map(|reader| ByHand::waiting(reader.recv_async())).collect();
        let other = bus.subscribe("other").unwrap();
        for n in 0..1000 {
            bus.publish("other", n).unwrap();
            let _ = other.recv().unwrap();
            drop(bus.subscribe("idle").unwrap());
            let _ = bus.stats();
        }
        assert!(waiting.iter().all(|asked| asked.wakes() == 0), "woken for nothing");
        bus.publish("idle", 1).unwrap();
        assert!(waiting.iter_mut().all(|asked| asked.wakes() == 1 && asked.poll().is_ready()));
    });
}

/// See the test of this name for threads: a message wakes each that waits for it once.
#[test]
fn superlinear_fan_out_beyond_40_receivers() {
    in_turn(|| {
        for receivers in [10, 40, 80, 320] {
            let bus = Bus::<u32>::builder().capacity(2).build();
            let readers: Vec<_> = (0..receivers).map(|_| bus.subscribe("news").unwrap()).collect();
            for n in 0..20 {
                let mut waiting: Vec<_> = readers.iter().map(|reader| ByHand::waiting(reader.recv_async())).collect();
                assert_eq!(bus.publish("news", n).unwrap().delivered(), receivers);
                assert!(waiting.iter_mut().all(|asked| asked.poll().is_ready()));
                assert_eq!(waiting.iter().map(ByHand::wakes).sum::<usize>(), receivers);
            }
        }
    });
}

/// See the test of this name for threads: what is kept for a task that waits goes with the future, however often it was
/// asked, and with whatever waker.
#[test]
fn unbounded_memory() {
    in_turn(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let (empty, _full) = (bus.subscribe("empty").unwrap(), bus.subscribe("full").unwrap());
        bus.publish("full", 0).unwrap();
        let silent = bus.subscription("silent").capacity(4).open().unwrap();
        let mut pending = bus.request("silent", 0).unwrap();
        let mut kept = ByHand::waiting(empty.recv_async());
        let mut round = || {
            let mut receiving = ByHand::waiting(empty.recv_async());
            let mut publishing = ByHand::waiting(bus.publish_async("full", 1));
            for _ in 0..3 {
                assert!(receiving.poll().is_pending() && publishing.poll().is_pending() && kept.poll().is_pending());
            }
            drop(ByHand::waiting(&mut pending));
        };
        (0..1_000).for_each(|_| round());
        let before = HEAP.current_usage();
        (0..20_000).for_each(|_| round());
        let after = HEAP.current_usage();
        assert!(after <= before + 64 * 1024, "{} bytes more", after - before);
        drop(silent);
    });
}
