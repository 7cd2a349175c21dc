//! Threads that handle messages, and buses with more than one thing going on: too much for every order of steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tramline::{Bus, DeadLetters, Overflow};

use super::checker::sync::Mutex;
use super::{TOPIC, bus, meanwhile};

/// No limit.
const EVER: Duration = Duration::MAX;

/// Everything that was delivered is handled before a drain ends, also by several workers.
pub fn drain_against_publishers_and_workers() {
    let bus = bus(1);
    let handled = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&handled);
    let handler = bus
        .subscription(TOPIC)
        .workers(2)
        .handle(move |number: &tramline::Message<u32>| {
            counter.fetch_add(u64::from(**number), Ordering::Relaxed);
        })
        .unwrap();
    let publishing = [1, 10].map(|number| {
        let publisher = bus.publisher(TOPIC).unwrap();
        meanwhile(move || (0..2).filter(|_| publisher.publish(number).is_ok()).count() as u64 * u64::from(number))
    });
    let report = bus.drain(EVER);
    let delivered: u64 = publishing.into_iter().map(|publishing| publishing.join().unwrap()).sum();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(handled.load(Ordering::Relaxed), delivered);
    drop(handler);
}

/// What handlers publish for each other while the bus is drained is handled too.
pub fn drain_of_handlers_that_publish() {
    let bus = bus(1);
    let handled = Arc::new(AtomicU64::new(0));
    let (weak, counter) = (bus.downgrade(), Arc::clone(&handled));
    let first =
        bus.on("first", move |number| _ = weak.upgrade().unwrap().publish("second", **number).unwrap()).unwrap();
    let second = bus.on("second", move |_| _ = counter.fetch_add(1, Ordering::Relaxed)).unwrap();
    for number in 0..2 {
        assert_eq!(bus.publish("first", number).unwrap().delivered(), 1);
    }
    let report = bus.drain(EVER);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(handled.load(Ordering::Relaxed), 2);
    drop((first, second));
}

/// Handlers that publish to each other are waited for, wherever their message is when the drain looks: one that closes too
/// early has it refused.
pub fn drain_of_handlers_that_answer_each_other() {
    let bus = bus(1);
    let handled = Arc::new(AtomicU64::new(0));
    let handlers = [("first", "second"), ("second", "first")].map(|(own, other)| {
        let (weak, counter) = (bus.downgrade(), Arc::clone(&handled));
        let handler = bus.on(own, move |number| {
            counter.fetch_add(1, Ordering::Relaxed);
            if let Some(next) = number.checked_sub(1) {
                let _ = weak.upgrade().unwrap().publish(other, next);
            }
        });
        handler.unwrap()
    });
    assert_eq!(bus.publish("first", 5).unwrap().delivered(), 1);
    let report = bus.drain(EVER);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(handled.load(Ordering::Relaxed), 6);
    drop(handlers);
}

/// A drain without time counts each message once: it waits in the queue, or a worker has it in hand, wherever the workers
/// are when the drain looks.
pub fn drain_without_time_against_workers() {
    let bus = bus(2);
    let gate = Arc::new(Mutex::new(()));
    let shut = gate.lock().unwrap();
    let waits = Arc::clone(&gate);
    let handler = bus.subscription(TOPIC).workers(2).handle(move |_| drop(waits.lock().unwrap())).unwrap();
    for number in 0..2 {
        assert_eq!(bus.publish(TOPIC, number).unwrap().delivered(), 1);
    }
    let report = bus.drain(Duration::ZERO);
    assert_eq!(report.remaining() + report.running(), 2, "{report:?}");
    drop(shut);
    drop(handler);
}

/// A drain without time is complete if there is nothing to do, wherever the workers are: before their first look, asleep,
/// awake because the bus closes, or at their end.
pub fn drain_without_time_of_idle_workers() {
    let bus = bus(1);
    let handler = bus.subscription(TOPIC).workers(2).handle(|_| {}).unwrap();
    let report = bus.drain(Duration::ZERO);
    assert!(report.is_complete(), "{report:?}");
    drop(handler);
}

/// A stop without time counts each message once: it was left in the queue, or a worker has it in hand.
pub fn stop_without_time_against_workers() {
    let bus = bus(2);
    let gate = Arc::new(Mutex::new(()));
    let shut = gate.lock().unwrap();
    let waits = Arc::clone(&gate);
    let handler = bus.subscription(TOPIC).workers(2).handle(move |_| drop(waits.lock().unwrap())).unwrap();
    for number in 0..2 {
        assert_eq!(bus.publish(TOPIC, number).unwrap().delivered(), 1);
    }
    let report = handler.stop(Duration::ZERO);
    assert_eq!(report.remaining() + report.running(), 2, "{report:?}");
    drop(shut);
}

/// A handler that stops has handled everything that was delivered, or tells what it has left.
pub fn stop_against_publish() {
    let bus = bus(1);
    let handled = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&handled);
    let handler = bus.on(TOPIC, move |_| _ = counter.fetch_add(1, Ordering::Relaxed)).unwrap();
    let publisher = bus.publisher(TOPIC).unwrap();
    let publishing = meanwhile(move || (0..3).map(|n| publisher.publish(n).unwrap().delivered()).sum::<usize>());
    let report = handler.stop(EVER);
    let delivered = publishing.join().unwrap();
    assert_eq!(report.running(), 0);
    assert_eq!(handled.load(Ordering::Relaxed) + bus.stats().abandoned, delivered as u64);
}

/// Dropping a handler ends every request that it has not answered.
pub fn drop_of_a_server_against_requests() {
    let bus = bus(1);
    let server = bus.serve(TOPIC, |number| **number + 1).unwrap();
    let asking = [1, 10].map(|number| {
        let bus = bus.clone();
        meanwhile(move || match bus.request(TOPIC, number).map(|pending| pending.wait()) {
            Ok(Ok(reply)) => assert_eq!(reply, number + 1),
            Ok(Err(error)) => assert!(error.is_unanswered()),
            Err(error) => assert!(error.is_no_responders()),
        })
    });
    drop(server);
    asking.into_iter().for_each(|asking| asking.join().unwrap());
}

/// Callers go while their requests wait or are served. For each the closure runs, or the request is counted as skipped: never
/// both, never neither.
pub fn cancelled_requests_against_serving() {
    let bus = bus(2);
    let served = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&served);
    let server = bus.subscription(TOPIC).workers(2).serve(move |number: &tramline::Message<u32>| {
        counter.fetch_add(1, Ordering::Relaxed);
        **number
    });
    let server = server.unwrap();
    let going = meanwhile({
        let bus = bus.clone();
        move || drop((bus.request(TOPIC, 1).unwrap(), bus.gather(TOPIC, 2).unwrap()))
    });
    assert_eq!(bus.request(TOPIC, 3).unwrap().wait().unwrap(), 3);
    going.join().unwrap();
    assert!(server.stop(EVER).is_complete());
    assert_eq!(served.load(Ordering::Relaxed) + bus.stats().skipped_requests, 3);
}

/// The workers of a detached handler handle what is queued when the last handle of the bus goes, and then their subscription
/// has gone.
pub fn detach_against_close() {
    let bus = bus(1);
    let handled = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&handled);
    let handler =
        bus.subscription(TOPIC).workers(2).handle(move |_| _ = counter.fetch_add(1, Ordering::Relaxed)).unwrap();
    assert_eq!(bus.publish(TOPIC, 1).unwrap().delivered(), 1);
    let detaching = meanwhile(move || handler.detach());
    bus.close();
    detaching.join().unwrap();
    assert!(bus.drain(EVER).is_complete());
    assert_eq!((handled.load(Ordering::Relaxed), bus.stats().abandoned), (1, 0));
    assert!(bus.stats().subscriptions.is_empty());
}

/// One publisher's messages come in order, and none is missing, while other subscribers come and go.
pub fn order_while_others_come_and_go() {
    let bus = bus(1);
    let subscriber = bus.subscribe(TOPIC).unwrap();
    let publisher = bus.publisher(TOPIC).unwrap();
    let publishing = meanwhile(move || (0..4).for_each(|n| assert!(publisher.publish(n).unwrap().delivered() >= 1)));
    let others = meanwhile({
        let bus = bus.clone();
        move || {
            let other = bus.subscribe("*").unwrap();
            let received: Vec<u32> = other.try_iter().map(|message| *message).collect();
            assert!(received.is_sorted());
            drop(other);
            bus.subscribe(">").unwrap().unsubscribe()
        }
    });
    let received: Vec<u32> = subscriber.iter().take(4).map(|message| *message).collect();
    assert_eq!(received, [0, 1, 2, 3]);
    publishing.join().unwrap();
    others.join().unwrap();
}

/// No message comes after missing ones that nobody has told of, and in the end all are told of once.
pub fn losses_are_reported_in_time() {
    let bus = bus(2);
    let subscriber = bus.subscription(TOPIC).overflow(Overflow::DropOldest).open().unwrap();
    let publisher = bus.publisher(TOPIC).unwrap();
    let publishing = meanwhile(move || (0..4).for_each(|n| assert_eq!(publisher.publish(n).unwrap().delivered(), 1)));
    let (mut next, mut missing, mut told) = (0, 0, 0);
    while next < 4 {
        let message = subscriber.recv().unwrap();
        missing += u64::from(*message - next);
        told += message.lost_before();
        assert!(told >= missing);
        next = *message + 1;
    }
    assert_eq!(told, missing);
    publishing.join().unwrap();
}

/// Every loss makes one dead letter, and the reader of those ends with the bus.
pub fn letters_published_again_against_each_other() {
    let bus = Bus::<u32>::new();
    let letters = Arc::new(bus.dead_letters());
    (0..2).for_each(|number| bus.fire("nobody", number));
    let again =
        |bus: &Bus<u32>, letters: &DeadLetters<u32>| bus.fire("nobody", letters.try_recv().unwrap().into_payload());
    let other = meanwhile({
        let (bus, letters) = (bus.clone(), Arc::clone(&letters));
        move || again(&bus, &letters)
    });
    again(&bus, &letters);
    other.join().unwrap();
    assert_eq!(letters.len(), 0);
    bus.fire("nobody", 2);
    assert_eq!(letters.len(), 1);
}

/// A letter that is retried while its handler stops: it is handled once more, or abandoned with the mailbox, or comes back.
pub fn retry_against_stop() {
    let bus = bus(1);
    let letters = bus.dead_letters();
    let handled = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&handled);
    let handler = bus.on(TOPIC, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Err::<(), _>("it fails")
    });
    let handler = handler.unwrap();
    assert_eq!(bus.publish(TOPIC, 1).unwrap().delivered(), 1);
    let letter = letters.recv().unwrap();
    let retrying = meanwhile(move || match letter.retry() {
        Ok(()) => 1,
        Err(error) => {
            assert!(error.is_gone());
            assert_eq!(error.into_inner().into_payload(), 1);
            0
        }
    });
    let report = handler.stop(EVER);
    let retried = retrying.join().unwrap();
    let again = handled.load(Ordering::Relaxed) - 1;
    assert_eq!(report.running(), 0);
    assert_eq!(again + bus.stats().abandoned, retried);
    assert_eq!(letters.try_iter().map(|letter| letter.attempts()).collect::<Vec<_>>(), vec![2; again as usize]);
}

/// The same for a letter that waits for room in the mailbox of a handler which is busy, and then stopped without time.
pub fn retry_that_waits_against_stop_without_time() {
    let bus = bus(1);
    let letters = bus.dead_letters();
    let gate = Arc::new(Mutex::new(()));
    let shut = gate.lock().unwrap();
    let (waits, handled) = (Arc::clone(&gate), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&handled);
    let handler = bus.on(TOPIC, move |_| {
        drop(waits.lock().unwrap());
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let handler = handler.unwrap();
    // One in hand or in the queue, then one in the queue, and one that is too many.
    let mut delivered = 0;
    let letter = loop {
        delivered += bus.try_publish(TOPIC, 1).unwrap().delivered() as u64;
        if let Ok(letter) = letters.try_recv() {
            break letter;
        }
    };
    let retrying = meanwhile(move || match letter.retry() {
        Ok(()) => 1,
        Err(error) => {
            assert!(error.is_gone());
            0
        }
    });
    let report = handler.stop(Duration::ZERO);
    drop(shut);
    delivered += retrying.join().unwrap();
    // The worker that was in the middle of a message finishes it.
    let all = || handled.load(Ordering::Relaxed) + bus.stats().abandoned;
    while all() < delivered {
        super::checker::thread::yield_now();
    }
    assert!(report.running() <= 1);
    assert_eq!(all(), delivered);
}

/// The mark of a bus and its end are in the same byte.
pub fn letter_published_again_against_close() {
    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    bus.fire("nobody", 1);
    let letter = letters.try_recv().unwrap();
    let closing = meanwhile({
        let bus = bus.clone();
        move || bus.close()
    });
    let is_closed = letter.republish().is_err_and(|error| error.is_closed());
    closing.join().unwrap();
    assert!(bus.is_closed());
    assert!(bus.publish("nobody", 2).unwrap_err().is_closed());
    assert_eq!(bus.stats().unheard, if is_closed { 1 } else { 2 });
    assert_eq!(bus.stats().dead_letters, 1);
}

pub fn dead_letters_against_losses() {
    let bus = Bus::<u32>::builder().capacity(1).overflow(Overflow::DropOldest).build();
    let letters = bus.dead_letters();
    let subscriber = bus.subscribe(TOPIC).unwrap();
    let publishing = [1, 2].map(|number| {
        let publisher = bus.publisher(TOPIC).unwrap();
        meanwhile(move || (0..2).map(|_| publisher.publish(number).unwrap().dropped()).sum::<usize>())
    });
    let reading = meanwhile(move || letters.iter().count());
    let mut received = subscriber.try_iter().count();
    let dropped: usize = publishing.into_iter().map(|publishing| publishing.join().unwrap()).sum();
    received += subscriber.try_iter().count();
    bus.close();
    assert_eq!(received + dropped, 4);
    assert_eq!(reading.join().unwrap(), dropped);
}

/// A member of a group that leaves takes nothing with it, however many leave and join.
pub fn group_while_members_come_and_go() {
    let bus = bus(1);
    let member = |bus: &Bus<u32>| bus.subscription(TOPIC).group("group").open().unwrap();
    let stays = member(&bus);
    let publisher = bus.publisher(TOPIC).unwrap();
    let publishing = meanwhile(move || (0..3).for_each(|n| assert_eq!(publisher.publish(n).unwrap().delivered(), 1)));
    let coming_and_going = [(); 2].map(|()| {
        let bus = bus.clone();
        meanwhile(move || member(&bus).try_recv().into_iter().count())
    });
    let taken: usize = coming_and_going.into_iter().map(|member| member.join().unwrap()).sum();
    assert_eq!(stays.iter().take(3 - taken).count(), 3 - taken);
    publishing.join().unwrap();
    assert!(stays.is_empty());
}
