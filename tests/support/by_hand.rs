//! Futures that are polled by hand, and an executor that is nothing but the standard library.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Runs a future on this thread, which sleeps until it is woken.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// Runs a future on this thread, and counts how often it is polled.
pub fn block_on_counting<F: Future>(polls: &AtomicUsize, future: F) -> F::Output {
    let mut future = pin!(future);
    block_on(poll_fn(|context| {
        polls.fetch_add(1, Ordering::SeqCst);
        future.as_mut().poll(context)
    }))
}

/// A future that is polled by hand, and counts how often it was woken.
pub struct ByHand<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F: Future> ByHand<F> {
    pub fn new(future: F) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    /// A future that waits: it was polled once and is not ready.
    #[track_caller]
    pub fn waiting(future: F) -> Self {
        let mut waiting = Self::new(future);
        assert!(waiting.poll().is_pending(), "it was meant to wait");
        waiting
    }

    pub fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// What it is ready with.
    #[track_caller]
    pub fn ready(mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits"),
        }
    }

    /// What it is ready with; it must have been woken for that.
    #[track_caller]
    pub fn woken(self) -> F::Output {
        assert!(self.wakes() > 0, "nothing has woken it");
        self.ready()
    }

    pub fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }

    /// To be asked after the future is gone.
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.wakes))
    }

    /// The future itself, polled or not.
    pub fn into_inner(self) -> F
    where
        F: Unpin,
    {
        *Pin::into_inner(self.future)
    }

    /// Leaks the future: it is neither polled again nor dropped.
    pub fn forget(self) {
        mem::forget(self.future);
    }
}

/// How often a future was woken.
pub struct Watch(Arc<Wakes>);

impl Watch {
    pub fn wakes(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }
}
