//! A6: a task that waits for a message is woken when all mailboxes have it, so that what the task does about it cannot come
//! first anywhere.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;

use futures_lite::future::poll_once;
use tramline::{Bus, Overflow, Subscriber};

use crate::support::{ByHand, block_on, within_limit};

/// Does something when it is woken.
struct Does<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Does<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn waker(does: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Does(does)))
}

/// Has a task wait at `first`, lets `publish` run, and returns the lengths of `second` at the wake-ups of the task.
fn lengths_when_woken(first: &Subscriber<u32>, second: Subscriber<u32>, publish: impl FnOnce()) -> Vec<usize> {
    let (second, lengths) = (Arc::new(second), Arc::<Mutex<Vec<usize>>>::default());
    let waker = {
        let (second, lengths) = (Arc::clone(&second), Arc::clone(&lengths));
        waker(move || lengths.lock().unwrap().push(second.len()))
    };
    let mut receiving = pin!(first.recv_async());
    assert!(receiving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    publish();
    let lengths = lengths.lock().unwrap().clone();
    assert!(receiving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    lengths
}

/// Every way to publish one message to the topic `work` that does not wait.
const PUBLISHES: [fn(&Bus<u32>); 8] = [
    |bus| bus.fire("work", 1),
    |bus| assert_eq!(bus.publisher("work").unwrap().publish(1).unwrap().delivered(), 2),
    |bus| assert_eq!(bus.publish_all("work", [1]).unwrap().delivered(), 2),
    |bus| assert_eq!(bus.publish_retained("work", 1).unwrap().delivered(), 2),
    |bus| drop(bus.request("work", 1).unwrap()),
    |bus| drop(bus.gather("work", 1).unwrap()),
    |bus| assert_eq!(block_on(bus.publish_async("work", 1)).unwrap().delivered(), 2),
    |bus| drop(block_on(bus.request_async("work", 1)).unwrap()),
];

#[test]
fn a06_a_task_is_woken_when_every_mailbox_has_the_message() {
    within_limit(|| {
        for publish in PUBLISHES {
            for overflow in [Overflow::Block, Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect] {
                // A message takes another way where there are filters.
                for filtered in [false, true] {
                    let bus = Bus::<u32>::new();
                    let open = || {
                        let subscription = bus.subscription("work").overflow(overflow);
                        if filtered { subscription.filter(|n| *n < 2).open() } else { subscription.open() }
                    };
                    let (first, second) = (open().unwrap(), open().unwrap());
                    let lengths = lengths_when_woken(&first, second, || publish(&bus));
                    assert_eq!(lengths, [1], "{overflow:?}, filtered: {filtered}");
                }
            }
        }
    });
}

#[test]
fn a06_what_a_task_publishes_does_not_overtake_its_cause() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (first, second) = (bus.subscribe("cause").unwrap(), bus.subscribe(">").unwrap());
        let effects = bus.downgrade();
        let waker = waker(move || effects.upgrade().iter().for_each(|bus| bus.fire("effect", 2)));
        let mut receiving = pin!(first.recv_async());
        assert!(receiving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        bus.publish("cause", 1).unwrap();
        assert_eq!(second.try_iter().map(|message| *message).collect::<Vec<_>>(), [1, 2]);
    });
}

/// A filter that rejects a message is no reason to wake the task behind it.
#[test]
fn a06_a_task_whose_mailbox_rejects_the_message_sleeps_on() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let open = |accepted| bus.subscription("work").filter(move |n| *n == accepted).open().unwrap();
        let (first, second) = (open(1), open(2));
        let (first, second) = (ByHand::waiting(first.recv_async()), ByHand::waiting(second.recv_async()));
        bus.publish("work", 2).unwrap();
        assert_eq!((first.wakes(), second.wakes()), (0, 1));
    });
}

/// Two mailboxes; the second is full.
fn second_is_full() -> (Bus<u32>, Subscriber<u32>, Subscriber<u32>) {
    let bus = Bus::<u32>::builder().capacity(1).build();
    let (first, second) = (bus.subscribe("work").unwrap(), bus.subscribe(">").unwrap());
    bus.publish("other", 0).unwrap();
    (bus, first, second)
}

#[test]
fn a06_a_publisher_that_is_a_thread_wakes_tasks_before_it_waits_for_room() {
    within_limit(|| {
        let (bus, first, second) = second_is_full();
        let publisher = bus.publisher("work").unwrap();
        let publishing = thread::spawn(move || publisher.publish(1).unwrap().delivered());
        // There is no room until this task has run.
        assert_eq!(*block_on(first.recv_async()).unwrap(), 1);
        assert_eq!([*second.recv().unwrap(), *second.recv().unwrap()], [0, 1]);
        assert_eq!(publishing.join().unwrap(), 2);
    });
}

#[test]
fn a06_a_publisher_that_is_a_task_wakes_tasks_before_it_waits_for_room() {
    within_limit(|| {
        let (bus, first, second) = second_is_full();
        let receiving = ByHand::waiting(first.recv_async());
        let publishing = ByHand::waiting(bus.publish_async("work", 1));
        assert_eq!(*receiving.woken().unwrap(), 1);
        assert_eq!(*second.recv().unwrap(), 0);
        assert_eq!(publishing.woken().unwrap().delivered(), 2);
    });
}

/// Mailboxes that were full get the message later, in one poll of its publisher.
#[test]
fn a06_a_publisher_that_has_waited_wakes_tasks_when_every_mailbox_with_room_has_the_message() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let (first, second) = (bus.subscribe("work").unwrap(), bus.subscribe("work").unwrap());
        bus.publish("work", 0).unwrap();
        let mut publishing = ByHand::waiting(bus.publish_async("work", 1));
        assert_eq!((*first.recv().unwrap(), *second.recv().unwrap()), (0, 0));
        let lengths = lengths_when_woken(&first, second, || assert!(publishing.poll().is_ready()));
        assert_eq!(lengths, [1]);
    });
}

/// A payload that does something when it is cloned.
struct OnClone(Arc<dyn Fn() + Send + Sync>);

impl Clone for OnClone {
    fn clone(&self) -> Self {
        (self.0)();
        Self(Arc::clone(&self.0))
    }
}

#[test]
fn a06_a_clone_that_unwinds_leaves_no_task_asleep() {
    within_limit(|| {
        for filtered in [false, true] {
            let bus = Bus::<OnClone>::new();
            let open = || {
                let subscription = bus.subscription("work");
                if filtered { subscription.filter(|_| true).open() } else { subscription.open() }
            };
            let [first, second, third] = [1, 2, 3].map(|_| open().unwrap());
            let waiting = ByHand::waiting(first.recv_async());
            let clones = AtomicUsize::new(0);
            let payload = OnClone(Arc::new(move || assert_eq!(clones.fetch_add(1, Ordering::SeqCst), 0, "unwinds")));
            assert!(catch_unwind(AssertUnwindSafe(|| drop(bus.publish("work", payload)))).is_err());
            assert_eq!((second.len(), third.len()), (0, 0));
            assert!(waiting.woken().is_ok(), "filtered: {filtered}");
        }
    });
}

/// The task at the first mailbox has not been woken yet when the second message finds no room there.
#[test]
fn a06_a_clone_that_waits_for_room_wakes_the_task_that_makes_it() {
    within_limit(|| {
        let bus = Bus::<OnClone>::builder().capacity(1).build();
        let (first, _second) = (bus.subscribe("work").unwrap(), bus.subscription("work").capacity(2).open().unwrap());
        let _third = bus.subscription("work").capacity(2).open().unwrap();
        let (waits, is_waiting) = channel();
        let reader = thread::spawn(move || {
            let mut receiving = pin!(first.recv_async());
            assert!(block_on(poll_once(receiving.as_mut())).is_none());
            waits.send(()).unwrap();
            drop(block_on(receiving).unwrap());
            drop(block_on(first.recv_async()).unwrap());
        });
        is_waiting.recv().unwrap();
        let (clones, again) = (AtomicUsize::new(0), bus.downgrade());
        let payload = OnClone(Arc::new(move || {
            // The first mailbox has the message, and the second is about to have it.
            if clones.fetch_add(1, Ordering::SeqCst) == 1 {
                again.upgrade().unwrap().publish("work", OnClone(Arc::new(|| ()))).unwrap();
            }
        }));
        assert_eq!(bus.publish("work", payload).unwrap().delivered(), 3);
        reader.join().unwrap();
    });
}
