//! One subscription's queue: its overflow policy, its counters, and how its two sides learn of each other's end.
//!
//! A [`Mailbox`] is shared by everyone. A [`MailboxSender`] can put messages in; only routes and the topic map hold
//! one, so that when a bus closes the last sender goes and subscribers see the end of the queue. The other way round, a
//! publisher that waits for room watches the mailbox's end signal: the mailbox keeps a receiver of its own, for
//! evictions and for emptying itself, so the channel alone would never tell.

use std::any::TypeId;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::counters::Tally;
use crate::dead_letter::Losses;
use crate::lifecycle::{Counted, EndSignal, EndTrigger};
use crate::message::{Message, RecvError, RecvTimeoutError, TryRecvError};
use crate::panic::{catch, drop_each};
use crate::spans::Labels;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence};
use crate::sync::channel::{self, Select, SelectedOperation};
use crate::sync::{Instant, Mutex, counters};
use crate::topic::{Pattern, Topic};

#[cfg(not(feature = "async"))]
mod no_tasks;
mod queue;
mod sender;
#[cfg(feature = "async")]
mod tasks;

use queue::{Addressed, QueueReceiver};
pub(crate) use sender::{MailboxSender, Offer, Way, wait_for_any};
#[cfg(feature = "async")]
use tasks::{RoomWanted, Tasks};

/// The largest capacity, in messages: the queue's memory is reserved when it is made.
pub(crate) const MAX_CAPACITY: usize = 1 << 24;

/// Mailboxes of all buses are told apart by number; a later one has a higher number.
static NEXT_ID: counters::AtomicU64 = counters::AtomicU64::new(1);

/// What happens to a message for a mailbox that is full.
///
/// # Examples
///
/// ```
/// use tramline::{Bus, Overflow};
///
/// let bus = Bus::<u32>::new();
/// let latest = bus.subscription("price").capacity(1).overflow(Overflow::DropOldest).open()?;
/// bus.publish("price", 1)?;
/// bus.publish("price", 2)?;
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
    pub(crate) accepts: Box<Accepts<T>>,
}

/// Told the topic, the payload, and whether it is a request. The user's closures look at the payload alone.
pub(crate) type Accepts<T> = dyn Fn(&Topic, &T, bool) -> bool + Send + Sync;

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
    /// What is full here, or how it is dealt with, is not for the channel alone to say; never changes.
    pub(super) const SPECIAL: u8 = 2;
    /// It has refused a message before, so that the next may have to tell of losses; stays for good.
    pub(super) const LOSSY: u8 = 4;
    /// A task waits for a message; nothing to the publisher until its message is in.
    pub(super) const TASKS_WAIT: u8 = 8;
}

/// Why a reader has to look closer at a message, see `Reading::attention`.
mod reading {
    /// The queue was seen empty: what the next message finds behind it may be a new high-water mark.
    pub(super) const WAS_EMPTY: u8 = 1;
    /// Room that a message takes with it, or losses that it has to tell of; never changes.
    pub(super) const SPECIAL: u8 = 2;
}

/// Counters that subscribers write for every message, away from what publishers read.
#[derive(Default)]
struct Reading {
    received: Tally,
    /// 0 if the next message needs no closer look.
    attention: counters::AtomicU8,
    /// How often `recv` found it empty.
    empty: counters::AtomicU64,
    /// `received`, when it last did.
    received_when_empty: counters::AtomicU64,
    /// It let some time pass then, see `Mailbox::let_some_gather`.
    paused: counters::AtomicBool,
    /// How much of `Mailbox::lost_in_front` messages have told.
    told_in_front: counters::AtomicU64,
    #[cfg(feature = "async")]
    room_wanted: RoomWanted,
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
    /// Held by the publisher that evicts; while there is one, the others take turns too. A reader waits for its end.
    eviction: Mutex<()>,
    /// The last that `DropOldest` got in needed an eviction: worth a look before the next is tried.
    was_evicting: AtomicBool,
    /// Messages that did not get in. The next one that does has to tell of them.
    refused: Tally,
    /// How much of `refused` messages have told.
    told_behind: counters::AtomicU64,
    evicted: Tally,
    high_water: counters::AtomicUsize,
    /// Room beyond the capacity, for the retained values that the queue began with. Each message that leaves takes some
    /// with it, until none is left.
    extra_room: AtomicUsize,
    /// Whether there was any extra room.
    was_roomy: bool,
    /// Losses of which the next message to be taken out must tell, as far as none has.
    lost_in_front: Tally,
    #[cfg(feature = "async")]
    tasks: Tasks,
    reading: CachePadded<Reading>,
}

impl<T, R> Mailbox<T, R> {
    /// A mailbox whose queue begins with so many retained values.
    fn new(
        options: MailboxOptions,
        filter: Option<Filter<T>>,
        queue: QueueReceiver<T, R>,
        kept: usize,
        losses: &Arc<Losses<T>>,
    ) -> Self {
        let (end_trigger, ended) = EndTrigger::new();
        let is_special = options.overflow == Overflow::DropOldest || kept > 0;
        let reading_attention = reading::WAS_EMPTY | if is_special { reading::SPECIAL } else { 0 };
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            patterns: options.patterns,
            group: options.group,
            name: options.name,
            capacity: options.capacity,
            overflow: options.overflow,
            retained: options.retained,
            filter,
            losses: Arc::clone(losses),
            queue,
            attention: AtomicU8::new(if is_special { attention::SPECIAL } else { 0 }),
            end: AtomicU8::new(End::Open as u8),
            ended,
            end_trigger,
            members: AtomicUsize::new(0),
            readers: AtomicUsize::new(0),
            unable: AtomicUsize::new(0),
            eviction: Mutex::new(()),
            was_evicting: AtomicBool::new(false),
            refused: Tally::default(),
            told_behind: counters::AtomicU64::new(0),
            evicted: Tally::default(),
            high_water: counters::AtomicUsize::new(0),
            extra_room: AtomicUsize::new(kept),
            was_roomy: kept > 0,
            lost_in_front: Tally::default(),
            #[cfg(feature = "async")]
            tasks: Tasks::default(),
            reading: CachePadded::new(Reading {
                attention: counters::AtomicU8::new(reading_attention),
                ..Reading::default()
            }),
        }
    }

    /// Ends the mailbox for publishers; those that wait for room wake up. A later end counts more.
    fn finish(&self, end: End) -> bool {
        let first = self.end.fetch_max(end as u8, Ordering::SeqCst) < end as u8;
        // SeqCst pairs with the load in `MailboxSender::was_taken`.
        self.attention.fetch_or(attention::ENDED, Ordering::SeqCst);
        self.end_trigger.fire();
        self.wake_publishers();
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

    /// So many threads will not take anything out any more. Whoever says so calls `tell_if_stuck` afterwards, when the
    /// lock of the map is released.
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

    /// Whether the filter lets the message through. A filter that panics does not.
    #[inline]
    pub(crate) fn accepts(&self, topic: &Topic, payload: &T, is_request: bool) -> bool {
        let Some(filter) = &self.filter else { return true };
        catch(|| (filter.accepts)(topic, payload, is_request)).unwrap_or_else(|_| {
            self.losses.filter_panics.fetch_add(1, Ordering::Relaxed);
            false
        })
    }

    /// What spans say of the subscription.
    pub(crate) fn labels(&self) -> Labels<'_> {
        Labels { patterns: &self.patterns, group: self.group.as_deref(), name: self.name.as_deref() }
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
        // One by one: the channel would leave the rest where it is when one of them panics, and nobody would count it.
        drop_each(std::iter::from_fn(|| self.queue.try_recv().ok()), |count| {
            if count > 0 {
                self.losses.abandoned.fetch_add(count as u64, Ordering::Relaxed);
            }
        })
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
    pub(crate) fn is_not_read(self: &Arc<Self>) -> Counted<Self> {
        let counted = Counted::one(self, |mailbox| &mailbox.unable);
        self.tell_if_stuck();
        counted
    }

    /// Whether no reader will take anything out until another thread does something.
    pub(crate) fn is_stuck(&self) -> bool {
        self.unable.load(Ordering::SeqCst) >= self.readers.load(Ordering::SeqCst)
    }

    /// A task that waits for room in its own mailbox must know.
    pub(crate) fn tell_if_stuck(&self) {
        if self.is_stuck() {
            self.wake_publishers();
        }
    }

    pub(crate) fn received(&self) -> u64 {
        self.reading.received.get()
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.get()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.refused.get() + self.evicted.get()
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

    /// A message did not get in.
    fn refused(&self) {
        self.refused.add(1);
        if self.attention.load(Ordering::Relaxed) & attention::LOSSY == 0 {
            self.attention.fetch_or(attention::LOSSY, Ordering::Relaxed);
        }
    }

    /// Whether the next message that gets in has to tell of losses.
    fn has_lost_behind(&self) -> bool {
        self.attention.load(Ordering::Relaxed) & attention::LOSSY != 0
            && self.refused.get() != self.told_behind.load(Ordering::Relaxed)
    }

    /// The losses that a message which is about to be put in has to tell of.
    fn take_lost_behind(&self) -> u64 {
        if self.has_lost_behind() { untold(self.refused.get(), &self.told_behind) } else { 0 }
    }

    /// That message did not get in after all: another has to tell of so many.
    fn lost_behind(&self, losses: u64) {
        self.told_behind.fetch_sub(losses, Ordering::Relaxed);
    }

    /// Whether the message that was just taken out has to tell of losses.
    fn has_lost_in_front(&self) -> bool {
        self.overflow == Overflow::DropOldest && {
            self.wait_for_eviction();
            self.lost_in_front.get() != self.reading.told_in_front.load(Ordering::Relaxed)
        }
    }

    /// Whatever was evicted from in front of the message that was just taken out is counted when this returns.
    ///
    /// The evicting publisher had its turn before it took that out, and counts it before the turn is over. Both took
    /// something out of the channel, one after the other, so this sees the turn, or what came of it.
    fn wait_for_eviction(&self) {
        if self.eviction.is_locked() {
            drop(self.eviction.lock());
        }
        // Pairs with the end of the turn, in `push_evicting` and `push_in_turn`, if that is what was seen.
        fence(Ordering::Acquire);
    }

    fn take_lost_in_front(&self) -> u64 {
        untold(self.lost_in_front.get(), &self.reading.told_in_front)
    }

    /// A message was taken out of the queue: there is room, and the extra room shrinks.
    #[inline]
    fn message_left(&self) {
        self.room_came();
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
        // A load and a store: of several readers, one may spoil the other's mark, and no more.
        self.reading.attention.store(self.reading_attention() | reading::WAS_EMPTY, Ordering::Relaxed);
        self.wake_publishers();
    }

    fn reading_attention(&self) -> u8 {
        self.reading.attention.load(Ordering::Relaxed)
    }

    fn recv_error(&self) -> RecvError {
        if self.is_overflowed() { RecvError::Overflowed } else { RecvError::Closed }
    }

    pub(crate) fn register<'a>(&'a self, select: &mut Select<'a>) -> usize {
        self.was_empty();
        self.queue.register(select)
    }
}

/// What was lost and nobody has told of yet. Of several who take it at once, each tells what those before it have not.
fn untold(lost: u64, told: &counters::AtomicU64) -> u64 {
    lost.saturating_sub(told.fetch_max(lost, Ordering::Relaxed))
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

    /// Counts a message that is a bare payload; `false` if it has to tell more than that.
    #[inline]
    fn count_plain(&self) -> bool {
        if self.reading_attention() != 0 && !self.is_plain() {
            return false;
        }
        self.room_came();
        self.count();
        true
    }

    #[inline(never)]
    fn is_plain(&self) -> bool {
        self.look_behind();
        !self.was_roomy && !self.has_lost_in_front()
    }

    #[inline]
    fn count(&self) {
        // A look at the depth touches the line that publishers write.
        if self.reading.received.add(1) % 64 == 0 {
            self.note_depth_behind();
        }
    }

    /// If this is the first message after an empty queue, a burst has piled up behind it.
    fn look_behind(&self) {
        let attention = self.reading_attention();
        if attention & reading::WAS_EMPTY != 0 {
            self.reading.attention.store(attention & !reading::WAS_EMPTY, Ordering::Relaxed);
            self.note_depth_behind();
        }
    }

    #[inline(never)]
    fn note_depth_behind(&self) {
        // The message that was taken out was waiting too; by now another may have its place.
        let depth = self.queue.len() + 1;
        self.note_depth(if self.was_roomy { depth } else { depth.min(self.capacity) });
    }

    /// The queue is empty. Where messages stream in, a reader that looks again at once gets each as it comes, and fights
    /// with the publisher over the lines of the channel for every one (100 ns a message). One that lets some gather gets
    /// them by the dozen (30 ns). Where they come one by one it would only be late (800 ns for a round trip, 2,700 with
    /// the pause). So it tries it once in a while, and does it again as long as it pays. Tells whether it did.
    pub(crate) fn let_some_gather(&self) -> bool {
        const PAUSE: u32 = 100;
        const EVERY: u64 = 1024;
        const PAYS: u64 = 8;
        // Loads and stores of their own: several readers at once may spoil a guess, and no more.
        let reading = &*self.reading;
        let received = reading.received.get();
        let gathered = received.wrapping_sub(reading.received_when_empty.load(Ordering::Relaxed));
        let empty = reading.empty.load(Ordering::Relaxed).wrapping_add(1);
        let pause = (reading.paused.load(Ordering::Relaxed) && gathered >= PAYS) || empty % EVERY == 0;
        reading.received_when_empty.store(received, Ordering::Relaxed);
        reading.empty.store(empty, Ordering::Relaxed);
        reading.paused.store(pause, Ordering::Relaxed);
        if pause {
            (0..PAUSE).for_each(|_| std::hint::spin_loop());
        }
        pause
    }

    #[inline(never)]
    fn recv_other(&self, mut item: Result<Addressed<T, R>, channel::TryRecvError>) -> Result<Message<T, R>, RecvError> {
        loop {
            if matches!(item, Err(channel::TryRecvError::Empty)) {
                self.was_empty();
                self.let_some_gather();
                item = self.queue.recv().map_err(|_| channel::TryRecvError::Disconnected);
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
        mut item: Result<Addressed<T, R>, channel::TryRecvError>,
    ) -> Result<Message<T, R>, TryRecvError> {
        loop {
            match item.map(|item| self.open(item)) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => item = self.queue.try_recv(),
                Err(channel::TryRecvError::Empty) => {
                    self.was_empty();
                    return Err(TryRecvError::Empty);
                }
                Err(channel::TryRecvError::Disconnected) => return Err(self.recv_error().into()),
            }
        }
    }

    pub(crate) fn recv_deadline(&self, deadline: Instant) -> Result<Message<T, R>, RecvTimeoutError> {
        match self.try_recv() {
            Ok(message) => return Ok(message),
            Err(TryRecvError::Closed) => return Err(RecvTimeoutError::Closed),
            Err(TryRecvError::Overflowed) => return Err(RecvTimeoutError::Overflowed),
            Err(TryRecvError::Empty) => {}
        }
        self.let_some_gather();
        loop {
            match self.queue.recv_deadline(deadline).map(|item| self.open(item)) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(channel::RecvTimeoutError::Timeout) => {
                    self.was_empty();
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(channel::RecvTimeoutError::Disconnected) => return Err(self.recv_error().into()),
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
        if retained && !self.accepts(message.topic(), message.payload(), false) {
            return None;
        }
        self.look_behind();
        self.count();
        if self.has_lost_in_front() {
            message.add_lost(self.take_lost_in_front());
        }
        Some(message)
    }
}
