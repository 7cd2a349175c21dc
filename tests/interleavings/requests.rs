//! Requests: who answers first, who cancels, who goes without an answer.

use std::sync::Arc;
use std::time::Duration;

use tramline::{Bus, Message, PendingReply, ReplyError};

use super::checker::sync::atomic::{AtomicUsize, Ordering};
use super::{SECOND, TOPIC, bus, full, meanwhile};

/// A request that has reached its responder.
fn request() -> (Bus<u32>, PendingReply<u32>, Message<u32>) {
    let bus = bus(1);
    let responder = bus.subscribe(TOPIC).unwrap();
    let pending = bus.request(TOPIC, 0).unwrap();
    let message = responder.recv().unwrap();
    (bus, pending, message)
}

/// The first wins, the second is told, and the caller gets what the first has said.
pub fn first_reply_against_second() {
    let (_bus, pending, message) = request();
    let other = message.responder().unwrap();
    let first = meanwhile(move || message.reply(1).is_ok());
    let second = meanwhile(move || match other.reply(2) {
        Ok(()) => true,
        Err(error) => {
            assert!(error.is_already_answered());
            false
        }
    });
    let reply = pending.wait().unwrap();
    let won = (first.join().unwrap(), second.join().unwrap());
    assert_eq!(won, if reply == 1 { (true, false) } else { (false, true) });
}

/// At most one is told that it has answered.
pub fn replies_against_cancel() {
    let (_bus, pending, message) = request();
    let other = message.responder().unwrap();
    let first = meanwhile(move || message.reply(1));
    let second = meanwhile(move || other.reply(2));
    drop(pending);
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    match (first, second) {
        (Ok(()), Ok(())) => panic!("both have answered"),
        (Ok(()), Err(error)) | (Err(error), Ok(())) => assert!(error.is_already_answered()),
        (Err(one), Err(two)) => assert!(one.is_cancelled() && two.is_cancelled()),
    }
}

/// A reply that was accepted reaches a caller who has waited in vain before.
pub fn reply_against_timeout() {
    let (_bus, pending, message) = request();
    let replying = meanwhile(move || message.reply(1).unwrap());
    let reply = match pending.wait_timeout(SECOND) {
        Err(ReplyError::Timeout(pending)) => pending.wait(),
        reply => reply,
    };
    assert_eq!(reply.unwrap(), 1);
    replying.join().unwrap();
}

/// Called exactly once, with the reply.
pub fn reply_against_callback() {
    let (_bus, pending, message) = request();
    let calls = Arc::new(AtomicUsize::new(0));
    let replying = meanwhile(move || message.reply(1).unwrap());
    pending.on_reply({
        let calls = Arc::clone(&calls);
        move |reply| {
            assert_eq!(reply.unwrap(), 1);
            calls.fetch_add(1, Ordering::Relaxed);
        }
    });
    replying.join().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// Called exactly once, even if nobody answers.
pub fn callback_against_close() {
    let (bus, pending, message) = request();
    let calls = Arc::new(AtomicUsize::new(0));
    let closing = meanwhile(move || bus.close());
    pending.on_reply({
        let calls = Arc::clone(&calls);
        move |reply| {
            assert!(reply.unwrap_err().is_closed());
            calls.fetch_add(1, Ordering::Relaxed);
        }
    });
    closing.join().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert!(message.reply(1).unwrap_err().is_cancelled());
}

/// The last copy that is dropped ends the wait, whichever it is.
pub fn every_responder_dropped() {
    let (_bus, pending, message) = request();
    let other = message.responder().unwrap();
    let dropping = [meanwhile(move || drop(message)), meanwhile(move || drop(other))];
    assert!(pending.wait().unwrap_err().is_unanswered());
    dropping.into_iter().for_each(|dropping| dropping.join().unwrap());
}

/// One copy is dropped, another answers: that is an answer.
pub fn responder_dropped_against_reply() {
    let (_bus, pending, message) = request();
    let other = message.responder().unwrap();
    let dropping = meanwhile(move || drop(message));
    let replying = meanwhile(move || other.reply(1).unwrap());
    assert_eq!(pending.wait().unwrap(), 1);
    dropping.join().unwrap();
    replying.join().unwrap();
}

/// Accepted means received, even when the bus closes meanwhile.
pub fn close_against_reply() {
    let (bus, pending, message) = request();
    let replying = meanwhile(move || match message.reply(1) {
        Ok(()) => true,
        Err(error) => {
            assert!(error.is_cancelled());
            false
        }
    });
    let closing = meanwhile(move || bus.close());
    let reply = pending.wait();
    let accepted = replying.join().unwrap();
    closing.join().unwrap();
    match reply {
        Ok(reply) => assert!(reply == 1 && accepted),
        Err(error) => assert!(error.is_closed() && !accepted),
    }
}

/// What was answered before the bus closed stays answered.
pub fn reply_and_then_close() {
    let (bus, pending, message) = request();
    let replying = meanwhile(move || {
        message.reply(1).unwrap();
        bus.close();
    });
    assert_eq!(pending.wait().unwrap(), 1);
    replying.join().unwrap();
}

/// Nobody waits for a responder that is gone.
pub fn request_against_unsubscribe() {
    let bus = bus(1);
    let (publisher, responder) = (bus.publisher(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    let asking = meanwhile(move || match publisher.request(0) {
        Ok(pending) => assert!(pending.wait().unwrap_err().is_unanswered()),
        Err(error) => assert!(error.is_no_responders()),
    });
    drop(responder);
    asking.join().unwrap();
}

/// A request that is sent while the bus closes ends, one way or the other.
pub fn request_against_close() {
    let bus = bus(1);
    let (publisher, responder) = (bus.publisher(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    let asking = meanwhile(move || match publisher.request(0) {
        Ok(pending) => assert!(pending.wait().unwrap_err().is_closed()),
        Err(error) => assert!(error.is_closed()),
    });
    bus.close();
    asking.join().unwrap();
    assert!(responder.try_iter().count() <= 1);
}

/// Every responder is heard of, and then the end.
pub fn gathered_reply_against_a_responder_dropped() {
    let bus = bus(1);
    let (one, other) = (bus.subscribe(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    let replies = bus.gather(TOPIC, 0).unwrap();
    let (answers, leaves) = (one.recv().unwrap(), other.recv().unwrap());
    let replying = meanwhile(move || answers.reply(1).unwrap());
    let leaving = meanwhile(move || drop(leaves));
    assert_eq!(replies.collect_within(Duration::MAX), [1]);
    replying.join().unwrap();
    leaving.join().unwrap();
}

/// The same for the answer to a gathered request.
pub fn gathered_reply_and_then_close() {
    let bus = bus(1);
    let (answers, _silent) = (bus.subscribe(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    let replies = bus.gather(TOPIC, 0).unwrap();
    let message = answers.recv().unwrap();
    let replying = meanwhile(move || {
        message.reply(1).unwrap();
        bus.close();
    });
    assert_eq!(replies.collect_within(Duration::MAX), [1]);
    replying.join().unwrap();
}

/// A request with a timeout to a full responder. Either the caller gets its payload back, and nobody has the request; or it
/// gets a pending reply, which the answer reaches even after the time.
///
/// Under loom the others go on as far as they can while the caller waits, so there is always room in time; under shuttle they
/// need not.
pub fn request_with_a_timeout_against_room_and_reply() {
    let (bus, publisher, responder) = full();
    let asking = meanwhile(move || match publisher.message(1).timeout(SECOND).request() {
        Ok(pending) => {
            let reply = match pending.wait() {
                Err(ReplyError::Timeout(pending)) => pending.wait_timeout(Duration::MAX),
                reply => reply,
            };
            assert_eq!(reply.unwrap(), 2);
            true
        }
        Err(error) => {
            assert!(error.is_timeout());
            assert_eq!(error.into_inner(), 1);
            // The responder waits for the request or for the end.
            bus.close();
            false
        }
    });
    assert_eq!(*responder.recv().unwrap(), 0);
    let has_request = match responder.recv() {
        Ok(message) => {
            assert_eq!(*message, 1);
            message.reply(2).unwrap();
            true
        }
        Err(error) => !error.is_closed(),
    };
    assert_eq!(asking.join().unwrap(), has_request);
}

/// The time of a request ends while its responder replies: a reply that was accepted is there for the caller all the same.
pub fn request_that_times_out_against_reply() {
    let bus = bus(1);
    let responder = bus.subscribe(TOPIC).unwrap();
    let pending = bus.message(TOPIC, 0).timeout(SECOND).request().unwrap();
    let message = responder.recv().unwrap();
    let replying = meanwhile(move || message.reply(1).unwrap());
    let reply = match pending.wait() {
        Err(ReplyError::Timeout(pending)) => {
            replying.join().unwrap();
            pending.try_take().unwrap()
        }
        reply => {
            replying.join().unwrap();
            reply
        }
    };
    assert_eq!(reply.unwrap(), 1);
}

/// A request waits for a full responder, and not for the full observer beside it, which gets the request or loses it.
pub fn request_against_room_at_an_observer_and_a_responder() {
    let (bus, publisher, responder) = full();
    assert_eq!(*responder.recv().unwrap(), 0);
    let observer = bus.subscription(TOPIC).observer().open().unwrap();
    assert_eq!(publisher.publish(0).unwrap().delivered(), 1);
    let asking = meanwhile(move || assert_eq!(publisher.request(1).unwrap().wait().unwrap(), 2));
    let observing = meanwhile(move || {
        assert_eq!(*observer.recv().unwrap(), 0);
        observer
    });
    assert_eq!(*responder.recv().unwrap(), 0);
    responder.recv().unwrap().reply(2).unwrap();
    asking.join().unwrap();
    let observer = observing.join().unwrap();
    let observed = observer.try_recv().ok();
    assert!(observed.as_ref().is_none_or(|observed| **observed == 1 && !observed.is_request()));
    assert_eq!(observer.dropped(), u64::from(observed.is_none()));
}
