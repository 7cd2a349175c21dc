//! Panics of user code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::thread;

use tramline::{Bus, Overflow};

use crate::in_turn;
use crate::support::{LONG, wait_until};

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

/// A payload whose first one panics in `Drop` when it is armed, once.
#[derive(Clone)]
struct Armed {
    number: u32,
    armed: Arc<AtomicBool>,
}

impl Drop for Armed {
    fn drop(&mut self) {
        let panics = self.number == 1 && !thread::panicking() && self.armed.swap(false, Ordering::SeqCst);
        assert!(!panics, "a panic in Drop");
    }
}

#[test]
fn every_reader_sees_the_end_though_a_kept_value_panics_when_the_bus_closes() {
    in_turn(|| {
        let bus = Bus::<Armed>::new();
        let armed = Arc::new(AtomicBool::new(false));
        let topics: Vec<_> = (0..20).map(|n| bus.publisher(format!("level.{n}")).unwrap()).collect();
        let mut readers: Vec<_> = topics.iter().map(|topic| bus.subscribe(topic.topic()).unwrap()).collect();
        readers.push(bus.subscribe(">").unwrap());
        for topic in &topics {
            topic.publish_retained(Armed { number: 1, armed: Arc::clone(&armed) }).unwrap();
        }
        readers.iter().for_each(|reader| reader.try_iter().for_each(drop));
        armed.store(true, Ordering::SeqCst);
        assert!(catch_unwind(AssertUnwindSafe(|| bus.close())).is_err());
        assert!(readers.iter().all(|reader| reader.recv_timeout(LONG).is_err_and(|error| error.is_closed())));
    });
}

#[test]
fn a_retained_value_is_delivered_though_the_one_before_panics_when_it_is_dropped() {
    in_turn(|| {
        let bus = Bus::<Armed>::new();
        let armed = Arc::new(AtomicBool::new(false));
        let value = |number| Armed { number, armed: Arc::clone(&armed) };
        bus.publish_retained("level", value(1)).unwrap();
        let full = bus.subscription("level").capacity(1).open().unwrap();
        bus.publish("level", value(2)).unwrap();
        armed.store(true, Ordering::SeqCst);
        thread::scope(|scope| {
            let publishing = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| bus.publish_retained("level", value(3)))));
            let received = || full.recv_timeout(LONG).map(|message| message.number);
            assert_eq!((received(), received()), (Ok(2), Ok(3)));
            assert!(publishing.join().unwrap().is_err());
        });
        assert_eq!(bus.retained("level").map(|value| value.number), Some(3));
    });
}
