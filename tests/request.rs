//! Request-reply: who answers, who hears of it, and what ends a request that nobody answers. A million of them are in
//! `memory.rs`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::{LONG, SHORT, gate, wait_until, within_limit};
use tramline::{
    Bus, GatherError, Message, Overflow, PendingReply, ReplyError, RequestError, RespondError, Responder, Subscriber,
};

/// What a callback is told.
type Told = Result<u32, ReplyError<u32>>;

/// A service, and a request that is on its way to it.
fn one_request(bus: &Bus<u32>) -> (Subscriber<u32>, PendingReply<u32>) {
    let service = bus.subscribe("ask").unwrap();
    let pending = bus.request("ask", 1).unwrap();
    (service, pending)
}

/// Hands on what the callback of `pending` is told.
fn told(pending: PendingReply<u32>) -> Receiver<Told> {
    let (sender, told) = channel();
    pending.on_reply(move |result| sender.send(result).unwrap());
    told
}

/// Lets a request end, before or after its callback is set.
fn told_around(early: bool, pending: PendingReply<u32>, end: impl FnOnce()) -> Receiver<Told> {
    if early {
        let told = told(pending);
        end();
        told
    } else {
        end();
        told(pending)
    }
}

/// The one thing that a callback was told. The channel ends when the callback is gone: there is no second call, and it
/// is not kept for ever.
#[track_caller]
fn only(told: &Receiver<Told>) -> Told {
    let first = told.recv_timeout(LONG).unwrap();
    assert_eq!(told.recv_timeout(LONG).map(drop), Err(RecvTimeoutError::Disconnected));
    first
}

#[test]
fn r01_no_subscriber_is_no_responders_at_once_and_the_payload_comes_back() {
    within_limit(|| {
        let bus = Bus::<String>::new();
        let publisher = bus.publisher("ask").unwrap();
        let _elsewhere = bus.subscribe("other").unwrap();
        for error in [
            bus.request("ask", "tea".to_owned()).unwrap_err(),
            bus.gather("ask", "tea".to_owned()).unwrap_err(),
            publisher.request("tea".to_owned()).unwrap_err(),
            publisher.gather("tea".to_owned()).unwrap_err(),
        ] {
            assert!(matches!(&error, RequestError::NoResponders(payload) if payload == "tea"), "{error:?}");
            assert!(error.is_no_responders());
            assert_eq!(error.into_inner(), "tea");
        }
    });
}

#[test]
fn r01_a_subscriber_that_left_or_rejects_the_request_is_not_a_responder() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        drop(bus.subscribe("ask").unwrap());
        assert!(bus.request("ask", 1).unwrap_err().is_no_responders());
        let _picky = bus.subscription("ask").filter(|n| *n > 1).open().unwrap();
        assert!(bus.request("ask", 1).unwrap_err().is_no_responders());
    });
}

#[test]
fn r02_a_silent_responder_times_out_and_the_wait_can_go_on() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (service, pending) = one_request(&bus);
        let kept = service.recv().unwrap();

        let start = Instant::now();
        let error = pending.wait_timeout(SHORT).unwrap_err();
        assert!(start.elapsed() >= SHORT, "it gave up after {:?}", start.elapsed());
        assert!(error.is_timeout());

        let deadline = Instant::now() + SHORT;
        let error = error.into_inner().unwrap().wait_deadline(deadline).unwrap_err();
        assert!(Instant::now() >= deadline);

        let pending = error.into_inner().unwrap();
        assert!(pending.try_take().is_none());
        kept.reply(2).unwrap();
        assert_eq!(pending.wait().unwrap(), 2);
    });
}

#[test]
fn r03_every_copy_dropped_is_unanswered_at_once() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let services = [bus.subscribe("ask").unwrap(), bus.subscribe("ask").unwrap(), bus.subscribe("*").unwrap()];
        let pending = bus.request("ask", 1).unwrap();
        let copies = services.each_ref().map(|service| service.recv().unwrap());
        let responder = copies[0].responder().unwrap();

        // A responder is a copy too: as long as one is left, there is hope.
        drop(copies);
        assert!(pending.try_take().is_none());
        drop(responder);
        // "At once": it is there before anybody waits.
        assert!(matches!(pending.try_take(), Some(Err(ReplyError::Unanswered))));
    });
}

#[test]
fn r03_taking_the_payload_out_and_handling_without_a_reply_leave_it_unanswered() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (service, pending) = one_request(&bus);
        assert_eq!(service.recv().unwrap().into_payload(), 1);
        assert!(matches!(pending.wait(), Err(ReplyError::Unanswered)));
        drop(service);

        let _mute = bus.on("ask", |_| {}).unwrap();
        assert!(matches!(bus.request("ask", 1).unwrap().wait(), Err(ReplyError::Unanswered)));
    });
}

#[test]
fn r03_a_request_that_is_evicted_or_not_taken_is_unanswered() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let latest = bus.subscription("ask").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
        let first = bus.request("ask", 1).unwrap();
        let second = bus.request("ask", 2).unwrap();
        assert!(matches!(first.wait(), Err(ReplyError::Unanswered)));
        latest.recv().unwrap().reply(20).unwrap();
        assert_eq!(second.wait().unwrap(), 20);
        drop(latest);

        let oldest = bus.subscription("ask").capacity(1).overflow(Overflow::DropNewest).open().unwrap();
        let _waiting = bus.publish("ask", 0).unwrap();
        assert!(bus.request("ask", 3).unwrap_err().is_no_responders());
        drop(oldest);
    });
}

#[test]
fn r04_a_late_reply_is_cancelled_at_the_responder_and_nothing_at_the_caller() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (service, pending) = one_request(&bus);
        let request = service.recv().unwrap();
        let responder = request.responder().unwrap();

        let timed_out = pending.wait_timeout(Duration::from_millis(1)).unwrap_err();
        // The caller still holds what it can wait on.
        assert!(!responder.is_cancelled());
        drop(timed_out);

        assert!(responder.is_cancelled());
        let error = request.reply(7).unwrap_err();
        assert!(matches!(error, RespondError::Cancelled(7)), "{error:?}");
        assert!(matches!(responder.reply(8), Err(RespondError::Cancelled(8))));
        assert!(matches!(request.fail("too late"), Err(RespondError::Cancelled(why)) if why == "too late"));

        // The next request of the same caller hears nothing of the old one.
        let next = bus.request("ask", 2).unwrap();
        assert!(next.try_take().is_none());
        service.recv().unwrap().reply(9).unwrap();
        assert_eq!(next.wait().unwrap(), 9);
    });
}

#[test]
fn r05_the_first_reply_wins_and_the_second_is_already_answered() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (one, two) = (bus.subscribe("ask").unwrap(), bus.subscribe("ask").unwrap());
        let pending = bus.request("ask", 1).unwrap();
        let (one, two) = (one.recv().unwrap(), two.recv().unwrap());
        two.reply(22).unwrap();
        assert!(matches!(one.reply(11), Err(RespondError::AlreadyAnswered(11))));
        assert!(one.fail("a failure after the answer is no news").unwrap_err().is_already_answered());
        assert_eq!(pending.wait().unwrap(), 22);
        // Also after the caller has taken the answer and gone.
        assert!(matches!(one.reply(12), Err(RespondError::AlreadyAnswered(12))));
    });
}

#[test]
fn r05_of_two_replies_at_the_same_time_exactly_one_wins() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let service = bus.subscribe("ask").unwrap();
        for _ in 0..200 {
            let pending = bus.request("ask", 1).unwrap();
            let request = service.recv().unwrap();
            let racer = |own: u32, responder: Responder<u32>, start: Arc<Barrier>| {
                thread::spawn(move || {
                    start.wait();
                    responder.reply(own).map(|()| own)
                })
            };
            let start = Arc::new(Barrier::new(2));
            let racers = [1, 2]
                .map(|own| racer(own, request.responder().unwrap(), Arc::clone(&start)))
                .map(|t| t.join().unwrap());
            let winner = match racers {
                [Ok(winner), Err(RespondError::AlreadyAnswered(_))]
                | [Err(RespondError::AlreadyAnswered(_)), Ok(winner)] => winner,
                other => panic!("{other:?}"),
            };
            assert_eq!(pending.wait().unwrap(), winner);
        }
    });
}

#[test]
fn r06_fail_reaches_the_caller_with_its_text() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (service, pending) = one_request(&bus);
        service.recv().unwrap().fail("x").unwrap();
        assert!(matches!(pending.wait(), Err(ReplyError::Failed(text)) if text == "x"));
    });
}

#[test]
fn r06_a_panicking_server_fails_the_request_and_answers_the_next() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _server = bus
            .serve("ask", |n| {
                assert!(**n != 13, "unlucky {}", **n);
                **n * 2
            })
            .unwrap();
        match bus.request("ask", 13).unwrap().wait() {
            Err(ReplyError::Failed(text)) => assert!(text.contains("unlucky 13"), "{text}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(bus.request("ask", 21).unwrap().wait().unwrap(), 42);
        assert_eq!(bus.stats().handler_panics, 1);
    });
}

#[test]
fn r06_an_error_of_a_handler_fails_the_request() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _handler = bus.on("ask", |_| Err::<(), _>("no tea")).unwrap();
        match bus.request("ask", 1).unwrap().wait() {
            Err(ReplyError::Failed(text)) => assert!(text.contains("no tea"), "{text}"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn r07_a_reply_to_a_plain_message_is_not_a_request_and_has_no_other_effect() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (one, two) = (bus.subscribe("news").unwrap(), bus.subscribe("news").unwrap());
        assert_eq!(bus.publish("news", 5).unwrap().delivered(), 2);
        let message = one.recv().unwrap();
        assert!(!message.is_request());
        assert!(message.responder().is_none());
        let before = bus.stats();
        assert!(matches!(message.reply(6), Err(RespondError::NotARequest(6))));
        assert_eq!(message.fail("nobody hears this"), Err(RespondError::NotARequest("nobody hears this".to_owned())));
        assert_eq!(bus.stats(), before);
        assert_eq!((*message, *two.recv().unwrap()), (5, 5));
        assert!(one.try_recv().unwrap_err().is_empty());
        assert!(two.try_recv().unwrap_err().is_empty());
    });
}

#[test]
fn r08_the_responder_unsubscribes_with_requests_queued_and_each_is_unanswered() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let service = bus.subscribe("ask").unwrap();
        let pending: Vec<_> = (0..100).map(|n| bus.request("ask", n).unwrap()).collect();
        assert_eq!(service.unsubscribe(), 100);
        for pending in pending {
            assert!(matches!(pending.wait(), Err(ReplyError::Unanswered)));
        }
    });
}

#[test]
fn r08_a_server_that_is_dropped_with_requests_queued_leaves_them_unanswered() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, go) = gate();
        let server = bus
            .serve("ask", move |n| {
                gate.pass(());
                **n
            })
            .unwrap();
        let in_hand = bus.request("ask", 1).unwrap();
        entered.recv().unwrap();
        let queued: Vec<_> = (0..10).map(|n| bus.request("ask", n).unwrap()).collect();
        drop(server);
        // The server is still busy: what is queued must not wait for it.
        for pending in queued {
            assert!(matches!(pending.wait(), Err(ReplyError::Unanswered)));
        }
        drop(go);
        assert_eq!(in_hand.wait().unwrap(), 1);
    });
}

#[test]
fn r09_closing_the_bus_ends_requests_in_flight() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (service, in_hand) = one_request(&bus);
        let kept = service.recv().unwrap();
        let queued = bus.request("ask", 2).unwrap();
        let gathered = bus.gather("ask", 3).unwrap();
        let (waiting, waits) = channel();
        let waiter = thread::spawn(move || {
            waiting.send(()).unwrap();
            in_hand.wait()
        });
        waits.recv().unwrap();
        bus.close();
        assert!(matches!(waiter.join().unwrap(), Err(ReplyError::Closed)));
        assert!(matches!(queued.wait_timeout(LONG), Err(ReplyError::Closed)));
        assert_eq!(gathered.next_timeout(LONG), Err(GatherError::Closed));
        assert!(matches!(kept.reply(1), Err(RespondError::Cancelled(1))));
        assert!(bus.request("ask", 4).unwrap_err().is_closed());
    });
}

#[test]
fn r09_nothing_after_the_close_changes_the_outcome_of_a_request() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let service = bus.subscribe("ask").unwrap();
        let [failed, dropped] = [1, 2].map(|n| bus.request("ask", n).unwrap());
        let [failed_by_one, dropped_by_one] = [3, 4].map(|n| bus.gather("ask", n).unwrap());
        let [fails, drops, fails_one, drops_one] = [0; 4].map(|_| service.recv().unwrap());
        bus.close();
        assert!(fails.fail("too late").unwrap_err().is_cancelled());
        assert!(fails_one.fail("too late").unwrap_err().is_cancelled());
        drop((drops, drops_one));
        for pending in [failed, dropped] {
            let end = pending.wait_timeout(LONG);
            assert!(matches!(end, Err(ReplyError::Closed)), "{end:?}");
        }
        for replies in [failed_by_one, dropped_by_one] {
            assert_eq!(replies.next_timeout(LONG), Err(GatherError::Closed));
        }
    });
}

#[test]
fn r09_an_answer_given_before_the_close_is_kept() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (service, pending) = one_request(&bus);
        service.recv().unwrap().reply(2).unwrap();
        bus.close();
        assert_eq!(pending.wait().unwrap(), 2);
    });
}

#[test]
fn r10_a_thousand_requests_in_flight_to_four_workers_each_get_their_own_answer() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let gate = Arc::new(Barrier::new(5));
        let start = Arc::clone(&gate);
        let _server = bus
            .subscription("ask")
            .capacity(1000)
            .workers(4)
            .serve(move |n| {
                // The first four hold every worker until the last request is on its way.
                if **n < 4 {
                    start.wait();
                }
                **n * 3
            })
            .unwrap();
        let pending: Vec<_> = (0..1000).map(|n| bus.request("ask", n).unwrap()).collect();
        gate.wait();
        for (n, pending) in (0..).zip(pending) {
            assert_eq!(pending.wait().unwrap(), n * 3);
        }
    });
}

#[test]
fn r11_ten_servers_in_one_group_answer_each_of_a_thousand_requests_once() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let served = Arc::new(Mutex::new(Vec::new()));
        let servers: Vec<_> = (0..10)
            .map(|_| {
                let served = Arc::clone(&served);
                bus.subscription("ask")
                    .group("servers")
                    .serve(move |n| {
                        served.lock().unwrap().push(**n);
                        **n + 1
                    })
                    .unwrap()
            })
            .collect();
        let pending: Vec<_> = (0..1000).map(|n| bus.request("ask", n).unwrap()).collect();
        for (n, pending) in (0..).zip(pending) {
            assert_eq!(pending.wait().unwrap(), n + 1);
        }
        assert_eq!(servers.len(), 10);
        let served = served.lock().unwrap();
        assert_eq!(served.len(), 1000);
        assert_eq!(served.iter().collect::<HashSet<_>>().len(), 1000);
    });
}

/// Three services that answer, one that keeps the request in silence, one that drops it.
struct Five {
    answering: [Subscriber<u32>; 3],
    silent: Option<Subscriber<u32>>,
    dropping: Subscriber<u32>,
}

impl Five {
    fn new(bus: &Bus<u32>, with_silent: bool) -> Self {
        Self {
            answering: std::array::from_fn(|_| bus.subscribe("bid").unwrap()),
            silent: with_silent.then(|| bus.subscribe("bid").unwrap()),
            dropping: bus.subscribe("bid").unwrap(),
        }
    }

    fn act(&self) {
        for (n, service) in (1..).zip(&self.answering) {
            let request = service.recv().unwrap();
            request.reply(n).unwrap();
            // Each responder has one outcome, whatever the others do.
            assert!(request.reply(n).unwrap_err().is_already_answered());
        }
        drop(self.dropping.recv().unwrap());
    }
}

#[test]
fn r12_gather_knows_four_outcomes_of_five_and_ends_at_the_deadline() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let five = Five::new(&bus, true);

        let replies = bus.gather("bid", 0).unwrap();
        five.act();
        let kept = five.silent.as_ref().unwrap().recv().unwrap();
        for n in 1..=3 {
            assert_eq!(replies.next_timeout(LONG), Ok(n));
        }
        assert_eq!(replies.next_timeout(LONG), Err(GatherError::Unanswered));
        assert_eq!(replies.next_timeout(Duration::from_millis(1)), Err(GatherError::Timeout));
        // It was not too late yet.
        kept.reply(5).unwrap();
        assert_eq!(replies.next_timeout(LONG), Ok(5));
        drop(kept);
        assert_eq!(replies.next_timeout(LONG), Err(GatherError::Closed));

        let replies = bus.gather("bid", 0).unwrap();
        five.act();
        let start = Instant::now();
        assert_eq!(replies.collect_within(SHORT), [1, 2, 3]);
        assert!(start.elapsed() >= SHORT, "it ended after {:?}", start.elapsed());
    });
}

#[test]
fn r12_gather_without_the_silent_one_ends_early() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let four = Five::new(&bus, false);
        let replies = bus.gather("bid", 0).unwrap();
        four.act();
        let start = Instant::now();
        assert_eq!(replies.collect_within(LONG), [1, 2, 3]);
        assert!(start.elapsed() < LONG / 2);
    });
}

#[test]
fn r12_gather_reports_failures_and_is_cancelled_when_it_is_dropped() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (one, two) = (bus.subscribe("bid").unwrap(), bus.subscribe("bid").unwrap());
        let replies = bus.gather("bid", 0).unwrap();
        one.recv().unwrap().fail("no money").unwrap();
        assert_eq!(replies.next_timeout(LONG), Err(GatherError::Failed("no money".to_owned())));
        let request = two.recv().unwrap();
        let responder = request.responder().unwrap();
        assert!(!responder.is_cancelled());
        drop(replies);
        assert!(responder.is_cancelled());
        assert!(matches!(request.reply(1), Err(RespondError::Cancelled(1))));
    });
}

#[test]
fn r12_a_mailbox_that_does_not_take_the_request_has_no_outcome() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        // Full ones before, between and after those with room, so that copies go from hand to hand.
        let open = |capacity| bus.subscription("bid").capacity(capacity).overflow(Overflow::DropNewest).open().unwrap();
        let services = [1, 8, 1, 8, 1].map(open);
        let _filling = bus.publish("bid", 0).unwrap();
        let replies = bus.gather("bid", 1).unwrap();
        for service in [&services[1], &services[3]] {
            assert_eq!(*service.recv().unwrap(), 0);
            service.recv().unwrap().reply(7).unwrap();
        }
        // Two outcomes, and then the end: nobody is told of as gone who never had it.
        let outcomes = [(); 3].map(|()| replies.next_timeout(LONG));
        assert_eq!(outcomes, [Ok(7), Ok(7), Err(GatherError::Closed)]);
    });
}

#[test]
fn r13_on_reply_fires_once_on_a_reply() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        // Before and after the answer.
        for early in [true, false] {
            let (service, pending) = one_request(&bus);
            let request = service.recv().unwrap();
            let told = told_around(early, pending, || request.reply(2).unwrap());
            assert!(request.reply(3).unwrap_err().is_already_answered());
            assert!(request.fail("no").unwrap_err().is_already_answered());
            drop(request);
            bus.publish("ask", 0).unwrap();
            assert_eq!(only(&told).unwrap(), 2);
        }
    });
}

#[test]
fn r13_on_reply_fires_once_on_failure() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        for early in [true, false] {
            let (service, pending) = one_request(&bus);
            let request = service.recv().unwrap();
            let told = told_around(early, pending, || request.fail("x").unwrap());
            assert!(request.reply(3).is_err());
            drop(request);
            assert!(matches!(only(&told), Err(ReplyError::Failed(text)) if text == "x"));
        }
    });
}

#[test]
fn r13_on_reply_fires_once_on_no_answer() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        for early in [true, false] {
            let (service, pending) = one_request(&bus);
            let told = told_around(early, pending, || drop(service));
            assert!(matches!(only(&told), Err(ReplyError::Unanswered)));
        }
    });
}

#[test]
fn r13_on_reply_fires_once_when_the_bus_closes() {
    within_limit(|| {
        for early in [true, false] {
            let bus = Bus::<u32>::new();
            let (service, pending) = one_request(&bus);
            let request = service.recv().unwrap();
            let told = told_around(early, pending, || bus.close());
            assert!(matches!(request.reply(3), Err(RespondError::Cancelled(3))));
            drop(request);
            assert!(matches!(only(&told), Err(ReplyError::Closed)));
        }
    });
}

#[test]
fn r13_on_reply_fires_once_whatever_races() {
    within_limit(|| {
        for round in 0..300 {
            let bus = Bus::<u32>::new();
            let (service, pending) = one_request(&bus);
            let request = service.recv().unwrap();
            let calls = Arc::new(AtomicUsize::new(0));
            let start = Barrier::new(3);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let calls = Arc::clone(&calls);
                    start.wait();
                    pending.on_reply(move |_| {
                        calls.fetch_add(1, Ordering::SeqCst);
                    });
                });
                scope.spawn(|| {
                    start.wait();
                    match round % 3 {
                        0 => drop(request.reply(1)),
                        1 => drop(request.fail("x")),
                        _ => {}
                    }
                    drop(request);
                });
                scope.spawn(|| {
                    start.wait();
                    bus.close();
                });
            });
            assert_eq!(calls.load(Ordering::SeqCst), 1, "round {round}");
        }
    });
}

#[test]
fn r14_a_request_within_a_request_handler_works() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _inner = bus.serve("double", |n| 2 * **n).unwrap();
        let weak = bus.downgrade();
        let _outer = bus
            .serve("double-plus-one", move |n| {
                let bus = weak.upgrade().unwrap();
                bus.request("double", **n).unwrap().wait().unwrap() + 1
            })
            .unwrap();
        for n in 0..100 {
            assert_eq!(bus.request("double-plus-one", n).unwrap().wait().unwrap(), 2 * n + 1);
        }
    });
}

#[test]
fn a_caller_that_polls_hears_of_the_close_after_the_responder_has() {
    within_limit(|| {
        for ask in [
            |message: &Message<u32>| message.reply(2).unwrap_err().is_cancelled(),
            |message: &Message<u32>| message.responder().unwrap().is_cancelled(),
        ] {
            let bus = Bus::<u32>::new();
            let service = bus.subscribe("ask").unwrap();
            let pending = bus.request("ask", 1).unwrap();
            let message = service.recv().unwrap();
            bus.close();
            assert!(ask(&message));
            assert!(matches!(pending.try_take(), Some(Err(ReplyError::Closed))));
            assert!(pending.try_take().is_none(), "that was the one end that it has");
        }
    });
}

#[test]
fn r13_on_reply_that_races_with_the_close_of_the_bus_is_called() {
    const CALLERS: usize = 4;

    within_limit(|| {
        for round in 0..200_u64 {
            let bus = Bus::<u32>::new();
            let service = bus.subscribe("ask").unwrap();
            let running = AtomicUsize::new(0);
            thread::scope(|scope| {
                let caller = || {
                    running.fetch_add(1, Ordering::SeqCst);
                    // The requests of all callers are the same, so each answers some of them, and keeps the last.
                    while let Ok(pending) = bus.request("ask", 1) {
                        let Ok(request) = service.recv() else { break };
                        let (sender, told) = channel();
                        pending.on_reply(move |outcome| drop(sender.send(outcome)));
                        if bus.is_closed() {
                            let outcome = told.recv_timeout(LONG).unwrap();
                            assert!(matches!(outcome, Ok(1) | Err(ReplyError::Closed)), "{outcome:?}");
                            return Some(request);
                        }
                        let _ = request.reply(1);
                    }
                    None
                };
                let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
                wait_until("all callers run", || running.load(Ordering::SeqCst) == CALLERS);
                // At different moments of what they do.
                (0..(round * 7919) % 20_000).for_each(|_| std::hint::spin_loop());
                bus.close();
                // Only now may the kept ones go.
                drop(callers.into_iter().map(|caller| caller.join().unwrap()).collect::<Vec<_>>());
            });
        }
    });
}

#[test]
fn of_several_threads_that_poll_one_takes_the_answer() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let service = bus.subscribe("ask").unwrap();
        for round in 0..2_000 {
            let pending = bus.request("ask", round).unwrap();
            let request = service.recv().unwrap();
            let (taken, answered) = (AtomicUsize::new(0), AtomicBool::new(false));
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while taken.load(Ordering::SeqCst) == 0 {
                            // Looked at before the poll: after the answer, one poll of each thread is enough.
                            let last = answered.load(Ordering::SeqCst);
                            if let Some(answer) = pending.try_take() {
                                assert_eq!(answer.unwrap(), round);
                                taken.fetch_add(1, Ordering::SeqCst);
                            } else if last {
                                break;
                            }
                        }
                    });
                }
                request.reply(round).unwrap();
                answered.store(true, Ordering::SeqCst);
            });
            assert_eq!(taken.into_inner(), 1);
            assert!(pending.try_take().is_none());
        }
    });
}

#[test]
fn a_pending_reply_has_one_end_also_when_the_bus_closes() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (service, pending) = one_request(&bus);
        let request = service.recv().unwrap();
        bus.close();
        assert!(matches!(pending.try_take(), Some(Err(ReplyError::Closed))));
        // Whoever still answers may be told so or not; the caller has had his end and must not get a second one.
        drop(request.reply(1));
        assert!(!matches!(pending.try_take(), Some(Ok(_))));
    });
}

#[test]
fn a_panicking_callback_harms_nobody_and_is_counted() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (service, pending) = one_request(&bus);
        pending.on_reply(|_| panic!("in a callback"));
        service.recv().unwrap().reply(1).unwrap();
        assert_eq!(bus.stats().callback_panics, 1);

        // The first of two callbacks panics while the bus closes: the other is told all the same.
        let panicking = bus.request("ask", 2).unwrap();
        panicking.on_reply(|_| panic!("in a callback"));
        let told = told(bus.request("ask", 3).unwrap());
        bus.close();
        assert!(matches!(only(&told), Err(ReplyError::Closed)));
        assert_eq!(bus.stats().callback_panics, 2);
    });
}

#[test]
fn a_callback_may_use_close_and_let_go_of_the_bus() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (service, pending) = one_request(&bus);
        let weak = bus.downgrade();
        let (done, ended) = channel();
        let last = bus.clone();
        pending.on_reply(move |reply| {
            let echo = last.subscribe("echo").unwrap();
            last.publish("echo", reply.unwrap()).unwrap();
            last.request("ask", 1).unwrap().on_reply(|_| {});
            last.close();
            done.send(*echo.recv().unwrap()).unwrap();
        });
        drop(bus);
        // The callback held the last handle.
        service.recv().unwrap().reply(9).unwrap();
        assert_eq!(ended.recv().unwrap(), 9);
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn a_callback_told_of_the_close_may_read_its_subscription_to_the_end() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (_service, pending) = one_request(&bus);
        let news = bus.subscribe("news").unwrap();
        bus.publish("news", 1).unwrap();
        let (done, ended) = channel();
        pending.on_reply(move |_| done.send(news.iter().count()).unwrap());
        bus.close();
        assert_eq!(ended.recv().unwrap(), 1);
    });
}

#[test]
fn dropping_the_last_bus_ends_requests_like_closing_it() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (service, pending) = one_request(&bus);
        let told = told(bus.request("ask", 2).unwrap());
        let kept = service.recv().unwrap();
        drop(bus);
        assert!(matches!(pending.wait(), Err(ReplyError::Closed)));
        assert!(matches!(only(&told), Err(ReplyError::Closed)));
        assert!(kept.reply(1).unwrap_err().is_cancelled());
    });
}

#[test]
fn a_request_to_a_handlers_own_full_mailbox_is_refused_and_not_waited_for() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let weak = bus.downgrade();
        let (sender, outcome) = channel();
        let (go, gate) = channel::<()>();
        let _handler = bus
            .subscription("ask")
            .capacity(1)
            .handle(move |_| {
                let _ = gate.recv();
                let refused = weak.upgrade().unwrap().request("ask", 9).map(drop);
                sender.send(refused.is_err_and(|error| error.is_no_responders())).unwrap();
            })
            .unwrap();
        bus.publish("ask", 1).unwrap();
        // Taken by the handler, then one more fills the mailbox.
        wait_until("the handler has the message", || bus.stats().subscriptions[0].depth == 0);
        bus.publish("ask", 2).unwrap();
        go.send(()).unwrap();
        assert!(outcome.recv_timeout(LONG).unwrap());
        drop(go);
    });
}

#[test]
fn the_replies_have_one_end_also_when_the_bus_closes() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let service = bus.subscribe("ask").unwrap();
        let replies = bus.gather("ask", 1).unwrap();
        let request = service.recv().unwrap();
        bus.close();
        assert_eq!(replies.next_timeout(LONG), Err(GatherError::Closed));
        assert!(request.reply(1).unwrap_err().is_cancelled());
        assert_eq!(replies.next_timeout(LONG), Err(GatherError::Closed));
        assert!(replies.collect_within(LONG).is_empty());
    });
}

#[test]
fn a_cancelled_gather_is_cancelled_for_every_attempt_to_answer() {
    let bus = Bus::<u32>::new();
    let service = bus.subscribe("ask").unwrap();
    drop(bus.gather("ask", 1).unwrap());
    let request = service.recv().unwrap();
    assert!(request.responder().unwrap().is_cancelled());
    for _ in 0..2 {
        assert!(request.reply(1).unwrap_err().is_cancelled());
    }
}

#[test]
fn a_bystander_that_fails_does_not_answer_for_the_server() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (go, gate) = channel::<()>();
        let _server = bus
            .serve("price", move |n| {
                gate.recv().unwrap();
                2 * **n
            })
            .unwrap();
        let dead_letters = bus.dead_letters();
        let bystander = bus.on(">", |_| Err::<(), _>("disk full")).unwrap();
        let pending = bus.request("price", 21).unwrap();
        // The bystander has failed before the server answers.
        assert_eq!(dead_letters.recv().unwrap().attempts(), 1);
        go.send(()).unwrap();
        assert_eq!(pending.wait().unwrap(), 42);

        // Where nobody answers, the failure is the answer.
        let alone = bus.request("other", 1).unwrap();
        assert!(matches!(alone.wait(), Err(ReplyError::Failed(why)) if why.contains("disk full")));
        drop(bystander);
    });
}

#[test]
fn what_is_pending_ends_with_the_bus_whoever_looks_first() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let service = bus.subscribe("ask").unwrap();
        let before = bus.request("ask", 1).unwrap();
        let pending = bus.request("ask", 2).unwrap();
        let replies = bus.gather("ask", 3).unwrap();
        let requests: Vec<_> = (0..3).map(|_| service.recv().unwrap()).collect();
        requests[0].reply(10).unwrap();
        bus.close();
        for request in &requests[1..] {
            assert!(request.responder().unwrap().is_cancelled());
            assert!(request.reply(10).unwrap_err().is_cancelled());
        }
        assert!(matches!(pending.wait(), Err(ReplyError::Closed)));
        assert_eq!(replies.next_timeout(LONG), Err(GatherError::Closed));
        // What was answered before stays answered.
        assert_eq!(before.wait().unwrap(), 10);
    });
}
