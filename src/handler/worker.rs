//! The part of a worker that threads and tasks share.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::control::Control;
use super::{Attached, Retry, Stopwatch};
use crate::bus::{BusInner, reader_left};
use crate::dead_letter::{DeadLetter, DeadLetterReason, Losses, Recipient};
use crate::lifecycle::{Lifecycle, Serving, WorkerActivity};
use crate::mailbox::Mailbox;
use crate::message::{InHand, Message};
use crate::sync::atomic::Ordering;

/// The outcome of a request that was skipped, for its span.
pub(super) const SKIPPED: &str = "skipped";

/// The next step of a worker after one attempt at a message.
pub(crate) enum Verdict {
    Done,
    /// It tries again after the pause, unless the handler is abandoned meanwhile: then `error` is the end.
    Retry {
        pause: Duration,
        error: String,
    },
    GiveUp(DeadLetterReason),
}

impl Verdict {
    /// Says what to do after an attempt: the one place that knows the rules of retries.
    pub(crate) fn after(outcome: Result<Result<(), String>, String>, attempts: u32, retry: &Retry) -> Self {
        match outcome {
            Ok(Ok(())) => Self::Done,
            Ok(Err(error)) => match retry.pause_after(attempts) {
                Some(pause) => Self::Retry { pause, error },
                None => Self::GiveUp(DeadLetterReason::Failed(error)),
            },
            Err(panic) => Self::GiveUp(DeadLetterReason::Panicked(panic)),
        }
    }
}

/// One worker of a handler: a thread, or a task.
pub(crate) struct Worker<T, R> {
    pub(super) mailbox: Arc<Mailbox<T, R>>,
    pub(super) inner: Weak<BusInner<T, R>>,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) losses: Arc<Losses<T>>,
    pub(super) subscription: Arc<dyn Attached>,
    pub(super) control: Arc<Control>,
    pub(super) retry: Retry,
    pub(super) stopwatch: Stopwatch,
    /// What dead letters call the handler.
    pub(super) name: Arc<str>,
    /// Whether it was made to answer requests: then its failure is the answer.
    pub(super) serves: bool,
}

impl<T, R> Clone for Worker<T, R> {
    fn clone(&self) -> Self {
        Self {
            mailbox: Arc::clone(&self.mailbox),
            inner: Weak::clone(&self.inner),
            lifecycle: Arc::clone(&self.lifecycle),
            losses: Arc::clone(&self.losses),
            subscription: Arc::clone(&self.subscription),
            control: Arc::clone(&self.control),
            retry: self.retry,
            stopwatch: self.stopwatch.clone(),
            name: Arc::clone(&self.name),
            serves: self.serves,
        }
    }
}

impl<T: Clone, R> Worker<T, R> {
    pub(crate) fn serving(&self) -> Serving {
        Serving::new(&self.lifecycle, self.mailbox.id, self.control.id())
    }

    /// Idle for now.
    pub(super) fn activity(&self) -> WorkerActivity {
        WorkerActivity::new(&self.control.workers)
    }

    /// Something panicked that was not the handler's closure.
    pub(crate) fn panicked(&self) {
        self.losses.handler_panics.fetch_add(1, Ordering::Relaxed);
    }

    /// The last task was dropped before it had done everything: as if the handler was.
    #[cfg(feature = "async")]
    pub(crate) fn abandon(&self) {
        // All that have begun have said that they take nothing out any more.
        if self.subscription.leave(usize::MAX) {
            self.subscription.abandon();
        }
    }

    /// It takes nothing out any more.
    pub(crate) fn reader_left(&self) {
        reader_left(&self.inner, &self.mailbox);
    }

    /// Skips a request whose caller has gone, if this handler was made to answer: nobody would get the answer. Returns `true`
    /// if it did.
    #[inline]
    pub(super) fn skips(&self, message: &Message<T, R>) -> bool {
        let skips = self.is_in_vain(message);
        if skips {
            self.losses.skipped_requests.fetch_add(1, Ordering::Relaxed);
        }
        skips
    }

    /// Whether all that the handler could do about the message is to answer a caller that has gone.
    #[inline]
    pub(super) fn is_in_vain(&self, message: &Message<T, R>) -> bool {
        self.serves && message.is_abandoned_request()
    }

    /// Finishes a message: `reason` says why the handler gave up on it, if it did.
    pub(super) fn finish(&self, message: impl InHand<T, R>, reason: Option<DeadLetterReason>, attempts: u32) {
        match reason {
            Some(reason) => self.give_up(message, reason, attempts),
            None => self.losses.messages.handled(),
        }
    }

    // Never inline: the copies of the payload that it makes are not on the stack of a handler that succeeds.
    #[inline(never)]
    fn give_up(&self, in_hand: impl InHand<T, R>, reason: DeadLetterReason, attempts: u32) {
        let message = in_hand.message();
        let counter = match &reason {
            DeadLetterReason::Panicked(_) => &self.losses.handler_panics,
            _ => &self.losses.handler_failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if message.is_request() {
            match &reason {
                // A caller that has gone, or has an answer, needs none.
                DeadLetterReason::Failed(error) if self.serves => drop(message.fail(error)),
                _ if self.serves => drop(message.fail(reason.to_string())),
                _ => message.give_up(reason.to_string()),
            }
        }
        if self.losses.is_listening() {
            let (topic, properties) = (message.topic().clone(), message.properties().cloned());
            let recipient = Recipient { handler: Some(self.name.to_string()), ..self.mailbox.recipient(&topic) };
            let letter = DeadLetter::new(topic, in_hand.into_payload(), reason, properties);
            self.losses.post(letter.after(attempts).to(recipient));
        }
    }
}
