//! Payloads that panic when they are cloned or dropped, wherever that happens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use tramline::{Bus, Handler, Overflow, Subscriber};

use super::ledger::{Checks, Sum};
use super::{Chance, Crew, LONG, Token, panic_on_purpose, wait_for_threads_of};

struct Glass {
    sound: bool,
    breaks_at_clone: bool,
    breaks_at_drop: bool,
    ledger: Arc<Ledger>,
    _alive: Token,
}

impl Clone for Glass {
    fn clone(&self) -> Self {
        if self.breaks_at_clone {
            self.ledger.clone_panics.one();
            panic_on_purpose();
        }
        Self { ledger: Arc::clone(&self.ledger), _alive: self._alive.clone(), ..*self }
    }
}

impl Drop for Glass {
    fn drop(&mut self) {
        // Two panics at once abort the program.
        if self.breaks_at_drop && !thread::panicking() {
            self.ledger.drop_panics.one();
            panic_on_purpose();
        }
    }
}

#[derive(Default)]
struct Ledger {
    published: Sum,
    /// Sound ones, in publishes that did not panic.
    sound: Sum,
    /// Sound ones whose publish has met the panic of another payload: it may have come as far as some mailboxes.
    met_others: Sum,
    panicked: Sum,
    clone_panics: Sum,
    drop_panics: Sum,
    /// Sound ones that the mailboxes that stay have received.
    received: [Sum; 2],
    came: Sum,
}

pub(crate) struct Fragile {
    bus: Bus<Glass>,
    ledger: Arc<Ledger>,
    handler: Option<Handler>,
}

#[derive(Clone)]
struct Post {
    bus: Bus<Glass>,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    alive: Arc<AtomicI64>,
}

pub(crate) fn start(seed: u64, stop: &Arc<AtomicBool>, alive: &Arc<AtomicI64>, crew: &mut Crew) -> Fragile {
    let bus = Bus::<Glass>::builder().name("fragile").capacity(4).build();
    let ledger = Arc::<Ledger>::default();
    let post = Post { bus: bus.clone(), ledger: Arc::clone(&ledger), stop: Arc::clone(stop), alive: Arc::clone(alive) };
    let mut threads = 300;
    let mut chance = || {
        threads += 1;
        Chance::new(seed, threads)
    };
    for index in 0..2 {
        let subscriber = bus.subscribe("glass.*").expect("it is open");
        let (ledger, mut chance) = (Arc::clone(&ledger), chance());
        crew.reads(move || {
            while take(&subscriber, LONG, Some(&ledger.received[index])) {
                chance.dawdle()
            }
        });
    }
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        let subscriber = bus.subscription("glass.>").overflow(overflow).open().expect("it is open");
        let mut chance = chance();
        crew.reads(move || {
            while take(&subscriber, LONG, None) {
                chance.dawdle()
            }
        });
    }
    let handler = bus.subscription("glass.*").overflow(Overflow::DropOldest).name("glass").handle(|_| {});
    for role in [publish, publish, churn] {
        let (post, chance) = (post.clone(), chance());
        crew.active(move || role(&post, chance));
    }
    Fragile { bus, ledger, handler: Some(handler.expect("it is open")) }
}

/// Receives one, and drops it; a retained value is cloned here, so both may panic. `false` at the end.
fn take(subscriber: &Subscriber<Glass>, timeout: Duration, received: Option<&Sum>) -> bool {
    let taken = catch_unwind(AssertUnwindSafe(|| {
        let Ok(message) = subscriber.recv_timeout(timeout) else { return false };
        if let Some(received) = received {
            received.add(u64::from(message.sound));
        }
        drop(message);
        true
    }));
    taken.unwrap_or(true)
}

fn publish(post: &Post, mut chance: Chance) {
    let Post { bus, ledger, .. } = post;
    let publisher = bus.publisher("glass.one").expect("a valid topic");
    while !post.stop.load(Ordering::Relaxed) {
        ledger.published.one();
        let (breaks_at_clone, breaks_at_drop) = (chance.one_in(50), chance.one_in(20));
        let sound = !breaks_at_clone && !breaks_at_drop;
        let glass = Glass {
            sound,
            breaks_at_clone,
            breaks_at_drop,
            ledger: Arc::clone(ledger),
            _alive: Token::new(&post.alive),
        };
        let topic = ["glass.one", "glass.two"][chance.below(2) as usize];
        let by_handle = chance.one_in(2);
        let published = catch_unwind(AssertUnwindSafe(|| {
            let delivery = if by_handle { publisher.publish(glass) } else { bus.publish(topic, glass) };
            // What comes back is dropped here too.
            delivery.is_ok()
        }));
        match published {
            Ok(delivered) => ledger.sound.add(u64::from(sound && delivered)),
            Err(_) => {
                ledger.panicked.one();
                ledger.met_others.add(u64::from(sound));
            }
        }
    }
}

/// Subscriptions, retained values and letters that come and go with what panics in them.
fn churn(post: &Post, mut chance: Chance) {
    let Post { bus, ledger, .. } = post;
    while !post.stop.load(Ordering::Relaxed) {
        ledger.came.one();
        let glass = Glass {
            sound: false,
            breaks_at_clone: chance.one_in(4),
            breaks_at_drop: chance.one_in(4),
            ledger: Arc::clone(ledger),
            _alive: Token::new(&post.alive),
        };
        // Before this thread has a mailbox for it, in which it might wait for itself to make room.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(bus.publish_retained("kept", glass))));
        let overflow = [Overflow::Block, Overflow::DropOldest, Overflow::Disconnect][chance.below(3) as usize];
        let builder =
            bus.subscription("glass.*").also("kept").overflow(overflow).capacity(1 + chance.below(4) as usize);
        let leaves = if chance.one_in(3) {
            let closure = Arc::new(());
            let of_closure = Arc::clone(&closure);
            let handler = builder.handle(move |_| drop(Arc::clone(&of_closure))).expect("it is open");
            let _ = catch_unwind(AssertUnwindSafe(|| handler.stop(Duration::from_micros(200))));
            wait_for_threads_of(&closure);
            continue;
        } else {
            builder.with_retained().open().expect("it is open")
        };
        let letters = bus.dead_letters();
        for _ in 0..chance.below(20) {
            take(&leaves, Duration::from_micros(50), None);
        }
        let _ = catch_unwind(AssertUnwindSafe(|| drop(leaves)));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(letters)));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(bus.clear_retained("kept"))));
    }
    // Whoever closes the bus drops what it keeps, and that is not where it is to break.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(bus.clear_retained("kept"))));
}

impl Fragile {
    pub(crate) fn close(&mut self, checks: &mut Checks) {
        checks.holds("what is fragile is drained", self.bus.drain(LONG).is_complete());
        let stopped = self.handler.take().map(|handler| handler.stop(LONG).is_complete());
        checks.equal("the handler of what is fragile has ended", stopped, Some(true));
    }

    pub(crate) fn settle(&self, checks: &mut Checks) -> Vec<(&'static str, String)> {
        let ledger = &*self.ledger;
        for received in &ledger.received {
            // Every publish that came back is in both mailboxes; of those that did not, some may be.
            let (sound, most) = (ledger.sound.get(), ledger.sound.get() + ledger.met_others.get());
            checks.at_most("sound payloads published, and received", sound, received.get());
            checks.at_most("sound payloads received, and published", received.get(), most);
        }
        vec![
            ("fragile payloads", format!("{}, {} of them sound", ledger.published.get(), ledger.sound.get())),
            ("payload panics", format!("{} in Clone, {} in Drop", ledger.clone_panics.get(), ledger.drop_panics.get())),
            ("publishes that panicked", ledger.panicked.get().to_string()),
        ]
    }
}
