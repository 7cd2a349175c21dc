//! A worker that is a thread.

use super::worker::{Verdict, Worker};
use crate::dead_letter::DeadLetterReason;
use crate::lifecycle::WorkerActivity;
use crate::message::{Message, TryRecvError};
use crate::panic::catch;
use crate::spans::Handling;
use crate::sync::channel::Select;

impl<T: Clone, R> Worker<T, R> {
    pub(super) fn run(self, mut f: impl FnMut(&Message<T, R>) -> Result<(), String>) {
        self.serving().on_this_thread();
        let mut select = Select::new();
        self.mailbox.register(&mut select);
        select.recv(&self.control.left);
        let mut activity = self.activity();
        activity.looks();
        loop {
            // What is caught here is a panic outside the closure: in the `Drop` of a payload, or the `Clone` of a
            // retained value.
            let went_on = catch(|| match self.next(&mut select, &mut activity) {
                Some(message) => {
                    let started = self.stopwatch.start();
                    self.process(message, &mut f);
                    self.stopwatch.stop(started);
                    true
                }
                None => false,
            });
            match went_on {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => self.panicked(),
            }
        }
        activity.ends();
        // The closure may hold handles of the bus, and they must be gone before the thread counts as ended.
        let _ = catch(|| drop(f));
        self.reader_left();
    }

    /// Waits for the next message, asleep in `select`; `None` when there is nothing more to do.
    fn next(&self, select: &mut Select<'_>, activity: &mut WorkerActivity) -> Option<Message<T, R>> {
        loop {
            if self.control.is_leaving() {
                return None;
            }
            match self.mailbox.try_recv() {
                Ok(message) => {
                    activity.found();
                    return Some(message);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Closed | TryRecvError::Overflowed) => return None,
            }
            if !self.mailbox.pause_to_batch() {
                activity.idles();
                select.ready();
                activity.looks();
            }
        }
    }

    fn process(&self, message: Message<T, R>, f: &mut impl FnMut(&Message<T, R>) -> Result<(), String>) {
        let span = Handling::enter(message.requesting(), message.topic(), self.mailbox.labels());
        let mut attempts = 0;
        let reason = loop {
            attempts += 1;
            match self.judge(catch(|| f(&message)), attempts) {
                Verdict::Done => break None,
                Verdict::Retry { pause, .. } if self.control.sleep(pause) => {}
                Verdict::Retry { error, .. } => break Some(DeadLetterReason::Failed(error)),
                Verdict::GiveUp(reason) => break Some(reason),
            }
        };
        span.end(reason.as_ref().map_or("ok", DeadLetterReason::outcome), attempts);
        self.finish(message, reason, attempts);
    }
}
