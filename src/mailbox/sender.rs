//! The sending side of a mailbox: offering, evicting, waiting for room.

use std::ops::Deref;
use std::sync::Arc;

use super::new_queue::NewQueue;
use super::queue::QueueSender;
use super::{Filter, Mailbox, MailboxOptions, Offer, Overflow, send_flag};
use crate::dead_letter::Losses;
use crate::lifecycle::EndSignal;
use crate::message::{Envelope, Outgoing};
use crate::sync::atomic::Ordering;
use crate::sync::channel::Select;
use crate::sync::{Instant, OnceLock};
use crate::topic::Topic;

/// The right to put messages into a mailbox.
// Invariant 3: only routes keep one, and the source; when the last goes, the reader sees the end.
pub(crate) struct MailboxSender<T, R> {
    /// Dropped first, so that a reader that is woken by the end of the other finds the end of the queue.
    queue: QueueSender<T, R>,
    pub(crate) mailbox: Sending<T, R>,
}

/// Where routes get the sender of a mailbox. It is made, and with it the channel, when the first route is found.
// Invariant 3: only the trie and the groups keep one.
pub(crate) struct MailboxSource<T, R> {
    sender: OnceLock<Arc<MailboxSender<T, R>>>,
    pub(crate) mailbox: Arc<Mailbox<T, R>>,
}

impl<T, R> MailboxSource<T, R> {
    /// Makes a mailbox with this queue. Retained values that were replaced before the number `began` are not for it.
    pub(crate) fn new(
        options: MailboxOptions,
        filter: Option<Filter<T>>,
        queue: NewQueue<T, R>,
        began: u64,
        losses: &Arc<Losses<T>>,
    ) -> Arc<Self> {
        let NewQueue { queue, kept, .. } = queue;
        let mailbox = Arc::new(Mailbox::new(options, filter, queue, (kept, began), losses));
        Arc::new(Self { sender: OnceLock::new(), mailbox })
    }

    /// The sender, if it was made.
    pub(crate) fn made(&self) -> Option<&Arc<MailboxSender<T, R>>> {
        self.sender.get()
    }

    /// Makes the sender, unless it is there, and with it the queue, which may be large.
    pub(crate) fn make(&self) {
        self.mailbox.queue.take_sender(|queue| {
            let mailbox = Sending(Arc::clone(&self.mailbox));
            // It is handed out once.
            let _ = self.sender.set(Arc::new(MailboxSender { queue, mailbox }));
        });
    }
}

impl<T, R> Drop for MailboxSource<T, R> {
    fn drop(&mut self) {
        if self.sender.get().is_none() {
            self.mailbox.queue.sender_gone();
            self.mailbox.senders_gone();
        }
    }
}

/// The mailbox of a sender; when that is dropped there is no other, and who waits for messages must know.
pub(crate) struct Sending<T, R>(Arc<Mailbox<T, R>>);

impl<T, R> Deref for Sending<T, R> {
    type Target = Arc<Mailbox<T, R>>;

    fn deref(&self) -> &Arc<Mailbox<T, R>> {
        &self.0
    }
}

impl<T, R> Drop for Sending<T, R> {
    fn drop(&mut self) {
        self.0.senders_gone();
    }
}

impl<T, R> MailboxSender<T, R> {
    /// A message got in; makes sure that somebody will take it out or drop it. Returns `true` if a task waits for it, which
    /// the caller wakes when the other mailboxes have the message too.
    #[inline]
    #[must_use = "a task may wait for the message"]
    pub(super) fn after_enqueue(&self) -> bool {
        // SeqCst pairs with `Mailbox::finish`: the last subscriber marks the mailbox gone and then empties it, we put
        // the message in and then look for the mark. Whoever comes second drops the message. The same goes for a task
        // that marks that it waits and then looks for a message, see `WaitFlag`.
        self.mailbox.send_flags.load(Ordering::SeqCst) & (send_flag::ENDED | send_flag::TASKS_WAIT) != 0
            && self.after_enqueue_closer()
    }

    #[cold]
    fn after_enqueue_closer(&self) -> bool {
        if self.mailbox.is_gone() {
            self.mailbox.discard();
        }
        self.mailbox.has_waiting_receivers()
    }

    /// Hands the envelope back if the queue is full.
    ///
    /// The channel keeps the room that was made for retained values when they are gone, so it is looked after here.
    /// Only a mailbox that blocks may use it for good: its publishers wait at the channel, which knows nothing of this.
    #[inline]
    pub(super) fn try_send(&self, topic: &Topic, envelope: Envelope<T, R>) -> Result<(), Envelope<T, R>> {
        if self.mailbox.began_with_retained && self.is_full() {
            return Err(envelope);
        }
        self.queue.try_send(topic, envelope)
    }

    pub(super) fn is_full(&self) -> bool {
        let mailbox = &*self.mailbox;
        if mailbox.began_with_retained && mailbox.options.overflow != Overflow::Block {
            mailbox.len() >= mailbox.options.capacity + mailbox.extra_room.load(Ordering::Relaxed)
        } else {
            self.queue.is_full()
        }
    }

    /// Puts the message into an envelope that reports the losses before it.
    pub(super) fn envelope(&self, outgoing: Outgoing<T, R>) -> Envelope<T, R> {
        Envelope::new(outgoing, self.mailbox.take_unreported_refusals())
    }
}

impl<T: Clone, R> MailboxSender<T, R> {
    /// Takes the message out of an envelope that was not enqueued: another message reports the losses.
    pub(super) fn unpack(&self, envelope: Envelope<T, R>) -> Outgoing<T, R> {
        let lost = envelope.lost_before();
        if lost > 0 {
            self.mailbox.return_refusals(lost);
        }
        envelope.into_outgoing()
    }

    /// Puts the message in; hands it back if the queue is full. The caller calls `after_enqueue`.
    // Always: once for each mailbox of each message, and a call costs a tenth of it.
    #[inline(always)]
    pub(crate) fn put(&self, topic: &Topic, outgoing: Outgoing<T, R>) -> Result<(), Outgoing<T, R>> {
        self.queue.try_send(topic, Envelope::new(outgoing, 0)).map_err(taken_out)
    }
}

impl<T, R> MailboxSender<T, R> {
    // Invariant 4.
    /// Adds what ends a wait for room: room, and the end of the mailbox.
    pub(crate) fn register_for_room<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.mailbox.ended);
        self.queue.register(select);
    }
}

// Invariant 4.
/// Sleeps until one of these mailboxes takes the message or ends. Returns which, or the message if none did
/// by the deadline, or before one of the signals.
pub(crate) fn wait_for_any<T: Clone, R>(
    full: &[Arc<MailboxSender<T, R>>],
    signals: &[&EndSignal],
    topic: &Topic,
    outgoing: Outgoing<T, R>,
    deadline: Option<Instant>,
) -> Result<(usize, Offer<T, R>), Outgoing<T, R>> {
    // The ends come first: a mailbox that has ended may also have room, because it was emptied.
    let mut select = Select::new_biased();
    for sender in full {
        select.recv(&sender.mailbox.ended);
    }
    for sender in full {
        sender.queue.register(&mut select);
    }
    for signal in signals {
        select.recv(signal);
    }
    let operation = match deadline {
        Some(deadline) => select.select_deadline(deadline).ok(),
        None => Some(select.select()),
    };
    let Some(operation) = operation else { return Err(outgoing) };
    if let Some(signal) = operation.index().checked_sub(2 * full.len()) {
        // It carries nothing.
        let _ = operation.recv(signals[signal]);
        return Err(outgoing);
    }
    let index = operation.index() % full.len();
    let sender = &full[index];
    if operation.index() < full.len() {
        // It carries nothing: that it is ready means that it has ended.
        let _ = operation.recv(&sender.mailbox.ended);
        return Ok((index, sender.mailbox.ended(outgoing)));
    }
    match sender.queue.complete(operation, topic, sender.envelope(outgoing)) {
        Ok(()) => {
            // The publisher is about to wait again, or this was the last.
            if sender.after_enqueue() {
                sender.mailbox.wake_receivers();
            }
            Ok((index, Offer::Enqueued { evicted: 0 }))
        }
        Err(back) => Ok((index, sender.mailbox.ended(sender.unpack(back)))),
    }
}

/// Takes the message out of an envelope that was not enqueued.
// Never inline: what it takes of registers is not for the message that gets in.
#[cold]
#[inline(never)]
fn taken_out<T: Clone, R>(envelope: Envelope<T, R>) -> Outgoing<T, R> {
    envelope.into_outgoing()
}
