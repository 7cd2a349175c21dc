//! The immutable list of mailboxes of one topic, and the delivery of a message to all of them.

use std::sync::Arc;
use std::time::Duration;

use crate::dead_letter::DeadLetterReason;
use crate::mailbox::{Mailbox, MailboxSender, Offer, Way, wait_for_any};
use crate::message::Parcel;
use crate::request::ReplySource;
use crate::sync::{Backoff, Guard, Instant};
use crate::topic::Topic;

#[cfg(feature = "async")]
mod unfinished;

#[cfg(feature = "async")]
pub(crate) use unfinished::{Unfinished, deliver_at_once};

/// What became of one published message.
///
/// `Ok(delivery)` means that the message is in `delivered` mailboxes, not that anybody has read it.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let delivery = bus.publish("nobody.listens", 1)?;
/// assert!(delivery.is_unheard());
///
/// let _subscriber = bus.subscribe("nobody.>")?;
/// let delivery = bus.publish("nobody.listens", 2)?;
/// assert_eq!((delivery.delivered(), delivery.dropped()), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    delivered: usize,
    dropped: usize,
}

impl Delivery {
    pub(crate) const NONE: Self = Self { delivered: 0, dropped: 0 };

    /// One more mailbox took the message; so many others had to go for it.
    fn taken(&mut self, evicted: usize) {
        self.delivered += 1;
        self.dropped += evicted;
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { delivered: self.delivered + other.delivered, dropped: self.dropped + other.dropped }
    }

    /// The number of mailboxes that took the message.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _one = bus.subscription("jobs").group("workers").open()?;
    /// let _two = bus.subscription("jobs").group("workers").open()?;
    /// let _audit = bus.subscribe(">")?;
    /// assert_eq!(bus.publish("jobs", 1)?.delivered(), 2); // a group has one mailbox
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delivered(&self) -> usize {
        self.delivered
    }

    /// The number of messages lost by this delivery, each at one full mailbox: this message where it was not taken, or
    /// older ones that had to go for it under [`Overflow::DropOldest`](crate::Overflow::DropOldest).
    ///
    /// # Examples
    ///
    /// ```
    /// use tramline::{Bus, Overflow};
    ///
    /// let bus = Bus::<u32>::new();
    /// let latest = bus.subscription("price").capacity(1).overflow(Overflow::DropOldest).open()?;
    /// bus.publish("price", 1)?;
    /// let delivery = bus.publish("price", 2)?;
    /// assert_eq!((delivery.delivered(), delivery.dropped()), (1, 1)); // 2 is in, 1 had to go
    /// assert_eq!(*latest.recv()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Whether no mailbox took the message: nobody subscribes, no filter accepts it, or all who want it dropped it.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let _even = bus.subscription("numbers").filter(|n| n % 2 == 0).open()?;
    /// assert!(bus.publish("numbers", 1)?.is_unheard());
    /// assert!(!bus.publish("numbers", 2)?.is_unheard());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_unheard(&self) -> bool {
        self.delivered == 0
    }
}

/// How long a publisher waits at full mailboxes that block.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// Not at all: the message is dropped for that mailbox.
    Never,
    Until(Instant),
    Forever,
}

/// Why a delivery did not come to its end.
pub(crate) enum Stopped {
    Closed,
    Timeout,
}

pub(crate) struct Delivered<T, R> {
    pub(crate) delivery: Delivery,
    pub(crate) stopped: Option<Stopped>,
    /// The message, if no mailbox has taken the original.
    pub(crate) rest: Option<Parcel<T, R>>,
}

pub(crate) struct Route<T, R> {
    mailboxes: Vec<Arc<MailboxSender<T, R>>>,
    /// Every mailbox wants every message, so it is known which is the last to get it.
    unfiltered: bool,
}

/// Indices of mailboxes to wait for: the first 64 need no allocation.
#[derive(Default)]
struct Waiting {
    low: u64,
    high: Vec<usize>,
    /// How many of `high` were taken.
    taken: usize,
}

impl Waiting {
    /// Indices come in rising order.
    fn push(&mut self, index: usize) {
        if index < 64 {
            self.low |= 1 << index;
        } else {
            self.high.push(index);
        }
    }

    fn is_empty(&self) -> bool {
        self.low == 0 && self.taken == self.high.len()
    }

    /// The lowest index, which is taken out.
    fn pop(&mut self) -> Option<usize> {
        if self.low != 0 {
            let index = self.low.trailing_zeros() as usize;
            self.low &= self.low - 1;
            return Some(index);
        }
        let index = self.high.get(self.taken).copied();
        self.taken += usize::from(index.is_some());
        index
    }
}

impl<T, R> Route<T, R> {
    /// A route over these mailboxes: in the order in which they were made, and each once, even if several of its
    /// patterns match.
    pub(crate) fn new(mut mailboxes: Vec<Arc<MailboxSender<T, R>>>) -> Self {
        mailboxes.sort_by_key(|sender| sender.mailbox.id);
        mailboxes.dedup_by_key(|sender| sender.mailbox.id);
        let unfiltered = mailboxes.iter().all(|sender| sender.mailbox.filter.is_none());
        Self { mailboxes, unfiltered }
    }

    pub(crate) fn with(&self, sender: &Arc<MailboxSender<T, R>>) -> Self {
        let mut mailboxes = Vec::with_capacity(self.mailboxes.len() + 1);
        mailboxes.extend_from_slice(&self.mailboxes);
        mailboxes.push(Arc::clone(sender));
        Self::new(mailboxes)
    }

    pub(crate) fn without(&self, mailbox: u64) -> Self {
        Self::new(self.mailboxes.iter().filter(|sender| sender.mailbox.id != mailbox).cloned().collect())
    }

    pub(crate) fn contains(&self, mailbox: u64) -> bool {
        self.mailboxes.iter().any(|sender| sender.mailbox.id == mailbox)
    }

    pub(crate) fn len(&self) -> usize {
        self.mailboxes.len()
    }
}

/// The route that a publisher is at work on; given up when it has to sleep.
pub(crate) type HeldRoute<T, R> = Option<RouteGuard<T, R>>;

pub(crate) type RouteGuard<T, R> = Guard<Arc<Route<T, R>>>;

/// A message on its way that has come to a mailbox where it needs the passes.
struct Undelivered<T, R> {
    /// The index of that mailbox.
    next: usize,
    /// What became of it before.
    delivery: Delivery,
    original: Parcel<T, R>,
    /// A copy that the mailbox did not take.
    spare: Option<Parcel<T, R>>,
}

impl<T: Clone, R> Route<T, R> {
    /// Most messages get into every mailbox at once, or are lost at once where somebody chose that: this is their way. It
    /// ends at the first mailbox that needs a closer look; the passes go on from there.
    // Always, and all by value: what is written to memory before an atomic operation of the channel has to arrive there
    // first.
    #[inline(always)]
    fn put<S: ReplySource<R>>(
        &self,
        topic: &Topic,
        original: Parcel<T, R>,
        replies: &S,
    ) -> Result<Delivery, Undelivered<T, R>> {
        let mut delivery = Delivery::NONE;
        let (true, [others @ .., last]) = (self.unfiltered, &self.mailboxes[..]) else {
            return Err(Undelivered { next: 0, delivery, original, spare: None });
        };
        for (next, sender) in others.iter().enumerate() {
            // Looked at before the copy is made, so that a refusal costs none. A `Clone` that ends the mailbox comes too
            // late: its copy is abandoned, as if another thread had done it.
            match sender.way() {
                Way::Usual => match sender.put(topic, original.copy(replies)) {
                    Ok(()) => delivery.delivered += 1,
                    Err(back) => return Err(Undelivered { next, delivery, original, spare: Some(back) }),
                },
                Way::Evicting => delivery.taken(sender.push_evicting(topic, original.copy(replies))),
                Way::Refusing => {
                    sender.mailbox.lost(topic, &original.payload, DeadLetterReason::Full);
                    delivery.dropped += 1;
                }
                Way::Unclear => return Err(Undelivered { next, delivery, original, spare: None }),
            }
        }
        let next = others.len();
        match last.way() {
            Way::Usual => match last.put(topic, original) {
                Ok(()) => delivery.delivered += 1,
                Err(original) => return Err(Undelivered { next, delivery, original, spare: None }),
            },
            Way::Evicting => delivery.taken(last.push_evicting(topic, original)),
            // The passes know what to do with an original that nobody takes.
            Way::Refusing | Way::Unclear => return Err(Undelivered { next, delivery, original, spare: None }),
        }
        Ok(delivery)
    }
}

impl<T: Clone, R> Parcel<T, R> {
    #[inline]
    fn copy(&self, replies: &impl ReplySource<R>) -> Self {
        Self { payload: self.payload.clone(), reply: replies.another(self.reply.as_ref()) }
    }
}

/// The copies of one message on their way.
struct Copies<'a, T, R, S> {
    /// Goes to the last mailbox.
    original: Option<Parcel<T, R>>,
    /// A copy that a mailbox did not take, for the next one.
    spare: Option<Parcel<T, R>>,
    replies: &'a S,
}

impl<T: Clone, R, S: ReplySource<R>> Copies<'_, T, R, S> {
    /// A copy for a mailbox that is not the last.
    #[inline]
    fn copy(&mut self) -> Option<Parcel<T, R>> {
        if self.spare.is_some() {
            return self.spare.take();
        }
        Some(self.original.as_ref()?.copy(self.replies))
    }

    /// The original for the last mailbox, a copy for the others.
    #[inline]
    fn take(&mut self, last: bool) -> Option<Parcel<T, R>> {
        if last { self.original.take() } else { self.copy() }
    }

    /// What a mailbox did not take.
    fn put_back(&mut self, parcel: Parcel<T, R>) {
        let place = if self.original.is_none() { &mut self.original } else { &mut self.spare };
        if let Some(extra) = place.replace(parcel) {
            self.replies.unused(extra.reply);
        }
    }
}

/// Delivers the message to every mailbox of the route that wants it.
///
/// The first pass offers it to all without waiting; the second waits for those that block and were full. N mailboxes
/// cost N-1 clones: the last to be served gets the original.
///
/// A publisher that has to sleep lets go of the route first, and keeps only the mailboxes that it waits for. Otherwise
/// a mailbox that was taken off its routes meanwhile would still have a sender, and its subscriber would not see the
/// end. For the same reason `overflowed` is called at once for a mailbox that has run over.
#[inline]
pub(crate) fn deliver<T: Clone, R, S: ReplySource<R>>(
    held: &mut HeldRoute<T, R>,
    topic: &Topic,
    parcel: Parcel<T, R>,
    replies: &S,
    wait: Wait,
    overflowed: impl Fn(&Mailbox<T, R>),
) -> Delivered<T, R> {
    let undelivered = match held {
        Some(route) if route.mailboxes.is_empty() => {
            return Delivered { delivery: Delivery::NONE, stopped: None, rest: Some(parcel) };
        }
        Some(route) => match route.put(topic, parcel, replies) {
            Ok(delivery) => return Delivered { delivery, stopped: None, rest: None },
            Err(undelivered) => undelivered,
        },
        None => Undelivered { next: 0, delivery: Delivery::NONE, original: parcel, spare: None },
    };
    Pass::run(held, topic, undelivered, replies, wait, overflowed)
}

/// One message on its way to the mailboxes of one route.
struct Pass<'a, T, R, S, F> {
    topic: &'a Topic,
    wait: Wait,
    copies: Copies<'a, T, R, S>,
    waiting: Waiting,
    delivery: Delivery,
    stopped: Option<Stopped>,
    /// Takes a mailbox that has just run over off all routes.
    overflowed: F,
}

impl<'a, T: Clone, R, S: ReplySource<R>, F: Fn(&Mailbox<T, R>)> Pass<'a, T, R, S, F> {
    /// Both passes, for the mailboxes that do not have the message yet.
    #[inline(never)]
    fn run(
        held: &mut HeldRoute<T, R>,
        topic: &'a Topic,
        undelivered: Undelivered<T, R>,
        replies: &'a S,
        wait: Wait,
        overflowed: F,
    ) -> Delivered<T, R> {
        let Undelivered { next, delivery, original, spare } = undelivered;
        let copies = Copies { original: Some(original), spare, replies };
        let mut pass = Self { topic, wait, copies, waiting: Waiting::default(), delivery, stopped: None, overflowed };
        pass.first(held, next);
        if !pass.waiting.is_empty() {
            pass.second(held);
        }
        pass.finish()
    }

    /// Offers the message to all, without waiting.
    fn first(&mut self, held: &HeldRoute<T, R>, next: usize) {
        // One behind: only at the end is it known which mailbox is the last.
        let mut previous = None;
        let mailboxes = held.as_ref().map_or(&[][..], |route| &route.mailboxes[..]);
        for (index, sender) in mailboxes.iter().enumerate().skip(next) {
            let Some(original) = &self.copies.original else { break };
            // A batch may come with a route that still has mailboxes which have ended: their filters are not asked any more.
            let is_request = original.reply.is_some();
            if sender.mailbox.has_ended() || sender.mailbox.accepts(self.topic, &original.payload, is_request) {
                if let Some((index, sender)) = previous.replace((index, sender)) {
                    self.offer(index, sender, false);
                }
            }
        }
        if let Some((index, sender)) = previous {
            // When the bus closes meanwhile, the original is kept: it goes back to the publisher.
            let last = self.waiting.is_empty() && self.stopped.is_none();
            self.offer(index, sender, last);
        }
    }

    fn finish(self) -> Delivered<T, R> {
        let Copies { original, spare, replies } = self.copies;
        replies.unused(spare.and_then(|spare| spare.reply));
        Delivered { delivery: self.delivery, stopped: self.stopped, rest: original }
    }

    fn offer(&mut self, index: usize, sender: &MailboxSender<T, R>, last: bool) {
        let Some(parcel) = self.copies.take(last) else { return };
        match sender.offer(self.topic, parcel) {
            Offer::Taken { evicted } => self.delivery.taken(evicted),
            other => self.not_taken(index, sender, other),
        }
    }

    fn not_taken(&mut self, index: usize, sender: &MailboxSender<T, R>, offer: Offer<T, R>) {
        match offer {
            Offer::Full(parcel) if matches!(self.wait, Wait::Never) => {
                self.settle(&sender.mailbox, Offer::Lost(parcel, DeadLetterReason::Full));
            }
            Offer::Full(parcel) => {
                self.copies.put_back(parcel);
                self.waiting.push(index);
            }
            other => self.settle(&sender.mailbox, other),
        }
    }

    /// Waits for the mailboxes that were full, for all at once: whichever has room gets the message.
    fn second(&mut self, held: &mut HeldRoute<T, R>) {
        let Some(route) = held.take() else { return };
        // A full mailbox is the normal case of lossless flow, and going to sleep costs more than most waits.
        let backoff = Backoff::new();
        while !backoff.is_completed() && !self.is_over() {
            backoff.snooze();
            let mut round = std::mem::take(&mut self.waiting);
            while let Some(index) = round.pop() {
                let last = round.is_empty() && self.waiting.is_empty() && self.stopped.is_none();
                self.offer(index, &route.mailboxes[index], last);
            }
            if self.waiting.is_empty() || self.stopped.is_some() {
                *held = Some(route);
                return;
            }
        }
        let mut full = Vec::new();
        while let Some(index) = self.waiting.pop() {
            full.push(Arc::clone(&route.mailboxes[index]));
        }
        drop(route);
        self.sleep(full);
    }

    /// Sleeps until all of these mailboxes have the message or have ended, or the time is over, or the bus closed.
    fn sleep(&mut self, mut full: Vec<Arc<MailboxSender<T, R>>>) {
        while !full.is_empty() && self.stopped.is_none() {
            // The copy is made before the choice: user code must not run between the choice and the sending. Nor may it
            // run while this thread counts as one that waits: it may come to wait itself.
            let Some(parcel) = self.copies.take(full.len() == 1) else { return };
            let place = full.iter().position(|sender| sender.mailbox.is_served_by_this_thread());
            let own = place.map(|place| Arc::clone(&full[place].mailbox));
            let waiting = own.as_ref().map(|own| own.is_not_read());
            if let (Some(place), Some(own)) = (place, &own) {
                // No reader of its own mailbox will ever make room.
                if own.is_stuck() {
                    drop(waiting);
                    let sender = full.remove(place);
                    self.settle(&sender.mailbox, Offer::Lost(parcel, DeadLetterReason::SelfDeadlock));
                    continue;
                }
            }
            // The other readers of a handler's own mailbox may leave, or come to wait too, so it looks now and then.
            let look = own.as_ref().map(|_| Instant::now() + Duration::from_millis(20));
            let deadline = [look, self.deadline()].into_iter().flatten().min();
            let chosen = wait_for_any(&full, self.topic, parcel, deadline);
            drop(waiting);
            match chosen {
                Ok((index, offer)) => {
                    let sender = full.remove(index);
                    self.settle(&sender.mailbox, offer);
                }
                Err(parcel) => {
                    self.copies.put_back(parcel);
                    if self.is_over() {
                        self.stopped = Some(Stopped::Timeout);
                    }
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.wait {
            Wait::Until(deadline) => Some(deadline),
            Wait::Forever | Wait::Never => None,
        }
    }

    fn is_over(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    fn settle(&mut self, mailbox: &Mailbox<T, R>, offer: Offer<T, R>) {
        let parcel = match offer {
            Offer::Taken { evicted } => return self.delivery.taken(evicted),
            Offer::Lost(parcel, reason) => {
                self.delivery.dropped += 1;
                if reason == DeadLetterReason::Overflowed {
                    (self.overflowed)(mailbox);
                }
                mailbox.lost(self.topic, &parcel.payload, reason);
                parcel
            }
            Offer::Closed(parcel) => {
                self.stopped = Some(Stopped::Closed);
                parcel
            }
            Offer::Full(parcel) | Offer::Gone(parcel) => parcel,
        };
        self.copies.put_back(parcel);
    }
}
