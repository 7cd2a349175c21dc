//! The delivery by a task, which cannot sleep: what is left to do when some mailboxes were full.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use super::{Copies, Delivered, Delivery, HeldRoute, Pass, Undelivered, Wait, Waiting};
use crate::dead_letter::DeadLetterReason;
use crate::lifecycle::Counted;
use crate::mailbox::{Mailbox, MailboxSender, Offer};
use crate::message::Parcel;
use crate::request::ReplySource;
use crate::sync::waiters::Place;
use crate::topic::Topic;

/// A message that is in the mailboxes that had room, and waits for the others.
pub(crate) struct Unfinished<T, R> {
    original: Option<Parcel<T, R>>,
    spare: Option<Parcel<T, R>>,
    full: Vec<Full<T, R>>,
    delivery: Delivery,
}

/// A mailbox that was full.
struct Full<T, R> {
    mailbox: Arc<Mailbox<T, R>>,
    /// Weak: a future that nobody asks any more must not keep the subscriber from seeing the end.
    sender: Weak<MailboxSender<T, R>>,
    place: Place,
    /// While the task is the mailbox's own handler, and so takes nothing out.
    not_read: Option<Counted<Mailbox<T, R>>>,
}

impl<T, R> Drop for Full<T, R> {
    fn drop(&mut self) {
        self.mailbox.needs_no_room(&mut self.place);
    }
}

/// The first pass. What it leaves is to be polled.
pub(crate) fn deliver_at_once<T: Clone, R, S: ReplySource<R>>(
    held: &mut HeldRoute<T, R>,
    topic: &Topic,
    parcel: Parcel<T, R>,
    replies: &S,
    overflowed: impl Fn(&Mailbox<T, R>),
) -> Result<Delivered<T, R>, Unfinished<T, R>> {
    let Some(route) = held else {
        return Ok(Delivered { delivery: Delivery::NONE, stopped: None, rest: Some(parcel) });
    };
    let undelivered = match route.put(topic, parcel, replies) {
        Ok(delivery) => return Ok(Delivered { delivery, stopped: None, rest: None }),
        Err(undelivered) => undelivered,
    };
    let Undelivered { next, delivery, original, spare } = undelivered;
    let copies = Copies { original: Some(original), spare, replies };
    let wait = Wait::Forever;
    let mut pass = Pass { topic, wait, copies, waiting: Waiting::default(), delivery, stopped: None, overflowed };
    pass.first(held, next);
    let full: Vec<_> = match held {
        Some(route) => {
            std::iter::from_fn(|| pass.waiting.pop()).map(|index| Full::new(&route.mailboxes[index])).collect()
        }
        None => Vec::new(),
    };
    if full.is_empty() || pass.stopped.is_some() {
        return Ok(pass.finish());
    }
    let Pass { copies: Copies { original, spare, .. }, delivery, .. } = pass;
    Err(Unfinished { original, spare, full, delivery })
}

impl<T: Clone, R> Unfinished<T, R> {
    /// Offers the message to the mailboxes that do not have it yet; the task is woken when that is worth another try.
    pub(crate) fn poll<S: ReplySource<R>>(
        &mut self,
        context: &mut Context<'_>,
        topic: &Topic,
        replies: &S,
        overflowed: impl Fn(&Mailbox<T, R>),
    ) -> Poll<Delivered<T, R>> {
        let copies = Copies { original: self.original.take(), spare: self.spare.take(), replies };
        let (wait, waiting) = (Wait::Forever, Waiting::default());
        let mut pass = Pass { topic, wait, copies, waiting, delivery: self.delivery, stopped: None, overflowed };
        // User code runs below, which may come to wait itself.
        self.full.iter_mut().for_each(|full| full.not_read = None);
        let mut index = 0;
        while index < self.full.len() && pass.stopped.is_none() {
            let Some(parcel) = pass.copies.take(self.full.len() == 1) else { break };
            match self.full[index].offer(topic, parcel, context) {
                Offer::Full(parcel) => {
                    pass.copies.put_back(parcel);
                    index += 1;
                }
                offer => {
                    let mut full = self.full.remove(index);
                    if matches!(offer, Offer::Taken { .. }) {
                        full.mailbox.used_room(&mut full.place);
                    }
                    pass.settle(&full.mailbox, offer);
                }
            }
        }
        // No reader of its own mailbox will ever make room.
        if let Some(index) = self.full.iter_mut().position(Full::waits_for_itself) {
            let mut full = self.full.remove(index);
            full.not_read = None;
            if let Some(parcel) = pass.copies.take(self.full.is_empty()) {
                pass.settle(&full.mailbox, Offer::Lost(parcel, DeadLetterReason::SelfDeadlock));
            }
        }
        if self.full.is_empty() || pass.stopped.is_some() {
            self.full.clear();
            return Poll::Ready(pass.finish());
        }
        let Pass { copies: Copies { original, spare, .. }, delivery, .. } = pass;
        (self.original, self.spare, self.delivery) = (original, spare, delivery);
        Poll::Pending
    }

    /// The rest of the delivery will not be, unless it has come to its end: what the mailboxes do not have yet, they lose.
    /// Tells what was delivered until then.
    pub(crate) fn cancel(&mut self, topic: &Topic, replies: &impl ReplySource<R>) -> Option<Delivery> {
        let cancelled = self.original.is_some().then_some(self.delivery);
        if let Some(original) = &self.original {
            for full in self.full.drain(..).filter(Full::is_open) {
                full.mailbox.lost(topic, &original.payload, DeadLetterReason::Cancelled);
            }
        }
        replies.unused(self.spare.take().and_then(|spare| spare.reply));
        cancelled
    }
}

impl<T: Clone, R> Full<T, R> {
    fn new(sender: &Arc<MailboxSender<T, R>>) -> Self {
        let mailbox = Arc::clone(&sender.mailbox);
        Self { mailbox, sender: Arc::downgrade(sender), place: Place::default(), not_read: None }
    }

    fn offer(&mut self, topic: &Topic, parcel: Parcel<T, R>, context: &mut Context<'_>) -> Offer<T, R> {
        let Some(sender) = self.sender.upgrade() else { return self.mailbox.ended(parcel) };
        match sender.offer(topic, parcel) {
            Offer::Full(parcel) => {
                self.mailbox.wait_for_room(&mut self.place, context.waker());
                // There may be room since.
                sender.offer(topic, parcel)
            }
            offer => offer,
        }
    }

    /// Neither closed nor left: a message that it does not get is a loss.
    fn is_open(&self) -> bool {
        self.sender.strong_count() > 0 && !self.mailbox.has_ended()
    }

    fn waits_for_itself(&mut self) -> bool {
        if !self.mailbox.is_served_by_this_thread() {
            return false;
        }
        self.not_read = Some(self.mailbox.is_not_read());
        self.mailbox.is_stuck()
    }
}
