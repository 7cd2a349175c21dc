//! Handlers that are tasks.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use super::spawner::{HandlerTask, Spawner};
use super::start::{RunningWorker, Start};
use super::worker::{SKIPPED, Verdict, Worker};
use crate::dead_letter::DeadLetterReason;
use crate::lifecycle::WorkerActivity;
use crate::message::Message;
use crate::panic::catch;
use crate::spans::HandlingTask;
use crate::sync::Delay;
use crate::sync::wait_list::WaitEntry;

/// The number of messages that a task handles in a row before it yields.
const STREAK: u32 = 64;

/// A worker while it is a task. When it is dropped it has ended, or its runtime has dropped it.
struct Task<T: Clone, R> {
    worker: Worker<T, R>,
    /// There is nothing more for it to do.
    finished: bool,
    streak: u32,
    activity: WorkerActivity,
    guard: RunningWorker<T>,
}

impl<T: Clone, R> Drop for Task<T, R> {
    fn drop(&mut self) {
        self.worker.reader_left();
        let last = self.guard.end();
        if last && !self.finished {
            self.worker.abandon();
        }
    }
}

/// Waits for the next message; `None` when there is nothing more to do.
struct Next<'a, T, R> {
    worker: &'a Worker<T, R>,
    streak: &'a mut u32,
    activity: &'a mut WorkerActivity,
    message: WaitEntry,
    leaving: WaitEntry,
}

impl<T: Clone, R> Future for Next<'_, T, R> {
    type Output = Option<Message<T, R>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if *this.streak >= STREAK {
            *this.streak = 0;
            // It has nothing in hand, and its runtime may be slow to poll it again.
            this.activity.idles();
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.activity.looks();
        let Worker { mailbox, control, .. } = this.worker;
        loop {
            if control.is_leaving() {
                return Poll::Ready(None);
            }
            // The `Clone` of a retained value may panic.
            match catch(|| mailbox.poll_recv(&mut this.message, context)) {
                Ok(Poll::Ready(Ok(message))) => {
                    this.activity.found();
                    *this.streak += 1;
                    return Poll::Ready(Some(message));
                }
                Ok(Poll::Ready(Err(_))) => return Poll::Ready(None),
                Ok(Poll::Pending) => break,
                Err(_) => this.worker.panicked(),
            }
        }
        *this.streak = 0;
        control.wait(&mut this.leaving, context.waker());
        if control.is_leaving() {
            return Poll::Ready(None);
        }
        this.activity.idles();
        Poll::Pending
    }
}

impl<T, R> Drop for Next<'_, T, R> {
    fn drop(&mut self) {
        self.worker.mailbox.leave_message_wait(&mut self.message);
        self.worker.control.wait_no_more(&mut self.leaving);
    }
}

impl<T: Clone, R> Task<T, R> {
    async fn run<F, Fut>(mut self, mut f: F)
    where
        F: FnMut(&Message<T, R>) -> Fut,
        Fut: Future<Output = Result<(), String>>,
    {
        while let Some(message) = self.next().await {
            self.process(message, &mut f).await;
        }
        self.finished = true;
        self.activity.ends();
        // The closure may hold handles of the bus, and they must be gone before the task counts as ended.
        let _ = catch(|| drop(f));
    }

    async fn next(&mut self) -> Option<Message<T, R>> {
        let Self { worker, streak, activity, .. } = self;
        Next { worker, streak, activity, message: WaitEntry::default(), leaving: WaitEntry::default() }.await
    }

    async fn process<F, Fut>(&self, message: Message<T, R>, f: &mut F)
    where
        F: FnMut(&Message<T, R>) -> Fut,
        Fut: Future<Output = Result<(), String>>,
    {
        let worker = &self.worker;
        let started = worker.stopwatch.start();
        let span =
            HandlingTask::new(message.requesting(), message.published_in(), message.topic(), worker.mailbox.labels());
        let mut attempts = 0;
        if worker.skips(&message) {
            span.end(SKIPPED, attempts);
            // The `Drop` of the payload may panic.
            if catch(|| drop(message)).is_err() {
                worker.panicked();
            }
            return;
        }
        let reason = loop {
            attempts += 1;
            let outcome = match catch(|| span.within(|| f(&message))) {
                Ok(future) => caught(future, &span).await,
                Err(panic) => Err(panic),
            };
            match Verdict::after(outcome, attempts, &worker.retry) {
                Verdict::Done => break None,
                Verdict::Retry { pause, .. }
                    if !worker.is_in_vain(&message) && self.pause(pause).await && !worker.is_in_vain(&message) => {}
                Verdict::Retry { error, .. } => break Some(DeadLetterReason::Failed(error)),
                Verdict::GiveUp(reason) => break Some(reason),
            }
        };
        span.end(reason.as_ref().map_or("ok", DeadLetterReason::outcome), attempts);
        // The `Drop` of the payload may panic.
        if catch(|| worker.finish(message, reason, attempts)).is_err() {
            worker.panicked();
        }
        worker.stopwatch.stop(started);
    }

    /// Waits between two attempts; `false` if there is to be no other.
    async fn pause(&self, pause: Duration) -> bool {
        let mut delay = Delay::new(pause);
        let mut place = WaitEntry::default();
        let control = &self.worker.control;
        let go_on = poll_fn(|context| {
            control.wait(&mut place, context.waker());
            if control.is_abandoned() {
                return Poll::Ready(false);
            }
            Pin::new(&mut delay).poll(context).map(|()| true)
        });
        let go_on = go_on.await;
        control.wait_no_more(&mut place);
        go_on
    }
}

/// Runs a future of the user, whose panic becomes its text. What the user has made is dropped in its last poll.
async fn caught<A>(future: impl Future<Output = A>, span: &HandlingTask) -> Result<A, String> {
    let mut future = pin!(future);
    let outcome = poll_fn(|context| match catch(|| span.within(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    });
    outcome.await
}

impl<T, R> Start<T, R>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    /// Runs one more worker as a task.
    pub(crate) fn task<F, Fut>(&mut self, spawner: &impl Spawner, f: F)
    where
        F: FnMut(&Message<T, R>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let Some((worker, guard)) = self.begin() else { return };
        let serving = worker.serving();
        let activity = worker.activity();
        let task = Task { worker, finished: false, streak: 0, activity, guard };
        spawner.spawn(HandlerTask::new(serving, task.run(f)));
    }
}
