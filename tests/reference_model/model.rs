//! The reference: what a bus is to do, told with queues and counters, for one thread.
//!
//! Payloads are numbers here. What stands in parallel in a bus, one handler beside the other, has no order in the model
//! either: see [`Parallel`].

use std::any::type_name;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tramline::{DeadLetterReason, Overflow};

use super::naive;
use super::operations::{self, Expires, Filter, Options, Properties, Setup};
use super::terms::{
    Answer, Behaviour, Call, Cause, Delivered, Headers, Heard, Id, Letter, MailboxStats, NoMessage, NotReplied,
    NotRetried, NotSent, NotSubscribed, ON_PURPOSE, Parallel, Payload, Published, Stats, Wait, behaviour, served,
};

/// The default capacity of a bus, and the largest.
const CAPACITY: usize = 256;
const MAX_CAPACITY: usize = 1 << 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Closed,
    Overflowed,
}

/// A message in a mailbox, or taken out of it.
#[derive(Debug, Clone)]
pub struct Queued {
    pub payload: Payload,
    topic: &'static str,
    lost_before: u64,
    /// It is a request; this is where the answer goes.
    pub slot: Option<Id>,
    /// It is a retained value, of this number.
    value: Option<u64>,
    headers: Headers,
    /// Its time is over before it can be taken out.
    is_expired: bool,
    /// Of a letter that was delivered again.
    attempts: u32,
}

impl Queued {
    fn new(topic: &'static str, payload: Payload, properties: Properties) -> Self {
        Self {
            payload,
            topic,
            lost_before: 0,
            slot: None,
            value: None,
            headers: properties.headers.pairs(),
            is_expired: properties.expires == Expires::AtOnce,
            attempts: 0,
        }
    }

    /// What was in the letter, as a message without a caller and without a time at which it expires.
    fn again(letter: &Letter) -> Self {
        let message = Self::new(operations::topic_named(&letter.topic), letter.payload, Properties::NONE);
        Self { headers: letter.headers.clone(), ..message }
    }
}

impl Queued {
    fn letter(&self, reason: DeadLetterReason, pattern: Option<&str>) -> Letter {
        Letter {
            payload: self.payload,
            topic: self.topic.to_owned(),
            reason,
            attempts: self.attempts,
            headers: self.headers.clone(),
            pattern: pattern.map(str::to_owned),
            handler: None,
        }
    }

    pub fn heard(&self) -> Heard {
        Heard {
            payload: self.payload,
            topic: self.topic.to_owned(),
            lost_before: self.lost_before,
            is_request: self.slot.is_some(),
            headers: self.headers.clone(),
        }
    }
}

#[derive(Debug, Clone)]
struct Mailbox {
    patterns: Vec<&'static str>,
    options: Options,
    capacity: usize,
    overflow: Overflow,
    members: usize,
    end: End,
    queue: VecDeque<Queued>,
    /// Retained values that it began with, and how much of the room for them is left.
    kept: usize,
    extra_room: usize,
    /// Messages that did not get in since the last that did.
    lost_behind: u64,
    /// Losses that the next message to be taken out reports: those of messages that were evicted or have expired, and what
    /// these were to report.
    lost_in_front: u64,
    taken: u64,
    /// Taken out, and given to nobody: evicted or expired.
    removed: u64,
    dropped: u64,
    deepest: usize,
    /// A handler has, or had, part in it.
    is_handled: bool,
}

impl Mailbox {
    fn is_routed(&self) -> bool {
        self.end == End::Open
    }

    fn matches(&self, topic: &str) -> bool {
        self.is_routed() && self.patterns.iter().any(|pattern| naive::matches(pattern, topic))
    }

    /// A mailbox that blocks keeps the room that was made for retained values.
    fn room(&self) -> usize {
        let extra = if self.overflow == Overflow::Block { self.kept } else { self.extra_room };
        (self.capacity + extra).saturating_sub(self.queue.len())
    }

    fn pop(&mut self) -> Option<Queued> {
        let oldest = self.queue.pop_front()?;
        self.extra_room = self.extra_room.saturating_sub(1);
        Some(oldest)
    }

    fn push(&mut self, message: Queued) {
        self.queue.push_back(message);
        self.deepest = self.deepest.max(self.queue.len());
    }

    /// Of a message that is live, so it counts as nothing else.
    fn wants(&self, payload: Payload) -> bool {
        self.options.filter.is_none_or(|filter| filter.accepts(payload).unwrap_or(false))
    }
}

/// Where the answer of one request goes, or of one copy of a gathered one.
#[derive(Debug, Clone)]
struct Slot {
    state: SlotState,
    to: AnswerTo,
    /// Messages and responders that can answer.
    copies: usize,
    /// Why a handler that promised no answer has failed.
    failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Open,
    Answered,
    /// Nobody waits any more.
    Cancelled,
}

#[derive(Debug, Clone, Copy)]
enum AnswerTo {
    One(Id),
    Gathering(Id),
}

#[derive(Debug, Clone)]
struct Pending {
    slot: Id,
    answer: Option<Answer>,
    was_taken: bool,
    callback: Option<Callback>,
}

#[derive(Debug, Clone, Copy)]
struct Callback {
    panics: bool,
}

#[derive(Debug, Clone)]
struct Gathering {
    slots: Vec<Id>,
    answers: Parallel<Answer>,
    closed: bool,
}

#[derive(Debug, Clone)]
struct Handler {
    mailbox: Id,
    name: String,
    patterns: Vec<&'static str>,
    serves: bool,
    workers: usize,
    retries: u32,
    /// It has one worker, and its mailbox no other.
    has_gate: bool,
    is_shut: bool,
    in_hand: Option<Queued>,
    /// It takes no other message, and tries none again.
    is_dropped: bool,
}

/// Where a letter comes from.
#[derive(Debug, Clone, Copy)]
pub enum From {
    /// From no mailbox.
    Nowhere,
    Mailbox(Id),
    /// Letters of several mailboxes look the same.
    OneOfSeveral,
}

#[derive(Debug, Clone)]
struct Listener {
    /// With the mailbox that they come from.
    letters: Parallel<(Letter, Option<Id>)>,
}

impl Listener {
    fn next(&self) -> String {
        format!("the next of {:?}", self.letters)
    }
}

/// Whether what this thread loses makes no letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quiet {
    No,
    /// In the next publish: the payload was taken out of a letter.
    Next,
    Now,
}

#[derive(Debug, Clone, Default)]
struct Counters {
    unheard: u64,
    dropped: u64,
    abandoned: u64,
    dead_letters: u64,
    handler_failures: u64,
    handler_panics: u64,
    skipped_requests: u64,
    filter_panics: u64,
    callback_panics: u64,
}

/// Whose answer is wanted.
enum Asking {
    Nobody,
    One(Id),
    Each(Id),
}

pub struct Model {
    setup: Setup,
    pub step: usize,
    pub is_closed: bool,
    mailboxes: BTreeMap<Id, Mailbox>,
    next: Id,
    /// How many there are for each topic.
    publishers: BTreeMap<&'static str, usize>,
    /// The last retained value and its number, by topic.
    values: BTreeMap<&'static str, (Queued, u64)>,
    next_value: u64,
    slots: BTreeMap<Id, Slot>,
    pending: BTreeMap<Id, Pending>,
    gathering: BTreeMap<Id, Gathering>,
    handlers: BTreeMap<Id, Handler>,
    listeners: BTreeMap<Id, Listener>,
    /// Messages that the test keeps.
    pub held: Vec<Queued>,
    counters: Counters,
    /// What closures of handlers are about to be seen to be called with.
    pub calls: Parallel<Call>,
    /// What callbacks of replies are about to be seen to be called with.
    pub fired: Parallel<(Id, Answer)>,
    /// Who does what is done now.
    cause: Cause,
    next_cause: u64,
    quiet: Quiet,
    /// How often closures of handlers were called, by mailbox and payload.
    attempts: BTreeMap<(Id, Payload), u32>,
    /// Of all handlers there ever were.
    pub workers: usize,
}

impl Model {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            step: 0,
            is_closed: false,
            mailboxes: BTreeMap::new(),
            next: 0,
            publishers: BTreeMap::new(),
            values: BTreeMap::new(),
            next_value: 0,
            slots: BTreeMap::new(),
            pending: BTreeMap::new(),
            gathering: BTreeMap::new(),
            handlers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            held: Vec::new(),
            counters: Counters::default(),
            calls: Parallel::new(),
            fired: Parallel::new(),
            cause: Cause::Main,
            next_cause: 0,
            quiet: Quiet::No,
            attempts: BTreeMap::new(),
            workers: 0,
        }
    }

    fn next_id(&mut self) -> Id {
        self.next += 1;
        self.next
    }
}

/// Publishers, and the topics in use.
impl Model {
    pub fn add_publisher(&mut self, topic: &'static str) {
        *self.publishers.entry(topic).or_default() += 1;
    }

    pub fn drop_publisher(&mut self, topic: &'static str) {
        if let Some(count) = self.publishers.get_mut(topic) {
            *count -= 1;
        }
        self.publishers.retain(|_, count| *count > 0);
    }

    pub fn subscriber_count(&self, topic: &str) -> usize {
        self.mailboxes.values().filter(|mailbox| mailbox.matches(topic) && !mailbox.options.observer).count()
    }

    fn topics(&self) -> usize {
        if self.is_closed {
            return 0;
        }
        let subscribed = self.mailboxes.values().filter(|mailbox| mailbox.is_routed());
        let literal = subscribed.flat_map(|mailbox| mailbox.patterns.iter().copied()).filter(|p| naive::is_literal(p));
        let topics: BTreeSet<_> =
            literal.chain(self.publishers.keys().copied()).chain(self.values.keys().copied()).collect();
        topics.len()
    }
}

/// Subscriptions.
impl Model {
    /// The mailbox that the new member takes from.
    pub fn subscribe(&mut self, options: &Options) -> Result<Id, NotSubscribed> {
        let capacity = options.capacity.or(self.setup.capacity).unwrap_or(CAPACITY);
        let overflow = options.overflow.or(self.setup.overflow).unwrap_or_default();
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            return Err(NotSubscribed::Capacity(capacity));
        }
        if !options.patterns.iter().all(|pattern| naive::is_pattern(pattern)) {
            return Err(NotSubscribed::Topic);
        }
        if self.is_closed {
            return Err(NotSubscribed::Closed);
        }
        let patterns: BTreeSet<_> = options.patterns.iter().copied().collect();
        let patterns: Vec<_> = patterns.into_iter().collect();
        let is_group = |mailbox: &Mailbox| {
            options.group.is_some()
                && mailbox.options.group == options.group
                && mailbox.patterns == patterns
                && mailbox.is_routed()
        };
        if let Some((id, mailbox)) = self.mailboxes.iter_mut().find(|(_, mailbox)| is_group(mailbox)) {
            difference(mailbox, options, capacity, overflow)?;
            mailbox.members += 1;
            return Ok(*id);
        }
        let is_for_it = |value: &Queued| {
            options.retained && !value.is_expired && patterns.iter().any(|pattern| naive::matches(pattern, value.topic))
        };
        let mut values: Vec<_> = self.values.values().filter(|(value, _)| is_for_it(value)).cloned().collect();
        values.sort_unstable_by_key(|(_, number)| *number);
        let queue: VecDeque<_> =
            values.into_iter().map(|(value, number)| Queued { value: Some(number), ..value }).collect();
        let id = self.next_id();
        let mailbox = Mailbox {
            patterns,
            options: options.clone(),
            capacity,
            overflow,
            members: 1,
            end: End::Open,
            kept: queue.len(),
            extra_room: queue.len(),
            lost_behind: 0,
            lost_in_front: 0,
            taken: 0,
            removed: 0,
            dropped: 0,
            deepest: queue.len(),
            is_handled: false,
            queue,
        };
        self.mailboxes.insert(id, mailbox);
        Ok(id)
    }

    /// A member leaves; tells how many messages are dropped with it.
    pub fn leave(&mut self, id: Id) -> usize {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return 0 };
        mailbox.members -= 1;
        if mailbox.members > 0 {
            return 0;
        }
        let left = self.mailboxes.remove(&id).map(|mailbox| mailbox.queue).unwrap_or_default();
        self.counters.abandoned += left.len() as u64;
        let count = left.len();
        left.into_iter().for_each(|message| self.drop_copy(message.slot));
        count
    }

    pub fn len(&self, id: Id) -> usize {
        self.mailboxes[&id].queue.len()
    }

    pub fn capacity(&self, id: Id) -> usize {
        self.mailboxes[&id].capacity
    }

    pub fn dropped(&self, id: Id) -> u64 {
        self.mailboxes[&id].dropped
    }

    pub fn patterns(&self, id: Id) -> &[&'static str] {
        &self.mailboxes[&id].patterns
    }
}

/// What keeps a new member from joining this group.
fn difference(mailbox: &Mailbox, options: &Options, capacity: usize, overflow: Overflow) -> Result<(), NotSubscribed> {
    let present = |filter: Option<Filter>| if filter.is_some() { "present" } else { "absent" };
    let (existing_filter, requested_filter) = match (mailbox.options.filter, options.filter) {
        (existing, Some(Filter::Others(_))) => {
            (present(existing), "one that captures values, which cannot be compared")
        }
        (Some(existing), Some(requested)) if existing != requested => ("a different closure", "this one"),
        (existing, requested) => (present(existing), present(requested)),
    };
    let differences = [
        ("capacity", mailbox.capacity.to_string(), capacity.to_string()),
        ("observer", mailbox.options.observer.to_string(), options.observer.to_string()),
        ("overflow", format!("{:?}", mailbox.overflow), format!("{overflow:?}")),
        ("retained", mailbox.options.retained.to_string(), options.retained.to_string()),
        ("filter", existing_filter.to_owned(), requested_filter.to_owned()),
    ];
    match differences.into_iter().find(|(_, existing, requested)| existing != requested) {
        None => Ok(()),
        Some((option, existing, requested)) => Err(NotSubscribed::Group {
            group: options.group.unwrap_or_default().to_owned(),
            option: option.to_owned(),
            existing,
            requested,
        }),
    }
}

/// Publishing.
impl Model {
    /// Whether a publisher that waits for room would have to.
    pub fn would_wait(&self, topic: &str, payload: Payload) -> bool {
        !self.is_closed
            && self.mailboxes.values().any(|mailbox| {
                mailbox.overflow == Overflow::Block
                    && mailbox.matches(topic)
                    && mailbox.wants(payload)
                    && mailbox.room() == 0
            })
    }

    /// How many messages can be published in a row, so that it does not depend on how fast handlers are, nor waits.
    pub fn foreseeable(&self, topic: &str) -> usize {
        let slow = self
            .mailboxes
            .values()
            .filter(|mailbox| mailbox.matches(topic) && (mailbox.overflow == Overflow::Block || mailbox.is_handled));
        slow.map(Mailbox::room).min().unwrap_or(usize::MAX)
    }

    pub fn publish(&mut self, topic: &'static str, payload: Payload, properties: Properties, wait: Wait) -> Published {
        self.may_publish(topic, properties).map_err(|why| (why, payload))?;
        self.send(&Queued::new(topic, payload, properties), wait)
    }

    fn send(&mut self, message: &Queued, wait: Wait) -> Published {
        let payload = message.payload;
        self.begin_publish();
        let ((delivered, dropped), late) = self.deliver(message, wait, &Asking::Nobody);
        let is_observer = |id: &Id| self.mailboxes.get(id).is_some_and(|mailbox| mailbox.options.observer);
        if late.iter().all(is_observer) {
            // A publish does without them when its time is over.
            late.iter().for_each(|id| self.lose(*id, message, DeadLetterReason::Full));
        } else {
            self.quiet = Quiet::No;
            return Err((NotSent::Timeout((delivered, dropped)), payload));
        }
        if delivered == 0 {
            self.counters.unheard += 1;
            if dropped == 0 {
                self.post(message, DeadLetterReason::Unheard, None);
            }
        }
        self.quiet = Quiet::No;
        Ok((delivered, dropped))
    }

    fn may_publish(&self, topic: &str, properties: Properties) -> Result<(), NotSent> {
        match () {
            () if !naive::is_topic(topic) => Err(NotSent::Topic),
            () if properties.headers == operations::Headers::Invalid => Err(NotSent::Header),
            () if self.is_closed => Err(NotSent::Closed),
            () => Ok(()),
        }
    }

    fn begin_publish(&mut self) {
        self.quiet = if self.quiet == Quiet::Next { Quiet::Now } else { Quiet::No };
    }

    pub fn fire(&mut self, topic: &'static str, payload: Payload, properties: Properties) {
        if self.publish(topic, payload, properties, Wait::Never).is_err() {
            self.counters.dropped += 1;
        }
    }

    pub fn publish_retained(
        &mut self,
        topic: &'static str,
        payload: Payload,
        properties: Properties,
        wait: Wait,
    ) -> Published {
        if self.may_publish(topic, properties).is_ok() {
            self.values.insert(topic, (Queued::new(topic, payload, properties), self.next_value));
            self.next_value += 1;
        }
        self.publish(topic, payload, properties, wait)
    }

    pub fn retained(&self, topic: &str) -> Option<Payload> {
        self.values.get(topic).filter(|(value, _)| !value.is_expired).map(|(value, _)| value.payload)
    }

    pub fn kept_topics(&self) -> Vec<&'static str> {
        self.values.keys().copied().collect()
    }

    pub fn clear_retained(&mut self, topic: &str) -> Option<Payload> {
        let value = self.retained(topic);
        self.values.remove(topic);
        value
    }

    /// Offers the message to one mailbox after the other, to observers first. Returns those that had no room in time too.
    fn deliver(&mut self, message: &Queued, wait: Wait, asking: &Asking) -> (Delivered, Vec<Id>) {
        let matching = self.mailboxes.iter().filter(|(_, mailbox)| mailbox.matches(message.topic));
        let mut matching: Vec<_> = matching.map(|(id, mailbox)| (!mailbox.options.observer, *id)).collect();
        matching.sort_unstable();
        let wanting: Vec<_> = matching.into_iter().filter(|(_, id)| self.passes(*id, message.payload)).collect();
        let (mut delivered, mut dropped, mut late) = (0, 0, Vec::new());
        for (counts, id) in wanting {
            let Some(mailbox) = self.mailboxes.get_mut(&id) else { continue };
            let is_full = mailbox.room() == 0;
            let lost = match mailbox.overflow {
                _ if !is_full => None,
                Overflow::Block if wait == Wait::Never => Some(DeadLetterReason::Full),
                // A caller does not wait for observers.
                Overflow::Block if !counts && !matches!(asking, Asking::Nobody) => Some(DeadLetterReason::Full),
                Overflow::Block => {
                    late.push(id);
                    continue;
                }
                Overflow::DropNewest => Some(DeadLetterReason::Full),
                Overflow::Disconnect => {
                    mailbox.end = End::Overflowed;
                    Some(DeadLetterReason::Overflowed)
                }
                _ => {
                    let evicted = self.evict(id);
                    dropped += if counts { evicted } else { 0 };
                    None
                }
            };
            if let Some(reason) = lost {
                self.lose(id, message, reason);
                dropped += usize::from(counts);
                continue;
            }
            let slot = match asking {
                _ if !counts => None,
                Asking::Nobody => None,
                Asking::One(slot) => Some(*slot),
                Asking::Each(gathering) => Some(self.add_slot(AnswerTo::Gathering(*gathering))),
            };
            self.add_copy(slot);
            self.put(id, Queued { slot, ..message.clone() });
            delivered += usize::from(counts);
        }
        ((delivered, dropped), late)
    }

    fn put(&mut self, id: Id, message: Queued) {
        if let Some(mailbox) = self.mailboxes.get_mut(&id) {
            let lost_before = std::mem::take(&mut mailbox.lost_behind);
            mailbox.push(Queued { lost_before, ..message });
        }
    }

    /// The mailbox does not get this message.
    fn lose(&mut self, id: Id, message: &Queued, reason: DeadLetterReason) {
        if let Some(mailbox) = self.mailboxes.get_mut(&id) {
            mailbox.dropped += 1;
            mailbox.lost_behind += 1;
        }
        self.counters.dropped += 1;
        self.post(message, reason, Some(id));
    }

    /// A message that was in the mailbox is not delivered.
    fn remove(&mut self, id: Id, message: &Queued, reason: DeadLetterReason) {
        if let Some(mailbox) = self.mailboxes.get_mut(&id) {
            mailbox.removed += 1;
            mailbox.dropped += 1;
            mailbox.lost_in_front += 1 + message.lost_before;
        }
        self.counters.dropped += 1;
        self.drop_copy(message.slot);
        self.post(message, reason, Some(id));
    }

    /// Whether the filter lets it through. That it panics is counted.
    fn passes(&mut self, mailbox: Id, payload: Payload) -> bool {
        let filter = self.mailboxes.get(&mailbox).and_then(|mailbox| mailbox.options.filter);
        let accepts = filter.map_or(Some(true), |filter| filter.accepts(payload));
        if accepts.is_none() {
            self.counters.filter_panics += 1;
        }
        accepts.unwrap_or(false)
    }

    /// Makes room for one message; tells how many were lost for it.
    fn evict(&mut self, id: Id) -> usize {
        let mut lost = 0;
        while let Some(mailbox) = self.mailboxes.get_mut(&id).filter(|mailbox| mailbox.room() == 0) {
            let Some(oldest) = mailbox.pop() else { break };
            // A retained value that the filter rejects is nobody's loss.
            if oldest.value.is_some() && !self.passes(id, oldest.payload) {
                continue;
            }
            self.remove(id, &oldest, DeadLetterReason::Evicted);
            lost += 1;
        }
        lost
    }
}

/// Receiving.
impl Model {
    /// Takes the next message out: of retained values, the next that the filter lets through.
    pub fn receive(&mut self, id: Id) -> Result<Queued, NoMessage> {
        while let Some(mut message) = self.mailboxes.get_mut(&id).and_then(Mailbox::pop) {
            if message.value.is_some() && !self.passes(id, message.payload) {
                continue;
            }
            if message.is_expired {
                self.remove(id, &message, DeadLetterReason::Expired);
                continue;
            }
            if let Some(mailbox) = self.mailboxes.get_mut(&id) {
                mailbox.taken += 1;
                message.lost_before += std::mem::take(&mut mailbox.lost_in_front);
            }
            return Ok(message);
        }
        Err(match self.mailboxes[&id].end {
            End::Open => NoMessage::Empty,
            End::Closed => NoMessage::Closed,
            End::Overflowed => NoMessage::Overflowed,
        })
    }

    /// Whether who waits for a message would have to.
    pub fn has_nothing(&self, id: Id) -> bool {
        let mailbox = &self.mailboxes[&id];
        let is_message =
            |message: &Queued| !message.is_expired && (message.value.is_none() || mailbox.wants(message.payload));
        mailbox.is_routed() && !mailbox.queue.iter().any(is_message)
    }
}

/// Requests.
impl Model {
    /// The request whose answer is to come.
    pub fn request(
        &mut self,
        topic: &'static str,
        payload: Payload,
        properties: Properties,
        wait: Wait,
    ) -> Result<Id, (NotSent, Payload)> {
        let id = self.next_id();
        let slot = self.add_slot(AnswerTo::One(id));
        self.pending.insert(id, Pending { slot, answer: None, was_taken: false, callback: None });
        let asked = self.ask(topic, payload, properties, wait, &Asking::One(slot));
        if asked.is_err() {
            self.pending.remove(&id);
        }
        asked.map(|()| id)
    }

    pub fn gather(
        &mut self,
        topic: &'static str,
        payload: Payload,
        properties: Properties,
        wait: Wait,
    ) -> Result<Id, (NotSent, Payload)> {
        let id = self.next_id();
        self.gathering.insert(id, Gathering { slots: Vec::new(), answers: Parallel::new(), closed: false });
        let asked = self.ask(topic, payload, properties, wait, &Asking::Each(id));
        if asked.is_err() {
            self.gathering.remove(&id);
        }
        asked.map(|()| id)
    }

    fn ask(
        &mut self,
        topic: &'static str,
        payload: Payload,
        properties: Properties,
        wait: Wait,
        asking: &Asking,
    ) -> Result<(), (NotSent, Payload)> {
        self.may_publish(topic, properties).map_err(|why| (why, payload))?;
        self.begin_publish();
        let message = Queued::new(topic, payload, properties);
        let ((delivered, _), late) = self.deliver(&message, wait, asking);
        if delivered > 0 {
            // Those that have it may answer; the others have lost it.
            late.iter().for_each(|id| self.lose(*id, &message, DeadLetterReason::Full));
        }
        self.quiet = Quiet::No;
        if delivered == 0 && !late.is_empty() {
            return Err((NotSent::RequestTimeout, payload));
        }
        if delivered == 0 {
            self.counters.unheard += 1;
            return Err((NotSent::NoResponders, payload));
        }
        Ok(())
    }

    fn add_slot(&mut self, to: AnswerTo) -> Id {
        let id = self.next_id();
        self.slots.insert(id, Slot { state: SlotState::Open, to, copies: 0, failure: None });
        if let AnswerTo::Gathering(gathering) = to {
            self.gathering.entry(gathering).and_modify(|gathering| gathering.slots.push(id));
        }
        id
    }

    /// One more message or responder that can answer.
    pub fn add_copy(&mut self, slot: Option<Id>) {
        if let Some(slot) = slot.and_then(|slot| self.slots.get_mut(&slot)) {
            slot.copies += 1;
        }
    }

    pub fn drop_copy(&mut self, slot: Option<Id>) {
        let Some((id, slot)) = slot.and_then(|id| Some((id, self.slots.get_mut(&id)?))) else { return };
        slot.copies -= 1;
        if slot.copies == 0 {
            let answer = slot.failure.take().map_or(Answer::Unanswered, Answer::Failed);
            // Whoever has been answered, or has gone, does not hear of it.
            let _ = self.answer(id, answer);
        }
    }

    fn answer(&mut self, id: Id, answer: Answer) -> Result<(), NotReplied> {
        let slot = self.slots.get_mut(&id).expect("slots stay");
        match slot.state {
            SlotState::Answered => return Err(NotReplied::AlreadyAnswered),
            SlotState::Cancelled => return Err(NotReplied::Cancelled),
            SlotState::Open => slot.state = SlotState::Answered,
        }
        match slot.to {
            AnswerTo::One(id) => self.one_answer(id, answer),
            AnswerTo::Gathering(id) => {
                let (step, cause) = (self.step, self.cause);
                if let Some(gathering) = self.gathering.get_mut(&id) {
                    gathering.answers.push(step, cause, answer);
                }
            }
        }
        Ok(())
    }

    fn one_answer(&mut self, id: Id, answer: Answer) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        match pending.callback.take() {
            None => pending.answer = Some(answer),
            Some(callback) => {
                self.pending.remove(&id);
                self.fire_callback(id, callback, answer);
            }
        }
    }

    fn fire_callback(&mut self, id: Id, callback: Callback, answer: Answer) {
        self.fired.push(self.step, self.cause, (id, answer));
        self.counters.callback_panics += u64::from(callback.panics);
    }

    pub fn reply(&mut self, slot: Option<Id>, reply: u32) -> Result<(), NotReplied> {
        match slot {
            Some(slot) => self.answer(slot, Answer::Reply(reply)),
            None => Err(NotReplied::NotARequest),
        }
    }

    pub fn fail(&mut self, slot: Option<Id>, why: &str) -> Result<(), NotReplied> {
        match slot {
            Some(slot) => self.answer(slot, Answer::Failed(why.to_owned())),
            None => Err(NotReplied::NotARequest),
        }
    }

    pub fn is_cancelled(&self, slot: Id) -> bool {
        self.slots[&slot].state == SlotState::Cancelled
    }

    /// Nobody waits for an answer of this slot any more.
    fn cancel(&mut self, slot: Id) {
        if let Some(slot) = self.slots.get_mut(&slot).filter(|slot| slot.state == SlotState::Open) {
            slot.state = SlotState::Cancelled;
        }
    }

    /// Whether a wait would come to nothing.
    pub fn is_unanswered_yet(&self, id: Id) -> bool {
        self.slots[&self.pending[&id].slot].state == SlotState::Open
    }

    pub fn try_take(&mut self, id: Id) -> Option<Answer> {
        if self.is_unanswered_yet(id) || self.pending[&id].was_taken {
            return None;
        }
        let pending = self.pending.get_mut(&id)?;
        pending.was_taken = true;
        Some(pending.answer.take().unwrap_or(Answer::Closed))
    }

    /// What a wait gives, which ends the pending reply; `None` if it had to wait.
    pub fn wait(&mut self, id: Id) -> Option<Answer> {
        if self.is_unanswered_yet(id) {
            return None;
        }
        let pending = self.pending.remove(&id)?;
        // What was taken out is not there any more.
        let is_closed = self.slots[&pending.slot].state == SlotState::Cancelled;
        Some(pending.answer.unwrap_or(if is_closed { Answer::Closed } else { Answer::Unanswered }))
    }

    pub fn on_reply(&mut self, id: Id, panics: bool) {
        let callback = Callback { panics };
        match self.wait(id) {
            Some(answer) => self.fire_callback(id, callback, answer),
            None => _ = self.pending.entry(id).and_modify(|pending| pending.callback = Some(callback)),
        }
    }

    pub fn drop_pending(&mut self, id: Id) {
        if let Some(pending) = self.pending.remove(&id) {
            self.cancel(pending.slot);
        }
    }

    /// The next outcome, if this is what was seen; otherwise what should have been seen. `None` is a time-out.
    pub fn next_reply(&mut self, id: Id, seen: Option<&Answer>) -> Result<(), String> {
        let gathering = self.gathering.get_mut(&id).expect("gathered replies stay until they are dropped");
        let has_ended = gathering.slots.iter().all(|slot| self.slots[slot].state != SlotState::Open);
        let expected = if gathering.answers.len() > 0 && !gathering.closed {
            match seen.and_then(|seen| gathering.answers.take(|answer| answer == seen)) {
                Some(_) => return Ok(()),
                None => return Err(format!("the next of {:?}", gathering.answers)),
            }
        } else if has_ended {
            // When the bus is closed, that is final.
            gathering.closed = self.is_closed;
            Some(Answer::Closed)
        } else {
            None
        };
        if seen == expected.as_ref() { Ok(()) } else { Err(format!("{expected:?}")) }
    }

    /// All replies that are there.
    pub fn collect(&mut self, id: Id) -> Vec<u32> {
        let gathering = self.gathering.get_mut(&id).expect("gathered replies stay until they are dropped");
        let mut replies = Vec::new();
        while let Some(answer) = gathering.answers.take(|_| true) {
            if let Answer::Reply(reply) = answer {
                replies.push(reply);
            }
        }
        gathering.closed = self.is_closed;
        replies
    }

    pub fn drop_replies(&mut self, id: Id) {
        let slots = self.gathering.remove(&id).map(|gathering| gathering.slots).unwrap_or_default();
        slots.into_iter().for_each(|slot| self.cancel(slot));
    }
}

/// Dead letters.
impl Model {
    pub fn listen(&mut self) -> Id {
        let id = self.next_id();
        self.listeners.insert(id, Listener { letters: Parallel::new() });
        id
    }

    pub fn drop_listener(&mut self, id: Id) {
        self.listeners.remove(&id);
    }

    pub fn letters(&self, id: Id) -> usize {
        self.listeners[&id].letters.len()
    }

    /// Whether no letter will come any more: the bus is closed, and no handler has anything left to do.
    pub fn is_end_of_letters(&self) -> bool {
        self.is_closed && self.handlers.values().all(|handler| handler.in_hand.is_none())
    }

    /// Whether the threads of handlers, which are about to end, decide whether what has expired in this mailbox makes letters.
    pub fn may_make_letters(&self, id: Id) -> bool {
        let is_open = self.workers > 0 && !self.listeners.is_empty();
        is_open && self.is_end_of_letters() && self.mailboxes[&id].queue.iter().any(|message| message.is_expired)
    }

    /// Takes the letter that was seen, or none if none was; otherwise tells what should have been seen. Returns what is known
    /// of the mailbox that the letter comes from.
    pub fn read_letter(&mut self, id: Id, seen: Option<&Letter>) -> Result<From, String> {
        let listener = self.listeners.get_mut(&id).expect("a listener stays until it is dropped");
        let Some(seen) = seen else {
            return if listener.letters.len() == 0 { Ok(From::Nowhere) } else { Err(listener.next()) };
        };
        let is_one_of_several = listener.letters.count_first(|(letter, _)| letter == seen) > 1;
        match listener.letters.take(|(letter, _)| letter == seen) {
            Some(_) if is_one_of_several => Ok(From::OneOfSeveral),
            Some((_, mailbox)) => Ok(mailbox.map_or(From::Nowhere, From::Mailbox)),
            None => Err(listener.next()),
        }
    }

    /// Whether a letter that is delivered to this mailbox again would have to wait.
    pub fn retry_would_wait(&self, id: Id) -> bool {
        let waits =
            |mailbox: &Mailbox| mailbox.is_routed() && mailbox.overflow == Overflow::Block && mailbox.room() == 0;
        !self.is_closed && self.mailboxes.get(&id).is_some_and(waits)
    }

    /// Delivers the letter again, to the mailbox from which it comes.
    pub fn retry(&mut self, letter: &Letter, id: Id) -> Result<(), NotRetried> {
        if self.is_closed {
            return Err(NotRetried::Closed);
        }
        // What it costs makes no letter.
        self.quiet = Quiet::Now;
        let retried = self.put_again(letter, id);
        self.quiet = Quiet::No;
        retried
    }

    fn put_again(&mut self, letter: &Letter, id: Id) -> Result<(), NotRetried> {
        let mailbox = self.mailboxes.get_mut(&id).filter(|mailbox| mailbox.is_routed()).ok_or(NotRetried::Gone)?;
        if mailbox.room() == 0 {
            match mailbox.overflow {
                Overflow::DropOldest => _ = self.evict(id),
                Overflow::Disconnect => {
                    mailbox.end = End::Overflowed;
                    return Err(NotRetried::Full);
                }
                _ => return Err(NotRetried::Full),
            }
        }
        self.put(id, Queued { attempts: letter.attempts, ..Queued::again(letter) });
        Ok(())
    }

    /// Publishes the letter again. What becomes of it makes no letter.
    pub fn republish(&mut self, letter: &Letter) -> Published {
        if self.is_closed {
            return Err((NotSent::Closed, letter.payload));
        }
        self.quiet = Quiet::Next;
        self.send(&Queued::again(letter), Wait::Forever)
    }

    /// This thread takes the payload out of a letter.
    pub fn take_payload_of_letter(&mut self) {
        self.quiet = Quiet::Next;
    }

    /// Writes a letter about this message, which this mailbox has lost or did not get, or which nobody wanted.
    fn post(&mut self, message: &Queued, reason: DeadLetterReason, mailbox: Option<Id>) {
        let from = mailbox.and_then(|id| self.mailboxes.get(&id));
        let pattern = from.map(|from| pattern_of(&from.patterns, message.topic));
        self.post_letter(&message.letter(reason, pattern), mailbox);
    }

    fn post_letter(&mut self, letter: &Letter, mailbox: Option<Id>) {
        // After the end, this thread may still take out what has expired.
        let is_over = self.cause == Cause::Main && self.is_end_of_letters();
        if self.listeners.is_empty() || self.quiet == Quiet::Now || is_over {
            return;
        }
        self.counters.dead_letters += 1;
        for listener in self.listeners.values_mut() {
            listener.letters.push(self.step, self.cause, (letter.clone(), mailbox));
        }
    }
}

/// Handlers.
impl Model {
    pub fn handle(
        &mut self,
        options: &Options,
        serves: bool,
        workers: usize,
        retries: u32,
    ) -> Result<(Id, Id), NotSubscribed> {
        if workers == 0 {
            return Err(NotSubscribed::Workers(workers));
        }
        if serves && options.observer {
            return Err(NotSubscribed::Observer);
        }
        let mailbox = self.subscribe(options)?;
        self.mailboxes.entry(mailbox).and_modify(|mailbox| mailbox.is_handled = true);
        let id = self.next_id();
        let has_gate = workers == 1 && options.group.is_none();
        let (is_shut, in_hand, is_dropped) = (false, None, false);
        let patterns = self.mailboxes[&mailbox].patterns.clone();
        let name = options.name.unwrap_or(patterns[0]).to_owned();
        let handler =
            Handler { mailbox, name, patterns, serves, workers, retries, has_gate, is_shut, in_hand, is_dropped };
        self.handlers.insert(id, handler);
        self.workers += workers;
        Ok((id, mailbox))
    }

    /// The gates that can be shut, or opened. Some are of handlers that are gone, but for the message in hand.
    pub fn gates(&self, shut: bool) -> Vec<Id> {
        let fits = |handler: &Handler| handler.has_gate && handler.is_shut == shut && (shut || !handler.is_dropped);
        self.handlers.iter().filter(|(_, handler)| fits(handler)).map(|(id, _)| *id).collect()
    }

    pub fn set_gate(&mut self, id: Id, shut: bool) {
        self.handlers.entry(id).and_modify(|handler| handler.is_shut = shut);
    }

    /// Whether the threads of a handler may be about to end because its mailbox ran over.
    pub fn has_overflowed_handler(&self) -> bool {
        self.mailboxes.values().any(|mailbox| mailbox.is_handled && mailbox.end == End::Overflowed)
    }

    /// How many handlers are in the middle of a message.
    pub fn running(&self) -> usize {
        self.handlers.values().filter(|handler| handler.in_hand.is_some()).count()
    }

    pub fn is_busy(&self, id: Id) -> bool {
        self.handlers[&id].in_hand.is_some()
    }

    /// Takes the handler off its mailbox; tells how many messages were left there.
    pub fn drop_handler(&mut self, id: Id) -> usize {
        let Some(handler) = self.handlers.get_mut(&id) else { return 0 };
        handler.is_dropped = true;
        let mailbox = handler.mailbox;
        if handler.in_hand.is_none() {
            self.handlers.remove(&id);
        }
        self.leave(mailbox)
    }

    /// Lets handlers do all that they can do.
    pub fn run_handlers(&mut self) {
        let ids: Vec<_> = self.handlers.keys().copied().collect();
        for id in ids {
            while self.run_handler(id) {}
        }
        self.cause = Cause::Main;
    }

    fn run_handler(&mut self, id: Id) -> bool {
        let Some(handler) = self.handlers.get(&id).cloned() else { return false };
        let workers: usize =
            self.handlers.values().filter(|other| other.mailbox == handler.mailbox).map(|other| other.workers).sum();
        self.next_cause += 1;
        self.cause = if workers > 1 { Cause::Apart(self.next_cause) } else { Cause::Worker(handler.mailbox) };
        if let Some(message) = handler.in_hand.clone() {
            if handler.is_shut {
                return false;
            }
            self.finish(&handler, message);
            self.handlers.entry(id).and_modify(|handler| handler.in_hand = None);
            if handler.is_dropped {
                self.handlers.remove(&id);
            }
            return true;
        }
        let Ok(message) = self.receive(handler.mailbox) else { return false };
        if handler.serves && message.slot.is_some_and(|slot| self.is_cancelled(slot)) {
            self.counters.skipped_requests += 1;
            self.drop_copy(message.slot);
            return true;
        }
        self.call(&handler, &message);
        if handler.is_shut {
            self.handlers.entry(id).and_modify(|handler| handler.in_hand = Some(message));
        } else {
            self.finish(&handler, message);
        }
        true
    }

    /// Calls the closure. Returns how often that has been done with this payload.
    fn call(&mut self, handler: &Handler, message: &Queued) -> u32 {
        let attempt = self.attempts.entry((handler.mailbox, message.payload)).or_default();
        *attempt += 1;
        let attempt = *attempt;
        let call = Call { mailbox: handler.mailbox, message: message.heard(), attempt };
        self.calls.push(self.step, self.cause, call);
        attempt
    }

    /// The closure has been called once.
    fn finish(&mut self, handler: &Handler, message: Queued) {
        let mut attempts = 1;
        // More, if the message comes again.
        let mut calls = self.attempts[&(handler.mailbox, message.payload)];
        let reason = loop {
            match behaviour(message.payload, calls, handler.serves) {
                Behaviour::Succeeds => {
                    if handler.serves {
                        // Another may have been first.
                        let _ = self.reply(message.slot, served(message.payload));
                    }
                    return self.drop_copy(message.slot);
                }
                Behaviour::Panics => break DeadLetterReason::Panicked(ON_PURPOSE.to_owned()),
                Behaviour::Fails if attempts > handler.retries || handler.is_dropped => {
                    break DeadLetterReason::Failed(ON_PURPOSE.to_owned());
                }
                Behaviour::Fails => {
                    attempts += 1;
                    calls = self.call(handler, &message);
                }
            }
        };
        match reason {
            DeadLetterReason::Panicked(_) => self.counters.handler_panics += 1,
            _ => self.counters.handler_failures += 1,
        }
        if let Some(slot) = message.slot {
            if handler.serves {
                let _ = self.fail(Some(slot), &reason.to_string());
            } else {
                self.slots.entry(slot).and_modify(|slot| {
                    slot.failure.get_or_insert(reason.to_string());
                });
            }
        }
        self.drop_copy(message.slot);
        let letter = message.letter(reason, Some(pattern_of(&handler.patterns, message.topic)));
        let attempts = letter.attempts + attempts;
        let letter = Letter { attempts, handler: Some(handler.name.clone()), ..letter };
        self.post_letter(&letter, Some(handler.mailbox));
    }
}

/// The end, and what can be seen of the whole.
impl Model {
    pub fn close(&mut self) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        self.values.clear();
        for mailbox in self.mailboxes.values_mut().filter(|mailbox| mailbox.end == End::Open) {
            mailbox.end = End::Closed;
        }
        let open: Vec<_> =
            self.slots.iter().filter(|(_, slot)| slot.state == SlotState::Open).map(|(id, _)| *id).collect();
        open.into_iter().for_each(|slot| self.cancel(slot));
        let waiting: Vec<_> =
            self.pending.iter().filter(|(_, pending)| pending.callback.is_some()).map(|(id, _)| *id).collect();
        for id in waiting {
            // In no order.
            self.next_cause += 1;
            self.cause = Cause::Apart(self.next_cause);
            self.one_answer(id, Answer::Closed);
        }
        self.cause = Cause::Main;
    }

    /// The messages in all mailboxes.
    pub fn queued(&self) -> usize {
        self.mailboxes.values().map(|mailbox| mailbox.queue.len()).sum()
    }

    /// Payloads that are somewhere: in mailboxes, kept, with handlers, in letters, with the test.
    pub fn alive(&self) -> usize {
        let queued = || self.mailboxes.values().flat_map(|mailbox| &mailbox.queue);
        let live = queued().filter(|message| message.value.is_none()).count();
        // A retained value is cloned by whoever takes it out, and not before.
        let values: BTreeSet<_> = self.values.values().map(|(_, number)| *number).collect();
        let values: BTreeSet<_> = values.into_iter().chain(queued().filter_map(|message| message.value)).collect();
        let letters: usize = self.listeners.values().map(|listener| listener.letters.len()).sum();
        live + values.len() + letters + self.running() + self.held.len()
    }

    pub fn stats(&self) -> Stats {
        let counters = self.counters.clone();
        Stats {
            name: self.setup.name.unwrap_or_else(type_name::<super::translation::Payload>).to_owned(),
            topics: self.topics(),
            subscriptions: self.mailboxes.values().map(mailbox_stats).collect(),
            unheard: counters.unheard,
            dropped: counters.dropped,
            abandoned: counters.abandoned,
            dead_letters: counters.dead_letters,
            handler_failures: counters.handler_failures,
            handler_panics: counters.handler_panics,
            skipped_requests: counters.skipped_requests,
            filter_panics: counters.filter_panics,
            callback_panics: counters.callback_panics,
        }
    }

    /// The least and the most that the high-water marks may tell: what a handler has not let wait need not be seen.
    pub fn high_water(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.mailboxes.values().map(|mailbox| {
            let least = if mailbox.is_handled { mailbox.queue.len() } else { mailbox.deepest };
            (least, mailbox.deepest)
        })
    }
}

/// The first pattern that matches.
fn pattern_of<'a>(patterns: &[&'a str], topic: &str) -> &'a str {
    patterns.iter().find(|pattern| naive::matches(pattern, topic)).copied().unwrap_or(patterns[0])
}

fn mailbox_stats(mailbox: &Mailbox) -> MailboxStats {
    MailboxStats {
        patterns: mailbox.patterns.iter().map(ToString::to_string).collect(),
        group: mailbox.options.group.map(str::to_owned),
        name: mailbox.options.name.map(str::to_owned),
        members: mailbox.members,
        depth: mailbox.queue.len(),
        capacity: mailbox.capacity,
        overflow: mailbox.overflow,
        delivered: mailbox.taken + mailbox.removed + mailbox.queue.len() as u64,
        dropped: mailbox.dropped,
        observer: mailbox.options.observer,
        overflowed: mailbox.end == End::Overflowed,
    }
}
