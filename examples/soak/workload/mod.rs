//! Everything that a bus does, at once and for as long as wanted, with faults; and an account of every message.
//!
//! Four buses run side by side: [`traffic`] for what is published, with all policies, groups, handlers and subscriptions
//! that come and go; [`asking`] for requests; [`fragile`] for payloads that panic when they are cloned or dropped;
//! [`journals`] for what is kept in order.
//!
//! # What can be accounted exactly
//!
//! *A mailbox that is there from the beginning to the end* gets every message of its topics. So what was published is what
//! its readers received, what its filter rejected, what it counts as dropped, and what is left in it.
//!
//! *A mailbox that comes and goes* has no such equation: who else publishes does not know which mailboxes there are. But
//! each publish tells how many mailboxes took the message, and what each took ends in one of four ways: a reader receives
//! it, it is evicted, it is abandoned with its mailbox, it is still there. So over all mailboxes together
//!
//! ```text
//! delivered + retained values that subscriptions began with = received + evicted + abandoned + left
//! ```
//!
//! where the publishers count the left side and the readers the first of the right. The bus counts what it abandons. A
//! [`Delivery`](tramline::Delivery) does not tell evictions from refusals, so topics come in *lanes* with one policy each:
//! where it is `DropOldest`, nobody publishes without waiting, and all that is dropped is evicted.
//!
//! What has no `Delivery` is kept out of that sum: `fire` and futures that are dropped have topics whose mailboxes stay;
//! a publish that may time out has a topic with one mailbox, so that it was delivered there or not at all.
//!
//! *An observer* is in no `Delivery`, so it stays, and has the equation of a mailbox that stays. What expires is a loss of its
//! mailbox; so messages that may expire have a topic whose mailbox stays too. *A dead letter* that is delivered again is one
//! more message for the handler on which it failed: what was delivered there, retried and republished is what was handled.
//!
//! *A request* ends once at its caller and once at its responder, and in the same way. A caller that does not wait for the
//! end cannot know it, so only those that wait are compared. One with a timeout that comes back has reached no responder; one
//! that has expired is unanswered, and a loss of its mailbox.
//!
//! *A payload* that panics may take a publish with it, and with that what is known of it. Those that do not panic, in a
//! publish that did not, are accounted as above.
//!
//! *A journal* has an offset for every message that its publishers count as delivered there. Its topics have mailboxes that
//! take every message, or none, so a [`Delivery`](tramline::Delivery) tells whether the journal has taken it. Who drops a future
//! does not know; so payloads of these say so, and are at most in the journal: the others are losses. A reader sees offsets
//! without a hole but for those that it reports as lost, and the messages of each publisher in order, none behind what was
//! published because of it. What was read at an offset is the same for all readers.
//!
//! And each payload that was made, by whom ever, was dropped in the end.

#![allow(unreachable_pub, reason = "the example and the test are crates of their own")]

mod asking;
mod fragile;
mod journals;
mod ledger;
#[cfg(feature = "async")]
mod tasks;
mod traffic;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ledger::Checks;

/// A wait that is as long as this hangs.
const LONG: Duration = Duration::from_secs(60);

/// What has to be known before it begins.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub seed: u64,
    pub time: Duration,
    /// The bytes on the heap.
    pub heap: fn() -> usize,
    /// Tells how it goes, on standard error.
    pub tells: bool,
}

/// What became of it.
#[derive(Debug)]
pub struct Summary {
    options: Options,
    took: Duration,
    lines: Vec<(&'static str, String)>,
    resources: Resources,
    /// What does not add up; empty if all is well.
    pub failures: Vec<String>,
}

/// The most that was in use.
#[derive(Debug, Default, Clone, Copy)]
struct Resources {
    /// In the first half of the time, without what it takes to get going, and in the second.
    heap: [usize; 2],
    threads: u64,
    at_rest: (u64, u64),
    left: usize,
}

/// What goes on until it is told to stop, and what then ends with its bus.
#[derive(Default)]
struct Crew {
    active: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

impl Crew {
    fn active(&mut self, work: impl FnOnce() + Send + 'static) {
        self.active.push(thread::spawn(work));
    }

    fn reads(&mut self, work: impl FnOnce() + Send + 'static) {
        self.readers.push(thread::spawn(work));
    }
}

/// Numbers that look random and are the same for the same seed.
struct Chance(u64);

impl Chance {
    fn new(seed: u64, thread: u64) -> Self {
        Self((seed ^ thread.wrapping_mul(0xd6e8_feb8_6659_fd93)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % limit
    }

    fn one_in(&mut self, limit: u64) -> bool {
        self.below(limit) == 0
    }

    /// What a slow consumer takes for a message, now and then.
    fn dawdle(&mut self) {
        if self.one_in(64) {
            thread::sleep(Duration::from_micros(self.below(500)));
        }
    }
}

/// One of the payloads that are alive.
#[derive(Debug)]
struct Token(Arc<AtomicI64>);

impl Token {
    fn new(alive: &Arc<AtomicI64>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(alive))
    }
}

impl Clone for Token {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits until the threads of a handler have let go of its closure, which has the other of the two.
fn wait_for_threads_of(closure: &Arc<()>) {
    let patience = Instant::now() + LONG;
    while Arc::strong_count(closure) > 1 {
        assert!(Instant::now() < patience, "the threads of a handler do not end");
        thread::yield_now();
    }
}

/// A fault that is meant. It does not pass the panic hook, which would print it.
fn panic_on_purpose() -> ! {
    std::panic::resume_unwind(Box::new("on purpose"))
}

#[cfg(target_os = "linux")]
fn threads() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok()).unwrap_or(0)
}

/// Nobody else tells.
#[cfg(not(target_os = "linux"))]
fn threads() -> u64 {
    0
}

/// More threads than the work ever has: 87 of its own, and 14 of handlers that come and go.
const MOST_THREADS: u64 = 114;

/// The thread of the timer, which async handlers begin to use when they retry, stays as long as the process.
const TIMER: u64 = cfg!(feature = "async") as u64;

/// More than that is not left of the first use of anything.
const SLACK: usize = 512 * 1024;

pub fn run(options: Options) -> Summary {
    let began = Instant::now();
    let threads_before = threads();
    let heap_before = (options.heap)();
    let mut resources = Resources::default();
    let mut checks = Checks::default();
    let alive = Arc::new(AtomicI64::new(0));
    let lines;
    {
        let stop = Arc::new(AtomicBool::new(false));
        let mut crews = [(); 4].map(|()| Crew::default());
        let mut traffic = traffic::start(options.seed, &stop, &alive, &mut crews[0]);
        let mut asking = asking::start(options.seed, &stop, &alive, &mut crews[1]);
        let mut fragile = fragile::start(options.seed, &stop, &alive, &mut crews[2]);
        let mut journals = journals::start(options.seed, &stop, &alive, &mut crews[3]);
        watch(&options, began, &mut resources);
        stop.store(true, Ordering::Relaxed);
        let mut readers = Vec::new();
        for crew in crews {
            checks.ended(crew.active);
            readers.extend(crew.readers);
        }
        traffic.close(&mut checks);
        asking.close(&mut checks);
        fragile.close(&mut checks);
        journals.close(&mut checks);
        checks.ended(readers);
        lines = [
            traffic.settle(&mut checks),
            asking.settle(&mut checks),
            fragile.settle(&mut checks),
            journals.settle(&mut checks),
        ]
        .concat();
    }
    checks.equal("payloads that are alive in the end", alive.load(Ordering::Relaxed), 0);
    let took = began.elapsed();
    // A thread that was joined may still be on the list of the system for a moment.
    let patience = Instant::now() + LONG;
    while threads() > threads_before + TIMER && Instant::now() < patience {
        thread::yield_now();
    }
    resources.at_rest = (threads_before, threads());
    checks.at_most("threads in the end, and before", resources.at_rest.1, threads_before + TIMER);
    checks.at_most("threads", resources.threads, threads_before + MOST_THREADS);
    // What grows without bounds grows in the second half too.
    let [first, second] = resources.heap;
    checks.at_most(
        "the heap in the second half, and half as much again as in the first",
        second,
        first + first / 2 + SLACK,
    );
    resources.left = (options.heap)().saturating_sub(heap_before);
    checks.at_most("bytes left on the heap", resources.left, SLACK);
    Summary { options, took, lines, resources, failures: checks.failures }
}

/// Looks at what the process uses until the time is over.
fn watch(options: &Options, began: Instant, resources: &mut Resources) {
    let mut told = began;
    loop {
        let elapsed = began.elapsed();
        if elapsed >= options.time {
            return;
        }
        // The first tenth is left out: queues and lists get their size there.
        if elapsed * 10 >= options.time {
            let half = usize::from(elapsed * 2 >= options.time);
            resources.heap[half] = resources.heap[half].max((options.heap)());
        }
        resources.threads = resources.threads.max(threads());
        if options.tells && told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            eprintln!("{:>5} s: {} bytes on the heap, {} threads", elapsed.as_secs(), (options.heap)(), threads());
        }
        // How often it looks, not a wait for something.
        thread::sleep(Duration::from_millis(10).min(options.time - elapsed));
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:.1} s", self.options.seed, self.took.as_secs_f64())?;
        for (name, value) in &self.lines {
            writeln!(f, "{name:<24}{value}")?;
        }
        let Resources { heap: [first, second], threads, at_rest, left } = self.resources;
        writeln!(f, "{:<24}{first} bytes in the first half, {second} in the second, {left} left", "peak heap")?;
        writeln!(f, "{:<24}{threads} at most, {} before, {} afterwards", "threads", at_rest.0, at_rest.1)?;
        for failure in &self.failures {
            writeln!(f, "WRONG                   {failure}")?;
        }
        let verdict = if self.failures.is_empty() { "0" } else { "see above" };
        write!(f, "{:<24}{verdict}", "lost")
    }
}
