//! Tasks: a waker is set before the last look, so none is forgotten.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_core::Stream;
use tramline::Bus;

use super::checker::sync::{Condvar, Mutex};
use super::{SECOND, TOPIC, bus, full, meanwhile, take_all};

/// Wakes a thread that runs a future.
struct Alarm {
    rings: Mutex<bool>,
    rang: Condvar,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        *self.rings.lock().unwrap() = true;
        self.rang.notify_one();
    }
}

/// Polls only when woken: a wake-up that is lost is a wait for ever, which the checker finds.
pub fn block_on<F: Future>(future: F) -> F::Output {
    block_on_and(future, || ())
}

/// As `block_on`; looks at something whenever it was woken.
fn block_on_and<F: Future>(future: F, look: impl Fn()) -> F::Output {
    let alarm = Arc::new(Alarm { rings: Mutex::new(false), rang: Condvar::new() });
    let waker = Waker::from(Arc::clone(&alarm));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut rings = alarm.rings.lock().unwrap();
        while !*rings {
            rings = alarm.rang.wait(rings).unwrap();
        }
        *rings = false;
        drop(rings);
        look();
    }
}

/// Polls once, for nobody.
pub async fn once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *future).poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

pub fn receiving_task_against_publish() {
    let bus = bus(1);
    let (publisher, subscriber) = (bus.publisher(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    let publishing = meanwhile(move || assert_eq!(publisher.publish(1).unwrap().delivered(), 1));
    assert_eq!(*block_on(subscriber.recv_async()).unwrap(), 1);
    publishing.join().unwrap();
}

/// A task that is woken by a message finds it in the other mailbox too.
pub fn woken_task_against_the_other_mailbox() {
    let bus = bus(1);
    let (publisher, one) = (bus.publisher(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    let other = bus.subscribe(TOPIC).unwrap();
    let publishing = meanwhile(move || assert_eq!(publisher.publish(1).unwrap().delivered(), 2));
    assert_eq!(*block_on_and(one.recv_async(), || assert_eq!(other.len(), 1)).unwrap(), 1);
    publishing.join().unwrap();
}

pub fn receiving_task_against_close() {
    let bus = bus(1);
    let subscriber = bus.subscribe(TOPIC).unwrap();
    let closing = meanwhile(move || bus.close());
    assert!(block_on(subscriber.recv_async()).unwrap_err().is_closed());
    closing.join().unwrap();
}

pub fn publishing_task_against_room() {
    let (_bus, publisher, subscriber) = full();
    let publishing = meanwhile(move || block_on(publisher.publish_async(1)).unwrap().delivered());
    assert_eq!(*subscriber.recv().unwrap(), 0);
    // The reader does nothing more until the task has used the room.
    assert_eq!(publishing.join().unwrap(), 1);
    assert_eq!(*subscriber.recv().unwrap(), 1);
}

/// The message is delivered, or the task has it back.
pub fn publishing_task_with_a_timeout_against_room() {
    let (bus, publisher, subscriber) = full();
    let publishing = meanwhile(move || {
        let publish = publisher.message(1).timeout(SECOND).publish_async();
        match block_on(publish) {
            Ok(delivery) => {
                assert_eq!(delivery.delivered(), 1);
                true
            }
            Err(error) => {
                assert!(error.is_timeout() && error.delivery().is_unheard());
                assert_eq!(error.into_inner(), 1);
                false
            }
        }
    });
    assert_eq!(*subscriber.recv().unwrap(), 0);
    let delivered = publishing.join().unwrap();
    assert_eq!(take_all(&subscriber), if delivered { vec![1] } else { vec![] });
    assert_eq!(bus.stats().dropped, 0);
}

/// The same for a request, which the responder has or has not; and for the reply, which comes in time or not.
pub fn asking_task_with_a_timeout_against_room_and_reply() {
    let (bus, publisher, responder) = full();
    let asking = meanwhile(move || {
        let pending = match block_on(publisher.message(1).timeout(SECOND).request_async()) {
            Ok(pending) => pending,
            Err(error) => {
                assert!(error.is_timeout());
                assert_eq!(error.into_inner(), 1);
                // The responder waits for the request or for the end.
                bus.close();
                return false;
            }
        };
        let reply = match block_on(pending) {
            Err(error) if error.is_timeout() => error.into_inner().unwrap().wait_timeout(Duration::MAX),
            reply => reply,
        };
        assert_eq!(reply.unwrap(), 2);
        true
    });
    assert_eq!(*responder.recv().unwrap(), 0);
    let has_request = responder.recv().map(|message| message.reply(2).unwrap()).is_ok();
    assert_eq!(asking.join().unwrap(), has_request);
}

pub fn publishing_task_against_unsubscribe() {
    let (bus, publisher, subscriber) = full();
    let publishing = meanwhile(move || block_on(publisher.publish_async(1)).unwrap().delivered());
    drop(subscriber);
    let delivered = publishing.join().unwrap();
    assert_eq!(bus.stats().abandoned, 1 + delivered as u64);
}

pub fn publishing_task_against_close() {
    let (bus, publisher, subscriber) = full();
    let publishing = meanwhile(move || match block_on(publisher.publish_async(1)) {
        Ok(delivery) => delivery.delivered(),
        Err(error) => {
            assert!(error.is_closed());
            0
        }
    });
    bus.close();
    // Nobody has made room for it.
    assert_eq!(publishing.join().unwrap(), 0);
    assert_eq!(subscriber.iter().count(), 1);
}

pub fn waiting_task_against_reply() {
    let bus = bus(1);
    let responder = bus.subscribe(TOPIC).unwrap();
    let pending = bus.request(TOPIC, 0).unwrap();
    let message = responder.recv().unwrap();
    let replying = meanwhile(move || message.reply(1).unwrap());
    assert_eq!(block_on(pending).unwrap(), 1);
    replying.join().unwrap();
}

pub fn waiting_task_against_a_dropped_request() {
    let bus = bus(1);
    let responder = bus.subscribe(TOPIC).unwrap();
    let pending = bus.request(TOPIC, 0).unwrap();
    let message = responder.recv().unwrap();
    let dropping = meanwhile(move || drop(message));
    assert!(block_on(pending).unwrap_err().is_unanswered());
    dropping.join().unwrap();
}

pub fn waiting_task_against_close() {
    let bus = bus(1);
    let _responder = bus.subscribe(TOPIC).unwrap();
    let pending = bus.request(TOPIC, 0).unwrap();
    let closing = meanwhile(move || bus.close());
    assert!(block_on(pending).unwrap_err().is_closed());
    closing.join().unwrap();
}

pub fn waiting_task_against_gathered_replies() {
    let bus = bus(1);
    let (one, other) = (bus.subscribe(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    let mut replies = bus.gather(TOPIC, 0).unwrap();
    let (answers, leaves) = (one.recv().unwrap(), other.recv().unwrap());
    let replying = meanwhile(move || answers.reply(1).unwrap());
    let leaving = meanwhile(move || drop(leaves));
    let mut received = Vec::new();
    while let Some(reply) = block_on(poll_fn(|context| Pin::new(&mut replies).poll_next(context))) {
        received.extend(reply);
    }
    assert_eq!(received, [1]);
    replying.join().unwrap();
    leaving.join().unwrap();
}

/// A future that nobody polls any more is told of the message, and keeps it from nobody.
pub fn forgotten_task_beside_one_that_receives() {
    let bus = bus(1);
    let (publisher, subscriber) = (bus.publisher(TOPIC).unwrap(), bus.subscribe(TOPIC).unwrap());
    let mut forgotten = Box::pin(subscriber.recv_async());
    assert!(block_on(once(&mut forgotten)).is_none());
    let publishing = meanwhile(move || assert_eq!(publisher.publish(1).unwrap().delivered(), 1));
    assert_eq!(*block_on(subscriber.recv_async()).unwrap(), 1);
    publishing.join().unwrap();
}

/// It comes first, is told of the room, and does not use it. A reader that finds nothing then tells the other.
pub fn forgotten_task_beside_one_that_publishes() {
    let (bus, publisher, subscriber) = full();
    let mut forgotten = Box::pin(publisher.publish_async(9));
    assert!(block_on(once(&mut forgotten)).is_none());
    let publishing = meanwhile(move || block_on(bus.publish_async(TOPIC, 1)).unwrap().delivered());
    assert_eq!(*subscriber.recv().unwrap(), 0);
    assert_eq!(*subscriber.recv().unwrap(), 1);
    assert_eq!(publishing.join().unwrap(), 1);
}

/// What a forgotten task has kept, another one puts in: the values arrive in the order in which they were kept.
pub fn forgotten_task_beside_one_that_publishes_retained() {
    let (bus, publisher, subscriber) = full();
    let mut forgotten = Box::pin(publisher.publish_retained_async(1));
    assert!(block_on(once(&mut forgotten)).is_none());
    let later = bus.publisher(TOPIC).unwrap();
    let publishing = meanwhile(move || block_on(later.publish_retained_async(2)).unwrap().delivered());
    assert_eq!([(); 3].map(|()| *subscriber.recv().unwrap()), [0, 1, 2]);
    assert_eq!(publishing.join().unwrap(), 1);
    assert_eq!(bus.retained(TOPIC), Some(2));
    assert_eq!(block_on(forgotten).unwrap().delivered(), 1);
}

/// Something still holds the mailbox of a responder that is gone. A request that got in at the last moment ends all the
/// same: whoever comes second, the one who leaves or the one who asks, empties the mailbox.
pub fn request_against_unsubscribe_from_a_mailbox_that_stays() {
    let (bus, publisher, responder) = full();
    let asks = bus.publisher(TOPIC).unwrap();
    let mut holds = Box::pin(publisher.publish_async(1));
    assert!(block_on(once(&mut holds)).is_none());
    assert_eq!(*responder.recv().unwrap(), 0);
    let asking = meanwhile(move || match asks.request(2) {
        Ok(pending) => assert!(pending.wait().unwrap_err().is_unanswered()),
        Err(error) => assert!(error.is_no_responders()),
    });
    drop(responder);
    asking.join().unwrap();
    drop(holds);
}

pub fn waiting_task_against_a_dead_letter() {
    let bus = bus(1);
    let letters = bus.dead_letters();
    let losing = meanwhile({
        let bus = bus.clone();
        move || bus.fire("nobody.listens", 1)
    });
    assert_eq!(block_on(letters.recv_async()).unwrap().into_payload(), 1);
    losing.join().unwrap();
}

pub fn waiting_task_against_the_end_of_dead_letters() {
    let bus = bus(1);
    let letters = bus.dead_letters();
    let closing = meanwhile(move || bus.close());
    assert!(block_on(letters.recv_async()).unwrap_err().is_closed());
    closing.join().unwrap();
}

/// A request is asked, and its caller goes while a task serves it. The closure runs, or the request is counted as skipped:
/// never both, never neither.
fn a_caller_that_goes_while_a_task_serves<A>(ask: impl FnOnce(&Bus<u32>) -> A) {
    let bus = bus(1);
    let (spawned, calls) = (Cell::new(None), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&calls);
    let server = bus.serve_async(
        TOPIC,
        |task| spawned.set(Some(task)),
        move |number| {
            counter.fetch_add(1, Ordering::Relaxed);
            std::future::ready(**number)
        },
    );
    let server = server.unwrap();
    let caller = ask(&bus);
    let mut task = spawned.take().unwrap();
    let serving = meanwhile(move || {
        assert!(block_on(once(&mut task)).is_none(), "it waits for the next");
        task
    });
    drop(caller);
    let task = serving.join().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed) + bus.stats().skipped_requests, 1);
    drop((server, task));
}

/// The one caller goes.
pub fn cancelled_request_against_a_task_that_serves() {
    a_caller_that_goes_while_a_task_serves(|bus| bus.request(TOPIC, 0).unwrap());
}

/// The caller that gathers goes.
pub fn cancelled_gather_against_a_task_that_serves() {
    a_caller_that_goes_while_a_task_serves(|bus| bus.gather(TOPIC, 0).unwrap());
}

/// The end of the last worker wakes the task that stops its handler, wherever that task is.
pub fn stopping_task_against_the_end_of_a_worker() {
    let bus = bus(1);
    let spawned = Cell::new(None);
    let handler = bus.on_async(TOPIC, |task| spawned.set(Some(task)), |_| std::future::ready(())).unwrap();
    let task = spawned.take().unwrap();
    let ending = meanwhile(move || drop(task));
    assert!(block_on(handler.stop_async(Duration::MAX)).is_complete());
    ending.join().unwrap();
}
