//! A bus and everything that was made of it, beside the model. Each operation is done to both; what each of them gives is
//! compared at once, and all that can be seen of the whole after each operation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Select;
use tramline::{
    DeadLetter, DeadLetters, Handler, MessageBuilder, PendingReply, PublishAllError, Replies, Responder, Retry, WeakBus,
};

use super::model::{From, Model, Queued};
use super::operations::{
    self, Await, By, Collect, Kind, Later, Limit, Operation, Options, Properties, Receive, Setup, Then,
};
use super::terms::{Answer, Behaviour, Call, Id, NoMessage, NotRetried, NotSent, ON_PURPOSE, Wait, behaviour, served};
use super::translation::{
    Bus, Message, Payload, answer, builder, gathered, heard, letter, message, no_message, no_message_ever,
    no_message_in_time, not_requested, not_subscribed, panic_on_purpose, published, replied, retried, stats,
};

/// A wait that is as long as this hangs.
const LONG: Duration = Duration::from_secs(30);

/// Messages that are kept at most.
const MOST_HELD: usize = 8;

type Publisher = tramline::Publisher<Payload, u32>;
type Subscriber = tramline::Subscriber<Payload, u32>;

/// What a handler waits at while it has a message in hand.
#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set(&self, shut: bool) {
        *self.is_shut.lock().unwrap_or_else(|broken| broken.into_inner()) = shut;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut is_shut = self.is_shut.lock().unwrap_or_else(|broken| broken.into_inner());
        while *is_shut {
            is_shut = self.opened.wait(is_shut).unwrap_or_else(|broken| broken.into_inner());
        }
    }
}

/// What a handler does.
struct Closure {
    mailbox: Id,
    serves: bool,
    gate: Arc<Gate>,
    calls: Sender<Call>,
    attempts: Attempts,
}

/// How often closures were called, by mailbox and payload: a payload that is delivered again comes to the same mailbox.
type Attempts = Arc<Mutex<BTreeMap<(Id, u32), u32>>>;

impl Closure {
    fn call(&self, message: &Message) -> Result<(), &'static str> {
        let attempt = {
            let mut attempts = self.attempts.lock().unwrap_or_else(|broken| broken.into_inner());
            let attempt = attempts.entry((self.mailbox, message.number)).or_default();
            *attempt += 1;
            *attempt
        };
        // A failed test does not listen any more.
        let _ = self.calls.send(Call { mailbox: self.mailbox, message: heard(message), attempt });
        self.gate.pass();
        match behaviour(message.number, attempt, self.serves) {
            Behaviour::Succeeds => Ok(()),
            Behaviour::Fails => Err(ON_PURPOSE),
            Behaviour::Panics => panic_on_purpose(),
        }
    }

    fn serve(&self, message: &Message) -> u32 {
        let _ = self.call(message);
        served(message.number)
    }
}

/// What does not agree.
pub type Compared = Result<(), String>;

fn compare<A: PartialEq + std::fmt::Debug>(what: &str, model: A, bus: A) -> Compared {
    if model == bus { Ok(()) } else { Err(format!("{what}: the model says {model:?}, the bus {bus:?}")) }
}

/// What a callback was called with, of which request.
type Fired = (Id, Answer);

/// An index that goes round.
fn pick<A>(things: &[A], index: usize) -> Option<usize> {
    index.checked_rem(things.len())
}

/// Sets the limit. A message that would wait and must not has a time-out of zero.
fn limited<'a>(
    message: MessageBuilder<'a, Payload, u32>,
    limit: Limit,
    would_wait: bool,
) -> (MessageBuilder<'a, Payload, u32>, Wait) {
    match limit {
        Limit::None if !would_wait => (message, Wait::Forever),
        Limit::Max if !would_wait => (message.timeout(Duration::MAX), Wait::Forever),
        Limit::None | Limit::Max | Limit::Zero => (message.no_wait().timeout(Duration::ZERO), Wait::Zero),
        Limit::NoWait => (message.timeout(Duration::MAX).no_wait(), Wait::Never),
    }
}

pub struct Comparison {
    model: Model,
    bus: Option<Bus>,
    weak: WeakBus<Payload, u32>,
    alive: Arc<AtomicUsize>,
    next: u32,
    publishers: Vec<(Publisher, &'static str)>,
    subscribers: Vec<(Subscriber, Id)>,
    handlers: Vec<(Handler, Id)>,
    gates: BTreeMap<Id, Arc<Gate>>,
    /// A thread of a handler may be about to end, and hold the bus for a moment.
    has_loose_threads: bool,
    /// Beside `Model::held`.
    messages: Vec<Message>,
    /// With the slot.
    responders: Vec<(Responder<u32>, Id)>,
    /// With whether their time is over.
    pending: Vec<(PendingReply<u32>, Id, bool)>,
    replies: Vec<(Replies<u32>, Id)>,
    listeners: Vec<(DeadLetters<Payload>, Id)>,
    attempts: Attempts,
    calls: (Sender<Call>, Receiver<Call>),
    fired: (Sender<Fired>, Receiver<Fired>),
    /// What was seen and should not have been.
    surprise: Option<String>,
    /// How long handlers may take for what they have to do.
    patience: Duration,
}

/// Does these operations to a bus and to the model, and then takes everything down.
pub fn run(setup: Setup, operations: &[Operation], patience: Duration) -> Compared {
    let mut comparison = Comparison::new(setup, patience);
    comparison.check()?;
    for (number, operation) in (1..).zip(operations) {
        let outcome = comparison.step(operation);
        outcome.map_err(|error| format!("operation {number}, {operation:?}: {error}"))?;
    }
    comparison.take_down()
}

impl Comparison {
    fn new(setup: Setup, patience: Duration) -> Self {
        let mut builder = Bus::builder();
        if let Some(name) = setup.name {
            builder = builder.name(name);
        }
        if let Some(capacity) = setup.capacity {
            builder = builder.capacity(capacity);
        }
        if let Some(overflow) = setup.overflow {
            builder = builder.overflow(overflow);
        }
        let bus = builder.build();
        Self {
            model: Model::new(setup),
            weak: bus.downgrade(),
            bus: Some(bus),
            alive: Arc::default(),
            next: 0,
            publishers: Vec::new(),
            subscribers: Vec::new(),
            handlers: Vec::new(),
            gates: BTreeMap::new(),
            has_loose_threads: false,
            messages: Vec::new(),
            responders: Vec::new(),
            pending: Vec::new(),
            replies: Vec::new(),
            listeners: Vec::new(),
            attempts: Attempts::default(),
            calls: channel(),
            fired: channel(),
            surprise: None,
            patience,
        }
    }

    fn step(&mut self, operation: &Operation) -> Compared {
        self.model.step += 1;
        self.operate(operation)?;
        self.close_if_last();
        self.model.run_handlers();
        let started = Instant::now();
        loop {
            match self.check() {
                Err(error)
                    if self.model.workers == 0 || self.surprise.is_some() || started.elapsed() > self.patience =>
                {
                    return Err(error);
                }
                Err(_) => thread::yield_now(),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Operations that leave nothing.
    fn take_down(&mut self) -> Compared {
        let one_by_one = |count: usize, operation: fn(usize) -> Operation| (0..count).map(move |_| operation(0));
        let each = |count: usize, operation: fn(usize) -> Operation| (0..count).map(operation);
        let mut operations = Vec::new();
        operations.extend(one_by_one(self.model.gates(true).len(), Operation::OpenGate));
        operations
            .extend(each(self.subscribers.len(), |which| Operation::Receive(which, Receive::TryIter, Then::Drop)));
        operations.extend(each(self.subscribers.len(), |which| Operation::Receive(which, Receive::Try, Then::Drop)));
        operations.extend(one_by_one(self.messages.len(), |which| Operation::Answer(which, Then::Drop)));
        operations.extend(one_by_one(self.responders.len(), |which| Operation::AnswerLater(which, Later::Drop)));
        operations.extend(one_by_one(self.pending.len(), |which| Operation::Await(which, Await::Wait)));
        operations.extend(each(self.replies.len(), |which| Operation::Collect(which, Collect::All)));
        operations.extend(each(self.replies.len(), |which| Operation::Collect(which, Collect::Next)));
        operations.extend(one_by_one(self.replies.len(), |which| Operation::Collect(which, Collect::Drop)));
        operations.extend(one_by_one(self.handlers.len(), Operation::Stop));
        operations.extend(one_by_one(self.subscribers.len(), Operation::Unsubscribe));
        operations.extend(self.model.kept_topics().into_iter().map(Operation::Forget));
        operations.extend(one_by_one(self.publishers.len(), Operation::DropPublisher));
        operations.push(Operation::DropBus);
        for operation in &operations {
            self.step(operation).map_err(|error| format!("at the end, {operation:?}: {error}"))?;
        }
        // Also those for which a dead letter was the last thing to be.
        let mut operations = Vec::new();
        operations.extend(each(self.listeners.len(), |which| {
            Operation::ReadDeadLetter(which, Receive::TryIter, operations::Letter::IntoPayload)
        }));
        operations.extend(each(self.listeners.len(), |which| {
            Operation::ReadDeadLetter(which, Receive::Recv, operations::Letter::IntoPayload)
        }));
        operations.extend(one_by_one(self.listeners.len(), Operation::DropDeadLetters));
        for operation in &operations {
            self.step(operation).map_err(|error| format!("after the end, {operation:?}: {error}"))?;
        }
        let left = (self.pending.len(), self.alive.load(Ordering::SeqCst));
        compare("at the end, pending replies and payloads", (0, 0), left)
    }

    fn operate(&mut self, operation: &Operation) -> Compared {
        match operation {
            Operation::MakePublisher(topic) => self.make_publisher(topic),
            Operation::ClonePublisher(which) => {
                if let Some(which) = pick(&self.publishers, *which) {
                    let (publisher, topic) = &self.publishers[which];
                    self.model.add_publisher(topic);
                    self.publishers.push((publisher.clone(), topic));
                }
                Ok(())
            }
            Operation::DropPublisher(which) => {
                if let Some(which) = pick(&self.publishers, *which) {
                    self.prepare_end(self.bus.is_none() && self.publishers.len() == 1);
                    let (publisher, topic) = self.publishers.swap_remove(which);
                    self.model.drop_publisher(topic);
                    drop(publisher);
                }
                Ok(())
            }
            Operation::Subscribe(options) => self.subscribe(options),
            Operation::Handle { options, serves, workers, retries } => {
                self.handle(options, *serves, *workers, *retries)
            }
            Operation::Publish(by, how, properties) => self.publish(*by, *how, *properties),
            Operation::PublishAll { publisher, count } => self.publish_all(*publisher, *count),
            Operation::Request(by, properties) => self.request(*by, *properties),
            Operation::Gather(by, properties) => self.gather(*by, *properties),
            Operation::Receive(which, how, then) => self.receive(*which, *how, *then),
            Operation::Unsubscribe(which) => {
                let Some(which) = pick(&self.subscribers, *which) else { return Ok(()) };
                let (subscriber, mailbox) = self.subscribers.swap_remove(which);
                compare("left", self.model.leave(mailbox), subscriber.unsubscribe())
            }
            Operation::DropSubscriber(which) => {
                if let Some(which) = pick(&self.subscribers, *which) {
                    let (subscriber, mailbox) = self.subscribers.swap_remove(which);
                    self.model.leave(mailbox);
                    drop(subscriber);
                }
                Ok(())
            }
            Operation::Answer(which, then) => self.answer(*which, *then),
            Operation::AnswerLater(which, how) => self.answer_later(*which, *how),
            Operation::Await(which, how) => self.wait(*which, *how),
            Operation::Collect(which, how) => self.collect(*which, *how),
            Operation::LookUpRetained(topic) => {
                let Some(bus) = self.reach() else { return Ok(()) };
                let value = bus.retained(*topic).map(|payload| payload.number);
                compare("retained", self.model.retained(topic), value)
            }
            Operation::Forget(topic) => {
                let Some(bus) = self.reach() else { return Ok(()) };
                let value = bus.clear_retained(*topic).map(|payload| payload.number);
                compare("forgotten", self.model.clear_retained(topic), value)
            }
            Operation::ListenForDeadLetters => {
                if let Some(bus) = self.reach() {
                    self.listeners.push((bus.dead_letters(), self.model.listen()));
                }
                Ok(())
            }
            Operation::ReadDeadLetter(which, how, then) => self.read_letters(*which, *how, *then),
            Operation::DropDeadLetters(which) => {
                if let Some(which) = pick(&self.listeners, *which) {
                    let (listener, id) = self.listeners.swap_remove(which);
                    self.model.drop_listener(id);
                    drop(listener);
                }
                Ok(())
            }
            Operation::ShutGate(which) => self.set_gate(*which, true),
            Operation::OpenGate(which) => self.set_gate(*which, false),
            Operation::Stop(which) => self.stop(*which),
            Operation::DropHandler(which) => {
                if let Some(which) = pick(&self.handlers, *which) {
                    let (handler, id) = self.handlers.swap_remove(which);
                    self.model.drop_handler(id);
                    self.has_loose_threads = true;
                    drop(handler);
                }
                Ok(())
            }
            Operation::Close => {
                if let Some(bus) = self.reach() {
                    bus.close();
                    self.model.close();
                }
                Ok(())
            }
            Operation::Drain => self.drain(),
            Operation::DropBus => {
                self.prepare_end(self.publishers.is_empty());
                self.bus = None;
                Ok(())
            }
        }
    }

    /// The bus, as long as a handle of it is left.
    fn reach(&self) -> Option<Bus> {
        let bus = self.bus.clone().or_else(|| self.weak.upgrade());
        // Otherwise a thread of a handler may hold it, for a moment.
        bus.filter(|_| self.is_reachable())
    }

    fn is_reachable(&self) -> bool {
        self.bus.is_some() || !self.publishers.is_empty()
    }

    /// The last handle is about to go. A thread that ends at the same time may hold the bus a moment longer.
    fn prepare_end(&mut self, last: bool) {
        let loose = self.has_loose_threads || self.model.has_overflowed_handler();
        if let (true, true, Some(bus)) = (last, loose, self.reach()) {
            bus.close();
            self.model.close();
        }
    }

    fn close_if_last(&mut self) {
        if !self.is_reachable() {
            self.model.close();
        }
    }

    fn payload(&mut self) -> Payload {
        self.next += 1;
        Payload::new(self.next, &self.alive)
    }

    /// The number of the publisher, if one is to do it and there is one, and the topic.
    fn by(&self, by: By) -> (Option<usize>, &'static str) {
        match by {
            By::Bus(topic) => (None, topic),
            By::Publisher(which, otherwise) => match pick(&self.publishers, which) {
                Some(which) => (Some(which), self.publishers[which].1),
                None => (None, otherwise),
            },
        }
    }
}

impl Comparison {
    fn make_publisher(&mut self, topic: &'static str) -> Compared {
        let Some(bus) = self.reach() else { return Ok(()) };
        let publisher = bus.publisher(topic);
        compare("is a topic", super::naive::is_topic(topic), publisher.is_ok())?;
        if let Ok(publisher) = publisher {
            compare("topic", topic, publisher.topic().as_str())?;
            if !self.model.is_closed {
                self.model.add_publisher(topic);
            }
            self.publishers.push((publisher, topic));
        }
        Ok(())
    }

    fn subscribe(&mut self, options: &Options) -> Compared {
        let Some(bus) = self.reach() else { return Ok(()) };
        let expected = self.model.subscribe(options);
        let subscribed =
            if options.is_plain() { bus.subscribe(options.patterns[0]) } else { builder(&bus, options).open() };
        match subscribed {
            Ok(subscriber) => {
                let mailbox = expected.map_err(|error| format!("the model says {error:?}, the bus subscribes"))?;
                self.subscribers.push((subscriber, mailbox));
                Ok(())
            }
            Err(error) => compare("subscribing", expected.map(drop), Err(not_subscribed(error))),
        }
    }

    fn handle(&mut self, options: &Options, serves: bool, workers: usize, retries: u32) -> Compared {
        let Some(bus) = self.reach() else { return Ok(()) };
        let expected = self.model.handle(options, serves, workers, retries);
        let gate = Arc::<Gate>::default();
        let closure = Closure {
            mailbox: expected.as_ref().map_or(0, |(_, mailbox)| *mailbox),
            serves,
            gate: Arc::clone(&gate),
            calls: self.calls.0.clone(),
            attempts: Arc::clone(&self.attempts),
        };
        let retry = if retries == 0 { Retry::none() } else { Retry::fixed(retries, Duration::ZERO) };
        let is_plain = options.is_plain() && workers == 1 && retries == 0;
        let handler = match (is_plain, workers, serves) {
            (true, _, true) => bus.serve(options.patterns[0], move |message| closure.serve(message)),
            (true, _, false) => bus.on(options.patterns[0], move |message| closure.call(message)),
            (false, 1, true) => builder(&bus, options).retry(retry).serve(move |message| closure.serve(message)),
            (false, 1, false) => builder(&bus, options).retry(retry).handle(move |message| closure.call(message)),
            (false, _, true) => {
                builder(&bus, options).retry(retry).workers(workers).serve(move |message| closure.serve(message))
            }
            (false, _, false) => {
                builder(&bus, options).retry(retry).workers(workers).handle(move |message| closure.call(message))
            }
        };
        match handler {
            Ok(handler) => {
                let (id, _) = expected.map_err(|error| format!("the model says {error:?}, the bus subscribes"))?;
                self.handlers.push((handler, id));
                self.gates.insert(id, gate);
                Ok(())
            }
            Err(error) => compare("subscribing", expected.map(drop), Err(not_subscribed(error))),
        }
    }

    fn publish(&mut self, by: By, how: Kind, properties: Properties) -> Compared {
        let (which, topic) = self.by(by);
        let Some(bus) = self.reach() else { return Ok(()) };
        let would_wait = self.model.would_wait(topic, self.next + 1);
        if would_wait && matches!(how, Kind::PublishRetained) && properties.limit == Limit::None {
            return Ok(());
        }
        let payload = self.payload();
        let number = payload.number;
        let publisher = which.map(|which| &self.publishers[which].0);
        if properties != Properties::NONE {
            let message = message(&bus, publisher, topic, payload, properties);
            let limit = match how {
                Kind::Timeout => Limit::Zero,
                Kind::Try => Limit::NoWait,
                Kind::Publish | Kind::Fire | Kind::PublishRetained => properties.limit,
            };
            let (message, wait) = limited(message, limit, would_wait);
            let (expected, outcome) = match how {
                Kind::Fire => {
                    message.fire();
                    self.model.fire(topic, number, properties);
                    return Ok(());
                }
                Kind::PublishRetained => {
                    (self.model.publish_retained(topic, number, properties, wait), message.publish_retained())
                }
                Kind::Publish | Kind::Timeout | Kind::Try => {
                    (self.model.publish(topic, number, properties, wait), message.publish())
                }
            };
            return compare("delivery", expected, published(outcome));
        }
        let outcome = match (how, publisher) {
            (Kind::Fire, None) => {
                bus.fire(topic, payload);
                self.model.fire(topic, number, properties);
                return Ok(());
            }
            (Kind::Fire, Some(publisher)) => {
                publisher.fire(payload);
                self.model.fire(topic, number, properties);
                return Ok(());
            }
            (Kind::Publish, None) if !would_wait => bus.publish(topic, payload),
            (Kind::Publish, Some(publisher)) if !would_wait => publisher.publish(payload),
            (Kind::Publish | Kind::Timeout, None) => bus.publish_timeout(topic, payload, Duration::ZERO),
            (Kind::Publish | Kind::Timeout, Some(publisher)) => publisher.publish_timeout(payload, Duration::ZERO),
            (Kind::Try, None) => bus.try_publish(topic, payload),
            (Kind::Try, Some(publisher)) => publisher.try_publish(payload),
            (Kind::PublishRetained, None) => bus.publish_retained(topic, payload),
            (Kind::PublishRetained, Some(publisher)) => publisher.publish_retained(payload),
        };
        let expected = match how {
            Kind::Publish | Kind::Timeout => self.model.publish(topic, number, properties, Wait::Zero),
            Kind::Try | Kind::Fire => self.model.publish(topic, number, properties, Wait::Never),
            Kind::PublishRetained => self.model.publish_retained(topic, number, properties, Wait::Forever),
        };
        compare("delivery", expected, published(outcome))
    }

    fn publish_all(&mut self, which: usize, count: usize) -> Compared {
        let Some(which) = pick(&self.publishers, which) else { return Ok(()) };
        let topic = self.publishers[which].1;
        let count = count.min(self.model.foreseeable(topic));
        let payloads: Vec<_> = (0..count).map(|_| self.payload()).collect();
        let numbers: Vec<_> = payloads.iter().map(|payload| payload.number).collect();
        let outcome = match self.publishers[which].0.publish_all(payloads) {
            Ok(delivery) => (Vec::new(), delivery.delivered(), delivery.dropped()),
            Err(PublishAllError::Closed { rest, delivery, .. }) => {
                let rest = rest.iter().map(|payload| payload.number).collect();
                (rest, delivery.delivered(), delivery.dropped())
            }
            Err(other) => return Err(format!("{other}")),
        };
        let mut expected = (Vec::new(), 0, 0);
        for number in numbers {
            match self.model.publish(topic, number, Properties::NONE, Wait::Forever) {
                Ok((delivered, dropped)) => {
                    expected.1 += delivered;
                    expected.2 += dropped;
                }
                Err((_, number)) => expected.0.push(number),
            }
        }
        compare("not published, delivered, dropped", expected, outcome)
    }

    /// Returns what a request takes: the bus, the number of the publisher, the topic, the payload, and whether it would wait.
    /// `None` if the bus is gone, or the request would wait without a limit.
    fn question(
        &mut self,
        by: By,
        properties: Properties,
    ) -> Option<(Bus, Option<usize>, &'static str, Payload, bool)> {
        let (which, topic) = self.by(by);
        let bus = self.reach()?;
        let waits = self.model.would_wait(topic, self.next + 1);
        (!waits || properties.limit != Limit::None).then(|| (bus, which, topic, self.payload(), waits))
    }

    fn request(&mut self, by: By, properties: Properties) -> Compared {
        let Some((bus, which, topic, payload, waits)) = self.question(by, properties) else { return Ok(()) };
        let number = payload.number;
        let publisher = which.map(|which| &self.publishers[which].0);
        let (asked, wait) = match publisher {
            _ if properties != Properties::NONE => {
                let message = message(&bus, publisher, topic, payload, properties);
                let (message, wait) = limited(message, properties.limit, waits);
                (message.request(), wait)
            }
            Some(publisher) => (publisher.request(payload), Wait::Forever),
            None => (bus.request(topic, payload), Wait::Forever),
        };
        let expected = self.model.request(topic, number, properties, wait);
        match (asked, expected) {
            (Ok(pending), Ok(id)) => {
                self.pending.push((pending, id, wait == Wait::Zero));
                Ok(())
            }
            (asked, expected) => compare("request", expected.map(drop), asked.map(drop).map_err(not_requested)),
        }
    }

    fn gather(&mut self, by: By, properties: Properties) -> Compared {
        let Some((bus, which, topic, payload, waits)) = self.question(by, properties) else { return Ok(()) };
        let number = payload.number;
        let publisher = which.map(|which| &self.publishers[which].0);
        let (asked, wait) = match publisher {
            _ if properties != Properties::NONE => {
                let message = message(&bus, publisher, topic, payload, properties);
                let (message, wait) = limited(message, properties.limit, waits);
                (message.gather(), wait)
            }
            Some(publisher) => (publisher.gather(payload), Wait::Forever),
            None => (bus.gather(topic, payload), Wait::Forever),
        };
        let expected = self.model.gather(topic, number, properties, wait);
        match (asked, expected) {
            (Ok(replies), Ok(id)) => {
                self.replies.push((replies, id));
                Ok(())
            }
            (asked, expected) => compare("gather", expected.map(drop), asked.map(drop).map_err(not_requested)),
        }
    }
}

/// Messages.
impl Comparison {
    fn receive(&mut self, which: usize, how: Receive, then: Then) -> Compared {
        let Some(which) = pick(&self.subscribers, which) else { return Ok(()) };
        let (subscriber, mailbox) = &self.subscribers[which];
        let mailbox = *mailbox;
        if self.model.may_make_letters(mailbox) {
            return Ok(());
        }
        let would_wait = self.model.has_nothing(mailbox);
        let mut messages = Vec::new();
        // Why there was no other, if that can be seen.
        let (limit, end) = match how {
            Receive::Many(0) => (0, subscriber.recv_many(&mut messages, 0).err().map(no_message_ever)),
            Receive::Many(limit) if !would_wait => {
                let received = subscriber.recv_many(&mut messages, limit);
                if let Ok(count) = received {
                    compare("the number of messages", count, messages.len())?;
                }
                (limit, received.err().map(no_message_ever))
            }
            Receive::Recv if !would_wait => {
                let received = subscriber.recv();
                (1, received.map(|message| messages.push(message)).err().map(no_message_ever))
            }
            Receive::Iter if !would_wait => {
                messages.extend(subscriber.into_iter().next());
                (1, None)
            }
            Receive::TryIter => {
                messages.extend(subscriber.try_iter());
                (usize::MAX, None)
            }
            Receive::Timeout => {
                // Beyond the end of the clock.
                let timeout = if would_wait { Duration::ZERO } else { Duration::MAX };
                let received = subscriber.recv_timeout(timeout);
                (1, received.map(|message| messages.push(message)).err().map(no_message_in_time))
            }
            Receive::Deadline => {
                let received = subscriber.recv_deadline(Instant::now());
                (1, received.map(|message| messages.push(message)).err().map(no_message_in_time))
            }
            // What is there may be nothing but retained values that the filter rejects: then it would wait.
            Receive::Select if !would_wait || subscriber.is_empty() => {
                let mut select = Select::new();
                subscriber.register(&mut select);
                let received = match select.try_select() {
                    Ok(operation) => subscriber.complete(operation).map_err(no_message_ever),
                    Err(_) => Err(NoMessage::Empty),
                };
                (1, received.map(|message| messages.push(message)).err())
            }
            Receive::Try | Receive::Recv | Receive::Many(_) | Receive::Iter | Receive::Select => {
                let received = subscriber.try_recv();
                (1, received.map(|message| messages.push(message)).err().map(no_message))
            }
        };
        let mut expected = Vec::new();
        let mut expected_end = None;
        while expected.len() < limit && expected_end.is_none() {
            match self.model.receive(mailbox) {
                Ok(message) => expected.push(message),
                Err(end) => expected_end = Some(end),
            }
        }
        let heard_by_model: Vec<_> = expected.iter().map(Queued::heard).collect();
        compare("messages", heard_by_model, messages.iter().map(heard).collect())?;
        if end.is_some() {
            compare("no message", expected_end, end)?;
        }
        for (message, expected) in messages.into_iter().zip(expected) {
            self.dispose(message, expected, then)?;
        }
        Ok(())
    }

    fn dispose(&mut self, message: Message, expected: Queued, then: Then) -> Compared {
        let slot = expected.slot;
        match then {
            Then::Keep if self.messages.len() < MOST_HELD => {
                self.messages.push(message);
                self.model.held.push(expected);
                return Ok(());
            }
            Then::Drop | Then::Keep => drop(message),
            Then::IntoPayload => compare("payload", expected.payload, message.into_payload().number)?,
            Then::Reply | Then::Fail | Then::Detach => {
                self.answer_to(&message, slot, then)?;
                drop(message);
            }
        }
        self.model.drop_copy(slot);
        Ok(())
    }

    fn answer_to(&mut self, message: &Message, slot: Option<Id>, then: Then) -> Compared {
        match then {
            Then::Reply => {
                self.next += 1;
                let expected = self.model.reply(slot, self.next).map_err(|why| (why, self.next));
                compare("reply", expected, replied(message.reply(self.next)))
            }
            Then::Fail => {
                let expected = self.model.fail(slot, ON_PURPOSE).map_err(|why| (why, ON_PURPOSE.to_owned()));
                compare("fail", expected, replied(message.fail(ON_PURPOSE)))
            }
            Then::Detach => {
                let responder = message.responder();
                compare("has a responder", slot.is_some(), responder.is_some())?;
                self.model.add_copy(slot);
                self.responders.extend(responder.zip(slot));
                Ok(())
            }
            Then::Drop | Then::Keep | Then::IntoPayload => Ok(()),
        }
    }

    fn answer(&mut self, which: usize, then: Then) -> Compared {
        let Some(which) = pick(&self.messages, which) else { return Ok(()) };
        // It changes its place.
        let (message, expected) = (self.messages.swap_remove(which), self.model.held.swap_remove(which));
        if let Then::Drop | Then::IntoPayload = then {
            return self.dispose(message, expected, then);
        }
        let outcome = self.answer_to(&message, expected.slot, then);
        self.messages.push(message);
        self.model.held.push(expected);
        outcome
    }

    fn answer_later(&mut self, which: usize, how: Later) -> Compared {
        let Some(which) = pick(&self.responders, which) else { return Ok(()) };
        let (responder, slot) = &self.responders[which];
        let slot = *slot;
        match how {
            Later::Reply => {
                self.next += 1;
                let expected = self.model.reply(Some(slot), self.next).map_err(|why| (why, self.next));
                compare("reply", expected, replied(responder.reply(self.next)))
            }
            Later::Fail => {
                let expected = self.model.fail(Some(slot), ON_PURPOSE).map_err(|why| (why, ON_PURPOSE.to_owned()));
                compare("fail", expected, replied(responder.fail(ON_PURPOSE)))
            }
            Later::IsCancelled => compare("is cancelled", self.model.is_cancelled(slot), responder.is_cancelled()),
            Later::Drop => {
                drop(self.responders.swap_remove(which));
                self.model.drop_copy(Some(slot));
                Ok(())
            }
        }
    }

    fn wait(&mut self, which: usize, how: Await) -> Compared {
        let Some(which) = pick(&self.pending, which) else { return Ok(()) };
        let (_, id, is_over) = self.pending[which];
        if let Await::TryTake = how {
            let taken = self.pending[which].0.try_take().map(|taken| answer(taken).ok());
            return compare("answer", self.model.try_take(id).map(Some), taken);
        }
        let (pending, ..) = self.pending.swap_remove(which);
        let result = match how {
            Await::Wait if is_over || !self.model.is_unanswered_yet(id) => pending.wait(),
            Await::Wait | Await::Timeout => pending.wait_timeout(Duration::ZERO),
            Await::Deadline => pending.wait_deadline(Instant::now()),
            Await::OnReply { panics } => {
                let fired = self.fired.0.clone();
                pending.on_reply(move |result| {
                    let answer = answer(result).expect("a callback has an answer");
                    // A failed test does not listen any more.
                    let _ = fired.send((id, answer));
                    if panics {
                        panic_on_purpose();
                    }
                });
                self.model.on_reply(id, panics);
                return Ok(());
            }
            Await::Drop | Await::TryTake => {
                drop(pending);
                self.model.drop_pending(id);
                return Ok(());
            }
        };
        let expected = self.model.wait(id);
        let waited = match answer(result) {
            Ok(answer) => Some(answer),
            Err(again) => {
                self.pending.extend(again.map(|again| (again, id, is_over)));
                None
            }
        };
        compare("answer", expected, waited)
    }

    fn collect(&mut self, which: usize, how: Collect) -> Compared {
        let Some(which) = pick(&self.replies, which) else { return Ok(()) };
        let (replies, id) = &self.replies[which];
        match how {
            Collect::Next => {
                let seen = gathered(replies.next_timeout(Duration::ZERO));
                let compared = self.model.next_reply(*id, seen.as_ref());
                compared.map_err(|expected| format!("gathered: the model says {expected}, the bus {seen:?}"))
            }
            Collect::All => {
                let (mut seen, mut expected) = (replies.collect_within(Duration::ZERO), self.model.collect(*id));
                // The model knows what came with what, not in which order.
                seen.sort_unstable();
                expected.sort_unstable();
                compare("gathered", expected, seen)
            }
            Collect::Drop => {
                self.model.drop_replies(*id);
                drop(self.replies.swap_remove(which));
                Ok(())
            }
        }
    }

    fn read_letters(&mut self, which: usize, how: Receive, then: operations::Letter) -> Compared {
        let Some(which) = pick(&self.listeners, which) else { return Ok(()) };
        loop {
            let (listener, id) = &self.listeners[which];
            let is_empty = self.model.letters(*id) == 0;
            let is_end = self.model.is_end_of_letters();
            let read = if is_empty && is_end && self.model.workers > 0 {
                // The threads of the handlers are about to end.
                listener.recv_timeout(LONG).map_err(no_message_in_time)
            } else {
                match how {
                    Receive::Recv if !is_empty || is_end => listener.recv().map_err(no_message_ever),
                    Receive::Iter if !is_empty || is_end => listener.iter().next().ok_or(NoMessage::Closed),
                    Receive::Timeout => listener.recv_timeout(Duration::ZERO).map_err(no_message_in_time),
                    Receive::TryIter if !is_empty => listener.try_iter().next().ok_or(NoMessage::Empty),
                    _ => listener.try_recv().map_err(no_message),
                }
            };
            let seen = read.as_ref().ok().map(letter);
            let compared = self.model.read_letter(*id, seen.as_ref());
            let from =
                compared.map_err(|expected| format!("dead letter: the model says {expected}, the bus {seen:?}"))?;
            let letter = match read {
                Ok(letter) => letter,
                Err(end) => {
                    return compare("no letter", if is_end { NoMessage::Closed } else { NoMessage::Empty }, end);
                }
            };
            if !matches!(how, Receive::TryIter) {
                return self.dispose_of_letter(letter, from, then);
            }
            // Handlers would run at the same time as what is done about the next letter.
            self.dispose_of_letter(letter, from, operations::Letter::IntoPayload)?;
        }
    }

    fn dispose_of_letter(&mut self, dead: DeadLetter<Payload>, from: From, then: operations::Letter) -> Compared {
        let seen = letter(&dead);
        let (number, is_reachable) = (seen.payload, self.reach().is_some());
        match (then, from) {
            (operations::Letter::Drop, _) => drop(dead),
            (operations::Letter::Retry, From::Nowhere) => {
                return compare("retry", Err((NotRetried::Gone, number)), retried(dead.retry()));
            }
            (operations::Letter::Retry, From::Mailbox(id)) if !self.model.retry_would_wait(id) => {
                let expected = if is_reachable { self.model.retry(&seen, id) } else { Err(NotRetried::Closed) };
                return compare("retry", expected.map_err(|why| (why, number)), retried(dead.retry()));
            }
            (operations::Letter::Republish, _) if !self.model.would_wait(&seen.topic, number) => {
                let closed = Err((NotSent::Closed, number));
                let expected = if is_reachable { self.model.republish(&seen) } else { closed };
                return compare("republish", expected, published(dead.republish()));
            }
            _ => {
                compare("payload of a letter", number, dead.into_payload().number)?;
                self.model.take_payload_of_letter();
            }
        }
        Ok(())
    }
}

/// Handlers, and the end.
impl Comparison {
    fn set_gate(&mut self, which: usize, shut: bool) -> Compared {
        let gates = self.model.gates(!shut);
        if let Some(which) = pick(&gates, which) {
            self.model.set_gate(gates[which], shut);
            self.gates[&gates[which]].set(shut);
        }
        Ok(())
    }

    fn stop(&mut self, which: usize) -> Compared {
        let Some(which) = pick(&self.handlers, which) else { return Ok(()) };
        let (handler, id) = self.handlers.swap_remove(which);
        let is_busy = self.model.is_busy(id);
        self.has_loose_threads |= is_busy;
        let report = handler.stop(if is_busy { Duration::ZERO } else { LONG });
        let remaining = self.model.drop_handler(id);
        compare("remaining, running", (remaining, usize::from(is_busy)), (report.remaining(), report.running()))
    }

    fn drain(&mut self) -> Compared {
        let Some(bus) = self.reach() else { return Ok(()) };
        let (remaining, running) = (self.model.queued(), self.model.running());
        let is_at_rest = remaining == 0 && running == 0;
        let report = bus.drain(if is_at_rest { LONG } else { Duration::ZERO });
        self.model.close();
        compare("remaining", remaining, report.remaining())?;
        compare("running workers", running, report.running())?;
        compare("is complete", is_at_rest, report.is_complete())
    }

    /// Everything that can be seen without changing anything.
    fn check(&mut self) -> Compared {
        while let Ok(call) = self.calls.1.try_recv() {
            if self.model.calls.take(|expected| *expected == call).is_none() {
                self.surprise = Some(format!("a handler has {call:?}, not the next of {:?}", self.model.calls));
            }
        }
        while let Ok(fired) = self.fired.1.try_recv() {
            if self.model.fired.take(|expected| *expected == fired).is_none() {
                self.surprise = Some(format!("a callback has {fired:?}, not the next of {:?}", self.model.fired));
            }
        }
        if let Some(surprise) = &self.surprise {
            return Err(surprise.clone());
        }
        compare("calls of handlers to come", 0, self.model.calls.len())?;
        compare("calls of callbacks to come", 0, self.model.fired.len())?;
        compare("payloads alive", self.model.alive(), self.alive.load(Ordering::SeqCst))?;
        for (subscriber, mailbox) in &self.subscribers {
            let length = self.model.len(*mailbox);
            compare("length", (length, length == 0), (subscriber.len(), subscriber.is_empty()))?;
            compare("capacity", self.model.capacity(*mailbox), subscriber.capacity())?;
            compare("dropped", self.model.dropped(*mailbox), subscriber.dropped())?;
            let patterns: Vec<_> = subscriber.patterns().iter().map(|pattern| pattern.as_str()).collect();
            compare("patterns", self.model.patterns(*mailbox), &patterns)?;
        }
        for (publisher, topic) in &self.publishers {
            compare("subscribers of a topic", self.model.subscriber_count(topic), publisher.subscriber_count())?;
        }
        for (listener, id) in &self.listeners {
            let letters = self.model.letters(*id);
            let seen = (listener.len(), listener.is_empty(), listener.dropped());
            compare("dead letters waiting", (letters, letters == 0, 0), seen)?;
        }
        let Some(bus) = self.reach() else {
            return compare("the bus is there", self.is_reachable(), self.weak.upgrade().is_some());
        };
        compare("is closed", self.model.is_closed, bus.is_closed())?;
        let (seen, marks) = stats(&bus);
        compare("statistics", self.model.stats(), seen)?;
        let fits = |((least, most), mark): ((usize, usize), &usize)| (least..=most).contains(mark);
        if !self.model.high_water().zip(&marks).all(fits) {
            let expected: Vec<_> = self.model.high_water().collect();
            return Err(format!("high-water marks: the model says {expected:?}, the bus {marks:?}"));
        }
        Ok(())
    }
}

impl Drop for Comparison {
    fn drop(&mut self) {
        // Nobody waits for ever.
        self.gates.values().for_each(|gate| gate.set(false));
    }
}
