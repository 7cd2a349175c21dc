//! A worker that is a thread.

use super::worker::{SKIPPED, Verdict, Worker};
use crate::dead_letter::DeadLetterReason;
use crate::lifecycle::WorkerActivity;
use crate::mailbox::Mailbox;
use crate::message::{InHand, Message, TryRecvError, is_large};
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
            let went_on = catch(|| {
                if const { is_large::<T>() } {
                    self.handle_next(Mailbox::try_recv_boxed, &mut select, &mut activity, &mut f)
                } else {
                    self.handle_next(Mailbox::try_recv, &mut select, &mut activity, &mut f)
                }
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

    /// Handles the next message. Returns `false` when there is nothing more to do.
    // Always inline: nothing but the kind of message differs between the two.
    #[inline(always)]
    fn handle_next<M: InHand<T, R>>(
        &self,
        take: impl Fn(&Mailbox<T, R>) -> Result<M, TryRecvError>,
        select: &mut Select<'_>,
        activity: &mut WorkerActivity,
        f: &mut impl FnMut(&Message<T, R>) -> Result<(), String>,
    ) -> bool {
        match self.next(take, select, activity) {
            Some(message) => {
                let started = self.stopwatch.start();
                if self.process(message, f) {
                    self.stopwatch.stop(started);
                }
                true
            }
            None => false,
        }
    }

    /// Waits for the next message, asleep in `select`; `None` when there is nothing more to do.
    fn next<M>(
        &self,
        take: impl Fn(&Mailbox<T, R>) -> Result<M, TryRecvError>,
        select: &mut Select<'_>,
        activity: &mut WorkerActivity,
    ) -> Option<M> {
        loop {
            if self.control.is_leaving() {
                return None;
            }
            match take(&self.mailbox) {
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

    /// Handles one message. Returns `false` if it was skipped.
    fn process(&self, in_hand: impl InHand<T, R>, f: &mut impl FnMut(&Message<T, R>) -> Result<(), String>) -> bool {
        let message = in_hand.message();
        let span =
            Handling::enter(message.requesting(), message.published_in(), message.topic(), self.mailbox.labels());
        let mut attempts = 0;
        if self.skips(message) {
            span.end(SKIPPED, attempts);
            return false;
        }
        let reason = loop {
            attempts += 1;
            match Verdict::after(catch(|| f(message)), attempts, &self.retry) {
                Verdict::Done => break None,
                Verdict::Retry { pause, .. }
                    if !self.is_in_vain(message) && self.control.sleep(pause) && !self.is_in_vain(message) => {}
                Verdict::Retry { error, .. } => break Some(DeadLetterReason::Failed(error)),
                Verdict::GiveUp(reason) => break Some(reason),
            }
        };
        span.end(reason.as_ref().map_or("ok", DeadLetterReason::outcome), attempts);
        self.finish(in_hand, reason, attempts);
        true
    }
}
