//! Stopping a handler, from a thread or a task.

#[cfg(feature = "async")]
use std::future::{Future, poll_fn};
#[cfg(feature = "async")]
use std::pin::Pin;
#[cfg(feature = "async")]
use std::task::Poll;
#[cfg(feature = "async")]
use std::time::Duration;

use super::{Handler, StopReport};
use crate::lifecycle::{Moment, Step, WorkerCounts};
#[cfg(feature = "async")]
use crate::sync::Delay;
use crate::sync::Instant;
use crate::sync::channel::RecvTimeoutError;
#[cfg(feature = "async")]
use crate::sync::channel::TryRecvError;

/// A handler that has left its mailbox, and whose workers finish what is queued. When it is dropped early, that is as if the
/// handler was.
pub(super) struct Stopping {
    handler: Handler,
    /// No other member is left for what is queued.
    last: bool,
    stage: Stage,
}

enum Stage {
    /// The workers finish what is queued.
    Ending,
    /// The time is over. A worker whose last message has just been handled is not idle yet.
    Idling(Moment),
    /// Waits until no worker is on its way to a message, as `Mailbox::left`. A worker counts if it had a message in hand at
    /// the moment of `before`, or has taken one out since.
    Looking { before: WorkerCounts, remaining: usize, moment: Moment },
    /// All is done.
    Over,
}

impl Stopping {
    pub(super) fn begin(mut handler: Handler) -> Self {
        handler.stopped = true;
        let last = handler.subscription.leave(handler.workers);
        if !last {
            handler.control.leave();
        }
        let stage = if handler.control.is_run_by_this_thread() {
            // It cannot wait for itself, and finishes what is queued afterwards.
            let remaining = if last { handler.subscription.len() } else { 0 };
            Stage::Looking { before: handler.control.workers.counts(), remaining, moment: Moment::to_look() }
        } else {
            Stage::Ending
        };
        Self { handler, last, stage }
    }

    /// Whether it can wait for the end of the workers.
    pub(super) fn waits_for_end(&self) -> bool {
        matches!(self.stage, Stage::Ending)
    }

    /// Waits as a thread. Returns `true` if all workers have ended in time.
    pub(super) fn wait_for_end(&mut self, deadline: Option<Instant>) -> bool {
        let ended = &self.handler.ended;
        let has_ended = match deadline {
            Some(deadline) => !matches!(ended.recv_deadline(deadline), Err(RecvTimeoutError::Timeout)),
            None => ended.recv().is_err(),
        };
        if has_ended {
            for thread in self.handler.threads.drain(..) {
                // A worker catches what panics in its closure, so there is nothing to hear from it.
                let _ = thread.join();
            }
        }
        has_ended
    }

    /// Waits as a task. Returns `true` if all workers have ended in time. Their threads are not joined, which would block.
    #[cfg(feature = "async")]
    pub(super) async fn wait_for_end_async(&mut self, within: Duration) -> bool {
        // Without a deadline if that would be beyond the clock.
        let mut time = Instant::now().checked_add(within).map(|_| Delay::new(within));
        let Handler { ended, control, .. } = &self.handler;
        poll_fn(|context| {
            // The waker first, so that an end that comes after the look wakes the task.
            control.wait_for_end(context.waker());
            if matches!(ended.try_recv(), Err(TryRecvError::Disconnected)) {
                return Poll::Ready(true);
            }
            match &mut time {
                Some(time) => Pin::new(time).poll(context).map(|()| false),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Reports that all workers have ended.
    pub(super) fn ended(mut self) -> StopReport {
        self.stage = Stage::Over;
        let remaining = if self.last { self.handler.subscription.abandon() } else { 0 };
        StopReport { remaining, running: 0 }
    }

    /// The next step when the time is over, or there is nothing to wait for.
    pub(super) fn step(&mut self) -> Step<StopReport> {
        let Handler { subscription, control, .. } = &self.handler;
        loop {
            match &mut self.stage {
                Stage::Ending => self.stage = Stage::Idling(Moment::to_idle()),
                Stage::Idling(moment) => {
                    if control.workers.counts().is_awake() {
                        if let Some(pause) = moment.pause() {
                            return Step::Pause(pause);
                        }
                    }
                    // Counted before the workers hear of it: one that was cut short is not one that has finished.
                    let before = control.workers.counts();
                    control.abandon();
                    let remaining = if self.last { subscription.abandon() } else { 0 };
                    self.stage = Stage::Looking { before, remaining, moment: Moment::to_look() };
                }
                Stage::Looking { before, remaining, moment } => {
                    let counts = control.workers.counts();
                    if counts.looking() > 0 {
                        if let Some(pause) = moment.pause() {
                            return Step::Pause(pause);
                        }
                    }
                    let running = before.busy() + counts.found_since(*before) + counts.looking();
                    let report = StopReport { remaining: *remaining, running };
                    self.stage = Stage::Over;
                    return Step::Done(report);
                }
                Stage::Over => return Step::Done(StopReport { remaining: 0, running: 0 }),
            }
        }
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        #[cfg(feature = "async")]
        self.handler.control.wait_for_end_no_more();
        // Otherwise the workers have ended, or know that they are to, or run the closure that stops its own handler.
        if matches!(self.stage, Stage::Ending | Stage::Idling(_)) {
            self.handler.control.abandon();
            if self.last {
                self.handler.subscription.abandon();
            }
        }
    }
}
