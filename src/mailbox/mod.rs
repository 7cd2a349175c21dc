//! One subscription's queue: its overflow policy, its counters, and how its two sides learn of each other's end.
//!
//! A [`Mailbox`] is shared by everyone. A [`MailboxSender`] can put messages in; only routes and the topic map hold
//! one, so that when a bus closes the last sender goes and subscribers see the end of the queue. The other way round, a
//! publisher that waits for room watches the mailbox's end signal: the mailbox keeps a receiver of its own, for
//! evictions and for emptying itself, so the channel alone would never show it.

use std::any::TypeId;
use std::sync::{Arc, Weak};

use crossbeam_utils::CachePadded;

use crate::counters::OwnerBiasedCounter;
use crate::dead_letter::{Losses, Recipient};
use crate::lifecycle::{EndSignal, EndTrigger, HandlerWorkers};
use crate::message::Retained;
use crate::metadata::Properties;
use crate::panic::catch;
use crate::spans::Labels;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use crate::sync::{Mutex, counters};
use crate::topic::{Pattern, Topic};

mod end;
mod eviction;
mod in_order;
mod losses;
mod new_queue;
#[cfg(not(feature = "async"))]
mod no_tasks;
mod overflow;
mod queue;
mod receive;
mod role;
mod sender;
#[cfg(feature = "async")]
mod waiting_tasks;
mod workers;

use end::MailboxState;
pub(crate) use in_order::Put;
pub(crate) use new_queue::NewQueue;
pub use overflow::Overflow;
pub(crate) use overflow::{AtOnce, Offer, Permit};
use queue::QueueReceiver;
pub(crate) use role::Role;
pub(crate) use sender::{MailboxSender, MailboxSource, wait_for_any};
#[cfg(feature = "async")]
use waiting_tasks::{RoomWanted, WaitingTasks};
pub(crate) use workers::{Left, SeenWorkers};

/// The largest capacity, in messages: the memory for all of them is reserved when the first comes.
pub(crate) const MAX_CAPACITY: usize = 1 << 24;

/// The number of the next mailbox, of any bus; a later one has a higher number.
static NEXT_ID: counters::AtomicU64 = counters::AtomicU64::new(1);

/// A number that no other mailbox has, nor the reader of a log.
pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// How a mailbox is to be made; it keeps them.
#[derive(Clone)]
pub(crate) struct MailboxOptions {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) group: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    pub(crate) retained: bool,
    pub(crate) role: Role,
}

/// A subscriber's choice among the payloads.
pub(crate) struct Filter<T> {
    /// Its type, if that says all there is to say: a closure that captures nothing is the same as any other of its
    /// type.
    pub(crate) id: Option<TypeId>,
    pub(crate) accepts: Box<Accepts<T>>,
}

/// Looks at the topic, the payload, whether it is a request, and what it has beside these. The user's closures look at the
/// payload alone.
pub(crate) type Accepts<T> = dyn Fn(&Topic, &T, bool, Option<&Arc<Properties>>) -> bool + Send + Sync;

/// Why a publisher has to look closer before it puts a message in, see `Mailbox::send_flags`.
mod send_flag {
    /// It takes no messages any more; `Mailbox::state` says why.
    pub(super) const ENDED: u8 = 1;
    /// The channel alone does not say whether the mailbox is full, or what happens then; never changes.
    pub(super) const SPECIAL: u8 = 2;
    /// It has refused a message before, so that the next may have to report losses; stays for good.
    pub(super) const LOSSY: u8 = 4;
    /// A task waits for a message; nothing to the publisher until its message is in.
    pub(super) const TASKS_WAIT: u8 = 8;
    /// No sender is left, so no publisher looks any more; a task that waits does.
    #[cfg(feature = "async")]
    pub(super) const NO_SENDER: u8 = 16;
}

/// Why a reader has to look closer at a message, see `ReaderState::flags`.
mod recv_flag {
    /// The queue was seen empty: what the next message finds behind it may be a new high-water mark.
    pub(super) const WAS_EMPTY: u8 = 1;
    /// Room that a message takes with it, or losses that it has to report; never changes.
    pub(super) const SPECIAL: u8 = 2;
}

/// Counters that subscribers write for every message, away from what publishers read.
#[derive(Default)]
struct ReaderState {
    received: OwnerBiasedCounter,
    /// 0 if the next message needs no closer look.
    flags: counters::AtomicU8,
    /// How often `recv` found it empty.
    empty: counters::AtomicU64,
    /// `received`, when it last did.
    received_when_empty: counters::AtomicU64,
    /// Whether it paused then, see `Mailbox::pause_to_batch`.
    paused: counters::AtomicBool,
    /// How much of `Mailbox::evicted` was reported by messages.
    evicted_reported: counters::AtomicU64,
    /// Messages that have expired, and what they were to report: the next message to be taken out reports both.
    unreported_expiries: counters::AtomicU64,
    #[cfg(feature = "async")]
    room_wanted: RoomWanted,
}

pub(crate) struct Mailbox<T, R> {
    pub(crate) id: u64,
    pub(crate) options: MailboxOptions,
    pub(crate) filter: Option<Filter<T>>,
    losses: Arc<Losses<T>>,
    queue: QueueReceiver<T, R>,
    /// 0 if the channel alone decides, so that most messages need one look. A flag is set after its cause.
    send_flags: AtomicU8,
    state: AtomicU8,
    ended: EndSignal,
    end_trigger: EndTrigger,
    /// Subscribers and handlers. Changed under the lock of the topic map, as long as there is one.
    members: AtomicUsize,
    /// Threads that may drain the queue: one a subscriber, one a worker of a handler until its thread ends.
    readers: AtomicUsize,
    /// Readers that take nothing out: handler threads that wait for room in it, or drain the bus.
    paused_readers: AtomicUsize,
    /// Handlers that take from the queue, and some that did.
    handlers: Mutex<Vec<Weak<HandlerWorkers>>>,
    /// Held by the publisher that evicts; while there is one, the others take turns too. A reader waits for its end.
    eviction: Mutex<()>,
    /// The last that `DropOldest` got in needed an eviction: worth a look before the next is tried.
    was_evicting: AtomicBool,
    /// Messages that did not get in. The next one that does reports them.
    refused: OwnerBiasedCounter,
    /// How much of `refused` was reported by messages.
    refused_reported: counters::AtomicU64,
    /// Messages that were evicted. The next one to be taken out reports them.
    evicted: OwnerBiasedCounter,
    /// Messages that were not delivered because their time was over.
    expired: OwnerBiasedCounter,
    high_water: counters::AtomicUsize,
    /// Room beyond the capacity, for the retained values that the queue began with. Each message that leaves takes some
    /// with it, until none is left.
    extra_room: AtomicUsize,
    /// Whether there was any extra room.
    began_with_retained: bool,
    /// What was to be kept next when it got into its first route: what has been replaced before was not kept any more.
    began: u64,
    /// How many values in the queue it will skip for that reason; below 0 when a reader is faster than the count.
    replaced: counters::AtomicIsize,
    #[cfg(feature = "async")]
    tasks: WaitingTasks,
    reader: CachePadded<ReaderState>,
}

impl<T, R> Mailbox<T, R> {
    /// Creates a mailbox whose queue begins with `kept` retained values. Those that were replaced before the number
    /// `began` are not for it.
    fn new(
        options: MailboxOptions,
        filter: Option<Filter<T>>,
        queue: QueueReceiver<T, R>,
        (kept, began): (usize, u64),
        losses: &Arc<Losses<T>>,
    ) -> Self {
        let (end_trigger, ended) = EndTrigger::new();
        let is_special = options.overflow == Overflow::DropOldest || kept > 0;
        let recv_flags = recv_flag::WAS_EMPTY | if is_special { recv_flag::SPECIAL } else { 0 };
        Self {
            id: next_id(),
            options,
            filter,
            losses: Arc::clone(losses),
            queue,
            send_flags: AtomicU8::new(if is_special { send_flag::SPECIAL } else { 0 }),
            state: AtomicU8::new(MailboxState::Open as u8),
            ended,
            end_trigger,
            members: AtomicUsize::new(0),
            readers: AtomicUsize::new(0),
            paused_readers: AtomicUsize::new(0),
            handlers: Mutex::default(),
            eviction: Mutex::new(()),
            was_evicting: AtomicBool::new(false),
            refused: OwnerBiasedCounter::default(),
            refused_reported: counters::AtomicU64::new(0),
            evicted: OwnerBiasedCounter::default(),
            expired: OwnerBiasedCounter::default(),
            high_water: counters::AtomicUsize::new(0),
            extra_room: AtomicUsize::new(kept),
            began_with_retained: kept > 0,
            began,
            replaced: counters::AtomicIsize::new(0),
            #[cfg(feature = "async")]
            tasks: WaitingTasks::default(),
            reader: CachePadded::new(ReaderState {
                flags: counters::AtomicU8::new(recv_flags),
                ..ReaderState::default()
            }),
        }
    }

    /// Adds a member with `readers` threads.
    pub(crate) fn join(&self, readers: usize) {
        self.members.fetch_add(1, Ordering::Relaxed);
        // SeqCst pairs with `is_stuck`.
        self.readers.fetch_add(readers, Ordering::SeqCst);
    }

    /// Removes one member and `readers` readers. Returns `true` for the last member. The threads of a handler are readers
    /// until they end, see `readers_left`.
    pub(crate) fn leave(&self, readers: usize) -> bool {
        self.readers_left(readers);
        // AcqRel pairs with itself: after the bus is gone no lock orders the members that leave.
        self.members.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Removes `readers` readers: threads that have stopped receiving. The caller calls `wake_if_stuck` afterwards, when the
    /// lock of the map is released.
    pub(crate) fn readers_left(&self, readers: usize) {
        // SeqCst pairs with `is_stuck`, in the same way as a `CountGuard` reader.
        self.readers.fetch_sub(readers, Ordering::SeqCst);
    }

    /// Whether no reader is left.
    pub(crate) fn is_deserted(&self) -> bool {
        // SeqCst pairs with `readers_left`; the lock of the map orders it too.
        self.members() == 0 && self.readers.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }

    /// Whether its messages do not count in a delivery, and cannot be answered.
    #[inline]
    pub(crate) fn is_observer(&self) -> bool {
        self.options.role.is_observer()
    }

    /// Whether the filter lets the message through. A filter that panics does not.
    #[inline]
    pub(crate) fn accepts(
        &self,
        topic: &Topic,
        payload: &T,
        is_request: bool,
        properties: Option<&Arc<Properties>>,
    ) -> bool {
        let Some(filter) = &self.filter else { return true };
        catch(|| (filter.accepts)(topic, payload, is_request, properties)).unwrap_or_else(|_| {
            self.losses.filter_panics.fetch_add(1, Ordering::Relaxed);
            false
        })
    }

    /// Whether a retained value is for this mailbox. One that was put into the queue and then replaced, before the mailbox was
    /// in any route, is not: the one in its place is in the queue too.
    fn is_for_this(&self, value: &Retained<T>) -> bool {
        value.was_kept_at(self.began)
    }

    /// Whether a retained value that was taken out is not for this mailbox, so that it is skipped.
    fn skips(&self, value: &Retained<T>) -> bool {
        let skips = !self.is_for_this(value);
        if skips {
            self.replaced.fetch_sub(1, Ordering::Relaxed);
        }
        skips
    }

    /// Counts the values that it began with and that are not for it.
    pub(crate) fn count_replaced(&self, values: &[Arc<Retained<T>>]) {
        let replaced = values.iter().filter(|value| !self.is_for_this(value)).count();
        self.replaced.fetch_add(isize::try_from(replaced).unwrap_or(isize::MAX), Ordering::Relaxed);
    }

    /// Returns what spans show of the subscription.
    pub(crate) fn labels(&self) -> Labels<'_> {
        Labels {
            patterns: &self.options.patterns,
            group: self.options.group.as_deref(),
            name: self.options.name.as_deref(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len().saturating_add_signed(-self.replaced.load(Ordering::Relaxed))
    }

    pub(crate) fn received(&self) -> u64 {
        self.reader.received.get()
    }

    /// Messages that were taken out and given to nobody.
    pub(crate) fn removed(&self) -> u64 {
        self.evicted.get() + self.expired.get()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.refused.get() + self.removed()
    }

    /// The handler or subscriber of the mailbox, for a dead letter.
    pub(crate) fn recipient(&self, topic: &Topic) -> Recipient {
        let MailboxOptions { patterns, name, .. } = &self.options;
        let pattern = patterns.iter().find(|pattern| pattern.matches(topic)).or(patterns.first()).cloned();
        let name = || name.clone().or_else(|| patterns.first().map(ToString::to_string));
        Recipient { mailbox: self.id, handler: if self.is_handled() { name() } else { None }, pattern, offset: None }
    }

    /// The most messages that were seen waiting.
    pub(crate) fn high_water(&self) -> usize {
        self.record_depth(self.len());
        self.high_water.load(Ordering::Relaxed)
    }

    fn record_depth(&self, depth: usize) {
        // Read first: the line is shared, and a new mark is rare.
        if depth > self.high_water.load(Ordering::Relaxed) {
            self.high_water.fetch_max(depth, Ordering::Relaxed);
        }
    }

    /// A publisher found the queue full.
    fn record_full(&self) {
        self.record_depth(if self.began_with_retained { self.len() } else { self.options.capacity });
    }
}
