//! Wakers are code of the user: they run under no lock of the bus, may do with it what they like, and are called when
//! there is a reason.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use futures_lite::StreamExt;
use tramline::{Bus, Message, Overflow, Subscriber, WeakBus};

use crate::support::{ByHand, LONG, block_on, block_on_counting, gate, wait_until, within_limit};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Does something when it is woken, and when it is dropped; counts how often it was woken.
struct Meddler<F: Fn()> {
    meddle: F,
    wakes: Arc<AtomicUsize>,
}

impl<F: Fn() + Send + Sync + 'static> Wake for Meddler<F> {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        (self.meddle)();
    }
}

impl<F: Fn()> Drop for Meddler<F> {
    fn drop(&mut self) {
        (self.meddle)();
    }
}

fn meddler(meddle: impl Fn() + Send + Sync + 'static) -> (Waker, Arc<AtomicUsize>) {
    let wakes = Arc::<AtomicUsize>::default();
    (Waker::from(Arc::new(Meddler { meddle, wakes: Arc::clone(&wakes) })), wakes)
}

/// Takes every lock that there is: that of the map, of the mailboxes of the topic `work` and of its waiting tasks, of
/// replies, and of what waits for the end of the bus.
fn use_everything(bus: &WeakBus<u32>) {
    let Some(bus) = bus.upgrade() else { return };
    let Ok(own) = bus.subscription("work").capacity(2).open() else { return };
    let member = bus.subscription("work").group("members").open().unwrap();
    bus.fire("work", 100);
    for waiting in [ByHand::new(bus.publish_async("work", 101)), ByHand::new(bus.publish_async("work", 102))] {
        let mut waiting = waiting;
        let _ = waiting.poll();
    }
    let _ = ByHand::new(member.recv_async()).poll();
    let mut asked = ByHand::new(bus.request_async("work", 103));
    if let Poll::Ready(Ok(pending)) = asked.poll() {
        let _ = ByHand::new(pending).poll();
    }
    own.try_iter().for_each(|message| drop(message.reply(1)));
    let _ = bus.stats();
    drop(bus.publisher("work"));
    assert!(own.unsubscribe() < 3);
}

/// A waker for each kind of user: one that uses the bus, and one that closes it.
fn each_meddler(bus: &Bus<u32>) -> [(Waker, Arc<AtomicUsize>); 2] {
    let (using, closing) = (bus.downgrade(), bus.downgrade());
    [
        meddler(move || use_everything(&using)),
        meddler(move || {
            use_everything(&closing);
            closing.upgrade().iter().for_each(Bus::close);
        }),
    ]
}

/// Polls the future with a waker that meddles, lets something happen that calls the waker, and polls again.
fn meddle<F: Future, K>(bus: &Bus<u32>, waiting: F, happens: impl FnOnce() -> K) {
    let mut waiting = pin!(waiting);
    let [(using, used), (closing, _)] = each_meddler(bus);
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&using)).is_pending());
    drop(using);
    let _kept = happens();
    assert!(used.load(Ordering::SeqCst) > 0, "the waker was not called");
    let _ = waiting.as_mut().poll(&mut Context::from_waker(&closing));
}

/// Polls the future with two wakers, so that the second replaces the first, and drops it, and the second with it.
fn give_up<F: Future>(bus: &Bus<u32>, waiting: F) {
    let mut waiting = Box::pin(waiting);
    for (waker, _) in each_meddler(bus) {
        let _ = waiting.as_mut().poll(&mut Context::from_waker(&waker));
    }
}

/// What ends a wait for room; hands the subscriber back if it has not left.
type EndOfWait = fn(&Bus<u32>, Subscriber<u32>) -> Option<Subscriber<u32>>;

/// A bus with a subscriber of `work` whose mailbox is full.
fn full() -> (Bus<u32>, Subscriber<u32>) {
    let bus = Bus::<u32>::builder().capacity(1).build();
    let subscriber = bus.subscribe("work").unwrap();
    bus.publish("work", 1).unwrap();
    (bus, subscriber)
}

#[test]
fn a_waker_may_use_the_bus_when_a_message_comes() {
    within_limit(|| {
        let comes: [fn(&Bus<u32>); 5] = [
            |bus| bus.fire("work", 1),
            |bus| drop(bus.request("work", 1).unwrap()),
            |bus| drop(bus.gather("work", 1).unwrap()),
            |bus| assert_eq!(bus.publish_retained("work", 1).unwrap().delivered(), 1),
            |bus| assert!(bus.publisher("work").unwrap().publish_all([1, 2, 3]).unwrap().delivered() > 0),
        ];
        for overflow in [Overflow::Block, Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect] {
            for comes in comes {
                let bus = Bus::<u32>::new();
                let subscriber = bus.subscription("work").overflow(overflow).open().unwrap();
                meddle(&bus, subscriber.recv_async(), || comes(&bus));
                // The future is dropped while it waits.
                let bus = Bus::<u32>::new();
                let subscriber = bus.subscription("work").overflow(overflow).open().unwrap();
                give_up(&bus, subscriber.recv_async());
            }
        }
    });
}

#[test]
fn a_waker_may_use_the_bus_when_its_mailbox_ends() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let subscriber = bus.subscribe("work").unwrap();
        meddle(&bus, subscriber.recv_async(), || bus.close());

        let bus = Bus::<u32>::new();
        let small = bus.subscription("work").capacity(1).overflow(Overflow::Disconnect).open().unwrap();
        bus.publish("work", 1).unwrap();
        let _ = small.try_recv().unwrap();
        meddle(&bus, small.recv_async(), || bus.fire("work", 2));

        // The waker of a stream goes with its subscriber.
        let bus = Bus::<u32>::new();
        let (waker, _) = meddler({
            let bus = bus.downgrade();
            move || use_everything(&bus)
        });
        let mut stream = bus.subscribe("work").unwrap();
        assert!(pin!(stream.next()).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        drop(stream);
    });
}

#[test]
fn a_waker_may_use_the_bus_when_room_comes_or_never_will() {
    within_limit(|| {
        fn stays(took: bool, full: Subscriber<u32>) -> Option<Subscriber<u32>> {
            assert!(took);
            Some(full)
        }
        let ends: [EndOfWait; 6] = [
            |_, full| stays(full.recv().is_ok(), full),
            |_, full| stays(full.try_iter().count() > 0, full),
            |_, full| stays(ByHand::new(full.recv_async()).ready().is_ok(), full),
            |_, full| {
                drop(full);
                None
            },
            |_, full| {
                assert!(full.unsubscribe() > 0);
                None
            },
            |bus, full| {
                bus.close();
                Some(full)
            },
        ];
        for end in ends {
            let (bus, subscriber) = full();
            let work = bus.publisher("work").unwrap();
            meddle(&bus, work.publish_async(2), || end(&bus, subscriber));
            let (bus, subscriber) = full();
            let work = bus.publisher("work").unwrap();
            meddle(&bus, work.gather_async(2), || end(&bus, subscriber));
            let (bus, _subscriber) = full();
            let work = bus.publisher("work").unwrap();
            give_up(&bus, work.publish_async(2));
        }
        // It is told of room, does not use it, and the next is told.
        let (bus, subscriber) = full();
        let work = bus.publisher("work").unwrap();
        let told = ByHand::waiting(work.publish_async(2));
        meddle(&bus, work.publish_async(3), || {
            assert!(subscriber.recv().is_ok());
            drop(told);
        });
    });
}

/// The last member of a group goes, while others are there or not; a handler, whose threads go later.
#[test]
fn a_waker_may_use_the_bus_when_those_who_make_room_leave() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let member = || bus.subscription("work").group("others").open().unwrap();
        let (one, two) = (member(), member());
        let work = bus.publisher("work").unwrap();
        work.publish(1).unwrap();
        meddle(&bus, work.publish_async(2), || {
            drop(one);
            drop(two);
        });

        for stop in [true, false] {
            let bus = Bus::<u32>::builder().capacity(1).build();
            let (gate, entered, go) = gate();
            let handler = bus.on("work", move |_| gate.pass(())).unwrap();
            let work = bus.publisher("work").unwrap();
            work.publish(1).unwrap();
            entered.recv_timeout(LONG).unwrap();
            work.publish(2).unwrap();
            meddle(&bus, work.publish_async(3), || {
                if stop {
                    drop(go);
                    let _ = handler.stop(LONG);
                } else {
                    drop(handler);
                    drop(go);
                }
            });
        }
    });
}

#[test]
fn a_waker_may_use_the_bus_when_an_answer_comes_or_never_will() {
    within_limit(|| {
        type End = fn(&Bus<u32>, Message<u32>);
        let ends: [End; 5] = [
            |_, request| drop(request.reply(2)),
            |_, request| request.fail("x").unwrap(),
            |_, request| drop(request),
            |bus, _request| bus.close(),
            |bus, request| {
                bus.close();
                assert!(request.responder().unwrap().is_cancelled());
            },
        ];
        for end in ends {
            let bus = Bus::<u32>::new();
            let service = bus.subscribe("ask").unwrap();
            let pending = bus.request("ask", 1).unwrap();
            let request = service.recv().unwrap();
            meddle(&bus, pending, || end(&bus, request));

            let bus = Bus::<u32>::new();
            let service = bus.subscribe("ask").unwrap();
            let mut replies = bus.gather("ask", 1).unwrap();
            let request = service.recv().unwrap();
            meddle(&bus, replies.next(), || end(&bus, request));
        }
        let bus = Bus::<u32>::new();
        let _service = bus.subscribe("ask").unwrap();
        let mut replies = bus.gather("ask", 1).unwrap();
        give_up(&bus, bus.request("ask", 1).unwrap());
        give_up(&bus, replies.next());
        drop(replies);
    });
}

/// It looks at the very request whose answer it is called for.
#[test]
fn a_waker_may_look_at_its_own_request() {
    within_limit(|| {
        type End = fn(&Bus<u32>, &Message<u32>);
        let ends: [End; 3] =
            [|_, request| drop(request.reply(2)), |_, request| request.fail("x").unwrap(), |bus, _| bus.close()];
        for end in ends {
            let bus = Bus::<u32>::new();
            let service = bus.subscribe("ask").unwrap();
            let looking = |request: &Message<u32>| {
                let responder = request.responder().unwrap();
                meddler(move || assert!(responder.reply(3).is_err() || responder.is_cancelled()))
            };

            let mut pending = Box::pin(bus.request("ask", 1).unwrap());
            let request = service.recv().unwrap();
            let (waker, wakes) = looking(&request);
            assert!(pending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let mut replies = bus.gather("ask", 1).unwrap();
            let gathered = service.recv().unwrap();
            let (gathering, woken) = looking(&gathered);
            assert!(replies.poll_next(&mut Context::from_waker(&gathering)).is_pending());

            end(&bus, &request);
            end(&bus, &gathered);
            assert_eq!((wakes.load(Ordering::SeqCst), woken.load(Ordering::SeqCst)), (1, 1));
        }
    });
}

/// The bus goes with the last handle, which a waker holds; and the waker goes with the wait.
#[test]
fn a_waker_may_hold_the_last_handle_of_the_bus() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let subscriber = bus.subscribe("work").unwrap();
        let weak = bus.downgrade();
        let work = bus.publisher("work").unwrap();
        let (waker, _) = meddler(move || assert!(!bus.stats().subscriptions.is_empty()));
        let mut receiving = Box::pin(subscriber.recv_async());
        assert!(receiving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        work.publish(1).unwrap();
        drop(work);
        // Called and let go of by the publisher.
        assert!(weak.upgrade().is_none());
        assert_eq!(*ByHand::new(receiving).ready().unwrap(), 1);
        assert!(subscriber.try_recv().unwrap_err().is_closed());

        let bus = Bus::<u32>::new();
        let subscriber = bus.subscribe("work").unwrap();
        let (waker, _) = meddler(move || assert_eq!(bus.stats().subscriptions.len(), 1));
        let mut receiving = Box::pin(subscriber.recv_async());
        assert!(receiving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        drop(receiving);
        assert!(subscriber.try_recv().unwrap_err().is_closed());
    });
}

/// A waker that lets go of the replies sees that the other responders are told so.
#[test]
fn replies_that_a_waker_drops_are_cancelled() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let services = [bus.subscribe("bid").unwrap(), bus.subscribe("bid").unwrap()];
        let replies = Arc::new(Mutex::new(Some(bus.gather("bid", 1).unwrap())));
        let [one, two] = services.each_ref().map(|service| service.recv().unwrap());
        let responder = two.responder().unwrap();
        let was_cancelled = Arc::new(OnceLock::new());
        let (held, seen) = (Arc::clone(&replies), Arc::clone(&was_cancelled));
        let (waker, _) = meddler(move || {
            let dropped = held.lock().unwrap().take();
            if let Some(dropped) = dropped {
                drop(dropped);
                seen.set(responder.is_cancelled()).unwrap();
            }
        });
        let pending =
            replies.lock().unwrap().as_mut().unwrap().poll_next(&mut Context::from_waker(&waker)).is_pending();
        assert!(pending);
        one.reply(1).unwrap();
        assert_eq!(was_cancelled.get(), Some(&true));
    });
}

/// Whatever ends the wait, a message that a mailbox cannot have any more is no loss: not even if its future is dropped in
/// the middle of that.
#[test]
fn a_publish_that_its_waker_drops_at_the_end_is_not_lost() {
    within_limit(|| {
        let ends: [EndOfWait; 2] = [
            |bus, full| {
                bus.close();
                Some(full)
            },
            |_, full| {
                drop(full);
                None
            },
        ];
        for end in ends {
            let (bus, subscriber) = full();
            let dead_letters = bus.dead_letters();
            let work = bus.publisher("work").unwrap();
            let publishing: Arc<Mutex<Option<Task>>> = Arc::default();
            let held = Arc::clone(&publishing);
            let (waker, wakes) = meddler(move || {
                let dropped = held.lock().unwrap().take();
                drop(dropped);
            });
            let mut task: Task = Box::pin(async move { assert!(work.publish_async(2).await.is_ok()) });
            assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            *publishing.lock().unwrap() = Some(task);
            let _stays = end(&bus, subscriber);
            assert!(wakes.load(Ordering::SeqCst) > 0 && publishing.lock().unwrap().is_none());
            assert_eq!((bus.stats().dropped, dead_letters.len()), (0, 0));
        }
    });
}

/// Runs its task at once, wherever it is woken: in the middle of a publish, a receive or a reply of another.
struct Inline {
    task: Mutex<Option<Task>>,
    again: AtomicBool,
}

impl Inline {
    fn start(task: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        let inline = Arc::new(Self { task: Mutex::new(Some(Box::pin(task))), again: AtomicBool::new(false) });
        Arc::clone(&inline).wake();
        inline
    }

    fn has_ended(&self) -> bool {
        self.task.lock().unwrap().is_none()
    }
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        while self.again.load(Ordering::SeqCst) {
            // Who runs it sees that it has to look again.
            let Ok(mut task) = self.task.try_lock() else { return };
            self.again.store(false, Ordering::SeqCst);
            let Some(running) = task.as_mut() else { return };
            if running.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self)))).is_ready() {
                let ended = task.take();
                drop(task);
                drop(ended);
                return;
            }
        }
    }
}

#[test]
fn tasks_may_run_where_they_are_woken() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let received = Arc::new(Mutex::new(Vec::new()));
        let member = || bus.subscription("work").group("members").open().unwrap();
        let readers = [member(), member()].map(|member| {
            let received = Arc::clone(&received);
            Inline::start(async move {
                while let Ok(message) = member.recv_async().await {
                    received.lock().unwrap().push(*message);
                    if message.is_request() {
                        message.reply(*message).unwrap();
                    }
                }
            })
        });
        let publishers = [0, 1000, 2000].map(|from| {
            let work = bus.publisher("work").unwrap();
            Inline::start(async move {
                for number in from..from + 1000 {
                    if number % 3 == 0 {
                        assert_eq!(work.request_async(number).await.unwrap().await.unwrap(), number);
                    } else {
                        assert_eq!(work.publish_async(number).await.unwrap().delivered(), 1);
                    }
                }
            })
        });
        assert!(publishers.iter().all(|task| task.has_ended()));
        assert!(!readers.iter().any(|task| task.has_ended()));
        bus.close();
        assert!(readers.iter().all(|task| task.has_ended()));
        let mut received = received.lock().unwrap();
        received.sort_unstable();
        assert!(received.iter().copied().eq(0..3000));
    });
}

#[test]
fn who_waits_is_woken_by_what_concerns_it_alone() {
    let bus = Bus::<u32>::new();
    let idle = bus.subscribe("idle").unwrap();
    let mut idle_stream = bus.subscribe("idle.*").unwrap();
    let full = bus.subscription("full").capacity(1).open().unwrap();
    bus.publish("full", 1).unwrap();
    let asked = bus.subscribe("ask").unwrap();
    let receiving = ByHand::waiting(idle.recv_async());
    let streaming = ByHand::waiting(idle_stream.next());
    let publishing = ByHand::waiting(bus.publish_async("full", 2));
    let pending = ByHand::waiting(bus.request("ask", 1).unwrap());
    let mut replies = bus.gather("ask", 2).unwrap();
    let gathering = ByHand::waiting(replies.next());
    let wakes = || [receiving.wakes(), streaming.wakes(), publishing.wakes(), pending.wakes(), gathering.wakes()];

    // Other topics are busy, and everything else that happens on a bus.
    let others: Vec<_> = (0..10).map(|topic| bus.subscribe(format!("busy.{topic}")).unwrap()).collect();
    let service = bus.subscribe("busy.ask").unwrap();
    for round in 0..100 {
        for topic in 0..10 {
            bus.publish(format!("busy.{topic}"), round).unwrap();
        }
        for subscriber in &others {
            assert_eq!(*ByHand::new(subscriber.recv_async()).ready().unwrap(), round);
            assert!(subscriber.try_recv().is_err());
        }
        let answered = ByHand::waiting(bus.request("busy.ask", 1).unwrap());
        service.recv().unwrap().reply(2).unwrap();
        assert_eq!(answered.woken().unwrap(), 2);
        drop(ByHand::waiting(bus.request("busy.ask", 1).unwrap()));
        drop(service.recv().unwrap());
        // Others at the same mailboxes come and go.
        drop(ByHand::waiting(idle.recv_async()));
        drop(ByHand::waiting(bus.publish_async("full", 3)));
        assert!(idle.try_recv().is_err());
        let _ = bus.stats();
    }
    assert_eq!(wakes(), [0; 5]);

    bus.publish("idle", 1).unwrap();
    assert_eq!(wakes(), [1, 0, 0, 0, 0]);
    bus.publish("idle.too", 1).unwrap();
    assert_eq!(wakes(), [1, 1, 0, 0, 0]);
    assert_eq!(*full.recv().unwrap(), 1);
    assert_eq!(wakes(), [1, 1, 1, 0, 0]);
    asked.recv().unwrap().reply(1).unwrap();
    assert_eq!(wakes(), [1, 1, 1, 1, 0]);
    asked.recv().unwrap().reply(1).unwrap();
    assert_eq!(wakes(), [1, 1, 1, 1, 1]);
    // Once: what comes before it looks again does not wake it again.
    bus.publish("idle", 2).unwrap();
    assert_eq!(full.try_iter().count(), 0);
    bus.close();
    assert_eq!(wakes(), [1; 5]);
}

/// A future that moves to another task is woken there.
#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_called() {
    /// Polls with two wakers; the second alone must be called.
    fn moves<F: Future>(waiting: F, happens: impl FnOnce()) {
        let mut waiting = pin!(waiting);
        let [(first, before), (second, after)] = [(); 2].map(|()| meddler(|| ()));
        for waker in [&first, &second] {
            assert!(waiting.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
        happens();
        assert_eq!((before.load(Ordering::SeqCst), after.load(Ordering::SeqCst)), (0, 1));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&second)).is_ready());
    }

    let (bus, subscriber) = full();
    let work = bus.publisher("work").unwrap();
    moves(work.publish_async(2), || assert_eq!(*subscriber.recv().unwrap(), 1));
    assert_eq!(*subscriber.recv().unwrap(), 2);
    moves(subscriber.recv_async(), || bus.fire("work", 3));
    let mut subscriber = subscriber;
    moves(subscriber.next(), || bus.fire("work", 4));
    let service = bus.subscribe("ask").unwrap();
    let answer = |subscriber: &Subscriber<u32>| subscriber.recv().unwrap().reply(5).unwrap();
    moves(bus.request("ask", 5).unwrap(), || answer(&service));
    let mut replies = bus.gather("ask", 6).unwrap();
    moves(replies.next(), || answer(&service));
}

/// Each message wakes those who wait for one; a burst wakes them once.
#[test]
fn a_burst_wakes_a_receiver_once() {
    let bus = Bus::<u32>::new();
    let subscriber = bus.subscribe("work").unwrap();
    let mut receiving = ByHand::waiting(subscriber.recv_async());
    for _ in 0..100 {
        assert!(receiving.poll().is_pending());
    }
    for number in 0..100 {
        bus.publish("work", number).unwrap();
    }
    assert_eq!(receiving.wakes(), 1);
    assert_eq!(*receiving.woken().unwrap(), 0);
}

/// A handler's thread that waits for room in its own mailbox, because another worker will make it, sleeps until then.
#[test]
fn a_handler_that_waits_for_its_own_mailbox_does_not_spin() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let work = bus.publisher("work").unwrap();
        let (go, gates): (Vec<_>, Vec<_>) = (0..2).map(|_| crossbeam_channel::bounded::<()>(1)).unzip();
        let (seen, begins) = channel();
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let _handler = bus
            .subscription("work")
            .capacity(1)
            .workers(2)
            .handle(move |message| {
                seen.send(**message).unwrap();
                match **message {
                    1 => gates[0].recv().unwrap(),
                    2 => {
                        gates[1].recv().unwrap();
                        let delivery = block_on_counting(&counted, work.publish_async(4));
                        assert_eq!(delivery.unwrap().delivered(), 1);
                    }
                    _ => {}
                }
            })
            .unwrap();
        let publisher = bus.publisher("work").unwrap();
        let begun = || begins.recv_timeout(LONG).unwrap();
        for number in 1..=2 {
            publisher.publish(number).unwrap();
            assert_eq!(begun(), number);
        }
        publisher.publish(3).unwrap();
        // Both workers are busy and the mailbox is full. One of them waits for room, the other will make it.
        go[1].send(()).unwrap();
        wait_until("it has looked", || polls.load(Ordering::SeqCst) > 0);
        go[0].send(()).unwrap();
        assert_eq!(begun() + begun(), 3 + 4);
        assert!(polls.load(Ordering::SeqCst) <= 3, "it was woken for nothing");
    });
}

/// Nothing is polled and nothing is woken while all wait.
#[test]
fn tasks_that_wait_do_not_wake_each_other() {
    let bus = Bus::<u32>::builder().capacity(1).build();
    let member = || bus.subscription("work").group("members").open().unwrap();
    let members = [member(), member(), member()];
    let mut receiving = members.each_ref().map(|member| ByHand::waiting(member.recv_async()));
    for task in &mut receiving {
        assert!(task.poll().is_pending());
    }
    assert_eq!(receiving.each_ref().map(ByHand::wakes), [0; 3]);
    drop(receiving);
    bus.publish("work", 1).unwrap();
    let work = bus.publisher("work").unwrap();
    let mut publishing = [2, 3, 4].map(|number| ByHand::waiting(work.publish_async(number)));
    for task in &mut publishing {
        assert!(task.poll().is_pending());
    }
    assert_eq!(publishing.each_ref().map(ByHand::wakes), [0; 3]);
    // Room for one: the others are told by the one who has used it at most.
    assert!(members[0].recv().is_ok());
    assert_eq!(publishing.each_ref().map(ByHand::wakes), [1, 0, 0]);
    assert!(publishing[0].poll().is_ready());
    assert!(publishing.each_ref().map(ByHand::wakes).iter().sum::<usize>() <= 2);
    assert!(publishing[1..].iter_mut().all(|task| task.poll().is_pending()));
    assert!(publishing.each_ref().map(ByHand::wakes).iter().sum::<usize>() <= 2);
}

#[test]
fn a_task_that_waits_for_a_dead_letter_is_woken_by_one_and_by_the_end() {
    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    let (first, second) = (ByHand::waiting(letters.recv_async()), ByHand::waiting(letters.recv_async()));
    bus.fire("nobody.listens", 1);
    // Both: the first might never be polled again.
    assert_eq!(first.woken().unwrap().into_payload(), 1);
    assert_eq!(second.wakes(), 1);
    let mut second = second;
    assert!(second.poll().is_pending());
    bus.close();
    assert_eq!(second.wakes(), 2);
    assert!(second.woken().unwrap_err().is_closed());

    let mut letters = letters;
    assert!(ByHand::new(letters.next()).ready().is_none());
}

#[test]
fn a_wait_for_a_dead_letter_that_is_dropped_or_forgotten_keeps_no_letter() {
    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    let (forgotten, dropped) = (ByHand::waiting(letters.recv_async()), ByHand::waiting(letters.recv_async()));
    let other = ByHand::waiting(letters.recv_async());
    bus.fire("nobody.listens", 1);
    // Woken, and not polled again.
    forgotten.forget();
    drop(dropped);
    assert_eq!(other.woken().unwrap().into_payload(), 1);
    assert!(letters.is_empty());
    // A wait that has gone is not woken.
    let gone = ByHand::waiting(letters.recv_async());
    let watch = gone.watch();
    drop(gone);
    bus.fire("nobody.listens", 2);
    assert_eq!((watch.wakes(), letters.try_recv().unwrap().into_payload()), (0, 2));
}

#[test]
fn wakers_of_those_who_wait_for_dead_letters_may_use_the_bus() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = Arc::new(bus.dead_letters());
        let (own, reader) = (bus.downgrade(), Arc::downgrade(&letters));
        let (waker, wakes) = meddler(move || {
            if let Some(bus) = own.upgrade() {
                drop((bus.dead_letters(), bus.subscribe("other")));
            }
            if let Some(letters) = reader.upgrade() {
                let _ = (letters.len(), ByHand::new(letters.recv_async()).poll());
            }
        });
        {
            let mut waiting = pin!(letters.recv_async());
            assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            bus.fire("nobody.listens", 1);
            assert_eq!(wakes.load(Ordering::SeqCst), 1);
            // The waker took the letter.
            assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            bus.close();
            assert_eq!(wakes.load(Ordering::SeqCst), 2);
        }
        drop(waker);
    });
}

/// The task is woken from another thread again and again, each time for one letter.
#[test]
fn no_wake_up_of_a_dead_letter_is_lost() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let (sender, taken) = channel();
        let publisher = bus.clone();
        let publishing = std::thread::spawn(move || {
            for n in 0..20_000 {
                publisher.fire("nobody.listens", n);
                assert_eq!(taken.recv().unwrap(), n);
            }
        });
        block_on(async {
            for _ in 0..20_000 {
                sender.send(letters.recv_async().await.unwrap().into_payload()).unwrap();
            }
        });
        publishing.join().unwrap();
        assert_eq!(letters.dropped(), 0);
    });
}
