//! The one tokio runtime that all asynchronous peers share: two workers, asleep while others are measured.

use std::sync::{Arc, LazyLock};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;

use crate::peer::Finish;
use crate::tally::Tally;

pub(crate) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).build().expect("the runtime starts"));

/// Runs a future on a worker of the runtime, and waits for it on this thread.
pub(crate) fn on_worker<F>(future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    RUNTIME.block_on(RUNTIME.spawn(future)).expect("the task ended")
}

/// A task for each subscriber. Returns when all of them run.
pub(crate) fn tasks<F>(subscribers: impl IntoIterator<Item = F>) -> Finish
where
    F: Future<Output = Tally> + Send + 'static,
{
    let subscribers: Vec<_> = subscribers.into_iter().collect();
    let ready = Arc::new(Barrier::new(subscribers.len() + 1));
    let start = |subscriber: F| {
        let ready = ready.clone();
        RUNTIME.spawn(async move {
            ready.wait().await;
            subscriber.await
        })
    };
    let tasks: Vec<_> = subscribers.into_iter().map(start).collect();
    RUNTIME.block_on(ready.wait());
    Box::new(|| tasks.into_iter().map(|task| RUNTIME.block_on(task).expect("the subscriber ended")).collect())
}
