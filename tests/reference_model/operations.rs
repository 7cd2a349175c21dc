//! The operations, and how they are made of bytes: six for each, so that what is random, and what a fuzzer changes, is
//! one and the same.
//!
//! Indices choose among what there is, and go round: with three subscribers, subscriber 4 is the second. With none, the
//! operation does nothing.

use std::fmt;
use std::time::Duration;

use tramline::Overflow;

/// The bytes of one operation.
pub const SIZE: usize = 6;

/// With one that is stored on the heap.
const TOPICS: [&str; 6] = ["a", "b", "a.b", "a.c", "a.b.c", "a.topic-too-long-to-be-stored-in-place.b"];
const INVALID_TOPICS: [&str; 4] = ["", "a..b", "a.*", "a b"];
const PATTERNS: [&str; 12] = [
    "a",
    "a.b",
    "*",
    "a.*",
    "*.b",
    "a.>",
    ">",
    "*.*.b",
    "b",
    "a.*.c",
    "*.>",
    "a.topic-too-long-to-be-stored-in-place.b",
];
const INVALID_PATTERNS: [&str; 4] = ["", "a..b", ">.a", "a b"];

/// How the bus is made.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub name: Option<&'static str>,
    pub capacity: Option<usize>,
    pub overflow: Option<Overflow>,
}

/// A choice among payloads. Of one kind, all but `Others` are the same closure, as far as a group can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    Even,
    /// Panics at every third.
    Fragile,
    /// Rejects the multiples of this number, which it captures.
    Others(u32),
}

impl Filter {
    /// `None` if it panics.
    pub fn accepts(self, payload: u32) -> Option<bool> {
        match self {
            Self::Even => Some(payload % 2 == 0),
            Self::Fragile => (payload % 3 != 0).then_some(true),
            Self::Others(number) => Some(payload % number != 0),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    pub patterns: Vec<&'static str>,
    pub capacity: Option<usize>,
    pub overflow: Option<Overflow>,
    pub group: Option<&'static str>,
    pub filter: Option<Filter>,
    pub retained: bool,
    pub observer: bool,
    pub name: Option<&'static str>,
}

impl Options {
    fn plain(pattern: &'static str) -> Self {
        Self {
            patterns: vec![pattern],
            capacity: None,
            overflow: None,
            group: None,
            filter: None,
            retained: false,
            observer: false,
            name: None,
        }
    }

    /// Whether `Bus::subscribe` does it.
    pub fn is_plain(&self) -> bool {
        *self == Self::plain(self.patterns[0])
    }
}

/// What is set.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { patterns, capacity, overflow, group, filter, retained, observer, name } = self;
        let mut options = f.debug_struct("Options");
        options.field("patterns", patterns);
        if let Some(capacity) = capacity {
            options.field("capacity", capacity);
        }
        if let Some(overflow) = overflow {
            options.field("overflow", overflow);
        }
        if let Some(group) = group {
            options.field("group", group);
        }
        if let Some(filter) = filter {
            options.field("filter", filter);
        }
        if *retained {
            options.field("retained", retained);
        }
        if *observer {
            options.field("observer", observer);
        }
        if let Some(name) = name {
            options.field("name", name);
        }
        options.finish()
    }
}

/// Who publishes.
#[derive(Debug, Clone, Copy)]
pub enum By {
    /// The bus, on this topic.
    Bus(&'static str),
    /// This publisher; if there is none, the bus.
    Publisher(usize, &'static str),
}

/// The headers of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headers {
    None,
    One,
    /// As many as there may be, with one of the longest values.
    Many,
    /// One without a name.
    Invalid,
}

impl Headers {
    /// As they are set. What is set twice has its last value.
    pub fn pairs(self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        match self {
            Self::None => Vec::new(),
            Self::One => vec![pair("tenant", "acme")],
            Self::Many => (0..16).map(|n| (format!("header-{n}"), "v".repeat(if n == 7 { 256 } else { n }))).collect(),
            Self::Invalid => vec![pair("", "nameless")],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// Without a limit.
    No,
    AtOnce,
    /// At a time that does not come before the end of the test.
    Late,
    /// Beyond the end of the clock.
    Never,
}

impl Expires {
    pub fn after(self) -> Option<Duration> {
        match self {
            Self::No => None,
            Self::AtOnce => Some(Duration::ZERO),
            Self::Late => Some(Duration::from_secs(1_000_000)),
            Self::Never => Some(Duration::MAX),
        }
    }
}

/// How long the publisher of a message waits for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Without a limit if it need not wait; otherwise the operation is left out, or has a time-out of zero.
    None,
    Zero,
    /// Beyond the end of the clock, if it need not wait.
    Max,
    NoWait,
}

/// What a message has beside its payload. If it has nothing, the short forms publish it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    pub headers: Headers,
    pub expires: Expires,
    pub limit: Limit,
}

impl Properties {
    pub const NONE: Self = Self { headers: Headers::None, expires: Expires::No, limit: Limit::None };
}

/// What is set.
impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut properties = f.debug_struct("Properties");
        if self.headers != Headers::None {
            properties.field("headers", &self.headers);
        }
        if self.expires != Expires::No {
            properties.field("expires", &self.expires);
        }
        if self.limit != Limit::None {
            properties.field("limit", &self.limit);
        }
        properties.finish()
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Without a limit if it need not wait, with a time-out of zero if it had to.
    Publish,
    Timeout,
    Try,
    Fire,
    /// Left out if it had to wait.
    PublishRetained,
}

/// One message, or all there are. Those that wait do so only if they need not.
#[derive(Debug, Clone, Copy)]
pub enum Receive {
    Try,
    Recv,
    Timeout,
    Deadline,
    Many(usize),
    Iter,
    TryIter,
    Select,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    Drop,
    Keep,
    Reply,
    Fail,
    /// A responder is kept, the message dropped.
    Detach,
    IntoPayload,
}

/// What becomes of a dead letter.
#[derive(Debug, Clone, Copy)]
pub enum Letter {
    IntoPayload,
    Drop,
    /// Not if it would wait, or if all letters are read at once.
    Retry,
    /// The same.
    Republish,
}

#[derive(Debug, Clone, Copy)]
pub enum Later {
    Reply,
    Fail,
    IsCancelled,
    Drop,
}

#[derive(Debug, Clone, Copy)]
pub enum Await {
    TryTake,
    /// With a time-out of zero, as long as there is nothing to be had.
    Wait,
    Timeout,
    Deadline,
    OnReply {
        panics: bool,
    },
    Drop,
}

#[derive(Debug, Clone, Copy)]
pub enum Collect {
    Next,
    All,
    Drop,
}

#[derive(Debug, Clone)]
pub enum Operation {
    MakePublisher(&'static str),
    ClonePublisher(usize),
    DropPublisher(usize),
    Subscribe(Options),
    Handle {
        options: Options,
        serves: bool,
        workers: usize,
        retries: u32,
    },
    Publish(By, Kind, Properties),
    PublishAll {
        publisher: usize,
        count: usize,
    },
    Request(By, Properties),
    Gather(By, Properties),
    Receive(usize, Receive, Then),
    Unsubscribe(usize),
    DropSubscriber(usize),
    /// To one of the messages that were kept.
    Answer(usize, Then),
    AnswerLater(usize, Later),
    Await(usize, Await),
    Collect(usize, Collect),
    LookUpRetained(&'static str),
    Forget(&'static str),
    ListenForDeadLetters,
    ReadDeadLetter(usize, Receive, Letter),
    DropDeadLetters(usize),
    /// A handler with one worker finishes no message until its gate is opened again.
    ShutGate(usize),
    OpenGate(usize),
    Stop(usize),
    DropHandler(usize),
    Close,
    Drain,
    DropBus,
}

fn topic(byte: u8) -> &'static str {
    let index = usize::from(byte);
    // One in 32 is invalid.
    if byte % 32 == 31 { INVALID_TOPICS[index / 32 % INVALID_TOPICS.len()] } else { TOPICS[index % TOPICS.len()] }
}

/// The topic of a message that was published.
pub fn topic_named(name: &str) -> &'static str {
    TOPICS.into_iter().find(|topic| *topic == name).expect("it is a topic")
}

fn pattern(byte: u8) -> &'static str {
    let index = usize::from(byte);
    if byte % 64 == 63 { INVALID_PATTERNS[index / 64] } else { PATTERNS[index % PATTERNS.len()] }
}

fn overflow(byte: u8) -> Option<Overflow> {
    match byte % 5 {
        0 => None,
        1 => Some(Overflow::Block),
        2 => Some(Overflow::DropNewest),
        3 => Some(Overflow::DropOldest),
        _ => Some(Overflow::Disconnect),
    }
}

fn capacity(byte: u8) -> Option<usize> {
    match byte {
        0..=31 => None,
        // Out of range.
        32..=33 => Some(0),
        34..=35 => Some((1 << 24) + 1),
        _ => Some(1 + usize::from(byte % 3)),
    }
}

fn options([first, second, queue, group, choices]: [u8; 5]) -> Options {
    let mut options = Options::plain(pattern(first));
    if second % 4 == 3 {
        options.patterns.push(pattern(second / 4));
    }
    options.capacity = capacity(queue);
    options.overflow = overflow((queue / 3).wrapping_add(second));
    options.filter = match group % 8 {
        0 => Some(Filter::Even),
        1 => Some(Filter::Fragile),
        2 => Some(Filter::Others(3 + u32::from(second % 2))),
        _ => None,
    };
    options.retained = choices % 4 == 1;
    options.observer = group / 64 == 3;
    options.name = (choices % 8 == 2).then_some("name");
    options.group = match group / 8 % 8 {
        0 => Some("crew"),
        1 => Some("team"),
        _ => None,
    };
    // Two of three members of a group fit in.
    if options.group.is_some() && choices % 3 != 0 {
        options.patterns = if options.group == Some("crew") { vec!["a.*", "a"] } else { vec![">"] };
        options.capacity = Some(2);
        options.overflow = if options.group == Some("crew") { None } else { Some(Overflow::DropOldest) };
        options.filter = (options.group == Some("team")).then_some(Filter::Fragile);
        options.retained = false;
        options.observer = false;
    }
    options
}

/// Half of the messages have nothing beside their payload.
fn properties(headers_and_limit: u8, expires: u8) -> Properties {
    if headers_and_limit % 2 == 0 {
        return Properties::NONE;
    }
    Properties {
        headers: match headers_and_limit / 2 % 16 {
            0..=5 => Headers::None,
            6..=11 => Headers::One,
            12..=14 => Headers::Many,
            _ => Headers::Invalid,
        },
        expires: match expires % 8 {
            0..=2 => Expires::No,
            3..=5 => Expires::AtOnce,
            6 => Expires::Late,
            _ => Expires::Never,
        },
        limit: match headers_and_limit / 32 {
            0..=2 => Limit::None,
            3..=4 => Limit::Zero,
            5 => Limit::Max,
            _ => Limit::NoWait,
        },
    }
}

fn letter(byte: u8) -> Letter {
    match byte % 8 {
        0 | 1 => Letter::IntoPayload,
        2 => Letter::Drop,
        3..=5 => Letter::Retry,
        _ => Letter::Republish,
    }
}

fn by(kind: u8, which: u8) -> By {
    if kind % 2 == 0 {
        By::Bus(topic(which))
    } else {
        By::Publisher(usize::from(which), TOPICS[usize::from(which) % TOPICS.len()])
    }
}

fn receive(byte: u8) -> Receive {
    match byte % 10 {
        0..=2 => Receive::Try,
        3 => Receive::Recv,
        4 => Receive::Timeout,
        5 => Receive::Deadline,
        6 => Receive::Many(usize::from(byte / 10 % 4)),
        7 => Receive::Iter,
        8 => Receive::TryIter,
        _ => Receive::Select,
    }
}

fn then(byte: u8) -> Then {
    match byte % 8 {
        0 | 1 => Then::Drop,
        2 | 3 => Then::Keep,
        4 => Then::Reply,
        5 => Then::Fail,
        6 => Then::Detach,
        _ => Then::IntoPayload,
    }
}

impl Setup {
    fn new([name, queue, policy, ..]: [u8; SIZE]) -> Self {
        Self {
            name: (name % 2 == 1).then_some("tested"),
            // Most subscriptions have their own.
            capacity: match queue {
                0..=99 => None,
                100 => Some(0),
                _ => Some(1 + usize::from(queue % 3)),
            },
            overflow: overflow(policy),
        }
    }
}

impl Operation {
    fn new([kind, a, b, c, d, e]: [u8; SIZE]) -> Self {
        let which = usize::from(a);
        match kind {
            0..=9 => Self::MakePublisher(topic(a)),
            10..=11 => Self::ClonePublisher(which),
            12..=17 => Self::DropPublisher(which),
            18..=53 => Self::Subscribe(options([a, b, c, d, e])),
            54..=65 => {
                let mut options = options([a, b, c, d, e]);
                // Whichever member of a group takes a message, the same becomes of it, under the same name.
                let is_alone = options.group.is_none();
                options.name = options.name.filter(|_| is_alone);
                Self::Handle {
                    serves: if is_alone { kind % 2 == 0 } else { options.group == Some("team") },
                    retries: if is_alone { u32::from(e / 8 % 3) } else { 0 },
                    workers: match e / 32 {
                        0 => 2,
                        // One in 32 is out of range.
                        1 if d % 4 == 0 => 0,
                        _ => 1,
                    },
                    options,
                }
            }
            66..=109 => {
                let how = match c % 12 {
                    0..=3 => Kind::Publish,
                    4 => Kind::Timeout,
                    5..=6 => Kind::Try,
                    7..=8 => Kind::Fire,
                    _ => Kind::PublishRetained,
                };
                Self::Publish(by(b, a), how, properties(d, e))
            }
            110..=115 => Self::PublishAll { publisher: which, count: usize::from(b % 5) },
            116..=133 => Self::Request(by(b, a), properties(d, e)),
            134..=141 => Self::Gather(by(b, a), properties(d, e)),
            142..=177 => Self::Receive(which, receive(b), then(c)),
            178..=180 => Self::Unsubscribe(which),
            181..=184 => Self::DropSubscriber(which),
            185..=192 => Self::Answer(which, then(b)),
            193..=198 => {
                let how = match b % 4 {
                    0 => Later::Reply,
                    1 => Later::Fail,
                    2 => Later::IsCancelled,
                    _ => Later::Drop,
                };
                Self::AnswerLater(which, how)
            }
            199..=210 => {
                let how = match b % 8 {
                    0 | 1 => Await::TryTake,
                    2 => Await::Wait,
                    3 => Await::Timeout,
                    4 => Await::Deadline,
                    5 => Await::OnReply { panics: false },
                    6 => Await::OnReply { panics: true },
                    _ => Await::Drop,
                };
                Self::Await(which, how)
            }
            211..=217 => {
                let how = match b % 5 {
                    0..=2 => Collect::Next,
                    3 => Collect::All,
                    _ => Collect::Drop,
                };
                Self::Collect(which, how)
            }
            218..=220 => Self::LookUpRetained(topic(a)),
            221..=224 => Self::Forget(topic(a)),
            225..=230 => Self::ListenForDeadLetters,
            231..=236 => Self::ReadDeadLetter(which, receive(b), letter(c)),
            237..=238 => Self::DropDeadLetters(which),
            239..=242 => Self::ShutGate(which),
            243..=246 => Self::OpenGate(which),
            247..=248 => Self::Stop(which),
            249..=250 => Self::DropHandler(which),
            251..=252 => Self::Close,
            253 => Self::Drain,
            254..=255 => Self::DropBus,
        }
    }
}

/// What the bytes say; what is left over at the end says nothing.
pub fn decode(bytes: &[u8]) -> (Setup, Vec<Operation>) {
    let mut chunks = bytes.chunks_exact(SIZE).map(|chunk| <[u8; SIZE]>::try_from(chunk).unwrap_or_default());
    let setup = Setup::new(chunks.next().unwrap_or_default());
    (setup, chunks.map(Operation::new).collect())
}
