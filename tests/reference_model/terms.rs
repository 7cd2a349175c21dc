//! The words in which the model and the comparison speak of what a bus does.

use std::collections::VecDeque;

use tramline::{DeadLetterReason, Overflow};

pub type Payload = u32;
pub type Id = usize;
pub type Headers = Vec<(String, String)>;

/// What a handler, a filter or a callback panics with, and a handler's error.
pub const ON_PURPOSE: &str = "on purpose";

/// What a handler makes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Succeeds,
    Fails,
    Panics,
}

/// Depends on the payload alone, so that it does not matter which of several handlers gets it. Attempts count from 1.
pub fn behaviour(payload: Payload, attempt: u32, serves: bool) -> Behaviour {
    match payload % 7 {
        3 => Behaviour::Panics,
        5 if !serves => Behaviour::Fails,
        6 if !serves && attempt == 1 => Behaviour::Fails,
        _ => Behaviour::Succeeds,
    }
}

/// What a serving handler answers.
pub fn served(payload: Payload) -> u32 {
    payload + 1_000_000
}

/// One message as its receiver sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub payload: Payload,
    pub topic: String,
    pub lost_before: u64,
    pub is_request: bool,
    pub headers: Headers,
}

/// Why there is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMessage {
    /// Or none came in time.
    Empty,
    Closed,
    Overflowed,
}

/// What became of a message: delivered, dropped.
pub type Delivered = (usize, usize);

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    Topic,
    Header,
    Closed,
    /// With the outcome at the mailboxes that were not waited for.
    Timeout(Delivered),
    /// Of a request, which does not report what it has delivered: nothing.
    RequestTimeout,
    NoResponders,
}

/// With the payload that is handed back.
pub type Published = Result<Delivered, (NotSent, Payload)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSubscribed {
    Topic,
    Closed,
    Capacity(usize),
    Workers(usize),
    Observer,
    Group { group: String, option: String, existing: String, requested: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Reply(u32),
    Failed(String),
    Unanswered,
    Closed,
}

/// Why a reply was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReplied {
    NotARequest,
    AlreadyAnswered,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub payload: Payload,
    pub topic: String,
    pub reason: DeadLetterReason,
    pub attempts: u32,
    pub headers: Headers,
    /// The pattern of the subscription from which it comes.
    pub pattern: Option<String>,
    /// The handler that has failed.
    pub handler: Option<String>,
}

/// Why a dead letter was not delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRetried {
    Gone,
    Full,
    Closed,
}

/// One call of a handler's closure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub mailbox: Id,
    pub message: Heard,
    pub attempt: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    pub name: String,
    pub topics: usize,
    pub subscriptions: Vec<MailboxStats>,
    pub unheard: u64,
    pub dropped: u64,
    pub abandoned: u64,
    pub dead_letters: u64,
    pub handler_failures: u64,
    pub handler_panics: u64,
    pub skipped_requests: u64,
    pub filter_panics: u64,
    pub callback_panics: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxStats {
    pub patterns: Vec<String>,
    pub group: Option<String>,
    pub name: Option<String>,
    pub members: usize,
    pub depth: usize,
    pub capacity: usize,
    pub overflow: Overflow,
    pub delivered: u64,
    pub dropped: u64,
    pub observer: bool,
    pub overflowed: bool,
}

/// Who caused something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The thread of the test.
    Main,
    /// The only worker of a mailbox.
    Worker(Id),
    /// One of several workers, for one message; or whatever else is in no order.
    Apart(u64),
}

/// Things in order, but what comes in one step from different causes is in no order.
#[derive(Debug, Clone)]
pub struct Parallel<A>(VecDeque<(usize, Cause, A)>);

impl<A> Parallel<A> {
    pub fn new() -> Self {
        Self(VecDeque::new())
    }

    pub fn push(&mut self, step: usize, cause: Cause, thing: A) {
        self.0.push_back((step, cause, thing));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The places of those that may come first.
    fn first(&self) -> Vec<usize> {
        let mut causes = Vec::new();
        let mut places = Vec::new();
        for (place, (step, cause, _)) in self.0.iter().enumerate() {
            if *step == self.0[0].0 && !causes.contains(cause) {
                causes.push(*cause);
                places.push(place);
            }
        }
        places
    }

    /// The number of those that may come first and for which this holds.
    pub fn count_first(&self, is_it: impl Fn(&A) -> bool) -> usize {
        self.first().into_iter().filter(|place| is_it(&self.0[*place].2)).count()
    }

    /// Takes out the first for which this holds, if it may be the first.
    pub fn take(&mut self, is_it: impl Fn(&A) -> bool) -> Option<A> {
        let place = self.first().into_iter().find(|place| is_it(&self.0[*place].2))?;
        Some(self.0.remove(place)?.2)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    Never,
    /// For no time at all.
    Zero,
    /// The model knows that it need not.
    Forever,
}
