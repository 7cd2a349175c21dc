//! What a bus gives, in the words of the model; and what the operations ask for, in those of a bus.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tramline::{
    DeadLetter, DeadLetterReason, Delivery, GatherError, PendingReply, PublishError, RecvError, RecvTimeoutError,
    ReplyError, RequestError, RespondError, RetryError, SubscribeError, TryRecvError,
};

use super::operations::{self, Filter, Options, Properties};
use super::terms::{
    Answer, Headers, Heard, Letter, MailboxStats, NoMessage, NotReplied, NotRetried, NotSent, NotSubscribed,
    ON_PURPOSE, Published, Stats,
};

/// A number. The clones of all payloads of one world are counted.
#[derive(Debug)]
pub struct Payload {
    pub number: u32,
    alive: Arc<AtomicUsize>,
}

impl Payload {
    pub fn new(number: u32, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { number, alive: Arc::clone(alive) }
    }
}

impl Clone for Payload {
    fn clone(&self) -> Self {
        Self::new(self.number, &self.alive)
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

pub type Bus = tramline::Bus<Payload, u32>;
pub type Message = tramline::Message<Payload, u32>;

/// Without a word on the terminal.
pub fn panic_on_purpose() -> ! {
    resume_unwind(Box::new(ON_PURPOSE))
}

fn headers(headers: &tramline::Headers) -> Headers {
    headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A message with these properties, for all but the limit.
pub fn message<'a>(
    bus: &'a Bus,
    publisher: Option<&'a tramline::Publisher<Payload, u32>>,
    topic: &'static str,
    payload: Payload,
    properties: Properties,
) -> tramline::MessageBuilder<'a, Payload, u32> {
    let message = match publisher {
        Some(publisher) => publisher.message(payload),
        None => bus.message(topic, payload),
    };
    // The last value counts.
    let message =
        if properties.headers == operations::Headers::One { message.header("tenant", "none") } else { message };
    let message = properties.headers.pairs().iter().fold(message, |message, (name, value)| message.header(name, value));
    match properties.expires.after() {
        Some(time) => message.expires_after(time),
        None => message,
    }
}

pub fn heard(message: &Message) -> Heard {
    Heard {
        payload: message.number,
        topic: message.topic().to_string(),
        lost_before: message.lost_before(),
        is_request: message.is_request(),
        headers: headers(message.headers()),
    }
}

pub fn no_message(error: TryRecvError) -> NoMessage {
    match error {
        TryRecvError::Empty => NoMessage::Empty,
        TryRecvError::Closed => NoMessage::Closed,
        _ => NoMessage::Overflowed,
    }
}

pub fn no_message_in_time(error: RecvTimeoutError) -> NoMessage {
    match error {
        RecvTimeoutError::Timeout => NoMessage::Empty,
        RecvTimeoutError::Closed => NoMessage::Closed,
        _ => NoMessage::Overflowed,
    }
}

pub fn no_message_ever(error: RecvError) -> NoMessage {
    match error {
        RecvError::Closed => NoMessage::Closed,
        _ => NoMessage::Overflowed,
    }
}

pub fn published(outcome: Result<Delivery, PublishError<Payload>>) -> Published {
    match outcome {
        Ok(delivery) => {
            assert_eq!(delivery.is_unheard(), delivery.delivered() == 0);
            Ok((delivery.delivered(), delivery.dropped()))
        }
        Err(error) => {
            let delivery = (error.delivery().delivered(), error.delivery().dropped());
            let is_invalid = (error.is_invalid_topic(), error.is_invalid_header());
            let why = match (is_invalid, error.is_closed(), error.is_timeout()) {
                ((true, false), false, false) if delivery == (0, 0) => NotSent::Topic,
                ((false, true), false, false) if delivery == (0, 0) => NotSent::Header,
                ((false, false), true, false) if delivery == (0, 0) => NotSent::Closed,
                ((false, false), false, true) => NotSent::Timeout(delivery),
                other => panic!("an error is one thing: {other:?}"),
            };
            Err((why, error.into_inner().number))
        }
    }
}

pub fn not_requested(error: RequestError<Payload>) -> (NotSent, u32) {
    let is_invalid = (error.is_invalid_topic(), error.is_invalid_header());
    let why = match (is_invalid, error.is_closed(), error.is_no_responders(), error.is_timeout()) {
        ((true, false), false, false, false) => NotSent::Topic,
        ((false, true), false, false, false) => NotSent::Header,
        ((false, false), true, false, false) => NotSent::Closed,
        ((false, false), false, true, false) => NotSent::NoResponders,
        ((false, false), false, false, true) => NotSent::RequestTimeout,
        other => panic!("an error is one thing: {other:?}"),
    };
    (why, error.into_inner().number)
}

pub fn not_subscribed(error: SubscribeError) -> NotSubscribed {
    match error {
        SubscribeError::Topic(_) => NotSubscribed::Topic,
        SubscribeError::Closed => NotSubscribed::Closed,
        SubscribeError::Observer => NotSubscribed::Observer,
        SubscribeError::Capacity { capacity, .. } => NotSubscribed::Capacity(capacity),
        SubscribeError::Workers { workers, .. } => NotSubscribed::Workers(workers),
        SubscribeError::Group { group, option, existing, requested, .. } => {
            NotSubscribed::Group { group, option: option.to_owned(), existing, requested }
        }
        other => panic!("{other}"),
    }
}

/// With the reply that is handed back.
pub fn replied<A>(result: Result<(), RespondError<A>>) -> Result<(), (NotReplied, A)> {
    result.map_err(|error| {
        let why = match (error.is_not_a_request(), error.is_already_answered(), error.is_cancelled()) {
            (true, false, false) => NotReplied::NotARequest,
            (false, true, false) => NotReplied::AlreadyAnswered,
            (false, false, true) => NotReplied::Cancelled,
            other => panic!("an error is one thing: {other:?}"),
        };
        (why, error.into_inner())
    })
}

/// The pending reply, if there is nothing yet.
pub fn answer(result: Result<u32, ReplyError<u32>>) -> Result<Answer, Option<PendingReply<u32>>> {
    match result {
        Ok(reply) => Ok(Answer::Reply(reply)),
        Err(ReplyError::Failed(why)) => Ok(Answer::Failed(why)),
        Err(ReplyError::Unanswered) => Ok(Answer::Unanswered),
        Err(ReplyError::Closed) => Ok(Answer::Closed),
        Err(timeout) => Err(timeout.into_inner()),
    }
}

/// `None` if there was none in time.
pub fn gathered(result: Result<u32, GatherError>) -> Option<Answer> {
    match result {
        Ok(reply) => Some(Answer::Reply(reply)),
        Err(GatherError::Failed(why)) => Some(Answer::Failed(why)),
        Err(GatherError::Unanswered) => Some(Answer::Unanswered),
        Err(GatherError::Closed) => Some(Answer::Closed),
        Err(_) => None,
    }
}

pub fn letter(letter: &DeadLetter<Payload>) -> Letter {
    Letter {
        payload: letter.payload().number,
        topic: letter.topic().to_string(),
        reason: letter.reason().clone(),
        attempts: letter.attempts(),
        headers: headers(letter.headers()),
        pattern: letter.pattern().map(ToString::to_string),
        // Of a loss, it depends on whether the threads of a handler that was dropped have ended.
        handler: match letter.reason() {
            DeadLetterReason::Failed(_) | DeadLetterReason::Panicked(_) => letter.handler().map(str::to_owned),
            _ => None,
        },
    }
}

/// With the payload of the letter that is handed back.
pub fn retried(result: Result<(), RetryError<Payload>>) -> Result<(), (NotRetried, u32)> {
    result.map_err(|error| {
        let why = match (error.is_gone(), error.is_full(), error.is_closed()) {
            (true, false, false) => NotRetried::Gone,
            (false, true, false) => NotRetried::Full,
            (false, false, true) => NotRetried::Closed,
            other => panic!("an error is one thing: {other:?}"),
        };
        (why, error.into_inner().payload().number)
    })
}

/// With the high-water marks.
pub fn stats(bus: &Bus) -> (Stats, Vec<usize>) {
    let stats = bus.stats();
    let marks = stats.subscriptions.iter().map(|mailbox| mailbox.high_water).collect();
    let mailboxes = stats.subscriptions.into_iter().map(|mailbox| MailboxStats {
        patterns: mailbox.patterns.iter().map(ToString::to_string).collect(),
        group: mailbox.group,
        name: mailbox.name,
        members: mailbox.members,
        depth: mailbox.depth,
        capacity: mailbox.capacity,
        overflow: mailbox.overflow,
        delivered: mailbox.delivered,
        dropped: mailbox.dropped,
        observer: mailbox.observer,
        overflowed: mailbox.overflowed,
    });
    let all = Stats {
        name: stats.name,
        topics: stats.topics,
        subscriptions: mailboxes.collect(),
        unheard: stats.unheard,
        dropped: stats.dropped,
        abandoned: stats.abandoned,
        dead_letters: stats.dead_letters,
        handler_failures: stats.handler_failures,
        handler_panics: stats.handler_panics,
        skipped_requests: stats.skipped_requests,
        filter_panics: stats.filter_panics,
        callback_panics: stats.callback_panics,
    };
    (all, marks)
}

/// In one place, so that each closure that captures nothing is the same for all members of a group.
pub fn builder(bus: &Bus, options: &Options) -> tramline::SubscriptionBuilder<Payload, u32> {
    let (first, others) = options.patterns.split_first().expect("there is one");
    let mut builder = others.iter().fold(bus.subscription(*first), |builder, pattern| builder.also(*pattern));
    if let Some(capacity) = options.capacity {
        builder = builder.capacity(capacity);
    }
    if let Some(overflow) = options.overflow {
        builder = builder.overflow(overflow);
    }
    if let Some(group) = options.group {
        builder = builder.group(group);
    }
    if let Some(name) = options.name {
        builder = builder.name(name);
    }
    if options.retained {
        builder = builder.with_retained();
    }
    if options.observer {
        builder = builder.observer();
    }
    match options.filter {
        None => builder,
        Some(Filter::Even) => builder.filter(|payload| accepts(Filter::Even, payload)),
        Some(Filter::Fragile) => builder.filter(|payload| accepts(Filter::Fragile, payload)),
        Some(others) => builder.filter(move |payload| accepts(others, payload)),
    }
}

fn accepts(filter: Filter, payload: &Payload) -> bool {
    filter.accepts(payload.number).unwrap_or_else(|| panic_on_purpose())
}
