//! Requests, answered and not, by callers who wait and callers who do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use tramline::{Bus, Handler, Message, PendingReply, ReplyError, Responder, Subscriber};

use super::ledger::{Checks, Sum};
#[cfg(feature = "async")]
use super::tasks::Tasks;
use super::{Chance, Crew, LONG, Token, panic_on_purpose};

/// What becomes of a question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    AnsweredLater,
    Failed,
    Dropped,
}

#[derive(Clone)]
pub(super) struct Question {
    number: u64,
    fate: Fate,
    /// The caller waits for the end, so both sides know of it.
    patient: bool,
    _alive: Token,
}

impl Question {
    fn answer(&self) -> u64 {
        2 * self.number
    }

    /// What a server does with it.
    pub(super) fn serve(&self, ledger: &Ledger) -> u64 {
        let patient = u64::from(self.patient);
        if self.fate == Fate::Failed {
            ledger.responders.failed.add(patient);
            ledger.server_panics.one();
            panic_on_purpose();
        }
        ledger.responders.answered.add(patient);
        self.answer()
    }
}

/// What one side counts, of the questions of callers who wait.
#[derive(Default)]
struct Ends {
    answered: Sum,
    failed: Sum,
    dropped: Sum,
}

impl Ends {
    fn all(&self) -> [u64; 3] {
        [self.answered.get(), self.failed.get(), self.dropped.get()]
    }
}

#[derive(Default)]
pub(super) struct Ledger {
    asked: Sum,
    patiently: Sum,
    callers: Ends,
    responders: Ends,
    gathered: Sum,
    gathered_answers: Sum,
    wrong: Sum,
    hung: Sum,
    no_responders: Sum,
    /// Requests that no responder had room for in time, and requests that expired.
    timed_out: Sum,
    expired: Sum,
    /// Callers that waited longer than their limit.
    late: Sum,
    given_up: Sum,
    callbacks: Sum,
    called_back: Sum,
    callback_panics: Sum,
    server_panics: Sum,
}

pub(super) type Questions = Bus<Question, u64>;

pub(crate) struct Asking {
    bus: Questions,
    ledger: Arc<Ledger>,
    servers: Vec<Handler>,
    /// Ends when this does.
    #[cfg(feature = "async")]
    tasks: Option<Tasks>,
}

#[derive(Clone)]
struct Post {
    bus: Questions,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    alive: Arc<AtomicI64>,
}

impl Post {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

pub(crate) fn start(seed: u64, stop: &Arc<AtomicBool>, alive: &Arc<AtomicI64>, crew: &mut Crew) -> Asking {
    let bus = Questions::builder().name("asking").capacity(8).build();
    let ledger = Arc::<Ledger>::default();
    let post = Post { bus: bus.clone(), ledger: Arc::clone(&ledger), stop: Arc::clone(stop), alive: Arc::clone(alive) };
    let mut threads = 200;
    let mut chance = || {
        threads += 1;
        Chance::new(seed, threads)
    };
    let counts = Arc::clone(&ledger);
    let server = bus.subscription("serve").workers(2).name("serve").serve(move |question| question.serve(&counts));
    #[cfg(feature = "async")]
    let tasks = Tasks::start(crew);
    let servers = vec![
        server.expect("it is open"),
        #[cfg(feature = "async")]
        tasks.serve(&bus, &ledger),
    ];
    for topic in ["hand", "hand", "flock", "flock", "flock"] {
        let subscriber = responder(&bus, topic);
        let (ledger, mut chance) = (Arc::clone(&ledger), chance());
        crew.reads(move || respond(&subscriber, &ledger, &mut chance, u64::MAX));
    }
    let roles: [fn(&Post, Chance); 6] = [ask, ask, ask, ask, gather, churn];
    for role in roles {
        let (post, chance) = (post.clone(), chance());
        crew.active(move || role(&post, chance));
    }
    Asking {
        bus,
        ledger,
        servers,
        #[cfg(feature = "async")]
        tasks: Some(tasks),
    }
}

/// Those of `hand` share a mailbox, so each question there has one end; those of `flock` have one each.
fn responder(bus: &Questions, topic: &str) -> Subscriber<Question, u64> {
    let builder = bus.subscription(topic);
    let builder = if topic == "hand" { builder.group("hands") } else { builder };
    builder.open().expect("it is open")
}

/// Ends questions as their callers want it.
fn respond(subscriber: &Subscriber<Question, u64>, ledger: &Ledger, chance: &mut Chance, limit: u64) {
    let is_flock = subscriber.patterns()[0].as_str() == "flock";
    let answered = |question: &Question, taken: bool| {
        let sum = if is_flock { &ledger.gathered_answers } else { &ledger.responders.answered };
        sum.add(u64::from(taken && question.patient));
    };
    let mut later: Vec<(Question, Responder<u64>)> = Vec::new();
    let end = |message: Message<Question, u64>, later: &mut Vec<_>| {
        let patient = u64::from(message.patient && !is_flock);
        match message.fate {
            Fate::Answered => answered(&message, message.reply(message.answer()).is_ok()),
            Fate::AnsweredLater => {
                let responder = message.responder().expect("it is a request");
                later.push((message.into_payload(), responder));
            }
            Fate::Failed => {
                ledger.responders.failed.add(patient);
                drop(message.fail("on purpose"));
            }
            Fate::Dropped => {
                ledger.responders.dropped.add(patient);
                drop(message);
            }
        }
    };
    for _ in 0..limit {
        match subscriber.recv_timeout(Duration::from_millis(1)) {
            Ok(message) => end(message, &mut later),
            Err(error) if error.is_timeout() => {}
            Err(_) => break,
        }
        // Not for ever: its callers wait.
        if later.len() > 3 || subscriber.is_empty() {
            for (question, responder) in later.drain(..) {
                answered(&question, responder.reply(question.answer()).is_ok());
            }
        }
        chance.dawdle();
    }
    for (question, responder) in later {
        answered(&question, responder.reply(question.answer()).is_ok());
    }
}

fn question(post: &Post, chance: &mut Chance, number: u64, patient: bool) -> Question {
    let fate = match chance.below(20) {
        0 => Fate::Failed,
        1 => Fate::Dropped,
        2..=5 => Fate::AnsweredLater,
        _ => Fate::Answered,
    };
    Question { number, fate, patient, _alive: Token::new(&post.alive) }
}

/// Where each question has one end.
#[cfg(feature = "async")]
const ASKED: [&str; 3] = ["hand", "serve", "serve.async"];
#[cfg(not(feature = "async"))]
const ASKED: [&str; 2] = ["hand", "serve"];

fn ask(post: &Post, mut chance: Chance) {
    let ledger = &*post.ledger;
    let mut number = 0;
    let mut in_flight: Vec<(u64, PendingReply<u64>)> = Vec::new();
    while !post.is_over() {
        number += 1;
        let topic = ASKED[chance.below(ASKED.len() as u64) as usize];
        let patient = chance.one_in(2);
        if chance.one_in(50) {
            let refused = post.bus.request("nobody", question(post, &mut chance, number, false));
            ledger.no_responders.add(u64::from(refused.is_err_and(|error| error.is_no_responders())));
        }
        if chance.one_in(20) {
            expire(post, topic, question(post, &mut chance, number, false));
        }
        let question = question(post, &mut chance, number, patient);
        let asked = if chance.one_in(4) {
            let timeout = Duration::from_micros(chance.below(100));
            match post.bus.message(topic, question).timeout(timeout).request() {
                Err(error) if error.is_timeout() => {
                    // Nobody has it.
                    ledger.wrong.add(u64::from(error.into_inner().number != number));
                    ledger.timed_out.one();
                    continue;
                }
                asked => asked,
            }
        } else {
            post.bus.request(topic, question)
        };
        let Ok(pending) = asked else { unreachable!("there is a responder") };
        ledger.asked.one();
        if patient {
            ledger.patiently.one();
            in_flight.push((number, pending));
        } else {
            give_up(post, &mut chance, pending);
        }
        if in_flight.len() > chance.below(16) as usize {
            in_flight.drain(..).for_each(|(number, pending)| wait(post, number, pending));
        }
    }
    in_flight.drain(..).for_each(|(number, pending)| wait(post, number, pending));
}

/// A request whose time is over when it is taken out: its caller hears of that.
fn expire(post: &Post, topic: &str, question: Question) {
    let ledger = &post.ledger;
    let Ok(pending) = post.bus.message(topic.to_owned(), question).expires_after(Duration::ZERO).request() else {
        unreachable!("there is a responder")
    };
    ledger.expired.one();
    let unanswered = pending.wait_timeout(LONG).is_err_and(|error| error.is_unanswered());
    ledger.hung.add(u64::from(!unanswered));
}

fn wait(post: &Post, number: u64, pending: PendingReply<u64>) {
    let ends = &post.ledger.callers;
    let answer = match wait_for(number, pending) {
        // The limit of the request is over, and the caller decides to wait on.
        Err(ReplyError::Timeout(pending)) => {
            post.ledger.late.one();
            pending.wait_timeout(LONG)
        }
        answer => answer,
    };
    match answer {
        Ok(answer) => {
            ends.answered.one();
            post.ledger.wrong.add(u64::from(answer != 2 * number));
        }
        Err(error) if error.is_failed() => ends.failed.one(),
        Err(error) if error.is_unanswered() => ends.dropped.one(),
        Err(_) => post.ledger.hung.one(),
    }
}

#[cfg(feature = "async")]
fn wait_for(number: u64, pending: PendingReply<u64>) -> Result<u64, ReplyError<u64>> {
    if number % 3 == 0 { futures_lite::future::block_on(pending) } else { pending.wait() }
}

#[cfg(not(feature = "async"))]
fn wait_for(_: u64, pending: PendingReply<u64>) -> Result<u64, ReplyError<u64>> {
    pending.wait()
}

/// The ways not to wait for an answer to its end.
fn give_up(post: &Post, chance: &mut Chance, pending: PendingReply<u64>) {
    let ledger = &post.ledger;
    match chance.below(4) {
        0 => drop(pending),
        1 => drop(pending.wait_timeout(Duration::from_micros(chance.below(100)))),
        2 => {
            for _ in 0..chance.below(10) {
                if pending.try_take().is_some() {
                    break;
                }
                thread::yield_now();
            }
        }
        _ => {
            // Called once, whatever comes.
            ledger.callbacks.one();
            let (ledger, panics) = (Arc::clone(ledger), chance.one_in(20));
            pending.on_reply(move |_| {
                ledger.called_back.one();
                if panics {
                    ledger.callback_panics.one();
                    panic_on_purpose();
                }
            });
            return;
        }
    }
    ledger.given_up.one();
}

fn gather(post: &Post, mut chance: Chance) {
    let ledger = &*post.ledger;
    let mut number = 0;
    while !post.is_over() {
        number += 1;
        let patient = chance.one_in(2);
        let asked = post.bus.gather("flock", question(post, &mut chance, number, patient));
        let Ok(replies) = asked else { unreachable!("there are responders") };
        ledger.asked.one();
        if patient {
            let answers = replies.collect_within(LONG);
            ledger.gathered.add(answers.len() as u64);
            ledger.wrong.add(answers.iter().filter(|answer| **answer != 2 * number).count() as u64);
        } else {
            ledger.given_up.one();
            drop(replies.next_timeout(Duration::from_micros(chance.below(50))));
        }
    }
}

/// Responders that come, answer a few, and leave: in a group what is queued stays for the others, elsewhere it goes
/// unanswered.
fn churn(post: &Post, mut chance: Chance) {
    while !post.is_over() {
        let topic = ["hand", "flock"][chance.below(2) as usize];
        let subscriber = responder(&post.bus, topic);
        let limit = chance.below(30);
        respond(&subscriber, &post.ledger, &mut chance, limit);
    }
}

impl Asking {
    pub(crate) fn close(&mut self, checks: &mut Checks) {
        checks.holds("the requests are drained", self.bus.drain(LONG).is_complete());
        for server in self.servers.drain(..) {
            checks.holds("a server has ended", server.stop(LONG).is_complete());
        }
        #[cfg(feature = "async")]
        drop(self.tasks.take());
    }

    pub(crate) fn settle(&self, checks: &mut Checks) -> Vec<(&'static str, String)> {
        let ledger = &*self.ledger;
        let stats = self.bus.stats();
        let (callers, responders) = (ledger.callers.all(), ledger.responders.all());
        checks.equal("answered, failed and dropped: callers, and responders", callers, responders);
        checks.equal("asked patiently, and ended", ledger.patiently.get(), callers.iter().sum());
        checks.equal("gathered, and answered", ledger.gathered.get(), ledger.gathered_answers.get());
        checks.equal("wrong answers, and answers that never came", [ledger.wrong.get(), ledger.hung.get()], [0, 0]);
        checks.equal("callbacks set, and called", ledger.callbacks.get(), ledger.called_back.get());
        checks.equal("callbacks that panicked", ledger.callback_panics.get(), stats.callback_panics);
        checks.equal("servers that panicked", ledger.server_panics.get(), stats.handler_panics);
        checks.equal("requests for nobody", ledger.no_responders.get(), stats.unheard);
        checks.equal("requests that expired, and those lost at mailboxes", ledger.expired.get(), stats.dropped);
        vec![
            ("requests", ledger.asked.get().to_string()),
            ("ended", format!("{} answered, {} failed, {} dropped", callers[0], callers[1], callers[2])),
            ("gathered", ledger.gathered.get().to_string()),
            ("without responders", ledger.no_responders.get().to_string()),
            ("timed out", format!("{} for room, {} for the reply", ledger.timed_out.get(), ledger.late.get())),
            ("expired", ledger.expired.get().to_string()),
            ("given up", ledger.given_up.get().to_string()),
            ("callbacks", format!("{}, {} panics", ledger.callbacks.get(), stats.callback_panics)),
            ("server panics", stats.handler_panics.to_string()),
        ]
    }
}
