//! Three runtimes, and how a case runs on each; futures that are polled by hand.
#![allow(unreachable_pub, reason = "the crate is a test")]

use std::future::{Future, poll_fn};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::support::within_limit;

/// What a case needs of a runtime.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Makes the runtime and runs the case on it.
    fn run<F: Future<Output = ()>>(case: impl FnOnce(Self) -> F);

    /// Runs a task beside the others. It goes on when the handle is dropped.
    fn spawn<O: Send + 'static>(&self, task: impl Future<Output = O> + Send + 'static) -> Task<O>;
}

/// A task that runs; ready when it has ended. Panics if the task has.
pub type Task<O> = Pin<Box<dyn Future<Output = O> + Send>>;

/// Makes of each case, which is a function of the runtime, a module with one test for each runtime. A case that is
/// left out of the list is dead code, which the compiler finds.
macro_rules! on_every_runtime {
    ($($case:ident,)+) => {$(
        mod $case {
            use crate::runtime::{Bare, OneThread, TwoThreads, run};

            #[test]
            fn on_tokio_with_one_thread() {
                run::<OneThread, _>(super::$case);
            }

            #[test]
            fn on_tokio_with_two_threads() {
                run::<TwoThreads, _>(super::$case);
            }

            #[test]
            fn on_a_bare_executor() {
                run::<Bare, _>(super::$case);
            }
        }
    )+};
}
pub(crate) use on_every_runtime;

pub fn run<R: Runtime, F: Future<Output = ()>>(case: impl FnOnce(R) -> F + Send + 'static) {
    within_limit(|| R::run(case));
}

fn on_tokio<O: Send + 'static>(
    handle: &tokio::runtime::Handle,
    task: impl Future<Output = O> + Send + 'static,
) -> Task<O> {
    let task = handle.spawn(task);
    Box::pin(async { task.await.unwrap() })
}

/// Tokio, with all tasks on the thread of the test.
#[derive(Clone)]
pub struct OneThread(tokio::runtime::Handle);

impl Runtime for OneThread {
    fn run<F: Future<Output = ()>>(case: impl FnOnce(Self) -> F) {
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio.block_on(case(Self(tokio.handle().clone())));
    }

    fn spawn<O: Send + 'static>(&self, task: impl Future<Output = O> + Send + 'static) -> Task<O> {
        on_tokio(&self.0, task)
    }
}

/// Tokio, with tasks on two threads beside that of the test.
#[derive(Clone)]
pub struct TwoThreads(tokio::runtime::Handle);

impl Runtime for TwoThreads {
    fn run<F: Future<Output = ()>>(case: impl FnOnce(Self) -> F) {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        tokio.block_on(case(Self(tokio.handle().clone())));
    }

    fn spawn<O: Send + 'static>(&self, task: impl Future<Output = O> + Send + 'static) -> Task<O> {
        on_tokio(&self.0, task)
    }
}

/// Nothing but the standard library: each task has a thread, which sleeps while the task waits.
#[derive(Clone)]
pub struct Bare;

impl Runtime for Bare {
    fn run<F: Future<Output = ()>>(case: impl FnOnce(Self) -> F) {
        block_on(case(Self));
    }

    fn spawn<O: Send + 'static>(&self, task: impl Future<Output = O> + Send + 'static) -> Task<O> {
        let ended = Arc::new(Mutex::new(Ended { outcome: None, joining: None }));
        let task_ended = Arc::clone(&ended);
        thread::spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| block_on(task)));
            let mut ended = task_ended.lock().unwrap();
            ended.outcome = Some(outcome);
            let joining = ended.joining.take();
            drop(ended);
            joining.into_iter().for_each(Waker::wake);
        });
        Box::pin(poll_fn(move |context| {
            let mut ended = ended.lock().unwrap();
            match ended.outcome.take() {
                Some(Ok(output)) => Poll::Ready(output),
                Some(Err(panic)) => resume_unwind(panic),
                None => {
                    ended.joining = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }
}

/// What became of a task that has a thread of its own.
struct Ended<O> {
    outcome: Option<thread::Result<O>>,
    joining: Option<Waker>,
}

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

/// Numbers that look random, the same in every run: tasks that take turns in a fixed order would always meet in the same
/// state.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % limit
    }

    /// Gives way up to so many times.
    pub async fn give_way(&mut self, limit: u64) {
        for _ in 0..self.below(limit + 1) {
            futures_lite::future::yield_now().await;
        }
    }
}
