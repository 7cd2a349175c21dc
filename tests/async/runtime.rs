//! Three runtimes, and how a case runs on each.
#![allow(unreachable_pub, reason = "the crate is a test")]

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use crate::support::{block_on, within_limit};

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
