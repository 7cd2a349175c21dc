//! User code that runs while the bus holds a lock, and locks that are taken in two orders.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tramline::{Bus, Overflow, Retry, Subscriber, WeakBus};

use crate::in_turn;
use crate::support::LONG;

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

/// Publishes when it is dropped, once; and does something when it is cloned the second time.
struct Leftover {
    number: u32,
    shared: Arc<LeftoverShared>,
}

struct LeftoverShared {
    bus: Bus<Leftover>,
    leaves: Mutex<Option<Subscriber<Leftover>>>,
    clones: AtomicUsize,
    has_published: AtomicBool,
}

impl Clone for Leftover {
    fn clone(&self) -> Self {
        if self.number == 1 && self.shared.clones.fetch_add(1, Ordering::SeqCst) == 1 {
            let leaves = self.shared.leaves.lock().unwrap().take();
            drop(leaves);
        }
        Self { number: self.number, shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        if self.number == 1 && !self.shared.has_published.swap(true, Ordering::SeqCst) {
            let nested = Self { number: 2, shared: Arc::clone(&self.shared) };
            self.shared.bus.publish_retained("level", nested).unwrap();
        }
    }
}

/// A copy is left over, because its mailbox went while it was made.
#[test]
fn a_copy_that_is_left_over_may_publish_retained_when_it_is_dropped() {
    in_turn(|| {
        let bus = Bus::<Leftover>::new();
        let (stays, leaves) = (bus.subscribe("level").unwrap(), bus.subscribe("level").unwrap());
        let shared = Arc::new(LeftoverShared {
            bus: bus.clone(),
            leaves: Mutex::new(Some(leaves)),
            clones: AtomicUsize::new(0),
            has_published: AtomicBool::new(false),
        });
        let delivery = bus.publish_retained("level", Leftover { number: 1, shared: Arc::clone(&shared) }).unwrap();
        assert_eq!(delivery.delivered(), 1);
        assert!(shared.has_published.load(Ordering::SeqCst));
        assert_eq!(stays.try_iter().map(|message| message.number).collect::<Vec<_>>(), [1, 2]);
        bus.close();
    });
}
