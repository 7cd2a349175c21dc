//! What went wrong elsewhere. One test for each failure that users of other buses and channels have met, named after
//! the failure, with the place where it is told. Each shows that it does not happen here.
//!
//! Some measure the whole process, so all take turns.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use peak_alloc::PeakAlloc;
use support::{LONG, wait_until, within};
use tramline::{Bus, DeadLetterReason, Delivery, Overflow, Retry, Subscriber, WeakBus};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn in_turn(test: impl FnOnce() + Send + 'static) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Some of the failures are hangs, and a mutex that is held by a thread that hangs would hold up all tests.
    within(4 * LONG, test);
}

fn counts(delivery: Delivery) -> (usize, usize) {
    (delivery.delivered(), delivery.dropped())
}

/// A consumer that does not read holds up the publisher inside the bus, and with it every other consumer: in Watermill's
/// Go channels one subscriber blocks the others (ThreeDotsLabs/watermill, issue 247), in go-broadcast any receiver blocks
/// the broadcaster (dustin/go-broadcast, issue 3), with async-broadcast an inactive receiver is enough
/// (smol-rs/async-broadcast, issue 80), and with cskr/pubsub the unsubscribing itself waits for the full queue (issue 6).
///
/// Here one publisher waits for an idle subscriber, because that is what `publish` is for. Nobody else does.
#[test]
fn an_idle_subscriber_stalls_everyone() {
    in_turn(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let idle = bus.subscribe("shared").unwrap();
        let reading = bus.subscribe("*").unwrap();
        assert_eq!(counts(bus.publish("shared", 0).unwrap()), (2, 0));
        assert_eq!(*reading.recv().unwrap(), 0);
        let waiting = {
            let bus = bus.clone();
            thread::spawn(move || bus.publish("shared", 1))
        };
        // The one who reads has the message that the publisher waits with.
        assert_eq!(*reading.recv().unwrap(), 1);

        // The same topic: others publish, come, go and look.
        assert_eq!(counts(bus.try_publish("shared", 2).unwrap()), (1, 1));
        assert_eq!(*reading.recv().unwrap(), 2);
        assert!(bus.publish_timeout("shared", 3, Duration::from_millis(1)).unwrap_err().is_timeout());
        assert_eq!(*reading.recv().unwrap(), 3);
        let newcomer = bus.subscribe("shared").unwrap();
        bus.fire("shared", 4);
        assert_eq!((*newcomer.recv().unwrap(), *reading.recv().unwrap()), (4, 4));
        assert_eq!(newcomer.unsubscribe(), 0);
        assert_eq!(bus.publisher("shared").unwrap().subscriber_count(), 2);
        assert_eq!(bus.stats().subscriptions.len(), 2);
        drop(reading);

        // Other topics: all of a bus's work goes on.
        let server = bus.serve("ask", |n| **n + 1).unwrap();
        let (seen, handled) = channel();
        let handler = bus.on("other", move |n| seen.send(**n).unwrap()).unwrap();
        let other = bus.publisher("other").unwrap();
        for n in 0..1000 {
            assert_eq!(counts(other.publish(n).unwrap()), (1, 0));
            assert_eq!(handled.recv_timeout(LONG).unwrap(), n);
            assert_eq!(bus.request("ask", n).unwrap().wait().unwrap(), n + 1);
        }
        assert!(handler.stop(LONG).is_complete() && server.stop(LONG).is_complete());

        // The publisher still waits, and the end of the idle subscriber lets it go.
        assert!(!waiting.is_finished());
        assert_eq!(idle.unsubscribe(), 1);
        assert_eq!(counts(waiting.join().unwrap().unwrap()), (1, 0));
    });
}

/// Where a [`Meddler`] meddles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Clone,
    Drop,
    Filter,
    Handler,
    Callback,
}

/// A payload, and other user code, that has *another thread* use the bus, and waits for it. A lock that lets its own
/// thread in again, or one for readers, would not be found by user code that uses the bus itself.
struct Meddler {
    place: Option<Place>,
    shared: Arc<Meddling>,
}

struct Meddling {
    bus: WeakBus<Meddler>,
    /// One at a time, or the other thread would meddle too.
    busy: AtomicBool,
    times: AtomicUsize,
    hung: AtomicBool,
}

impl Meddling {
    fn meddle(self: &Arc<Self>) {
        if self.busy.swap(true, Ordering::SeqCst) {
            return;
        }
        let (done, ended) = channel();
        let shared = Arc::clone(self);
        let other = thread::spawn(move || {
            shared.use_everything();
            let _ = done.send(());
        });
        if ended.recv_timeout(LONG / 3).is_ok() {
            other.join().unwrap();
            self.times.fetch_add(1, Ordering::SeqCst);
        } else {
            // No panic: this may run while another unwinds.
            self.hung.store(true, Ordering::SeqCst);
        }
        self.busy.store(false, Ordering::SeqCst);
    }

    /// Takes each lock that there is, on topics that the others use too.
    fn use_everything(self: &Arc<Self>) {
        let Some(bus) = self.bus.upgrade() else { return };
        let quiet = || Meddler { place: None, shared: Arc::clone(self) };
        let Ok(own) = bus.subscription("meddle").also("side.*").open() else { return };
        let member = bus.subscription("meddle").group("members").open().unwrap();
        let letters = bus.dead_letters();
        bus.fire("meddle", quiet());
        let _ = bus.publish_retained("side.kept", quiet());
        drop(bus.retained("side.kept"));
        drop(bus.subscription("side.kept").with_retained().open());
        drop(bus.clear_retained("side.kept"));
        drop(bus.request("side.ask", quiet()).unwrap());
        drop(bus.publisher("meddle"));
        let _ = bus.stats();
        assert!(own.unsubscribe() > 0);
        drop((member, letters));
    }
}

impl Clone for Meddler {
    fn clone(&self) -> Self {
        if self.place == Some(Place::Clone) {
            self.shared.meddle();
        }
        Self { place: self.place, shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        if self.place == Some(Place::Drop) {
            self.shared.meddle();
        }
    }
}

/// Everything of a bus that runs user code.
fn run_user_code(place: Place) -> usize {
    let bus = Bus::<Meddler>::new();
    let shared = Arc::new(Meddling {
        bus: bus.downgrade(),
        busy: AtomicBool::new(false),
        times: AtomicUsize::new(0),
        hung: AtomicBool::new(false),
    });
    let payload = || Meddler { place: Some(place), shared: Arc::clone(&shared) };
    let meddles_in = |here: Place| {
        let shared = Arc::clone(&shared);
        move || {
            if here == place {
                shared.meddle();
            }
        }
    };

    let in_filter = meddles_in(Place::Filter);
    let with_filter = bus.subscription("meddle").filter(move |_| {
        in_filter();
        true
    });
    let with_filter = with_filter.open().unwrap();
    let small = |overflow| bus.subscription("meddle").capacity(1).overflow(overflow).open().unwrap();
    let lossy = [Overflow::Block, Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect].map(small);
    let (sender, handled) = channel();
    let in_handler = meddles_in(Place::Handler);
    let handler = bus
        .subscription("meddle")
        .retry(Retry::fixed(1, Duration::ZERO))
        .handle(move |message| {
            // Not for what the meddling itself publishes, or it would never end.
            if message.place.is_some() {
                in_handler();
                let _ = sender.send(());
            }
            Err::<(), _>("a dead letter")
        })
        .unwrap();
    // Two, so that a letter is cloned.
    let (letters, more_letters) = (bus.dead_letters(), bus.dead_letters());
    let publisher = bus.publisher("meddle").unwrap();
    for _ in 0..2 {
        // Evicted, refused, disconnected, handled twice, and then a letter.
        let _ = publisher.try_publish(payload());
        (0..2).for_each(|_| handled.recv_timeout(LONG).unwrap());
    }
    let _ = bus.publish("unheard", payload());
    // Replaced, cloned for a subscriber, and forgotten.
    let _ = bus.publish_retained("kept.one", payload());
    let _ = bus.publish_retained("kept.one", payload());
    let _ = bus.publish_retained("kept.other", payload());
    let late = bus.subscription("kept.>").with_retained().open().unwrap();
    drop(late.recv().unwrap());
    drop(bus.clear_retained("kept.one"));
    // Answered, and dropped unanswered.
    let service = bus.subscribe("ask").unwrap();
    for answered in [true, false] {
        let in_callback = meddles_in(Place::Callback);
        bus.request("ask", payload()).unwrap().on_reply(move |_| in_callback());
        let request = service.recv().unwrap();
        if answered {
            request.reply(payload()).unwrap_or_default();
        }
    }
    drop(letters.try_iter().next());
    drop((letters, more_letters));
    // Dropped where they are queued: by who leaves, and by the end.
    let [block, newest, oldest, _disconnected] = lossy;
    block.unsubscribe();
    drop((newest, oldest, with_filter, late, service));
    assert!(handler.stop(LONG).is_complete());
    bus.close();
    drop((publisher, bus));
    assert!(!shared.hung.load(Ordering::SeqCst), "another thread cannot use the bus during {place:?}");
    shared.times.load(Ordering::SeqCst)
}

/// A handler that publishes or subscribes waits for the lock that its own publisher holds (asaskevich/EventBus, issue 35;
/// astrid-runtime/astrid, issue 125), and so does a subscriber whose `Drop` publishes (the same, pull request 131). With
/// tokio a waker that is dropped under the lock of `Notify` or `broadcast` waits for it (tokio-rs/tokio, issue 5429, fixed
/// for `broadcast` in pull request 5578); wakers are in the module `tasks`.
#[test]
fn user_code_under_the_lock() {
    in_turn(|| {
        for (place, least) in
            [(Place::Clone, 5), (Place::Drop, 5), (Place::Filter, 2), (Place::Handler, 4), (Place::Callback, 2)]
        {
            let times = run_user_code(place);
            assert!(times >= least, "{place:?}: {times} times");
        }
    });
}

/// Receivers of tokio's `broadcast` learn of a lag as an error of `recv`, beside the end. Loops of the form
/// `while let Ok(..)` stop there for ever: a stream of market data (Polymarket/rs-clob-client, pull request 279), one of a
/// blockchain's entries (jito-labs/shredstream-proxy, pull request 68), a radar's web socket (MarineYachtRadar/
/// mayara-server, issue 31). It had to be said more clearly what a lag is (tokio-rs/tokio, pull request 8239).
///
/// Here every such loop survives a lag, and the messages tell of it. Only a policy that is called `Disconnect` ends.
#[test]
fn lag_treated_as_the_end() {
    /// Takes one message, or as many as there are; `Break` at the end.
    type Take = fn(&Subscriber<u32>, &mut Vec<(u32, u64)>) -> ControlFlow<()>;

    fn note(message: &tramline::Message<u32>, taken: &mut Vec<(u32, u64)>) -> ControlFlow<()> {
        taken.push((**message, message.lost_before()));
        ControlFlow::Continue(())
    }

    let ways: [Take; 5] = [
        |reader, taken| reader.recv().map_or(ControlFlow::Break(()), |message| note(&message, taken)),
        |reader, taken| reader.recv_timeout(LONG).map_or(ControlFlow::Break(()), |message| note(&message, taken)),
        |reader, taken| reader.into_iter().next().map_or(ControlFlow::Break(()), |message| note(&message, taken)),
        |reader, taken| {
            let mut messages = Vec::new();
            if reader.recv_many(&mut messages, 2).is_err() {
                return ControlFlow::Break(());
            }
            messages.iter().try_for_each(|message| note(message, taken))
        },
        |reader, taken| {
            let mut select = crossbeam_channel::Select::new();
            let place = reader.register(&mut select);
            let operation = select.select();
            assert_eq!(operation.index(), place);
            reader.complete(operation).map_or(ControlFlow::Break(()), |message| note(&message, taken))
        },
    ];
    in_turn(move || {
        for way in ways {
            for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
                let bus = Bus::<u32>::new();
                let reader = bus.subscription("news").capacity(2).overflow(overflow).open().unwrap();
                let mut taken = Vec::new();
                for burst in 0..3 {
                    for n in 0..100 {
                        bus.publish("news", 100 * burst + n).unwrap();
                    }
                    // A reader that lags by 98 messages goes on.
                    while !reader.is_empty() {
                        assert!(way(&reader, &mut taken).is_continue(), "the lag has ended a loop");
                    }
                }
                let told: u64 = taken.iter().map(|(_, lost)| lost).sum();
                let untold = if overflow == Overflow::DropNewest { 98 } else { 0 };
                assert_eq!((taken.len(), told + untold, reader.dropped()), (6, 294, 294));
                bus.close();
                assert!(way(&reader, &mut taken).is_break());
                assert!(reader.recv().unwrap_err().is_closed());
            }
            // The one policy that ends says that it was the lag, and first gives what it has.
            let bus = Bus::<u32>::new();
            let reader = bus.subscription("news").capacity(2).overflow(Overflow::Disconnect).open().unwrap();
            (0..100).for_each(|n| bus.fire("news", n));
            let mut taken = Vec::new();
            while way(&reader, &mut taken).is_continue() {}
            assert_eq!(taken, [(0, 0), (1, 0)]);
            let error = reader.recv().unwrap_err();
            assert!(error.is_overflowed() && !error.is_closed());
        }
    });
}

/// A waiter that gives up takes the wake-up with it that was meant for the next one, and a message stays in the queue
/// while readers sleep: flume, where iroh's tasks cancelled `recv_async` (n0-computer/iroh, pull requests 2533 and 2536;
/// zesterer/flume, issue 104). Futures are in the module `tasks`; threads give up when their time is over.
#[test]
fn lost_wake_ups() {
    const ROUNDS: usize = 1_500;
    /// About as long as the others take to get to their part, so that it is over before, while and after.
    const HASTE: Duration = Duration::from_micros(20);

    in_turn(|| {
        // A patient reader, and two who give up each time that there is a message.
        let bus = Bus::<u32>::builder().capacity(1).build();
        let member = || bus.subscription("work").group("g").open().unwrap();
        let (patient, hasty) = (member(), [member(), member()]);
        let (received, round) = (AtomicUsize::new(0), Barrier::new(3));
        thread::scope(|scope| {
            let (received, round) = (&received, &round);
            for hasty in hasty {
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        round.wait();
                        if hasty.recv_timeout(HASTE).is_ok() {
                            received.fetch_add(1, Ordering::SeqCst);
                        }
                        round.wait();
                    }
                });
            }
            scope.spawn(move || {
                patient.iter().for_each(|_| {
                    received.fetch_add(1, Ordering::SeqCst);
                });
            });
            for n in 1..=ROUNDS {
                round.wait();
                (0..n % 7).for_each(|_| thread::yield_now());
                bus.publish("work", 1).unwrap();
                round.wait();
                // Those who were hasty are gone: nobody else wakes up by chance.
                wait_until("the message is taken by somebody", || received.load(Ordering::SeqCst) == n);
            }
            bus.close();
        });

        // A patient publisher, and one who gives up each time that there is room.
        let bus = Bus::<u32>::builder().capacity(1).build();
        let reader = bus.subscribe("work").unwrap();
        let round = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| while bus.publish("work", 1).is_ok() {});
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    round.wait();
                    let _ = bus.publish_timeout("work", 2, HASTE);
                    round.wait();
                }
            });
            for n in 0..ROUNDS {
                round.wait();
                (0..n % 7).for_each(|_| thread::yield_now());
                assert!(reader.recv_timeout(LONG).is_ok());
                round.wait();
                assert!(reader.recv_timeout(LONG).is_ok(), "the patient publisher does not use the room");
            }
            bus.close();
        });
    });
}

/// A payload that counts how many of it there are.
struct Counted(Arc<AtomicI64>);

impl Counted {
    fn new(alive: &Arc<AtomicI64>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Three numbers of a version.
fn version(text: &str) -> [u32; 3] {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap());
    [(); 3].map(|()| numbers.next().unwrap_or(0))
}

/// Versions 0.5.12 to 0.5.14 of crossbeam-channel could free a block twice when a channel was dropped while its messages
/// were being discarded (RUSTSEC-2025-0024; crossbeam-rs/crossbeam, pull request 1187). So the minimum version of the
/// manifest binds whoever depends on this crate, and that of the lock file is what was tested. What races there, races
/// here too: every payload is dropped exactly once.
#[test]
fn double_free_at_channel_drop() {
    let file = |name: &str| fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let manifest = file("Cargo.toml");
    // The first text in quotes behind the name is the version, also in the manifest of the published package.
    let required = manifest.split_once("crossbeam-channel").unwrap().1.split('"').nth(1).unwrap();
    assert!(version(required) >= [0, 5, 17], "the manifest allows crossbeam-channel {required}");
    let lock = file("Cargo.lock");
    let locked: Vec<_> = lock.split("name = \"crossbeam-channel\"\nversion = \"").skip(1).collect();
    assert!(!locked.is_empty());
    for locked in locked {
        let locked = locked.split('"').next().unwrap();
        assert!(version(locked) >= [0, 5, 17], "the lock file has crossbeam-channel {locked}");
    }

    in_turn(|| {
        let alive = Arc::new(AtomicI64::new(0));
        for round in 0..500 {
            let bus = Bus::<Counted>::builder().capacity(40).build();
            let readers = [(); 2].map(|()| bus.subscribe("a.*").unwrap());
            let publisher = bus.publisher("a.b").unwrap();
            let start = Barrier::new(4);
            let (start, alive) = (&start, &alive);
            thread::scope(|scope| {
                for (number, reader) in readers.into_iter().enumerate() {
                    scope.spawn(move || {
                        start.wait();
                        reader.try_iter().take(round % 7 + number).for_each(drop);
                        drop(reader);
                    });
                }
                scope.spawn(move || {
                    start.wait();
                    (0..60).for_each(|_| publisher.fire(Counted::new(alive)));
                });
                scope.spawn(move || {
                    start.wait();
                    if round % 2 == 0 {
                        bus.close();
                    }
                    drop(bus);
                });
            });
            assert_eq!(alive.load(Ordering::SeqCst), 0, "round {round}: leaked if positive, dropped twice if not");
        }
    });
}

/// What Linux tells of the threads of a name.
#[cfg(target_os = "linux")]
#[derive(Default, Debug, Clone, Copy)]
struct Activity {
    threads: u64,
    asleep: u64,
    /// How often they went to sleep.
    sleeps: u64,
    /// Processor time, in ticks.
    ticks: u64,
}

#[cfg(target_os = "linux")]
impl Activity {
    fn of(name: &str) -> Self {
        let mut sum = Self::default();
        for task in fs::read_dir("/proc/self/task").unwrap() {
            let path = task.unwrap().path();
            let text = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
            // A thread may end while it is looked at.
            let (status, stat) = (text("status"), text("stat"));
            let field =
                |field: &str| status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default().trim();
            if !field("Name:").starts_with(name) {
                continue;
            }
            let fields: Vec<_> = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace().collect();
            sum.threads += 1;
            sum.asleep += u64::from(field("State:").starts_with('S'));
            sum.sleeps += field("voluntary_ctxt_switches:").parse::<u64>().unwrap_or(0);
            sum.ticks +=
                [14, 15].iter().map(|at| fields.get(at - 3).map_or(0, |n| n.parse().unwrap_or(0))).sum::<u64>();
        }
        sum
    }
}

/// A thread of this name.
fn named<O: Send + 'static>(name: &str, run: impl FnOnce() -> O + Send + 'static) -> thread::JoinHandle<O> {
    thread::Builder::new().name(name.to_owned()).spawn(run).unwrap()
}

/// Twenty readers of the crate `bus` that wait for nothing use half a core, because they park with a time limit and look
/// again (jonhoo/bus, issues 23 and 5); receivers of async-channel woke each other in a circle (smol-rs/async-channel,
/// issue 13).
///
/// Here whoever waits is asleep until there is a reason. Counted are the times that a thread went to sleep again, and the
/// time that it ran without doing so. That readers who never had a message use no processor time is a case of its own
/// (L7); these have had messages, and not only readers wait.
#[cfg(target_os = "linux")]
#[test]
fn idle_cpu_and_spinning() {
    in_turn(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let stuck = bus.subscribe("stuck").unwrap();
        bus.publish("stuck", 0).unwrap();
        let silent = bus.subscription("silent").capacity(8).open().unwrap();
        let mut waiting = Vec::new();
        for n in 0..20 {
            let reader = match n % 4 {
                0 => bus.subscribe("news").unwrap(),
                1 => bus.subscription("news").group("g").open().unwrap(),
                2 => bus.subscription("*").filter(|n| *n < 100).open().unwrap(),
                _ => bus.subscription("news").overflow(Overflow::DropOldest).open().unwrap(),
            };
            waiting.push(named("idle-reader", move || reader.iter().for_each(drop)));
        }
        let handlers =
            [(); 5].map(|()| bus.subscription("news").workers(2).name("idle-worker").handle(|_| {}).unwrap());
        for _ in 0..4 {
            let publisher = bus.publisher("stuck").unwrap();
            waiting.push(named("idle-publisher", move || drop(publisher.publish(1))));
            let pending = bus.request("silent", 1).unwrap();
            waiting.push(named("idle-caller", move || drop(pending.wait())));
            let letters = bus.dead_letters();
            waiting.push(named("idle-letters", move || letters.iter().for_each(drop)));
        }
        for n in 0..1000 {
            bus.publish("news", n).unwrap();
        }
        bus.publish("unheard.by.all", 1).unwrap();
        let all = 20 + 10 + 4 * 3;
        let idle = || Activity::of("idle-");
        wait_until("all are asleep, and have nothing to wake up for", || {
            idle().asleep == all
                && bus
                    .stats()
                    .subscriptions
                    .iter()
                    .all(|mailbox| mailbox.depth == 0 || mailbox.patterns[0].as_str().starts_with('s'))
        });
        wait_until("the last that woke up is asleep again", || idle().asleep == all);
        let before = idle();
        // Not a wait for something to happen: this is the time over which is counted.
        thread::sleep(Duration::from_secs(1));
        let after = idle();
        assert_eq!((before.threads, after.threads, after.asleep), (all, all, all));
        // One that looks every 10 ms would have done so a hundred times.
        let (sleeps, ticks) = (after.sleeps - before.sleeps, after.ticks - before.ticks);
        assert!(sleeps < all, "they woke up {sleeps} times");
        assert!(ticks < 5, "they ran for {ticks} ticks");
        bus.close();
        drop((stuck, silent));
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
        handlers.into_iter().for_each(|handler| assert!(handler.stop(LONG).is_complete()));
    });
}

/// A payload that counts its clones.
struct Counting(Arc<AtomicUsize>);

impl Clone for Counting {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&self.0))
    }
}

/// From about 40 receivers on, sending to tokio's `broadcast` got quadratically slower, up to minutes, when each receiver
/// had a thread of its own: all of them fight for the lock of the channel's end (tokio-rs/tokio, issues 5923 and 5465).
///
/// Here a message costs each mailbox the same, however many there are. Counted are operations: clones, looks of filters,
/// bytes of the heap, and how often the receivers' threads went to sleep; who waits for a lock goes to sleep.
#[test]
fn superlinear_fan_out_beyond_40_receivers() {
    const MESSAGES: usize = 50;

    /// What is counted for each message and receiver, where all have room.
    fn operations(receivers: usize) {
        let bus = Bus::<Counting>::new();
        let (clones, looks) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let subscribers: Vec<_> = (0..receivers)
            .map(|_| {
                let looks = Arc::clone(&looks);
                let look = move |_: &Counting| looks.fetch_add(1, Ordering::SeqCst) < usize::MAX;
                bus.subscription("news").capacity(MESSAGES).filter(look).open().unwrap()
            })
            .collect();
        let publisher = bus.publisher("news").unwrap();
        let before = HEAP.current_usage();
        for _ in 0..MESSAGES {
            assert_eq!(publisher.publish(Counting(Arc::clone(&clones))).unwrap().delivered(), receivers);
        }
        // Mailboxes have their memory already.
        assert!(HEAP.current_usage() <= before + 1024, "{} bytes more", HEAP.current_usage() - before);
        assert_eq!(clones.load(Ordering::SeqCst), MESSAGES * (receivers - 1));
        assert_eq!(looks.load(Ordering::SeqCst), MESSAGES * receivers);
        assert!(subscribers.iter().all(|subscriber| subscriber.len() == MESSAGES));
    }

    /// How often each receiver went to sleep for a message, on average, in hundredths.
    #[cfg(target_os = "linux")]
    fn sleeps(receivers: usize) -> u64 {
        let bus = Bus::<u32>::new();
        let received = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..receivers)
            .map(|_| {
                let (subscriber, received) = (bus.subscribe("news").unwrap(), Arc::clone(&received));
                named("fan-out", move || {
                    for _ in &subscriber {
                        received.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        wait_until("all wait", || Activity::of("fan-out").asleep == receivers as u64);
        let before = Activity::of("fan-out").sleeps;
        for n in 1..=MESSAGES {
            bus.publish("news", 1).unwrap();
            wait_until("all have it", || received.load(Ordering::SeqCst) == n * receivers);
        }
        let sleeps = Activity::of("fan-out").sleeps - before;
        bus.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        sleeps * 100 / (MESSAGES * receivers) as u64
    }

    in_turn(|| {
        for receivers in [10, 40, 80, 320] {
            operations(receivers);
        }
        #[cfg(target_os = "linux")]
        for receivers in [10, 40, 160] {
            let sleeps = sleeps(receivers);
            // Once for each message, and now and then for the lock that guards the sleep of this very receiver.
            assert!(sleeps <= 200, "{receivers} receivers went to sleep {sleeps} times for 100 messages each");
        }
    });
}

/// What is kept for those who wait, for topics and for dead letters, and never let go. Flume kept a hook for each time
/// that a waiting future was asked (zesterer/flume, issue 182), tokio's `broadcast` a node for each receive that was
/// cancelled (tokio-rs/mini-redis, issue 38), Watermill's Go channels a lock for each topic that ever was
/// (ThreeDotsLabs/watermill, issue 391). Futures are in the module `tasks`.
#[test]
fn unbounded_memory() {
    const ROUNDS: u32 = 10_000;
    const SLACK: usize = 64 * 1024;

    fn grows(what: &str, mut round: impl FnMut(u32)) {
        // Once for what the first use of anything allocates.
        (0..ROUNDS / 10).for_each(&mut round);
        let before = HEAP.current_usage();
        (0..ROUNDS).for_each(&mut round);
        let after = HEAP.current_usage();
        assert!(after <= before + SLACK, "{what}: {} bytes more after {ROUNDS} rounds", after - before);
    }

    in_turn(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let empty = bus.subscribe("empty").unwrap();
        let _full = bus.subscribe("full").unwrap();
        bus.publish("full", 0).unwrap();
        let silent = bus.subscription("silent").capacity(4).open().unwrap();
        let pending = std::cell::Cell::new(Some(bus.request("silent", 0).unwrap()));
        grows("those who wait and give up", |n| {
            assert!(empty.recv_timeout(Duration::ZERO).unwrap_err().is_timeout());
            assert!(bus.publish_timeout("full", n, Duration::ZERO).unwrap_err().is_timeout());
            let waited = pending.take().unwrap().wait_timeout(Duration::ZERO).unwrap_err();
            pending.set(waited.into_inner());
        });
        drop(silent);
        grows("topics that are looked at once", |n| {
            let topic = format!("once.{n}");
            assert!(bus.publish(topic.as_str(), n).unwrap().is_unheard());
            assert!(bus.request(topic.as_str(), n).unwrap_err().is_no_responders());
            assert_eq!(bus.retained(topic.as_str()), None);
            assert_eq!(bus.clear_retained(topic.as_str()), None);
            let publisher = bus.publisher(topic.as_str()).unwrap();
            let subscriber = bus.subscribe(topic).unwrap();
            assert!(publisher.try_publish(n).unwrap().delivered() == 1);
            drop((subscriber, publisher));
        });
        let stats = bus.stats();
        assert_eq!((stats.topics, stats.subscriptions.len()), (2, 2));

        // Nobody reads the letters: they are bounded, and what is lost of them is counted.
        let letters = bus.dead_letters();
        let mut posted = 0;
        grows("dead letters", |n| {
            bus.fire("unheard", n);
            posted += 1;
        });
        assert_eq!(letters.len() as u64 + letters.dropped(), posted);
        assert!(letters.len() <= 1024);
        assert_eq!(bus.stats().dead_letters, posted);
    });
}

/// A queue that is full drops, and nobody is told, or only a log is: more than half of the messages gone without a sign
/// at the publisher (nats-io/nats-server, issue 217), clients that cannot tell that they are slow (nats-io/nats.ts, issue
/// 73; nats-io/nats-pure.rb, issue 75), a Postgres-backed bus whose losses had to be made visible afterwards
/// (coder/coder, pull request 7660).
///
/// Here a loss has five witnesses, and they agree.
#[test]
fn a_full_queue_that_drops_silently() {
    /// What the publisher is told: messages put in, and lost.
    type Publish = fn(&Bus<u32>, u32) -> Option<(usize, usize)>;

    let ways: [(&str, Publish); 4] = [
        ("publish", |bus, n| Some(counts(bus.publish("work", n).unwrap()))),
        ("try_publish", |bus, n| Some(counts(bus.try_publish("work", n).unwrap()))),
        ("publish_retained", |bus, n| Some(counts(bus.publish_retained("work", n).unwrap()))),
        ("fire", |bus, n| {
            bus.fire("work", n);
            None
        }),
    ];
    in_turn(move || {
        for (name, publish) in ways {
            for overflow in [Overflow::Block, Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect] {
                if overflow == Overflow::Block && matches!(name, "publish" | "publish_retained") {
                    continue; // These wait.
                }
                let what = format!("{name} with {overflow:?}");
                let bus = Bus::<u32>::new();
                let letters = bus.dead_letters();
                let reader = bus.subscription("work").capacity(3).overflow(overflow).open().unwrap();
                let told: Vec<_> = (0..10).map(|n| publish(&bus, n)).collect();
                // A disconnected mailbox is no subscription any more: what follows is unheard, not lost there.
                let lost = if overflow == Overflow::Disconnect { 1 } else { 7 };
                if told[0].is_some() {
                    assert_eq!(told.iter().flatten().map(|(_, lost)| lost).sum::<usize>(), lost, "{what}: deliveries");
                }
                assert_eq!(reader.dropped(), lost as u64, "{what}: the subscriber");
                let stats = bus.stats();
                assert_eq!(stats.dropped, lost as u64, "{what}: the statistics of the bus");
                let of_full = letters.try_iter().filter(|letter| *letter.reason() != DeadLetterReason::Unheard);
                assert_eq!(of_full.count(), lost, "{what}: dead letters");
                // The messages: what was lost since the last is told by the next.
                let mut received: Vec<_> = reader.try_iter().collect();
                if overflow != Overflow::Disconnect {
                    let _ = publish(&bus, 10);
                    received.extend(reader.try_iter());
                    assert_eq!(received.iter().map(|m| m.lost_before()).sum::<u64>(), lost as u64, "{what}: messages");
                    assert_eq!(received.len(), 4);
                } else {
                    assert_eq!(received.len(), 3);
                    assert!(reader.recv().unwrap_err().is_overflowed(), "{what}: the end says why");
                }
            }
        }
    });
}

/// Panics where it is told to.
struct Fragile {
    in_clone: bool,
    in_drop: bool,
    alive: Arc<AtomicI64>,
}

impl Fragile {
    fn new(alive: &Arc<AtomicI64>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { in_clone: false, in_drop: false, alive: Arc::clone(alive) }
    }
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(!self.in_clone, "a panic in Clone");
        self.alive.fetch_add(1, Ordering::SeqCst);
        Self { in_clone: self.in_clone, in_drop: self.in_drop, alive: Arc::clone(&self.alive) }
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        // Two at a time abort the program, and that is nobody's fault here.
        assert!(!self.in_drop || thread::panicking(), "a panic in Drop");
    }
}

/// One panic in a subscriber poisons the mutex of the bus: from then on events are dropped and subscribers never hear
/// anything (Growth-Circle/cadis, issues 1401 and 1443), handlers that are registered afterwards are silently left out
/// (Kit3713/Proteus, issue 252), or the panic goes up into whoever publishes (kdlbs/kandev, pull request 3295). And one
/// refusal that returns with the lock held makes the next one hang (ThreeDotsLabs/watermill, issue 317).
///
/// Here user code panics in every place, and after each the bus does all that it did before; in the end it drains, closes
/// and lets go of everything.
#[test]
fn panic_poison_and_shutdown() {
    fn works(bus: &Bus<Fragile, u32>, handled: &AtomicUsize, alive: &Arc<AtomicI64>, after: &str) {
        let before = handled.load(Ordering::SeqCst);
        let reader = bus.subscribe("work").unwrap();
        assert_eq!(bus.publish("work", Fragile::new(alive)).unwrap().delivered(), 2, "after {after}");
        drop(reader.recv_timeout(LONG).unwrap());
        assert_eq!(reader.unsubscribe(), 0);
        wait_until("the handler goes on", || handled.load(Ordering::SeqCst) == before + 1);
        let asked = bus.request("ask", Fragile::new(alive)).unwrap();
        assert_eq!(asked.wait_timeout(LONG).unwrap(), 7, "after {after}");
        assert!(bus.stats().subscriptions.len() >= 2, "after {after}");
    }

    in_turn(|| {
        let alive = Arc::new(AtomicI64::new(0));
        let bus = Bus::<Fragile, u32>::builder().build();
        let handled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&handled);
        let handler = bus.subscription("work").name("field-panic").handle(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let handler = handler.unwrap();
        let server = bus.serve("ask", |_| 7).unwrap();
        let fragile = |in_clone, in_drop| {
            let mut fragile = Fragile::new(&alive);
            (fragile.in_clone, fragile.in_drop) = (in_clone, in_drop);
            fragile
        };
        let panics = |part: &mut dyn FnMut()| assert!(catch_unwind(AssertUnwindSafe(part)).is_err());
        let works = |after: &str| works(&bus, &handled, &alive, after);
        works("nothing");

        {
            // Clone is the publisher's: it panics there.
            let _pair = [(); 2].map(|()| bus.subscribe("broken").unwrap());
            panics(&mut || drop(bus.publish("broken", fragile(true, false))));
            panics(&mut || drop(bus.publish_retained("broken", fragile(true, false))));
            works("a panic in Clone");
        }
        {
            // Drop is whose hand it happens in: of who publishes and evicts, of who receives, of who leaves.
            let evicting = bus.subscription("broken").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
            bus.publish("broken", fragile(false, true)).unwrap();
            panics(&mut || drop(bus.publish("broken", fragile(false, true))));
            works("a panic in Drop at an eviction");
            panics(&mut || drop(evicting.recv()));
            works("a panic in Drop at the reader");
            bus.publish("broken", fragile(false, true)).unwrap();
            bus.publish("other", fragile(false, false)).unwrap();
            panics(&mut || drop(bus.publish("unheard", fragile(false, true))));
            let mut leaving = Some(evicting);
            panics(&mut || drop(leaving.take()));
            assert_eq!(bus.publisher("broken").unwrap().subscriber_count(), 0, "it has left");
            works("a panic in Drop at the end of a subscription");
        }
        {
            // Of several that are left behind, one that panics keeps none of the others.
            let letters = bus.dead_letters();
            let (kept, before) = (alive.load(Ordering::SeqCst), bus.stats().abandoned);
            let full = bus.subscription("broken").capacity(8).open().unwrap();
            for n in 0..8 {
                bus.publish("broken", fragile(false, n % 3 == 0)).unwrap();
                bus.publish("unheard", fragile(false, n % 3 == 0)).unwrap();
            }
            let mut leaving = Some(full);
            panics(&mut || drop(leaving.take()));
            assert_eq!(bus.stats().abandoned - before, 8, "all are counted");
            let mut leaving = Some(letters);
            panics(&mut || drop(leaving.take()));
            assert_eq!(alive.load(Ordering::SeqCst), kept, "what is left behind is dropped, or leaked");
            works("panics in Drop of several");
        }
        {
            let broken = bus.subscription("broken").filter(|_| panic!("a filter")).open().unwrap();
            assert!(bus.publish("broken", fragile(false, false)).unwrap().is_unheard());
            drop(broken);
            assert_eq!(bus.stats().filter_panics, 1);
            works("a panic in a filter");
        }
        {
            let broken = bus.on("broken", |_| -> () { panic!("a handler") }).unwrap();
            bus.publish("broken", fragile(false, false)).unwrap();
            // And the payload in the hand of a handler that is all right.
            bus.publish("broken", fragile(false, true)).unwrap();
            bus.publish("work", fragile(false, true)).unwrap();
            // Twice the closure, and twice the payload.
            wait_until("both have got over it", || bus.stats().handler_panics == 4);
            assert!(broken.stop(LONG).is_complete());
            works("panics in handlers");
        }
        {
            let service = bus.subscribe("broken").unwrap();
            bus.request("broken", fragile(false, false)).unwrap().on_reply(|_| panic!("a callback"));
            service.recv().unwrap().reply(1).unwrap();
            assert_eq!(bus.stats().callback_panics, 1);
            works("a panic in a callback");
        }
        {
            // A thread dies with everything in its hands.
            let before = handled.load(Ordering::SeqCst);
            let (bus, alive) = (bus.clone(), Arc::clone(&alive));
            let dies = thread::spawn(move || {
                let reader = bus.subscription("work").group("mortal").open().unwrap();
                let publisher = bus.publisher("work").unwrap();
                publisher.publish(Fragile::new(&alive)).unwrap();
                let _message = reader.recv().unwrap();
                panic!("a thread");
            });
            assert!(dies.join().is_err());
            wait_until("the handler has had its copy", || handled.load(Ordering::SeqCst) == before + 1);
            works("the death of a thread");
        }
        for _ in 0..3 {
            // The refusal of one who comes too late, again and again; see the end.
            bus.publish("work", fragile(false, true)).unwrap();
        }
        assert!(bus.drain(LONG).is_complete());
        for _ in 0..3 {
            assert!(bus.publish("work", fragile(false, false)).unwrap_err().is_closed());
            assert!(bus.subscribe("work").unwrap_err().is_closed());
        }
        assert!(handler.stop(LONG).is_complete() && server.stop(LONG).is_complete());
        drop(bus);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "payloads that are left");
    });
}

/// Subscribing takes the locks of the connection and of the subscription in one order, delivering, draining or closing
/// in the other: nats.c (nats-io/nats.c, issue 823), NATS for .NET (nats-io/nats.net.v1, issue 955), POCO's observers
/// (pocoproject/poco, pull request 5169).
///
/// Here everything that takes a lock runs beside everything else, on two buses whose filters, payloads and callbacks reach
/// across into each other. Where user code ran under a lock, the two would wait for each other.
#[test]
fn lock_order_inversion() {
    const ROUNDS: u32 = 150;

    /// Uses the other bus when it is dropped.
    #[derive(Clone)]
    struct Across(Option<WeakBus<Across>>);

    impl Drop for Across {
        fn drop(&mut self) {
            if let Some(other) = self.0.take() {
                use_it(&other);
            }
        }
    }

    fn use_it(bus: &WeakBus<Across>) {
        let Some(bus) = bus.upgrade() else { return };
        let Ok(own) = bus.subscription("x.*").also("y").capacity(2).open() else { return };
        bus.fire("y", Across(None));
        drop(bus.publisher("x.z"));
        let _ = bus.stats();
        drop(own);
    }

    in_turn(|| {
        for closes in [false, true] {
            let buses = [Bus::<Across>::new(), Bus::<Across>::new()];
            thread::scope(|scope| {
                for (bus, other) in [(&buses[0], &buses[1]), (&buses[1], &buses[0])] {
                    let across = || Across(Some(other.downgrade()));
                    let weak = other.downgrade();
                    let through_filter = move |_: &Across| {
                        use_it(&weak);
                        true
                    };
                    // Dropped by the last of them, in whatever thread that is.
                    let evicting = bus.subscription("x.>").capacity(1).overflow(Overflow::DropOldest).open();
                    let filtered = bus.subscription("x.>").capacity(1).overflow(Overflow::DropNewest);
                    let filtered = filtered.filter(through_filter).open();
                    let works: [Box<dyn Fn(u32) + Send + '_>; 5] = [
                        Box::new(move |_| bus.fire("x.y", across())),
                        Box::new(move |n| {
                            let group = || bus.subscription("x.*").group(format!("g{}", n % 2)).capacity(2);
                            drop((group().overflow(Overflow::DropOldest).open(), bus.dead_letters()));
                        }),
                        Box::new(move |n| {
                            drop(bus.publish_retained(format!("x.{}", n % 3), across()));
                            drop(
                                bus.subscription("x.*")
                                    .with_retained()
                                    .capacity(4)
                                    .overflow(Overflow::DropOldest)
                                    .open(),
                            );
                            drop(bus.clear_retained(format!("x.{}", n % 3)));
                        }),
                        Box::new(move |_| {
                            let Ok(service) = bus.subscription("ask").capacity(2).open() else { return };
                            let weak = other.downgrade();
                            let asked = bus.request("ask", across());
                            let asked = asked.map(|asked| {
                                asked.on_reply(move |_| use_it(&weak));
                            });
                            drop((asked, service));
                        }),
                        Box::new(move |_| {
                            let handler = bus.subscription("x.y").overflow(Overflow::DropOldest).handle(|_| {});
                            drop(handler.map(|handler| handler.stop(Duration::ZERO)));
                        }),
                    ];
                    for work in works {
                        scope.spawn(move || (0..ROUNDS).for_each(work));
                    }
                    scope.spawn(move || {
                        let (evicting, filtered) = (evicting.unwrap(), filtered.unwrap());
                        for n in 0..ROUNDS {
                            drop((evicting.try_recv(), filtered.try_recv()));
                            if closes && n == ROUNDS / 2 {
                                let _ = bus.drain(Duration::ZERO);
                            }
                        }
                    });
                }
            });
            for bus in buses {
                bus.close();
            }
        }
    });
}

/// The last subscriber of a topic leaves, the topic is taken off the map, and whoever came in between, or kept a handle,
/// is attached to what nobody finds any more: a consumer whose entry was deleted by the one before it (Surnet/
/// graphql-amqp-subscriptions, pull request 11), registrations lost while the first of a type was set up
/// (greenrobot/EventBus, issue 34), a hub that removed the entry without its subscriber (Effect-TS/io, pull request 459).
///
/// Here the last one leaves while another comes, and then everybody who publishes, by whatever handle, reaches the new
/// one and only that.
#[test]
fn stale_route_after_the_last_unsubscribe() {
    const ROUNDS: u32 = 1_000;
    in_turn(|| {
        for (pattern, group) in [("a.b", None), ("a.*", None), (">", None), ("a.b", Some("g")), ("a.*", Some("g"))] {
            let bus = Bus::<u32>::new();
            let subscribe = || {
                let builder = bus.subscription(pattern).capacity(8);
                match group {
                    Some(group) => builder.group(group).open(),
                    None => builder.open(),
                }
            };
            let early = bus.publisher("a.b").unwrap();
            let mut last = subscribe().unwrap();
            for n in 0..ROUNDS {
                let start = Barrier::new(3);
                let (next, of_the_race) = thread::scope(|scope| {
                    let leaves = scope.spawn(|| {
                        start.wait();
                        last.unsubscribe()
                    });
                    let comes = scope.spawn(|| {
                        start.wait();
                        // A publisher that is dropped is another reason to take the topic off the map.
                        drop(bus.publisher("a.b"));
                        subscribe().unwrap()
                    });
                    start.wait();
                    let delivered = early.publish(n).unwrap().delivered();
                    let next = comes.join().unwrap();
                    (next, (delivered, leaves.join().unwrap()))
                });
                assert!(of_the_race.0 <= 2 && of_the_race.1 <= 1);
                next.try_iter().for_each(drop);
                let late = bus.publisher("a.b").unwrap();
                let handles = [early.publish(n), late.publish(n), bus.publish("a.b", n), early.clone().try_publish(n)];
                for delivery in handles {
                    assert_eq!(counts(delivery.unwrap()), (1, 0), "round {n} of {pattern}");
                }
                assert_eq!(next.try_iter().filter(|message| **message == n).count(), 4);
                last = next;
            }
            // And nobody reaches one that is gone.
            last.unsubscribe();
            for delivery in [early.publish(0), bus.publish("a.b", 0), bus.publish_retained("a.b", 0)] {
                assert!(delivery.unwrap().is_unheard());
            }
            assert_eq!(early.subscriber_count(), 0);
        }
    });
}

/// The same failures as tasks meet them.
#[cfg(feature = "async")]
mod tasks {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread;

    use futures_lite::StreamExt;
    use tramline::{Bus, Overflow, WeakBus};

    use super::support::LONG;
    use super::{HEAP, in_turn};

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A future that is asked by hand.
    struct Asked<'a, O> {
        future: Pin<Box<dyn Future<Output = O> + 'a>>,
        wakes: Arc<Wakes>,
    }

    impl<'a, O> Asked<'a, O> {
        fn new(future: impl Future<Output = O> + 'a) -> Self {
            Self { future: Box::pin(future), wakes: Arc::default() }
        }

        /// It was asked once, and is not ready.
        fn waiting(future: impl Future<Output = O> + 'a) -> Self {
            let mut asked = Self::new(future);
            assert!(asked.ask().is_pending());
            asked
        }

        fn ask(&mut self) -> Poll<O> {
            let waker = Waker::from(Arc::clone(&self.wakes));
            self.future.as_mut().poll(&mut Context::from_waker(&waker))
        }

        fn wakes(&self) -> usize {
            self.wakes.0.load(Ordering::SeqCst)
        }
    }

    /// See the test of this name for threads. Each order in which some of four who wait give up, after the wake-up was sent
    /// and before they were asked again: one of those who are left has been woken, and gets it.
    #[test]
    fn lost_wake_ups_and_cancelled_futures() {
        in_turn(|| {
            for given_up in 0..15_u32 {
                let stays = |index: usize| given_up & (1 << index) == 0;

                // Those who wait for a message.
                let bus = Bus::<u32>::new();
                let reader = bus.subscribe("work").unwrap();
                let mut waiting: Vec<_> = (0..4).map(|_| Some(Asked::waiting(reader.recv_async()))).collect();
                bus.publish("work", 1).unwrap();
                for (index, asked) in waiting.iter_mut().enumerate() {
                    if !stays(index) {
                        *asked = None;
                    }
                }
                let mut woken = waiting.iter_mut().flatten().filter(|asked| asked.wakes() > 0);
                let received = woken.find_map(|asked| match asked.ask() {
                    Poll::Ready(message) => Some(*message.unwrap()),
                    Poll::Pending => None,
                });
                assert_eq!(received, Some(1), "nobody was woken for the message, {given_up:04b} have given up");

                // Those who wait for room.
                let bus = Bus::<u32>::builder().capacity(1).build();
                let reader = bus.subscribe("work").unwrap();
                let work = bus.publisher("work").unwrap();
                work.publish(0).unwrap();
                let mut waiting: Vec<_> = (1..=4).map(|n| Some(Asked::waiting(work.publish_async(n)))).collect();
                assert_eq!(*reader.recv().unwrap(), 0);
                for (index, asked) in waiting.iter_mut().enumerate() {
                    if !stays(index) {
                        *asked = None;
                    }
                }
                let mut woken = waiting.iter_mut().flatten().filter(|asked| asked.wakes() > 0);
                let published = woken.any(|asked| asked.ask().is_ready());
                assert!(published, "nobody was woken for the room, {given_up:04b} have given up");
                assert_eq!(reader.len(), 1);
            }
        });
    }

    /// See the test of this name for threads. Wakers are called, and dropped, when no lock is held: another thread can use
    /// the bus meanwhile.
    #[test]
    fn user_code_under_the_lock() {
        struct Meddler {
            bus: WeakBus<u32>,
            times: Arc<AtomicUsize>,
            hung: Arc<AtomicUsize>,
        }

        impl Meddler {
            /// Has another thread take the locks of all who wait here.
            fn meddle(&self) {
                let (bus, (done, ended)) = (self.bus.clone(), std::sync::mpsc::channel());
                thread::spawn(move || {
                    if let Some(bus) = bus.upgrade() {
                        bus.fire("work", 9);
                        bus.fire("silent", 9);
                        let _ = bus.stats();
                        // Waits there as others do, with a waker of its own, and gives up.
                        let member = bus.subscription("work").group("g").overflow(Overflow::DropOldest).open().unwrap();
                        drop(Asked::new(member.recv_async()).ask());
                        drop(Asked::new(bus.publish_async("silent", 9)).ask());
                    }
                    let _ = done.send(());
                });
                let ended = ended.recv_timeout(LONG / 6).is_ok();
                if ended { &self.times } else { &self.hung }.fetch_add(1, Ordering::SeqCst);
            }
        }

        impl Wake for Meddler {
            fn wake(self: Arc<Self>) {
                self.meddle();
            }
        }

        impl Drop for Meddler {
            fn drop(&mut self) {
                self.meddle();
            }
        }

        in_turn(|| {
            let (times, hung) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let bus = Bus::<u32>::builder().capacity(1).build();
            let meddler = || {
                let (times, hung) = (Arc::clone(&times), Arc::clone(&hung));
                Waker::from(Arc::new(Meddler { bus: bus.downgrade(), times, hung }))
            };
            let reader = bus.subscription("work").group("g").overflow(Overflow::DropOldest).open().unwrap();
            let silent = bus.subscribe("silent").unwrap();
            {
                let mut receiving = Box::pin(reader.recv_async());
                let mut asking = Box::pin(bus.request("silent", 1).unwrap());
                let mut publishing = Box::pin(bus.publish_async("silent", 2));
                // The second waker takes the place of the first, which is dropped there.
                for _ in 0..2 {
                    let _ = receiving.as_mut().poll(&mut Context::from_waker(&meddler()));
                    let _ = asking.as_mut().poll(&mut Context::from_waker(&meddler()));
                    let _ = publishing.as_mut().poll(&mut Context::from_waker(&meddler()));
                }
                // Each is woken: by a message, by room, by an answer.
                bus.publish("work", 1).unwrap();
                drop(silent.recv().unwrap());
            }
            // Each has been called or dropped, at the least.
            assert_eq!(hung.load(Ordering::SeqCst), 0, "another thread could not use the bus");
            assert!(times.load(Ordering::SeqCst) >= 6, "{times:?}");
        });
    }

    /// See the test of this name for threads.
    #[test]
    fn lag_treated_as_the_end() {
        in_turn(|| {
            let bus = Bus::<u32>::new();
            let mut reader = bus.subscription("news").capacity(2).overflow(Overflow::DropOldest).open().unwrap();
            let mut told = 0;
            for burst in 1..=3 {
                (0..100).for_each(|n| bus.fire("news", n));
                for _ in 0..2 {
                    let mut next = reader.next();
                    let Poll::Ready(message) = Pin::new(&mut next).poll(&mut Context::from_waker(Waker::noop())) else {
                        panic!("there is a message");
                    };
                    told += message.expect("the lag has ended the stream").lost_before();
                }
                assert_eq!(told, 98 * burst);
            }
            bus.close();
            assert!(futures_lite::future::block_on(reader.next()).is_none());
        });
    }

    /// See the test of this name for threads: a task that waits is called when there is a reason, and then once.
    #[test]
    fn idle_cpu_and_spinning() {
        in_turn(|| {
            let bus = Bus::<u32>::builder().capacity(4).build();
            let readers: Vec<_> = (0..50).map(|_| bus.subscribe("idle").unwrap()).collect();
            let mut waiting: Vec<_> = readers.iter().map(|reader| Asked::waiting(reader.recv_async())).collect();
            let other = bus.subscribe("other").unwrap();
            for n in 0..1000 {
                bus.publish("other", n).unwrap();
                let _ = other.recv().unwrap();
                drop(bus.subscribe("idle").unwrap());
                let _ = bus.stats();
            }
            assert!(waiting.iter().all(|asked| asked.wakes() == 0), "woken for nothing");
            bus.publish("idle", 1).unwrap();
            assert!(waiting.iter_mut().all(|asked| asked.wakes() == 1 && asked.ask().is_ready()));
        });
    }

    /// See the test of this name for threads: a message wakes each that waits for it once.
    #[test]
    fn superlinear_fan_out_beyond_40_receivers() {
        in_turn(|| {
            for receivers in [10, 40, 80, 320] {
                let bus = Bus::<u32>::builder().capacity(2).build();
                let readers: Vec<_> = (0..receivers).map(|_| bus.subscribe("news").unwrap()).collect();
                for n in 0..20 {
                    let mut waiting: Vec<_> =
                        readers.iter().map(|reader| Asked::waiting(reader.recv_async())).collect();
                    assert_eq!(bus.publish("news", n).unwrap().delivered(), receivers);
                    assert!(waiting.iter_mut().all(|asked| asked.ask().is_ready()));
                    assert_eq!(waiting.iter().map(Asked::wakes).sum::<usize>(), receivers);
                }
            }
        });
    }

    /// See the test of this name for threads: what is kept for a task that waits goes with the future, however often it was
    /// asked, and with whatever waker.
    #[test]
    fn unbounded_memory() {
        in_turn(|| {
            let bus = Bus::<u32>::builder().capacity(1).build();
            let (empty, _full) = (bus.subscribe("empty").unwrap(), bus.subscribe("full").unwrap());
            bus.publish("full", 0).unwrap();
            let silent = bus.subscription("silent").capacity(4).open().unwrap();
            let mut pending = Box::pin(bus.request("silent", 0).unwrap());
            let mut kept = Asked::waiting(empty.recv_async());
            let mut round = || {
                let mut receiving = Asked::waiting(empty.recv_async());
                let mut publishing = Asked::waiting(bus.publish_async("full", 1));
                for _ in 0..3 {
                    assert!(receiving.ask().is_pending() && publishing.ask().is_pending() && kept.ask().is_pending());
                }
                let waker = Waker::from(Arc::<Wakes>::default());
                assert!(pending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            };
            (0..1_000).for_each(|_| round());
            let before = HEAP.current_usage();
            (0..20_000).for_each(|_| round());
            let after = HEAP.current_usage();
            assert!(after <= before + 64 * 1024, "{} bytes more", after - before);
            drop(silent);
        });
    }
}
