//! The memory that futures take. The tests measure the heap of the whole process, so they have a file of their own, and take
//! turns.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_lite::StreamExt;
use peak_alloc::PeakAlloc;
use support::{LONG, in_turn};
use tramline::Bus;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

fn poll<F: Future>(future: F, waker: &Waker) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(waker))
}

#[track_caller]
fn ready<F: Future>(future: F, waker: &Waker) -> F::Output {
    match poll(future, waker) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// Runs `round` a few times for what the first use of anything allocates, then many times. Tells how many bytes more than
/// before were in use at the most, and how many are left. The least of several measurements: the test harness, which
/// tells of another test, may need some in between.
fn bytes<S>(state: impl FnOnce(&Waker) -> S, mut round: impl FnMut(&mut S, &Waker, u32)) -> (usize, usize) {
    let waker = Waker::from(Arc::new(Nobody));
    let mut state = state(&waker);
    let mut measure = |rounds| {
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        (0..rounds).for_each(|n| round(&mut state, &waker, n));
        (HEAP.peak_usage().saturating_sub(before), HEAP.current_usage().saturating_sub(before))
    };
    measure(100);
    let measured = [(); 5].map(|()| measure(3000));
    (
        measured.map(|(most, _)| most).into_iter().min().unwrap(),
        measured.map(|(_, left)| left).into_iter().min().unwrap(),
    )
}

#[test]
fn a_message_between_tasks_takes_nothing_from_the_heap() {
    in_turn(LONG, || {
        let (most, left) = bytes(
            |_| {
                let bus = Bus::<u32>::new();
                let subscribers = [bus.subscribe("work").unwrap(), bus.subscribe("*").unwrap()];
                (bus.publisher("work").unwrap(), subscribers, Vec::with_capacity(1))
            },
            |(publisher, [one, two], batch), waker, n| {
                // Each waits first, with a place among those that wait.
                let mut receiving = pin!(one.recv_async());
                assert!(receiving.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
                assert!(poll(two.next(), waker).is_pending());
                assert!(poll(two.recv_async(), waker).is_pending());
                assert_eq!(ready(publisher.publish_async(n), waker).unwrap().delivered(), 2);
                assert_eq!(*ready(receiving, waker).unwrap(), n);
                if n % 2 == 0 {
                    assert_eq!(*ready(two.next(), waker).unwrap(), n);
                } else {
                    assert_eq!(ready(two.recv_many_async(batch, 1), waker), Ok(1));
                    batch.clear();
                }
            },
        );
        assert_eq!((most, left), (0, 0));
    });
}

/// A publisher that has to wait has a list of the mailboxes that it waits for, and gives it back.
#[test]
fn waiting_for_room_leaves_nothing_behind() {
    in_turn(LONG, || {
        let (most, left) = bytes(
            |_| {
                let bus = Bus::<u32>::builder().capacity(1).build();
                let subscriber = bus.subscribe("work").unwrap();
                let publisher = bus.publisher("work").unwrap();
                publisher.publish(0).unwrap();
                (publisher, subscriber)
            },
            |(publisher, subscriber), waker, n| {
                assert!(poll(publisher.publish_async(n), waker).is_pending());
                assert!(poll(publisher.gather_async(n), waker).is_pending());
                let mut publishing = pin!(publisher.publish_async(n));
                assert!(publishing.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
                let taken = ready(subscriber.recv_async(), waker).unwrap();
                assert!(taken.lost_before() <= 2);
                let _ = ready(publishing, waker).unwrap();
            },
        );
        assert!(most < 2048 && left == 0, "{most} bytes at the most, {left} left");
    });
}

#[test]
fn requests_that_are_polled_leave_nothing_behind() {
    in_turn(LONG, || {
        let (most, left) = bytes(
            |_| {
                let bus = Bus::<u32>::new();
                let service = bus.subscribe("ask").unwrap();
                (bus.publisher("ask").unwrap(), service)
            },
            |(publisher, service), waker, n| {
                let pending = ready(publisher.request_async(n), waker).unwrap();
                let mut pending = pin!(pending);
                let mut replies = ready(publisher.gather_async(n), waker).unwrap();
                assert!(pending.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
                assert!(poll(replies.next(), waker).is_pending());
                for request in service.try_iter() {
                    if n % 3 > 0 {
                        request.reply(n).unwrap();
                    }
                }
                if n % 3 < 2 {
                    assert_eq!(ready(pending, waker).ok(), (n % 3 > 0).then_some(n));
                    assert!(ready(replies.next(), waker).is_some());
                    assert!(ready(replies.next(), waker).is_none());
                }
            },
        );
        assert!(most < 8192 && left == 0, "{most} bytes at the most, {left} left");
    });
}

/// Of futures that are forgotten a mailbox keeps a waker each until the next message, and no longer.
#[test]
fn what_is_kept_of_forgotten_futures_goes_with_the_next_message() {
    in_turn(LONG, || {
        let bus = Bus::<u32>::new();
        let subscriber = bus.subscribe("work").unwrap();
        let nobody = Arc::new(Nobody);
        let waker = Waker::from(Arc::clone(&nobody));
        for _ in 0..100 {
            let mut receiving = std::mem::ManuallyDrop::new(Box::pin(subscriber.recv_async()));
            assert!(receiving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(Arc::strong_count(&nobody), 102);
        bus.publish("work", 1).unwrap();
        assert_eq!(Arc::strong_count(&nobody), 2);
    });
}
