//! Journals: in every way to publish to them and to read them, while readers, handlers and journals come and go.
//!
//! Three journals stay: one that blocks, with little room; one that drops the oldest; one that observes everything. A payload
//! names its publisher, and the payload because of which a handler has published it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tramline::{
    Bus, DeadLetterReason, Delivery, Entry, Handler, Headers, Journal, JournalReader, Overflow, OwnedEntry,
    PublishError, Retry, Start, Topic,
};

use super::ledger::{Account, Checks, Sum};
use super::{Chance, Crew, LONG, Token, panic_on_purpose, wait_for_threads_of};

/// What a topic begins with; it ends with its publisher. The first three are those of the journal that blocks.
const TOPICS: [&str; 4] = ["quiet", "heard", "both", "oldest"];
/// It has a mailbox that drops the oldest, so that takes every message.
const HEARD: usize = 1;
/// It has a mailbox that blocks, so only those publish to it that wait as long as it takes.
const BOTH: usize = 2;
const OLDEST: usize = 3;

/// The journals.
const BLOCKS: usize = 0;
const DROPS: usize = 1;
const OBSERVES: usize = 2;

/// Three threads and three tasks publish, and two handlers.
const PUBLISHERS: usize = 8;
const REACTION: usize = 6;
const REACTION_TO_REACTION: usize = 7;

const LABEL: &str = "number";

#[derive(Clone)]
struct Note {
    publisher: usize,
    /// Each publisher counts its own, from 1.
    number: u64,
    topic: usize,
    labelled: bool,
    /// Its future may be dropped, and nobody knows whether it is in the journal that blocks.
    unsure: bool,
    /// The publisher and the number of the one that a handler has published it for.
    cause: Option<(usize, u64)>,
    _alive: Token,
}

impl Note {
    fn topic(&self) -> String {
        format!("{}.{}", TOPICS[self.topic], self.publisher)
    }

    fn id(&self) -> u64 {
        ((self.publisher as u64) << 48) | self.number
    }

    fn label(&self) -> Option<String> {
        self.labelled.then(|| self.number.to_string())
    }
}

/// What is counted of messages in the journal that blocks.
#[derive(Default, Debug)]
struct Content {
    /// Those that are sure, and those that are not.
    messages: [Sum; 2],
    /// The sum of the identities of those that are sure.
    ids: Sum,
}

impl Content {
    fn add(&self, id: u64, unsure: bool) {
        self.messages[usize::from(unsure)].one();
        self.ids.add(if unsure { 0 } else { id });
    }
}

/// What was read at the last offsets of a journal: the same by all of its readers.
struct Witness(Vec<Mutex<(u64, u64)>>);

impl Witness {
    fn new(entries: usize) -> Self {
        Self((0..entries).map(|_| Mutex::default()).collect())
    }

    fn agrees(&self, offset: u64, id: u64) -> bool {
        let mut seen = self.0[offset as usize % self.0.len()].lock();
        if *seen == (0, 0) || seen.0 < offset {
            *seen = (offset, id);
        }
        // What is older is not known any more.
        seen.0 > offset || *seen == (offset, id)
    }
}

#[derive(Default)]
struct Ledger {
    published: [Sum; 4],
    /// As publishers know it, and as the two readers do that stay.
    counted: Content,
    seen: [Content; 2],
    /// Where the readers that stay have come: two of the first journal, and one of each other.
    ends: [Sum; 4],
    /// Futures that were dropped before they were ready, and dead letters that say so.
    cancelled: Sum,
    cancelled_letters: Sum,
    letters_lost: Sum,
    refused: Sum,
    timeouts: Sum,
    mailboxes: [Account; 2],
    /// By the handler of the journal that blocks.
    handled: Sum,
    /// By all handlers.
    handled_letters: Sum,
    retried: Sum,
    failures: Sum,
    panics: Sum,
    reactions: Sum,
    readers: Sum,
    came: Sum,
    read: Sum,
    missed: Sum,
    /// The first of what no reader may see.
    wrong: Mutex<Vec<String>>,
}

impl Ledger {
    fn wrong(&self, what: impl FnOnce() -> String) {
        let mut wrong = self.wrong.lock();
        if wrong.len() < 5 {
            wrong.push(what());
        }
    }

    /// What became of a message, as its publisher hears.
    fn settle(&self, topic: usize, id: u64, unsure: bool, outcome: Result<Delivery, PublishError<Note>>) {
        let delivery = outcome.unwrap_or_else(|error| {
            assert!(error.is_timeout(), "it is open");
            self.timeouts.one();
            error.delivery()
        });
        let in_mailboxes = usize::from(topic == HEARD || topic == BOTH);
        match (topic, delivery.delivered().checked_sub(in_mailboxes)) {
            (OLDEST, Some(_)) if delivery.delivered() + delivery.dropped() == 1 => {}
            (OLDEST, _) => self.wrong(|| format!("{delivery:?} by the journal that drops")),
            (_, Some(1)) => self.counted.add(id, unsure),
            (BOTH, _) => self.wrong(|| format!("{delivery:?} by what waits as long as it takes")),
            (_, Some(0)) => self.refused.one(),
            (topic, _) => self.wrong(|| format!("{delivery:?} on {}", TOPICS[topic])),
        }
    }
}

pub(crate) struct Journals {
    bus: Bus<Note>,
    ledger: Arc<Ledger>,
    journals: [Journal<Note>; 3],
    handlers: Vec<Handler>,
}

#[derive(Clone)]
struct Post {
    bus: Bus<Note>,
    ledger: Arc<Ledger>,
    journals: [Journal<Note>; 3],
    witnesses: [Arc<Witness>; 3],
    stop: Arc<AtomicBool>,
    alive: Arc<AtomicI64>,
}

impl Post {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn note(&self, publisher: usize, number: u64, topic: usize) -> Note {
        self.ledger.published[topic].one();
        let alive = Token::new(&self.alive);
        Note { publisher, number, topic, labelled: false, unsure: false, cause: None, _alive: alive }
    }

    fn watch(&self, journal: usize) -> Watch {
        let is_lossy = journal != BLOCKS;
        Watch::new(&self.ledger, is_lossy, Some(Arc::clone(&self.witnesses[journal])))
    }
}

/// What a reader has to see next.
#[derive(Clone)]
struct Watch {
    ledger: Arc<Ledger>,
    is_lossy: bool,
    witness: Option<Arc<Witness>>,
    /// It reads only some topics.
    skips: bool,
    /// What the reader said when it began: where it begins, and the offset of its first entry at the least.
    begins: Option<(Option<u64>, u64)>,
    next: u64,
    /// Of each publisher the last number, and the last that somebody has reacted to.
    last: [u64; PUBLISHERS],
    reacted: [u64; PUBLISHERS],
}

impl Watch {
    fn new(ledger: &Arc<Ledger>, is_lossy: bool, witness: Option<Arc<Witness>>) -> Self {
        let (last, reacted) = ([0; PUBLISHERS], [0; PUBLISHERS]);
        Self { ledger: Arc::clone(ledger), is_lossy, witness, skips: false, begins: None, next: 0, last, reacted }
    }

    /// The reader begins there, or has sought it.
    fn begins(&mut self, start: Start, offset: u64) {
        let at = if let Start::At(offset) = start { Some(offset) } else { None };
        self.begins = Some((at, offset));
        (self.last, self.reacted) = ([0; PUBLISHERS], [0; PUBLISHERS]);
    }

    fn entry(&mut self, entry: &Entry<'_, Note>) {
        self.see(entry.offset(), entry.lost_before(), entry.topic(), entry.headers(), entry);
    }

    fn owned(&mut self, entry: &OwnedEntry<Note>) {
        self.see(entry.offset(), entry.lost_before(), entry.topic(), entry.headers(), entry);
    }

    fn see(&mut self, offset: u64, lost: u64, topic: &Topic, headers: &Headers, note: &Note) {
        let ledger = Arc::clone(&self.ledger);
        let begin = offset.wrapping_sub(lost);
        let is_next = match self.begins.take() {
            _ if self.skips => offset >= self.next,
            Some((at, first)) => {
                at.is_none_or(|at| begin == at)
                    && begin <= first
                    && (offset == first || (self.is_lossy && offset > first))
                    && (self.is_lossy || at.is_some() || lost == 0)
            }
            None => begin == self.next && (self.is_lossy || lost == 0),
        };
        if !is_next {
            ledger.wrong(|| format!("offset {offset}, {lost} lost before, where {} was next", self.next));
        }
        if topic.as_str() != note.topic() || headers.get(LABEL) != note.label().as_deref() {
            ledger.wrong(|| format!("{topic} and {headers:?} of a payload for {}", note.topic()));
        }
        if !self.witness.as_ref().is_none_or(|witness| witness.agrees(offset, note.id())) {
            ledger.wrong(|| format!("two readers see different payloads at {offset}"));
        }
        let Note { publisher, number, .. } = *note;
        if number <= self.last[publisher] {
            ledger.wrong(|| format!("{number} of publisher {publisher} behind {}", self.last[publisher]));
        }
        if number <= self.reacted[publisher] {
            ledger.wrong(|| format!("{number} of publisher {publisher} behind what was published because of it"));
        }
        ledger.read.one();
        ledger.missed.add(lost);
        self.last[publisher] = number;
        if let Some((publisher, number)) = note.cause {
            self.reacted[publisher] = self.reacted[publisher].max(number);
        }
        self.next = offset + 1;
    }
}

pub(crate) fn start(seed: u64, stop: &Arc<AtomicBool>, alive: &Arc<AtomicI64>, crew: &mut Crew) -> Journals {
    let bus = Bus::<Note>::builder().name("journals").capacity(8).build();
    let blocks = bus.journal("quiet.*").also("heard.*").also("both.*").capacity(4).name("blocks").open();
    let drops = bus.journal("oldest.*").capacity(16).overflow(Overflow::DropOldest).name("drops").open();
    let observes = bus.journal(">").capacity(64).overflow(Overflow::DropOldest).observer().name("observes").open();
    let journals = [blocks, drops, observes].map(|journal| journal.expect("it is open"));
    let post = Post {
        bus: bus.clone(),
        ledger: Arc::default(),
        journals: journals.clone(),
        witnesses: [(); 3].map(|()| Arc::new(Witness::new(256))),
        stop: Arc::clone(stop),
        alive: Arc::clone(alive),
    };
    let ledger = Arc::clone(&post.ledger);
    let mut threads = 400;
    let mut chance = || {
        threads += 1;
        Chance::new(seed, threads)
    };

    let (letters, counts) = (bus.dead_letters(), Arc::clone(&ledger));
    crew.reads(move || {
        let cancelled = letters.iter().filter(|letter| matches!(letter.reason(), DeadLetterReason::Cancelled));
        counts.cancelled_letters.set(cancelled.count() as u64);
        counts.letters_lost.set(letters.dropped());
    });
    for (index, journal) in [BLOCKS, BLOCKS, DROPS, OBSERVES].into_iter().enumerate() {
        let (reader, mut watch) =
            (post.journals[journal].reader(Start::At(0)).expect("it has begun"), post.watch(journal));
        let (ledger, chance) = (Arc::clone(&ledger), chance());
        crew.reads(move || {
            read_to_the_end(reader, &mut watch, chance, ledger.seen.get(index));
            ledger.ends[index].set(watch.next);
        });
    }
    for (index, topic) in [HEARD, BOTH].into_iter().enumerate() {
        let overflow = [Overflow::DropOldest, Overflow::Block][index];
        let mailbox = bus.subscription(format!("{}.*", TOPICS[topic])).capacity(4).overflow(overflow).open();
        let (mailbox, ledger, mut chance) = (mailbox.expect("it is open"), Arc::clone(&ledger), chance());
        crew.reads(move || {
            let account = &ledger.mailboxes[index];
            while let Ok(message) = mailbox.recv() {
                account.received.one();
                account.told.add(message.lost_before());
                chance.dawdle();
            }
            account.dropped.set(mailbox.dropped());
            account.left.set(mailbox.len() as u64);
        });
    }
    let handlers = vec![
        react(&post, BLOCKS, "react", REACTION, [OLDEST, 0]),
        react(&post, DROPS, "react again", REACTION_TO_REACTION, [0, HEARD]),
    ];
    for publisher in 0..3 {
        let (post, chance) = (post.clone(), chance());
        crew.active(move || publish(&post, chance, publisher));
    }
    #[cfg(feature = "async")]
    {
        let (post, chances) = (post.clone(), [chance(), chance(), chance()]);
        crew.active(move || tasks::publish(&post, chances));
    }
    for role in [churn_readers, churn_readers, churn_handlers, churn_journals, deliver_again] {
        let (post, chance) = (post.clone(), chance());
        crew.active(move || role(&post, chance));
    }
    Journals { bus, ledger, journals, handlers }
}

fn publish(post: &Post, mut chance: Chance, publisher: usize) {
    let Post { bus, ledger, .. } = post;
    let mut number = 0;
    while !post.is_over() {
        number += 1;
        let topic = chance.below(4) as usize;
        let note = post.note(publisher, number, topic);
        let (name, id) = (note.topic(), note.id());
        let outcome = match chance.below(8) {
            0 if topic != BOTH => bus.try_publish(name, note),
            1 if topic != BOTH => bus.publish_timeout(name, note, Duration::from_micros(chance.below(300))),
            2 if topic != BOTH => bus.message(name, note).no_wait().publish(),
            3 if topic == OLDEST => {
                bus.fire(name, note);
                continue;
            }
            3 if topic == BOTH => {
                let more = [note, post.note(publisher, number + 1, topic), post.note(publisher, number + 2, topic)];
                let ids = more.each_ref().map(Note::id);
                number += 2;
                match bus.publish_all(name, more) {
                    Ok(delivery) if delivery.delivered() == 6 => {
                        ids.iter().for_each(|id| ledger.counted.add(*id, false))
                    }
                    other => ledger.wrong(|| format!("{other:?} of three", other = other.map_err(|_| "an error"))),
                }
                continue;
            }
            4 => bus.message(name, Note { labelled: true, ..note }).header(LABEL, number.to_string()).publish(),
            _ => bus.publish(name, note),
        };
        ledger.settle(topic, id, false, outcome);
        chance.dawdle();
    }
}

/// Publishers that are tasks of one thread. Some of their futures are dropped, and some are left alone for a while.
#[cfg(feature = "async")]
mod tasks {
    use std::collections::VecDeque;
    use std::pin::Pin;

    use futures_lite::future::{block_on, poll_once, yield_now, zip};

    use super::*;

    type Publish<'a> = Pin<Box<dyn Future<Output = Result<Delivery, PublishError<Note>>> + 'a>>;

    pub(super) fn publish(post: &Post, chances: [Chance; 3]) {
        let [one, two, three] = chances;
        block_on(zip(publish_some(post, one, 3), zip(publish_some(post, two, 4), publish_some(post, three, 5))));
    }

    async fn publish_some(post: &Post, mut chance: Chance, publisher: usize) {
        let ledger = &post.ledger;
        let mut number = 0;
        let mut alone: VecDeque<(Note, Publish<'_>)> = VecDeque::new();
        while !post.is_over() {
            number += 1;
            let topic = chance.below(4) as usize;
            let how = chance.below(4);
            let unsure = how < 2 && topic != BOTH && chance.one_in(2);
            let note = Note { unsure, ..post.note(publisher, number, topic) };
            let id = note.id();
            let message = post.bus.message(note.topic(), note.clone());
            let mut future: Publish<'_> = if topic != BOTH && chance.one_in(3) {
                Box::pin(message.timeout(Duration::from_micros(chance.below(300))).publish_async())
            } else {
                Box::pin(message.publish_async())
            };
            if how > 1 {
                ledger.settle(topic, id, unsure, future.await);
            } else if let Some(outcome) = poll_once(&mut future).await {
                ledger.settle(topic, id, unsure, outcome);
            } else {
                alone.push_back((note, future));
                if how == 0 || alone.len() > 4 {
                    end_first(ledger, &mut alone).await;
                }
            }
            yield_now().await;
        }
        while !alone.is_empty() {
            end_first(ledger, &mut alone).await;
        }
    }

    async fn end_first(ledger: &Ledger, alone: &mut VecDeque<(Note, Publish<'_>)>) {
        match alone.pop_front() {
            Some((note, future)) if !note.unsure => ledger.settle(note.topic, note.id(), false, future.await),
            Some(_) => ledger.cancelled.one(),
            None => {}
        }
    }
}

/// A handler that stays, and publishes because of what it handles.
fn react(post: &Post, journal: usize, name: &str, publisher: usize, topics: [usize; 2]) -> Handler {
    let (ledger, weak, alive) = (Arc::clone(&post.ledger), post.bus.downgrade(), Arc::clone(&post.alive));
    let mut work = Work { retrying: false, watch: post.watch(journal) };
    let counts = (journal == BLOCKS).then(|| Arc::clone(&post.ledger));
    let mut number = 0;
    let builder = post.journals[journal].handler(Start::At(0)).retry(Retry::fixed(1, Duration::ZERO)).name(name);
    let builder = if journal == DROPS {
        work.watch.skips = true;
        builder.only(format!("oldest.{REACTION}"))
    } else {
        builder
    };
    let handler = builder.handle(move |entry| {
        work.handle(entry, counts.as_deref())?;
        let bus = weak.upgrade().filter(|_| entry.number % 5 == 0 && (entry.cause.is_none() || journal == DROPS));
        if let Some(bus) = bus {
            number += 1;
            let topic = topics[number as usize % 2];
            ledger.published[topic].one();
            ledger.reactions.one();
            let (cause, labelled, unsure) = (Some((entry.publisher, entry.number)), false, false);
            let note = Note { publisher, number, topic, labelled, unsure, cause, _alive: Token::new(&alive) };
            // One that would wait for its own handler is refused.
            ledger.settle(topic, note.id(), false, bus.publish(note.topic(), note));
        }
        Ok::<_, &str>(())
    });
    handler.expect("it has begun")
}

/// What a handler knows of its entries.
struct Work {
    /// The next attempt is the second at the same entry.
    retrying: bool,
    watch: Watch,
}

impl Work {
    fn handle(&mut self, entry: &Entry<'_, Note>, counts: Option<&Ledger>) -> Result<(), &'static str> {
        let is_retry = std::mem::take(&mut self.retrying);
        if !is_retry {
            // A letter that was sent back.
            let is_letter = self.watch.begins.is_none() && entry.offset() < self.watch.next;
            if is_letter {
                self.watch.ledger.handled_letters.one();
            } else {
                self.watch.entry(entry);
                counts.inspect(|counts| counts.handled.one());
            }
        }
        let ledger = &self.watch.ledger;
        match entry.number % 40 {
            0 => {
                ledger.panics.one();
                panic_on_purpose();
            }
            1 if is_retry => {
                ledger.failures.one();
                Err("it always fails")
            }
            1 | 2 if !is_retry => {
                self.retrying = true;
                Err("it fails once")
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Work {
    /// A handler that is stopped does not try again.
    fn drop(&mut self) {
        self.watch.ledger.failures.add(u64::from(self.retrying));
    }
}

/// Sends letters back to the handlers, as often as chance has it.
fn deliver_again(post: &Post, mut chance: Chance) {
    let (letters, ledger) = (post.bus.dead_letters(), &post.ledger);
    while !post.is_over() {
        let Ok(letter) = letters.recv_timeout(Duration::from_millis(1)) else { continue };
        if letter.handler().is_some() && chance.one_in(2) {
            ledger.retried.add(u64::from(letter.retry().is_ok()));
        }
    }
}

/// Where a reader may begin.
fn any_start(journal: &Journal<Note>, chance: &mut Chance) -> Start {
    match chance.below(4) {
        0 => Start::Oldest,
        1 => Start::Next,
        2 => Start::Last(chance.below(100) as usize),
        _ => Start::At(journal.next_offset().saturating_sub(chance.below(100))),
    }
}

fn churn_readers(post: &Post, mut chance: Chance) {
    while !post.is_over() {
        post.ledger.readers.one();
        let journal = chance.below(3) as usize;
        let (mut watch, journal) = (post.watch(journal), &post.journals[journal]);
        let start = any_start(journal, &mut chance);
        let mut reader = journal.reader(start).expect("it is not ahead");
        watch.begins(start, reader.offset());
        read_for_a_while(&mut reader, &mut watch, &mut chance);
        match chance.below(4) {
            0 => {
                let (mut other, mut watch) = (reader.clone(), watch.clone());
                read_for_a_while(&mut other, &mut watch, &mut chance);
            }
            1 => {
                let start = any_start(journal, &mut chance);
                reader.seek(start).expect("it is not ahead");
                watch.begins(start, reader.offset());
            }
            // It stalls.
            2 => thread::sleep(Duration::from_micros(chance.below(500))),
            _ => continue,
        }
        read_for_a_while(&mut reader, &mut watch, &mut chance);
    }
}

fn churn_handlers(post: &Post, mut chance: Chance) {
    while !post.is_over() {
        post.ledger.came.one();
        let journal = chance.below(3) as usize;
        let (mut watch, journal) = (post.watch(journal), &post.journals[journal]);
        let start = any_start(journal, &mut chance);
        // It has no reader to ask where it begins.
        watch.skips = true;
        let mut work = Work { retrying: false, watch };
        let closure = Arc::new(());
        let of_closure = Arc::clone(&closure);
        let builder = journal.handler(start).retry(Retry::fixed(1, Duration::ZERO)).name("leaves");
        let handler = builder.handle(move |entry| {
            let _ = &of_closure;
            work.handle(entry, None)
        });
        let handler = handler.expect("it is not ahead");
        let until = Instant::now() + Duration::from_micros(chance.below(3_000));
        while Instant::now() < until {
            thread::yield_now();
        }
        match chance.below(3) {
            0 => drop(handler),
            1 => drop(handler.stop(Duration::ZERO)),
            _ => post.ledger.wrong_unless("a handler has not ended", handler.stop(LONG).is_complete()),
        }
        wait_for_threads_of(&closure);
    }
}

impl Ledger {
    fn wrong_unless(&self, what: &str, holds: bool) {
        if !holds {
            self.wrong(|| what.to_owned());
        }
    }
}

/// Journals that are opened and dropped. Nobody counts them.
fn churn_journals(post: &Post, mut chance: Chance) {
    let Post { bus, ledger, .. } = post;
    while !post.is_over() {
        ledger.came.one();
        let (builder, is_lossy) = match chance.below(3) {
            0 => (bus.journal("both.*"), false),
            1 => (bus.journal(">").overflow(Overflow::DropOldest), true),
            // Its readers may be overrun before they have begun.
            _ => (bus.journal("quiet.*").also("both.*").overflow(Overflow::Disconnect), true),
        };
        let builder = builder.capacity(1 + chance.below(8) as usize).name("leaves").observer();
        let builder = if chance.one_in(2) { builder.filter(|note| note.number % 2 == 0) } else { builder };
        let journal = builder.open().expect("it is open");
        ledger.wrong_unless("a journal is not found", bus.find_journal("leaves").is_some());
        let witness = Arc::new(Witness::new(16));
        for _ in 0..chance.below(4) {
            // The only reader: before it and after it nobody waits.
            let mut watch = Watch::new(ledger, is_lossy, Some(Arc::clone(&witness)));
            let start = any_start(&journal, &mut chance);
            let mut reader = journal.reader(start).expect("it is not ahead");
            watch.begins(start, reader.offset());
            if chance.one_in(2) {
                thread::sleep(Duration::from_micros(chance.below(2_000)));
            }
            read_for_a_while(&mut reader, &mut watch, &mut chance);
            let mut other = reader.clone();
            read_for_a_while(&mut other, &mut watch, &mut chance);
        }
        if is_lossy || chance.one_in(2) {
            continue;
        }
        // Those that wait for it leave the line when it leaves.
        let (mut reader, mut watch) =
            (journal.reader(Start::Next).expect("it is not ahead"), Watch::new(ledger, false, None));
        drop(journal);
        watch.begins(Start::Next, reader.offset());
        read_for_a_while(&mut reader, &mut watch, &mut chance);
    }
}

/// Receives in every way that there is.
fn read_to_the_end(mut reader: JournalReader<Note>, watch: &mut Watch, mut chance: Chance, content: Option<&Content>) {
    let count = |note: &Note| content.into_iter().for_each(|content| content.add(note.id(), note.unsure));
    let mut is_open = true;
    while is_open {
        let entry = match chance.below(4) {
            0 => reader.recv().ok(),
            1 => reader.recv_timeout(LONG).ok(),
            2 => {
                for entry in reader.try_iter().take(3) {
                    watch.owned(&entry);
                    count(&entry);
                }
                continue;
            }
            _ => {
                let entry = reader.iter().next();
                is_open = entry.is_some();
                if let Some(entry) = entry {
                    watch.owned(&entry);
                    count(&entry);
                }
                continue;
            }
        };
        is_open = entry.is_some();
        if let Some(entry) = entry {
            watch.entry(&entry);
            count(&entry);
        }
        chance.dawdle();
    }
}

fn read_for_a_while(reader: &mut JournalReader<Note>, watch: &mut Watch, chance: &mut Chance) {
    for _ in 0..chance.below(50) {
        match chance.below(4) {
            0 => reader.try_iter().take(3).for_each(|entry| watch.owned(&entry)),
            1 => _ = reader.try_recv().map(|entry| watch.entry(&entry)),
            _ => match reader.recv_timeout(Duration::from_micros(chance.below(500))) {
                Ok(entry) => watch.entry(&entry),
                Err(error) if error.is_timeout() => {}
                Err(_) => return,
            },
        }
        chance.dawdle();
    }
}

impl Journals {
    pub(crate) fn close(&mut self, checks: &mut Checks) {
        checks.holds("the journals are drained", self.bus.drain(LONG).is_complete());
        for handler in self.handlers.drain(..) {
            checks.holds("a handler of a journal has ended", handler.stop(LONG).is_complete());
        }
    }

    pub(crate) fn settle(&self, checks: &mut Checks) -> Vec<(&'static str, String)> {
        let Self { ledger, bus, .. } = self;
        let next = self.journals.each_ref().map(Journal::next_offset);
        let Content { messages: [counted, unsure_counted], ids } = &ledger.counted;
        for seen in &ledger.seen {
            let [sure, unsure] = &seen.messages;
            checks.equal("the journal that blocks: counted by publishers, and read", counted.get(), sure.get());
            checks.equal("the journal that blocks: the identities of these", ids.get(), seen.ids.get());
            checks.equal("the journal that blocks: read, and the next offset", sure.get() + unsure.get(), next[BLOCKS]);
            // What of the futures that were dropped is not in the journal is a loss.
            let not_in = (unsure_counted.get() + ledger.cancelled.get()).checked_sub(unsure.get());
            checks.holds("the journal that blocks: more than was published", not_in.is_some());
            let (not_in, letters) = (not_in.unwrap_or(0), ledger.cancelled_letters.get());
            checks.at_most("letters of futures that were dropped, and not in the journal", letters, not_in);
            checks.at_most("not in the journal, and letters that say so", not_in, letters + ledger.letters_lost.get());
        }
        let published = ledger.published.iter().map(Sum::get).sum();
        checks.equal(
            "the journal that drops: published, and the next offset",
            ledger.published[OLDEST].get(),
            next[DROPS],
        );
        checks.equal("the journal that observes: published, and the next offset", published, next[OBSERVES]);
        for (end, journal) in ledger.ends.iter().zip([BLOCKS, BLOCKS, DROPS, OBSERVES]) {
            checks.equal("read and lost, and the next offset", end.get(), next[journal]);
        }
        for (account, topic) in ledger.mailboxes.iter().zip([HEARD, BOTH]) {
            checks.accounted(&format!("{} beside a journal", TOPICS[topic]), ledger.published[topic].get(), account);
        }
        checks.equal(
            "the handler of the journal that blocks: handled, and the next offset",
            ledger.handled.get(),
            next[BLOCKS],
        );
        let stats = bus.stats();
        checks.equal(
            "letters that handlers of journals took back, and handled or abandoned",
            ledger.retried.get(),
            ledger.handled_letters.get() + stats.abandoned,
        );
        checks.equal("handlers of journals that failed", ledger.failures.get(), stats.handler_failures);
        checks.equal("handlers of journals that panicked", ledger.panics.get(), stats.handler_panics);
        checks.equal("readers that are left", self.journals.each_ref().map(Journal::readers), [0; 3]);
        checks.failures.extend(ledger.wrong.lock().iter().map(|wrong| format!("a journal: {wrong}")));
        let [blocks, drops, observes] = next;
        vec![
            ("journal entries", format!("{blocks} where it blocks, {drops} where it drops, {observes} observed")),
            ("entries read", format!("{}, and {} missed", ledger.read.get(), ledger.missed.get())),
            ("reactions", ledger.reactions.get().to_string()),
            (
                "refused by a journal",
                format!(
                    "{}, {} timed out, {} futures dropped",
                    ledger.refused.get(),
                    ledger.timeouts.get(),
                    ledger.cancelled.get()
                ),
            ),
            (
                "journals came and went",
                format!("{}, handlers among them; {} readers", ledger.came.get(), ledger.readers.get()),
            ),
            (
                "journal handlers",
                format!(
                    "{} panics, {} failures, {} letters sent back",
                    ledger.panics.get(),
                    ledger.failures.get(),
                    ledger.retried.get()
                ),
            ),
        ]
    }
}
