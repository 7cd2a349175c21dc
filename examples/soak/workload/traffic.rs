//! Publishing, in every way, to mailboxes of every kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Select;
use tramline::{
    Bus, Handler, Headers, Message, MessageBuilder, Overflow, PublishError, Publisher, Retry, Subscriber,
    SubscriptionBuilder,
};

use super::ledger::{Account, Checks, Lane, Sum};
#[cfg(feature = "async")]
use super::tasks::Tasks;
use super::{Chance, Crew, LONG, Token, panic_on_purpose, wait_for_threads_of};

/// The lanes, and what their mailboxes do when they are full.
const LANES: [(&str, Overflow); 4] = [
    ("block", Overflow::Block),
    ("newest", Overflow::DropNewest),
    ("oldest", Overflow::DropOldest),
    ("strict", Overflow::Disconnect),
];
const OLDEST: usize = 2;
const STRICT: usize = 3;

/// Topics with a retained value.
const KEPT: u64 = 4;

/// The header of a payload that is labelled: its number.
const LABEL: &str = "number";

/// Of the payloads of `again`, these fail whenever they are handled.
const FAILS: u64 = 3;

/// What a handler does with a message.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    Fine,
    Fails,
    FailsOnce,
    Panics,
}

impl Fate {
    /// What the attempt comes to. Only the last one of a message counts.
    pub(super) fn meet(self, ledger: &Ledger) -> Result<(), &'static str> {
        match self {
            Self::Fine => Ok(()),
            Self::FailsOnce => Err("it fails once"),
            Self::Fails => {
                ledger.handler_failures.one();
                Err("it always fails")
            }
            Self::Panics => {
                ledger.handler_panics.one();
                panic_on_purpose();
            }
        }
    }
}

pub(super) struct Load {
    pub(super) number: u64,
    fate: Fate,
    /// Published by a handler, which publishes nothing for it.
    derived: bool,
    /// Its message has the number in a header.
    labelled: bool,
    attempts: AtomicU32,
    alive: Token,
}

impl Load {
    /// Counts what comes for the first time, and tells what becomes of this attempt, if there is to be another. An attempt
    /// that fails and is not the last is one that fails once.
    pub(super) fn begin(&self, received: &Sum) -> Fate {
        let first = self.attempts.fetch_add(1, Ordering::Relaxed) == 0;
        if first {
            received.one();
        }
        match self.fate {
            Fate::Fails if first => Fate::FailsOnce,
            Fate::FailsOnce if !first => Fate::Fine,
            fate => fate,
        }
    }

    /// The same for a handler that does not retry.
    pub(super) fn begin_and_end(&self, received: &Sum) -> Fate {
        received.one();
        if matches!(self.fate, Fate::FailsOnce) { Fate::Fails } else { self.fate }
    }

    /// What a handler publishes for this one.
    pub(super) fn derive(&self) -> Self {
        Self { derived: true, labelled: false, fate: Fate::Fine, ..self.clone() }
    }

    /// Whether the headers are those of this payload.
    fn has(&self, headers: &Headers) -> bool {
        let number = self.labelled.then(|| self.number.to_string());
        headers.get(LABEL) == number.as_deref() && headers.len() == usize::from(self.labelled)
    }

    /// Whether there is to be one for `fired`.
    pub(super) fn may_fire(&self) -> bool {
        !self.derived && self.number % 5 == 0
    }
}

impl Clone for Load {
    fn clone(&self) -> Self {
        Self { attempts: AtomicU32::new(0), alive: self.alive.clone(), ..*self }
    }
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) lanes: [Lane; 4],
    /// A publish waits so long at most.
    timed: Lane,
    timeouts: Sum,
    kept: Lane,
    began_with: Sum,
    pub(super) work: Lane,
    pub(super) fired: Sum,
    #[cfg(feature = "async")]
    cancelled: Sum,
    /// Tasks of handlers that their executor dropped.
    #[cfg(feature = "async")]
    pub(super) tasks_dropped: Sum,
    /// The mailboxes that stay: one a lane but the last, one for all lanes, and four for what is fired.
    stays: [Account; 3],
    audit: Account,
    of_fired: [Account; 4],
    /// Some of them expire before they are taken out.
    brief: Lane,
    of_brief: Account,
    /// An observer of the first lane, which blocks, and one of all lanes, which drops the oldest.
    observers: [Account; 2],
    /// Dead letters of its handler are delivered again, to the handler alone or to the topic.
    again: Lane,
    retried: Sum,
    republished: Sum,
    /// Messages and letters that had other headers than they were published with.
    wrong_headers: Sum,
    letters: Sum,
    letters_lost: Sum,
    handler_failures: Sum,
    handler_panics: Sum,
    /// Subscriptions and handlers that came and went, and how many of them left messages behind.
    came: Sum,
    left_early: Sum,
    overflowed: Sum,
}

pub(crate) struct Traffic {
    bus: Bus<Load>,
    ledger: Arc<Ledger>,
    handlers: Vec<Handler>,
    /// Ends when this does.
    #[cfg(feature = "async")]
    tasks: Option<Tasks>,
}

/// What each of the threads has.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) bus: Bus<Load>,
    pub(super) ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    alive: Arc<AtomicI64>,
    #[cfg(feature = "async")]
    tasks: Tasks,
}

impl Post {
    fn load(&self, number: u64, fate: Fate) -> Load {
        Load {
            number,
            fate,
            derived: false,
            labelled: false,
            attempts: AtomicU32::new(0),
            alive: Token::new(&self.alive),
        }
    }

    /// A message with a header.
    fn labelled(&self, topic: &str, load: Load) -> MessageBuilder<'_, Load> {
        let number = load.number.to_string();
        self.bus.message(topic.to_owned(), Load { labelled: true, ..load }).header(LABEL, number)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

pub(crate) fn start(seed: u64, stop: &Arc<AtomicBool>, alive: &Arc<AtomicI64>, crew: &mut Crew) -> Traffic {
    let bus = Bus::<Load>::builder().name("traffic").capacity(8).build();
    let ledger = Arc::<Ledger>::default();
    #[cfg(feature = "async")]
    let tasks = Tasks::start(crew);
    let post = Post {
        bus: bus.clone(),
        ledger: Arc::clone(&ledger),
        stop: Arc::clone(stop),
        alive: Arc::clone(alive),
        #[cfg(feature = "async")]
        tasks: tasks.clone(),
    };
    let mut threads = 100;
    let mut chance = || {
        threads += 1;
        Chance::new(seed, threads)
    };

    // Before anything is published: all that stays.
    let letters = bus.dead_letters();
    let counts = Arc::clone(&ledger);
    crew.reads(move || {
        counts.letters.add(letters.iter().count() as u64);
        counts.letters_lost.add(letters.dropped());
    });
    for (lane, (name, overflow)) in LANES.into_iter().enumerate().take(STRICT) {
        let subscriber =
            bus.subscription(format!("{name}.>")).capacity(16).overflow(overflow).open().expect("it is open");
        let (ledger, chance) = (Arc::clone(&ledger), chance());
        crew.reads(move || {
            let counts = &*ledger;
            read_to_the_end(&subscriber, chance, counts, &counts.stays[lane], || counts.lanes[lane].received.one());
        });
    }
    for _ in 0..2 {
        let (member, ledger, chance) = (audit(&bus).open().expect("it is open"), Arc::clone(&ledger), chance());
        // Counted to one of the lanes: what counts is the sum of all.
        crew.reads(move || {
            read_to_the_end(&member, chance, &ledger, &ledger.audit, || ledger.lanes[0].received.one());
        });
    }
    for index in 0..2 {
        // Those who publish do not count them.
        let builder = if index == 0 { bus.subscription("block.>").capacity(16) } else { all_lanes(&bus).capacity(32) };
        let builder = builder.overflow([Overflow::Block, Overflow::DropOldest][index]).observer();
        let (subscriber, ledger, chance) = (builder.open().expect("it is open"), Arc::clone(&ledger), chance());
        crew.reads(move || read_to_the_end(&subscriber, chance, &ledger, &ledger.observers[index], || {}));
    }
    {
        let subscriber = bus.subscription("brief").capacity(16).open().expect("it is open");
        let (ledger, chance) = (Arc::clone(&ledger), chance());
        crew.reads(move || {
            read_to_the_end(&subscriber, chance, &ledger, &ledger.of_brief, || ledger.brief.received.one());
        });
    }
    {
        // Ends again and again, and begins anew.
        let (weak, ledger, mut chance) = (bus.downgrade(), Arc::clone(&ledger), chance());
        let open =
            move |bus: &Bus<Load>| bus.subscription("strict.>").capacity(32).overflow(Overflow::Disconnect).open();
        let first = open(&bus).expect("it is open");
        crew.reads(move || {
            let mut reader = Some(first);
            while let Some(subscriber) = reader.take() {
                let error = loop {
                    match subscriber.recv() {
                        Ok(_) => ledger.lanes[STRICT].received.one(),
                        Err(error) => break error,
                    }
                    chance.dawdle();
                };
                if error.is_overflowed() {
                    ledger.overflowed.one();
                    reader = weak.upgrade().and_then(|bus| open(&bus).ok());
                }
            }
        });
    }
    for index in 0..4 {
        let overflow = [Overflow::Block, Overflow::DropNewest, Overflow::DropOldest, Overflow::Block][index];
        let builder = bus.subscription("fired").capacity(4).overflow(overflow);
        let counts = Arc::clone(&ledger);
        let rejects = move |load: &Load| {
            let rejected = load.number % 2 == 1;
            counts.of_fired[3].filtered.add(u64::from(rejected));
            !rejected
        };
        let builder = if index == 3 { builder.filter(rejects) } else { builder };
        let (subscriber, ledger, chance) = (builder.open().expect("it is open"), Arc::clone(&ledger), chance());
        crew.reads(move || read_to_the_end(&subscriber, chance, &ledger, &ledger.of_fired[index], || {}));
    }
    for _ in 0..2 {
        let member = bus.subscription("timed").group("timed").capacity(2).open().expect("it is open");
        let (ledger, mut chance) = (Arc::clone(&ledger), chance());
        crew.reads(move || {
            member.iter().for_each(|_| {
                ledger.timed.received.one();
                chance.dawdle();
            });
        });
    }
    let handlers = vec![
        work(&post),
        fail_again(&post),
        #[cfg(feature = "async")]
        tasks.work(&post),
    ];
    for topic in 0..KEPT {
        let delivery = bus.publish_retained(format!("kept.{topic}"), post.load(topic, Fate::Fine));
        ledger.kept.count(1, delivery.unwrap_or_else(|_| unreachable!("it is open")));
    }

    for thread in 0..3 {
        let (post, chance) = (post.clone(), chance());
        crew.active(move || publish_to_lanes(&post, chance, thread));
    }
    let roles: [fn(&Post, Chance); 12] = [
        churn,
        churn,
        churn,
        churn,
        publish_timed,
        publish_kept,
        churn_kept,
        publish_work,
        fire,
        publish_brief,
        publish_again,
        deliver_again,
    ];
    for role in roles {
        let (post, chance) = (post.clone(), chance());
        crew.active(move || role(&post, chance));
    }
    Traffic {
        bus,
        ledger,
        handlers,
        #[cfg(feature = "async")]
        tasks: Some(tasks),
    }
}

/// The group that gets everything of all lanes.
fn audit(bus: &Bus<Load>) -> SubscriptionBuilder<Load, Load> {
    all_lanes(bus).group("audit").capacity(64)
}

fn all_lanes(bus: &Bus<Load>) -> SubscriptionBuilder<Load, Load> {
    LANES[1..].iter().fold(bus.subscription("block.>"), |builder, (name, _)| builder.also(format!("{name}.>")))
}

/// Receives in every way that there is.
fn read_to_the_end(
    subscriber: &Subscriber<Load>,
    mut chance: Chance,
    ledger: &Ledger,
    account: &Account,
    each: impl Fn(),
) {
    let mut messages = Vec::new();
    let mut is_open = true;
    while is_open {
        is_open = match chance.below(6) {
            0 => subscriber.recv_many(&mut messages, 3).is_ok(),
            1 => {
                let mut select = Select::new();
                subscriber.register(&mut select);
                let operation = select.select();
                subscriber.complete(operation).map(|message| messages.push(message)).is_ok()
            }
            2 => subscriber.recv_timeout(LONG).map(|message| messages.push(message)).is_ok(),
            3 => receive_in_a_task(subscriber, &mut messages),
            4 => {
                messages.extend(subscriber.try_iter().take(2));
                true
            }
            _ => subscriber.recv().map(|message| messages.push(message)).is_ok(),
        };
        for message in messages.drain(..) {
            account.received.one();
            account.told.add(message.lost_before());
            ledger.wrong_headers.add(u64::from(!message.has(message.headers())));
            each();
            chance.dawdle();
        }
    }
    // The same for all members of a group: nobody publishes any more.
    account.dropped.set(subscriber.dropped());
    account.left.set(subscriber.len() as u64);
}

/// Some futures are dropped before they are ready, and must take nothing with them.
#[cfg(feature = "async")]
fn receive_in_a_task(subscriber: &Subscriber<Load>, messages: &mut Vec<Message<Load>>) -> bool {
    use futures_lite::future::{block_on, poll_once};

    if let Some(received) = block_on(poll_once(subscriber.recv_async())) {
        return received.map(|message| messages.push(message)).is_ok();
    }
    block_on(subscriber.recv_async()).map(|message| messages.push(message)).is_ok()
}

#[cfg(not(feature = "async"))]
fn receive_in_a_task(subscriber: &Subscriber<Load>, messages: &mut Vec<Message<Load>>) -> bool {
    subscriber.recv().map(|message| messages.push(message)).is_ok()
}

/// A handler with workers and retries that fails, panics, and publishes, also into its own mailbox.
fn work(post: &Post) -> Handler {
    let (weak, ledger) = (post.bus.downgrade(), Arc::clone(&post.ledger));
    let handler = post.bus.subscription("work").workers(3).retry(Retry::fixed(1, Duration::ZERO)).name("work");
    let handler = handler.handle(move |message: &Message<Load>| {
        message.begin(&ledger.work.received).meet(&ledger)?;
        if let (false, Some(bus)) = (message.derived, weak.upgrade()) {
            if message.number % 7 == 0 {
                if let Ok(delivery) = bus.publish("work", message.derive()) {
                    ledger.work.count(1, delivery);
                }
            }
            if message.may_fire() {
                ledger.fired.one();
                bus.fire("fired", message.derive());
            }
        }
        Ok::<_, &str>(())
    });
    handler.expect("it is open")
}

fn topic(lane: usize, chance: &mut Chance) -> String {
    format!("{}.{}.{}", LANES[lane].0, chance.below(3), chance.below(3))
}

fn pattern(lane: usize, chance: &mut Chance) -> String {
    let name = LANES[lane].0;
    match chance.below(4) {
        0 => topic(lane, chance),
        1 => format!("{name}.*.{}", chance.below(3)),
        2 => format!("{name}.{}.>", chance.below(3)),
        _ => format!("{name}.>"),
    }
}

fn publish_to_lanes(post: &Post, mut chance: Chance, thread: u64) {
    let mut publishers: Vec<Publisher<Load>> = Vec::new();
    let mut number = thread << 48;
    while !post.is_over() {
        let lane = chance.below(4) as usize;
        number += 1;
        let load = post.load(number, fate(&mut chance));
        let topic = topic(lane, &mut chance);
        let counts = &post.ledger.lanes[lane];
        let delivery = match chance.below(6) {
            // Never where it could not be told what is dropped.
            0 if lane < OLDEST => post.bus.try_publish(topic, load),
            1 | 2 => {
                // Handles that are kept for a while.
                if publishers.len() > 8 {
                    publishers.swap_remove(chance.below(8) as usize);
                }
                let publisher = post.bus.publisher(topic).expect("a valid topic");
                publishers.push(publisher.clone());
                publisher.publish(load)
            }
            3 => {
                let publisher = post.bus.publisher(topic).expect("a valid topic");
                let more = (number + 1..=number + 4).map(|number| post.load(number, Fate::Fine));
                number += 4;
                match publisher.publish_all(more) {
                    Ok(delivery) => counts.count(4, delivery),
                    Err(_) => unreachable!("it is open"),
                }
                publisher.publish(load)
            }
            // Time enough, in one way or the other.
            4 => {
                let timeout = if chance.one_in(2) { LONG } else { Duration::MAX };
                post.labelled(&topic, load).timeout(timeout).expires_after(timeout).publish()
            }
            _ => post.bus.publish(topic, load),
        };
        match delivery {
            Ok(delivery) => counts.count(1, delivery),
            Err(_) => unreachable!("it is open"),
        }
    }
}

fn fate(chance: &mut Chance) -> Fate {
    match chance.below(40) {
        0 => Fate::Panics,
        1 => Fate::Fails,
        2 => Fate::FailsOnce,
        _ => Fate::Fine,
    }
}

/// Subscriptions and handlers of the lanes that come and go, and leave in mid-stream.
fn churn(post: &Post, mut chance: Chance) {
    while !post.is_over() {
        let lane = chance.below(4) as usize;
        let Post { bus, ledger, .. } = post;
        ledger.came.one();
        let first = pattern(lane, &mut chance);
        let mut builder = bus.subscription(first.as_str()).overflow(LANES[lane].1);
        builder = match chance.below(6) {
            // All that join have the same of everything else.
            0 | 1 => builder.group("churn").capacity(4),
            2 => builder.filter(|load| load.number % 3 > 0).capacity(1 + chance.below(8) as usize),
            3 => builder.also(pattern(lane, &mut chance)).capacity(1 + chance.below(8) as usize),
            _ => builder.capacity(1 + chance.below(8) as usize),
        };
        match chance.below(8) {
            0 | 1 => churn_handler(post, lane, builder, &mut chance),
            #[cfg(feature = "async")]
            3 => post.tasks.churn(post, lane, builder, &mut chance),
            2 => {
                // One more who reads the letters for a while.
                let letters = bus.dead_letters();
                letters.try_iter().take(5).for_each(drop);
                drop(letters);
                let member = audit(bus).open().expect("it is open");
                read_for_a_while(&member, &mut chance, |told| {
                    ledger.lanes[0].received.one();
                    ledger.audit.received.one();
                    ledger.audit.told.add(told);
                });
            }
            _ => {
                let subscriber = builder.open().expect("it is open");
                read_for_a_while(&subscriber, &mut chance, |_| ledger.lanes[lane].received.one());
                if !subscriber.is_empty() {
                    ledger.left_early.one();
                }
                if chance.one_in(2) {
                    drop(subscriber);
                } else {
                    subscriber.unsubscribe();
                }
            }
        }
    }
}

fn churn_handler(post: &Post, lane: usize, builder: SubscriptionBuilder<Load, Load>, chance: &mut Chance) {
    let ledger = Arc::clone(&post.ledger);
    let workers = 1 + chance.below(3) as usize;
    let closure = Arc::new(());
    let of_closure = Arc::clone(&closure);
    let handler = builder.workers(workers).handle(move |load: &Message<Load>| {
        let _ = &of_closure;
        load.begin_and_end(&ledger.lanes[lane].received).meet(&ledger)
    });
    let handler = handler.expect("it is open");
    let until = Instant::now() + Duration::from_micros(chance.below(3_000));
    while Instant::now() < until {
        std::thread::yield_now();
    }
    match chance.below(3) {
        0 => drop(handler),
        1 => drop(handler.stop(Duration::ZERO)),
        _ => drop(handler.stop(LONG)),
    }
    // Who drops a handler does not wait for its threads. There would be ever more of them.
    wait_for_threads_of(&closure);
}

fn read_for_a_while(subscriber: &Subscriber<Load>, chance: &mut Chance, received: impl Fn(u64)) {
    let received = |message: Message<Load>| received(message.lost_before());
    for _ in 0..chance.below(100) {
        let is_open = match chance.below(4) {
            0 => subscriber.try_recv().map(received).map_or_else(|error| error.is_empty(), |()| true),
            1 => {
                subscriber.try_iter().take(3).for_each(received);
                true
            }
            _ => {
                let timeout = Duration::from_micros(chance.below(1_000));
                subscriber.recv_timeout(timeout).map(received).map_or_else(|error| error.is_timeout(), |()| true)
            }
        };
        if !is_open {
            return;
        }
        chance.dawdle();
    }
}

fn publish_timed(post: &Post, mut chance: Chance) {
    let publisher = post.bus.publisher("timed").expect("a valid topic");
    while !post.is_over() {
        let timeout = Duration::from_micros(chance.below(200));
        let outcome = match chance.below(3) {
            0 => post.labelled("timed", post.load(0, Fate::Fine)).timeout(timeout).publish(),
            1 => publish_timed_in_a_task(post, timeout),
            _ => publisher.publish_timeout(post.load(0, Fate::Fine), timeout),
        };
        match outcome {
            Ok(delivery) => post.ledger.timed.count(1, delivery),
            Err(error) if error.is_timeout() => post.ledger.timeouts.one(),
            Err(_) => unreachable!("it is open"),
        }
        chance.dawdle();
    }
}

#[cfg(feature = "async")]
fn publish_timed_in_a_task(post: &Post, timeout: Duration) -> Result<tramline::Delivery, PublishError<Load>> {
    futures_lite::future::block_on(post.labelled("timed", post.load(0, Fate::Fine)).timeout(timeout).publish_async())
}

#[cfg(not(feature = "async"))]
fn publish_timed_in_a_task(post: &Post, timeout: Duration) -> Result<tramline::Delivery, PublishError<Load>> {
    post.bus.publish_timeout("timed", post.load(0, Fate::Fine), timeout)
}

/// To a mailbox that stays: what expires there is a loss of the mailbox.
fn publish_brief(post: &Post, mut chance: Chance) {
    let mut number = 0;
    while !post.is_over() {
        number += 1;
        let time = match chance.below(4) {
            0 => Duration::ZERO,
            1 => LONG,
            _ => Duration::from_micros(chance.below(200)),
        };
        match post.labelled("brief", post.load(number, Fate::Fine)).expires_after(time).publish() {
            Ok(delivery) => post.ledger.brief.count(1, delivery),
            Err(_) => unreachable!("it is open"),
        }
        chance.dawdle();
    }
}

/// A handler that fails on some messages, whenever they come.
fn fail_again(post: &Post) -> Handler {
    let ledger = Arc::clone(&post.ledger);
    let handler = post.bus.subscription("again").workers(2).name("again").handle(move |message: &Message<Load>| {
        ledger.again.received.one();
        ledger.wrong_headers.add(u64::from(!message.has(message.headers())));
        if message.number % FAILS > 0 {
            return Ok(());
        }
        ledger.handler_failures.one();
        Err("it fails again")
    });
    handler.expect("it is open")
}

fn publish_again(post: &Post, mut chance: Chance) {
    let mut number = 0;
    while !post.is_over() {
        number += 1;
        match post.labelled("again", post.load(number, Fate::Fine)).publish() {
            Ok(delivery) => post.ledger.again.count(1, delivery),
            Err(_) => unreachable!("it is open"),
        }
        chance.dawdle();
    }
}

/// Delivers the letters of that handler again: each to the handler, as often as it has failed less than three times, or to the
/// topic.
fn deliver_again(post: &Post, mut chance: Chance) {
    let (letters, ledger) = (post.bus.dead_letters(), &post.ledger);
    while !post.is_over() {
        let Ok(letter) = letters.recv_timeout(Duration::from_millis(1)) else { continue };
        if letter.handler() != Some("again") {
            continue;
        }
        ledger.wrong_headers.add(u64::from(!letter.payload().has(letter.headers())));
        if letter.attempts() < 3 {
            ledger.retried.add(u64::from(letter.retry().is_ok()));
        } else if chance.one_in(4) {
            match letter.republish() {
                Ok(delivery) => ledger.republished.add(delivery.delivered() as u64),
                Err(_) => unreachable!("it is open"),
            }
        }
    }
}

fn publish_kept(post: &Post, mut chance: Chance) {
    while !post.is_over() {
        let topic = format!("kept.{}", chance.below(KEPT));
        match post.bus.publish_retained(topic, post.load(0, Fate::Fine)) {
            Ok(delivery) => post.ledger.kept.count(1, delivery),
            Err(_) => unreachable!("it is open"),
        }
        chance.dawdle();
    }
}

fn churn_kept(post: &Post, mut chance: Chance) {
    while !post.is_over() {
        let subscriber = post.bus.subscription("kept.*").with_retained().open().expect("it is open");
        post.ledger.began_with.add(KEPT);
        read_for_a_while(&subscriber, &mut chance, |_| post.ledger.kept.received.one());
    }
}

fn publish_work(post: &Post, mut chance: Chance) {
    let publisher = post.bus.publisher("work").expect("a valid topic");
    let mut number = 0;
    while !post.is_over() {
        number += 1;
        match publisher.publish(post.load(number, fate(&mut chance))) {
            Ok(delivery) => post.ledger.work.count(1, delivery),
            Err(_) => unreachable!("it is open"),
        }
        chance.dawdle();
    }
}

/// What has no delivery to count: it is accounted at the mailboxes, which stay.
fn fire(post: &Post, mut chance: Chance) {
    let publisher = post.bus.publisher("fired").expect("a valid topic");
    let mut number = 0;
    while !post.is_over() {
        number += 1;
        post.ledger.fired.one();
        let load = post.load(number, Fate::Fine);
        if chance.one_in(2) {
            publisher.fire(load);
        } else {
            fire_in_a_task(post, &publisher, load);
        }
        chance.dawdle();
    }
}

/// Half of the futures are dropped before they are ready: what they owe a mailbox is a loss, and counted there.
#[cfg(feature = "async")]
fn fire_in_a_task(post: &Post, publisher: &Publisher<Load>, load: Load) {
    use futures_lite::future::{block_on, poll_once};

    if load.number % 2 == 0 {
        drop(block_on(publisher.publish_async(load)));
    } else if block_on(poll_once(publisher.publish_async(load))).is_none() {
        post.ledger.cancelled.one();
    }
}

#[cfg(not(feature = "async"))]
fn fire_in_a_task(post: &Post, _: &Publisher<Load>, load: Load) {
    post.bus.fire("fired", load);
}

impl Traffic {
    /// When nobody publishes any more.
    pub(crate) fn close(&mut self, checks: &mut Checks) {
        checks.holds("the traffic is drained", self.bus.drain(LONG).is_complete());
        for handler in self.handlers.drain(..) {
            checks.holds("a handler has ended", handler.stop(LONG).is_complete());
        }
        #[cfg(feature = "async")]
        drop(self.tasks.take());
    }

    /// When nobody reads any more.
    pub(crate) fn settle(&self, checks: &mut Checks) -> Vec<(&'static str, String)> {
        let ledger = &*self.ledger;
        let stats = self.bus.stats();
        let sum = |of: fn(&Lane) -> &Sum| -> u64 {
            let others = [&ledger.timed, &ledger.kept, &ledger.work];
            ledger.lanes.iter().chain(others).map(|lane| of(lane).get()).sum()
        };
        let published_to_lanes: u64 = ledger.lanes.iter().map(|lane| lane.published.get()).sum();
        for (lane, account) in ledger.stays.iter().enumerate() {
            checks.accounted(LANES[lane].0, ledger.lanes[lane].published.get(), account);
        }
        checks.accounted("audit", published_to_lanes, &ledger.audit);
        let observed = [ledger.lanes[0].published.get(), published_to_lanes];
        for ((account, published), name) in ledger.observers.iter().zip(observed).zip(["blocks", "oldest"]) {
            checks.accounted(&format!("an observer that {name}"), published, account);
        }
        checks.accounted("brief", ledger.brief.published.get(), &ledger.of_brief);
        let again = ledger.again.delivered.get() + ledger.retried.get() + ledger.republished.get();
        checks.equal("again: delivered, also as letters, and handled", again, ledger.again.received.get());
        checks.equal("wrong headers", ledger.wrong_headers.get(), 0);
        for (account, name) in ledger.of_fired.iter().zip(["block", "newest", "oldest", "filtered"]) {
            checks.accounted(&format!("fired, {name}"), ledger.fired.get(), account);
        }

        let (delivered, received) = (sum(|lane| &lane.delivered), sum(|lane| &lane.received));
        let (began_with, evicted) = (ledger.began_with.get(), ledger.lanes[OLDEST].dropped.get());
        let left = ledger.stays.iter().chain([&ledger.audit]).map(|account| account.left.get()).sum::<u64>();
        checks.equal(
            "delivered and retained, and received, evicted, abandoned and left",
            delivered + began_with,
            received + evicted + stats.abandoned + left,
        );
        let fired_lost: u64 = ledger.of_fired.iter().map(|account| account.dropped.get()).sum();
        let (expired, observers_lost) =
            (ledger.of_brief.dropped.get(), ledger.observers.iter().map(|account| account.dropped.get()).sum::<u64>());
        let dropped = sum(|lane| &lane.dropped);
        checks.equal(
            "losses that publishers were told of, of mailboxes that stay, and of the bus",
            dropped + fired_lost + expired + observers_lost,
            stats.dropped,
        );
        checks.equal("timed: delivered, and received", ledger.timed.published.get(), ledger.timed.received.get());
        checks.equal("work: delivered, and handled", ledger.work.delivered.get(), ledger.work.received.get());
        checks.equal("handlers that failed", ledger.handler_failures.get(), stats.handler_failures);
        checks.equal("handlers that panicked", ledger.handler_panics.get(), stats.handler_panics);
        checks.equal("dead letters", ledger.letters.get() + ledger.letters_lost.get(), stats.dead_letters);
        checks.equal("filters and callbacks that panicked", stats.filter_panics + stats.callback_panics, 0);
        let unheard = sum(|lane| &lane.unheard);
        checks.at_most("unheard", unheard, stats.unheard);

        let messages = sum(|lane| &lane.published) + ledger.fired.get();
        let refused = ledger.lanes[..OLDEST].iter().map(|lane| lane.dropped.get()).sum::<u64>();
        vec![
            ("messages", format!("{messages}, {} of them fired", ledger.fired.get())),
            ("deliveries", format!("{delivered}, and {began_with} retained values")),
            ("received", received.to_string()),
            ("evicted", evicted.to_string()),
            ("refused", format!("{refused}, and {fired_lost} lost of the fired")),
            ("expired", expired.to_string()),
            ("lost by observers", observers_lost.to_string()),
            ("letters again", format!("{} retried, {} republished", ledger.retried.get(), ledger.republished.get())),
            ("overflowed", format!("{}", ledger.lanes[STRICT].dropped.get())),
            ("self-deadlocks refused", ledger.work.dropped.get().to_string()),
            ("abandoned", stats.abandoned.to_string()),
            ("unheard", stats.unheard.to_string()),
            ("timed out", ledger.timeouts.get().to_string()),
            ("dead letters", format!("{}, {} of them not read in time", stats.dead_letters, ledger.letters_lost.get())),
            ("came and went", format!("{}, {} in mid-stream", ledger.came.get(), ledger.left_early.get())),
            ("handler faults", format!("{} panics, {} failures", stats.handler_panics, stats.handler_failures)),
            #[cfg(feature = "async")]
            ("futures dropped", ledger.cancelled.get().to_string()),
            #[cfg(feature = "async")]
            ("tasks dropped", ledger.tasks_dropped.get().to_string()),
        ]
    }
}
