//! One subscription's queue: its overflow policy, its counters, and how its two sides learn of each other's end.
//!
//! A [`Mailbox`] is shared by everyone. A [`MailboxSender`] can put messages in; only routes and the topic map hold
//! one, so that when a bus closes the last sender goes and subscribers see the end of the queue. The other way round, a
//! publisher that waits for room watches the mailbox's end signal: the mailbox keeps a receiver of its own, for
//! evictions and for emptying itself, so the channel alone would never tell.

use std::any::TypeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Select, SelectedOperation};
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::dead_letter::{DeadLetterReason, Losses};
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::lifecycle::{Counted, EndSignal, EndTrigger, this_thread_serves};
use crate::message::{Envelope, Message, Parcel};
use crate::panic::catch;
use crate::queue::{Addressed, QueueReceiver, QueueSender, queue};
use crate::retained::Retained;
use crate::topic::{Pattern, Topic};

/// The largest capacity, in messages: the queue's memory is reserved when it is made.
pub(crate) const MAX_CAPACITY: usize = 1 << 24;

/// Mailboxes of all buses are told apart by number; a later one has a higher number.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What happens to a message for a mailbox that is full.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Overflow};
///
/// let bus = Bus::<u32>::new();
/// let latest = bus.subscription("price").capacity(1).overflow(Overflow::DropOldest).open()?;
/// let _ = bus.publish("price", 1)?;
/// let _ = bus.publish("price", 2)?;
/// assert_eq!(*latest.recv()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The publisher waits for room. Nothing is lost, unless the publisher chose not to wait, or would wait for itself:
    /// it is the handler that has to make the room.
    #[default]
    Block,
    /// The new message is dropped for this mailbox, and counted; the queue stays as it is.
    DropNewest,
    /// The oldest message in the queue is dropped, and counted; the new one always gets in.
    DropOldest,
    /// The new message is dropped, and counted, and the subscription ends: the subscriber gets what is queued, then
    /// `Overflowed`. A handler's threads end there, and a group is gone.
    Disconnect,
}

/// How a mailbox is to be made.
pub(crate) struct MailboxOptions {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) group: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    pub(crate) retained: bool,
    /// Threads of the first member that may drain the queue.
    pub(crate) readers: usize,
}

/// A subscriber's choice among the payloads.
pub(crate) struct Filter<T> {
    /// Its type, if that says all there is to say: a closure that captures nothing is the same as any other of its
    /// type.
    pub(crate) id: Option<TypeId>,
    pub(crate) accepts: Box<dyn Fn(&T) -> bool + Send + Sync>,
}

/// Whether a mailbox takes messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Open = 0,
    /// The bus is closed: the subscriber drains what there is.
    Closed = 1,
    /// It ran over under `Overflow::Disconnect`: the subscriber drains what there is.
    Overflowed = 2,
    /// No subscriber is left: what is in the queue, and what still gets in, is dropped.
    Gone = 3,
}

/// Why a publisher has to look closer before it puts a message in, see `Mailbox::attention`.
mod attention {
    /// It takes no messages any more; `Mailbox::end` says why.
    pub(super) const ENDED: u8 = 1;
    /// The next message has to tell of losses.
    pub(super) const LOSSES: u8 = 2;
    /// What is full here, or how it is dealt with, is not for the channel alone to say; never changes.
    pub(super) const SPECIAL: u8 = 4;
}

/// Counters that subscribers write for every message, away from what publishers read.
#[derive(Default)]
struct Reading {
    received: AtomicU64,
    /// The queue was seen empty: what the next message finds behind it may be a new high-water mark.
    was_empty: AtomicBool,
    /// How often `recv` found it empty.
    empty: AtomicU64,
    /// `received`, when it last did.
    received_when_empty: AtomicU64,
    /// It let some time pass then, see `Mailbox::let_some_gather`.
    paused: AtomicBool,
}

pub(crate) struct Mailbox<T, R> {
    pub(crate) id: u64,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) group: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    pub(crate) retained: bool,
    pub(crate) filter: Option<Filter<T>>,
    losses: Arc<Losses<T>>,
    queue: QueueReceiver<T, R>,
    /// 0 if the channel says all there is to say, so that most messages need one look. Set after what it tells of.
    attention: AtomicU8,
    end: AtomicU8,
    ended: EndSignal,
    end_trigger: EndTrigger,
    /// Subscribers and handlers. Changed under the lock of the topic map, as long as there is one.
    members: AtomicUsize,
    /// Threads that may drain the queue: one a subscriber, one a worker of a handler until its thread ends.
    readers: AtomicUsize,
    /// Those readers that take nothing out: handler threads that wait for room in it, or drain the bus.
    unable: AtomicUsize,
    /// Publishers that want to evict; while there are any, the others take turns too.
    evicting: AtomicUsize,
    eviction: Mutex<()>,
    dropped: AtomicU64,
    evicted: AtomicU64,
    high_water: AtomicUsize,
    /// Room beyond the capacity, for the retained values that the queue began with. Each message that leaves takes some
    /// with it, until none is left.
    extra_room: AtomicUsize,
    /// Whether there was any extra room.
    was_roomy: bool,
    /// Losses that the next message to get in must tell of.
    lost_behind: AtomicU64,
    /// Losses that the next message to be taken out must tell of.
    lost_in_front: AtomicU64,
    reading: CachePadded<Reading>,
}

impl<T, R> Mailbox<T, R> {
    /// Ends the mailbox for publishers; those that wait for room wake up. A later end counts more.
    fn finish(&self, end: End) -> bool {
        let first = self.end.fetch_max(end as u8, Ordering::SeqCst) < end as u8;
        // SeqCst pairs with the load in `MailboxSender::was_taken`.
        self.attention.fetch_or(attention::ENDED, Ordering::SeqCst);
        self.end_trigger.fire();
        first
    }

    /// One more member, with so many threads.
    pub(crate) fn join(&self, readers: usize) {
        self.members.fetch_add(1, Ordering::Relaxed);
        self.readers.fetch_add(readers, Ordering::SeqCst);
    }

    /// One member less, and so many readers. `true` if it was the last member. The threads of a handler are readers until
    /// they end, see `readers_left`.
    pub(crate) fn leave(&self, readers: usize) -> bool {
        self.readers_left(readers);
        self.members.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// So many threads will not take anything out any more.
    pub(crate) fn readers_left(&self, readers: usize) {
        self.readers.fetch_sub(readers, Ordering::SeqCst);
    }

    /// Whether nobody is left who could take anything out.
    pub(crate) fn is_deserted(&self) -> bool {
        self.members() == 0 && self.readers.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }

    /// Whether the filter lets the payload through. A filter that panics does not.
    #[inline]
    pub(crate) fn accepts(&self, payload: &T) -> bool {
        let Some(filter) = &self.filter else { return true };
        catch(|| (filter.accepts)(payload)).unwrap_or_else(|_| {
            self.losses.filter_panics.fetch_add(1, Ordering::Relaxed);
            false
        })
    }

    pub(crate) fn close(&self) {
        self.finish(End::Closed);
    }

    /// The last subscriber is gone: drops what is queued, tells how much that was.
    pub(crate) fn abandon(&self) -> usize {
        self.finish(End::Gone);
        self.discard()
    }

    fn discard(&self) -> usize {
        let count = std::iter::from_fn(|| self.queue.try_recv().ok()).count();
        if count > 0 {
            self.losses.abandoned.fetch_add(count as u64, Ordering::Relaxed);
        }
        count
    }

    pub(crate) fn is_overflowed(&self) -> bool {
        self.end.load(Ordering::SeqCst) == End::Overflowed as u8
    }

    fn is_gone(&self) -> bool {
        self.end.load(Ordering::SeqCst) == End::Gone as u8
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Counts this thread, which serves the mailbox, as one that takes nothing out, until the result is dropped.
    pub(crate) fn is_not_read(&self) -> Counted<'_> {
        Counted::one(&self.unable)
    }

    /// Whether no reader will take anything out until another thread does something.
    pub(crate) fn is_stuck(&self) -> bool {
        self.unable.load(Ordering::SeqCst) >= self.readers.load(Ordering::SeqCst)
    }

    pub(crate) fn received(&self) -> u64 {
        self.reading.received.load(Ordering::Relaxed)
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The most messages that were seen waiting.
    pub(crate) fn high_water(&self) -> usize {
        self.note_depth(self.len());
        self.high_water.load(Ordering::Relaxed)
    }

    fn note_depth(&self, depth: usize) {
        // Read first: the line is shared, and a new mark is rare.
        if depth > self.high_water.load(Ordering::Relaxed) {
            self.high_water.fetch_max(depth, Ordering::Relaxed);
        }
    }

    /// So many losses are for the next message that gets in to tell of.
    fn lost_behind(&self, losses: u64) {
        self.lost_behind.fetch_add(losses, Ordering::Relaxed);
        // Release pairs with the swap in `take_lost_behind`: who clears the mark takes what it stood for.
        self.attention.fetch_or(attention::LOSSES, Ordering::Release);
    }

    fn take_lost_behind(&self) -> u64 {
        if self.attention.load(Ordering::Relaxed) & attention::LOSSES == 0 {
            return 0;
        }
        self.attention.fetch_and(!attention::LOSSES, Ordering::Acquire);
        self.lost_behind.swap(0, Ordering::Relaxed)
    }

    /// A message was taken out of the queue: the extra room shrinks.
    #[inline]
    fn message_left(&self) {
        if self.was_roomy && self.extra_room.load(Ordering::Relaxed) > 0 {
            let less = |room: usize| room.checked_sub(1);
            // Fails if another reader took the last of it, which is as well.
            let _ = self.extra_room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// A publisher found the queue full.
    fn was_full(&self) {
        self.note_depth(if self.was_roomy { self.len() } else { self.capacity });
    }

    /// The queue was seen empty.
    fn was_empty(&self) {
        self.reading.was_empty.store(true, Ordering::Relaxed);
    }

    fn recv_error(&self) -> RecvError {
        if self.is_overflowed() { RecvError::Overflowed } else { RecvError::Closed }
    }

    pub(crate) fn register<'a>(&'a self, select: &mut Select<'a>) -> usize {
        self.was_empty();
        self.queue.register(select)
    }
}

impl<T: Clone, R> Mailbox<T, R> {
    #[inline]
    pub(crate) fn recv(&self) -> Result<Message<T, R>, RecvError> {
        let plain = |topic, payload| Ok(Message::plain(topic, payload));
        self.queue.try_recv_plain(|| self.count_plain(), plain, |item| self.recv_other(item))
    }

    #[inline]
    pub(crate) fn try_recv(&self) -> Result<Message<T, R>, TryRecvError> {
        let plain = |topic, payload| Ok(Message::plain(topic, payload));
        self.queue.try_recv_plain(|| self.count_plain(), plain, |item| self.try_recv_other(item))
    }

    /// Counts a message that is a bare payload, if there is nothing to be done for it.
    #[inline]
    fn count_plain(&self) -> bool {
        let received = self.reading.received.load(Ordering::Relaxed);
        if self.is_time_to_look(received) || self.lost_in_front.load(Ordering::Relaxed) > 0 || self.was_roomy {
            return false;
        }
        self.reading.received.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// The queue is empty. Where messages stream in, a reader that looks again at once gets each as it comes, and fights
    /// with the publisher over the lines of the channel for every one (100 ns a message). One that lets some gather gets
    /// them by the dozen (30 ns). Where they come one by one it would only be late (600 ns for a round trip, 2,800 with
    /// the pause). So it tries it once in a while, and does it again as long as it pays.
    fn let_some_gather(&self) {
        const PAUSE: u32 = 100;
        const EVERY: u64 = 256;
        const PAYS: u64 = 8;
        // Loads and stores of their own: several readers at once may spoil a guess, and no more.
        let reading = &*self.reading;
        let received = reading.received.load(Ordering::Relaxed);
        let gathered = received.wrapping_sub(reading.received_when_empty.load(Ordering::Relaxed));
        let empty = reading.empty.load(Ordering::Relaxed).wrapping_add(1);
        let pause = (reading.paused.load(Ordering::Relaxed) && gathered >= PAYS) || empty % EVERY == 0;
        reading.received_when_empty.store(received, Ordering::Relaxed);
        reading.empty.store(empty, Ordering::Relaxed);
        reading.paused.store(pause, Ordering::Relaxed);
        if pause {
            (0..PAUSE).for_each(|_| std::hint::spin_loop());
        }
    }

    /// Looking at the depth touches the line that publishers write, so it is done for the first message after an empty
    /// queue, where a burst has piled up, and now and then.
    #[inline]
    fn is_time_to_look(&self, received: u64) -> bool {
        received % 64 == 0 || self.reading.was_empty.load(Ordering::Relaxed)
    }

    #[inline(never)]
    fn recv_other(
        &self,
        mut item: Result<Addressed<T, R>, crossbeam_channel::TryRecvError>,
    ) -> Result<Message<T, R>, RecvError> {
        loop {
            if matches!(item, Err(crossbeam_channel::TryRecvError::Empty)) {
                self.was_empty();
                self.let_some_gather();
                item = self.queue.recv().map_err(|_| crossbeam_channel::TryRecvError::Disconnected);
            }
            match item.map(|item| self.open(item)) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => item = self.queue.try_recv(),
                Err(_) => return Err(self.recv_error()),
            }
        }
    }

    #[inline(never)]
    fn try_recv_other(
        &self,
        mut item: Result<Addressed<T, R>, crossbeam_channel::TryRecvError>,
    ) -> Result<Message<T, R>, TryRecvError> {
        loop {
            match item.map(|item| self.open(item)) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => item = self.queue.try_recv(),
                Err(crossbeam_channel::TryRecvError::Empty) => {
                    self.was_empty();
                    return Err(TryRecvError::Empty);
                }
                Err(crossbeam_channel::TryRecvError::Disconnected) => return Err(self.recv_error().into()),
            }
        }
    }

    pub(crate) fn recv_deadline(&self, deadline: Instant) -> Result<Message<T, R>, RecvTimeoutError> {
        loop {
            match self.queue.recv_deadline(deadline).map(|item| self.open(item)) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                    self.was_empty();
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return Err(self.recv_error().into()),
            }
        }
    }

    pub(crate) fn complete(&self, operation: SelectedOperation<'_>) -> Result<Message<T, R>, RecvError> {
        match self.queue.complete(operation).map(|item| self.open(item)) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => self.recv(),
            Err(_) => Err(self.recv_error()),
        }
    }

    /// Makes a message of what was taken out of the queue; `None` for a retained value that the filter rejects.
    ///
    /// Live messages went through the filter before they got in. A retained value could not: it was put in under the
    /// lock of the map.
    #[inline]
    fn open(&self, (topic, envelope): Addressed<T, R>) -> Option<Message<T, R>> {
        self.message_left();
        let retained = envelope.is_retained();
        let mut message = envelope.into_message(topic);
        if retained && !self.accepts(message.payload()) {
            return None;
        }
        // Relaxed, here and for every counter: they carry no other data.
        let received = self.reading.received.fetch_add(1, Ordering::Relaxed);
        if self.is_time_to_look(received) {
            self.reading.was_empty.store(false, Ordering::Relaxed);
            self.note_depth(self.queue.len() + 1);
        }
        if self.lost_in_front.load(Ordering::Relaxed) > 0 {
            message.add_lost(self.lost_in_front.swap(0, Ordering::Relaxed));
        }
        Some(message)
    }
}

/// The right to put messages into a mailbox.
pub(crate) struct MailboxSender<T, R> {
    pub(crate) mailbox: Arc<Mailbox<T, R>>,
    queue: QueueSender<T, R>,
}

/// What a mailbox made of a message.
pub(crate) enum Offer<T, R> {
    /// It is in; so many others had to go for it.
    Taken { evicted: usize },
    /// It blocks: worth waiting for.
    Full(Parcel<T, R>),
    /// Its policy dropped the message.
    Lost(Parcel<T, R>, DeadLetterReason),
    /// It takes no messages any more.
    Gone(Parcel<T, R>),
    /// The bus is closed.
    Closed(Parcel<T, R>),
}

impl<T, R> MailboxSender<T, R> {
    /// Makes a mailbox, with these values in its queue, for which there is room beyond its capacity.
    pub(crate) fn new(
        options: MailboxOptions,
        filter: Option<Filter<T>>,
        retained: Vec<(Topic, Arc<Retained<T>>)>,
        losses: &Arc<Losses<T>>,
    ) -> Arc<Self> {
        let topic = match options.patterns.as_slice() {
            [only] => Topic::try_from(only).ok(),
            _ => None,
        };
        let kept = retained.len();
        let (sender, receiver) = queue(options.capacity + kept, topic);
        for (topic, value) in retained {
            // Never full: the queue was made for them.
            let _ = sender.try_send(&topic, Envelope::retained(value));
        }
        let (end_trigger, ended) = EndTrigger::new();
        let is_special = options.overflow == Overflow::DropOldest || kept > 0;
        let mailbox = Arc::new(Mailbox {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            patterns: options.patterns,
            group: options.group,
            name: options.name,
            capacity: options.capacity,
            overflow: options.overflow,
            retained: options.retained,
            filter,
            losses: Arc::clone(losses),
            queue: receiver,
            attention: AtomicU8::new(if is_special { attention::SPECIAL } else { 0 }),
            end: AtomicU8::new(End::Open as u8),
            ended,
            end_trigger,
            members: AtomicUsize::new(0),
            readers: AtomicUsize::new(0),
            unable: AtomicUsize::new(0),
            evicting: AtomicUsize::new(0),
            eviction: Mutex::new(()),
            dropped: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            high_water: AtomicUsize::new(0),
            extra_room: AtomicUsize::new(kept),
            was_roomy: kept > 0,
            lost_behind: AtomicU64::new(0),
            lost_in_front: AtomicU64::new(0),
            reading: CachePadded::default(),
        });
        Arc::new(Self { mailbox, queue: sender })
    }

    /// A message got in; makes sure that somebody will take it out or drop it.
    #[inline]
    fn was_taken(&self) {
        // SeqCst pairs with `Mailbox::finish`: the last subscriber marks the mailbox gone and then empties it, we put
        // the message in and then look for the mark. Whoever comes second drops the message.
        if self.mailbox.attention.load(Ordering::SeqCst) & attention::ENDED != 0 {
            self.was_taken_at_the_end();
        }
    }

    #[cold]
    fn was_taken_at_the_end(&self) {
        if self.mailbox.is_gone() {
            self.mailbox.discard();
        }
    }

    fn is_open(&self) -> bool {
        self.mailbox.attention.load(Ordering::Relaxed) & attention::ENDED == 0
    }

    /// Hands the envelope back if the queue is full.
    ///
    /// The channel keeps the room that was made for retained values when they are gone, so it is looked after here.
    /// Only a mailbox that blocks may use it for good: its publishers wait at the channel, which knows nothing of this.
    #[inline]
    fn try_send(&self, topic: &Topic, envelope: Envelope<T, R>) -> Result<(), Envelope<T, R>> {
        let mailbox = &*self.mailbox;
        if mailbox.was_roomy && mailbox.overflow != Overflow::Block {
            let room = mailbox.capacity + mailbox.extra_room.load(Ordering::Relaxed);
            if mailbox.len() >= room {
                return Err(envelope);
            }
        }
        self.queue.try_send(topic, envelope)
    }

    /// Puts the message into an envelope that tells of the losses before it.
    fn envelope(&self, parcel: Parcel<T, R>) -> Envelope<T, R> {
        Envelope::new(parcel, self.mailbox.take_lost_behind())
    }
}

impl<T: Clone, R> MailboxSender<T, R> {
    /// The message did not get in after all: the next one has to tell of the losses.
    fn unpack(&self, envelope: Envelope<T, R>) -> Parcel<T, R> {
        let lost = envelope.lost_before();
        if lost > 0 {
            self.mailbox.lost_behind(lost);
        }
        envelope.into_parcel()
    }

    /// Counts a message that this mailbox will never have.
    pub(crate) fn lost(&self, topic: &Topic, payload: &T, reason: DeadLetterReason) {
        let losses = &*self.mailbox.losses;
        self.mailbox.dropped.fetch_add(1, Ordering::Relaxed);
        self.mailbox.lost_behind(1);
        losses.dropped.fetch_add(1, Ordering::Relaxed);
        if losses.is_listening() {
            losses.post(topic, payload.clone(), reason, 0);
        }
    }

    /// Puts the message in if that is all there is to do; otherwise hands it back, to be offered.
    // Always: once for each mailbox of each message, and a call costs a tenth of it.
    #[inline(always)]
    pub(crate) fn put(&self, topic: &Topic, parcel: Parcel<T, R>) -> Result<(), Parcel<T, R>> {
        if self.mailbox.attention.load(Ordering::Relaxed) != 0 {
            return Err(parcel);
        }
        match self.queue.try_send(topic, Envelope::new(parcel, 0)) {
            Ok(()) => {
                self.was_taken();
                Ok(())
            }
            Err(back) => Err(back.into_parcel()),
        }
    }

    /// Offers the message without waiting.
    pub(crate) fn offer(&self, topic: &Topic, parcel: Parcel<T, R>) -> Offer<T, R> {
        if !self.is_open() {
            return self.ended(parcel);
        }
        if self.mailbox.overflow == Overflow::DropOldest {
            return self.push_evicting(topic, parcel);
        }
        // No envelope is made for a queue that will not take it: telling of losses needs an allocation.
        if self.mailbox.attention.load(Ordering::Relaxed) & attention::LOSSES != 0 && self.queue.is_full() {
            return self.full(parcel);
        }
        match self.try_send(topic, self.envelope(parcel)) {
            Ok(()) => {
                self.was_taken();
                Offer::Taken { evicted: 0 }
            }
            Err(back) => self.full(self.unpack(back)),
        }
    }

    fn full(&self, parcel: Parcel<T, R>) -> Offer<T, R> {
        self.mailbox.was_full();
        match self.mailbox.overflow {
            Overflow::Block => Offer::Full(parcel),
            Overflow::Disconnect => {
                if self.mailbox.finish(End::Overflowed) {
                    Offer::Lost(parcel, DeadLetterReason::Overflowed)
                } else {
                    Offer::Gone(parcel)
                }
            }
            Overflow::DropNewest | Overflow::DropOldest => Offer::Lost(parcel, DeadLetterReason::Full),
        }
    }

    /// Gets the message in, for which the oldest may have to go.
    ///
    /// Evicting and sending are two steps. Publishers that find the queue full take turns, and while any of them does,
    /// those that come later take turns too; so a round can only be lost to a publisher that was already on its way.
    fn push_evicting(&self, topic: &Topic, parcel: Parcel<T, R>) -> Offer<T, R> {
        let mailbox = &*self.mailbox;
        let losses = &*mailbox.losses;
        let mut envelope = Envelope::new(parcel, 0);
        if mailbox.evicting.load(Ordering::SeqCst) == 0 {
            match self.try_send(topic, envelope) {
                Ok(()) => {
                    self.was_taken();
                    return Offer::Taken { evicted: 0 };
                }
                Err(back) => envelope = back,
            }
            mailbox.was_full();
        }
        mailbox.evicting.fetch_add(1, Ordering::SeqCst);
        let mut first = None;
        let mut more = Vec::new();
        let turn = mailbox.eviction.lock();
        loop {
            match self.try_send(topic, envelope) {
                Ok(()) => break,
                Err(back) => envelope = back,
            }
            if let Ok(evicted) = mailbox.queue.try_recv() {
                mailbox.message_left();
                match first {
                    None => first = Some(evicted),
                    Some(_) => more.push(evicted),
                }
            }
        }
        drop(turn);
        mailbox.evicting.fetch_sub(1, Ordering::SeqCst);
        self.was_taken();
        // Payloads are looked at and dropped, and letters written, after the turn is over.
        let mut count = 0;
        for (topic, envelope) in first.into_iter().chain(more) {
            mailbox.lost_in_front.fetch_add(envelope.lost_before(), Ordering::Relaxed);
            let retained = envelope.is_retained();
            let payload = envelope.into_parcel().payload;
            // A retained value that the filter would have rejected is nobody's loss.
            if retained && !mailbox.accepts(&payload) {
                continue;
            }
            count += 1;
            mailbox.lost_in_front.fetch_add(1, Ordering::Relaxed);
            mailbox.evicted.fetch_add(1, Ordering::Relaxed);
            mailbox.dropped.fetch_add(1, Ordering::Relaxed);
            losses.dropped.fetch_add(1, Ordering::Relaxed);
            if losses.is_listening() {
                losses.post(&topic, payload, DeadLetterReason::Evicted, 0);
            }
        }
        Offer::Taken { evicted: count }
    }

    fn ended(&self, parcel: Parcel<T, R>) -> Offer<T, R> {
        if self.mailbox.end.load(Ordering::SeqCst) == End::Closed as u8 {
            Offer::Closed(parcel)
        } else {
            Offer::Gone(parcel)
        }
    }
}

impl<T, R> MailboxSender<T, R> {
    /// Whether this thread is a handler's, and the mailbox its own.
    pub(crate) fn is_served_by_this_thread(&self) -> bool {
        this_thread_serves(self.mailbox.id)
    }
}

/// Sleeps until one of these mailboxes takes the message or ends; tells which, and hands the message back if none did
/// by the deadline.
pub(crate) fn wait_for_any<T: Clone, R>(
    full: &[Arc<MailboxSender<T, R>>],
    topic: &Topic,
    parcel: Parcel<T, R>,
    deadline: Option<Instant>,
) -> Result<(usize, Offer<T, R>), Parcel<T, R>> {
    // The ends come first: a mailbox that has ended may also have room, because it was emptied.
    let mut select = Select::new_biased();
    for sender in full {
        select.recv(&sender.mailbox.ended);
    }
    for sender in full {
        sender.queue.register(&mut select);
    }
    let operation = match deadline {
        Some(deadline) => select.select_deadline(deadline).ok(),
        None => Some(select.select()),
    };
    let Some(operation) = operation else { return Err(parcel) };
    let index = operation.index() % full.len();
    let sender = &full[index];
    if operation.index() < full.len() {
        // It carries nothing: that it is ready means that it has ended.
        let _ = operation.recv(&sender.mailbox.ended);
        return Ok((index, sender.ended(parcel)));
    }
    match sender.queue.complete(operation, topic, sender.envelope(parcel)) {
        Ok(()) => {
            sender.was_taken();
            Ok((index, Offer::Taken { evicted: 0 }))
        }
        Err(back) => Ok((index, sender.ended(sender.unpack(back)))),
    }
}
