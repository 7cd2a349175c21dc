//! A1: requests and replies, see the section R.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;

use futures_lite::StreamExt;
use futures_lite::future::{poll_once, yield_now, zip};
use tramline::{
    Bus, GatherError, Message, Overflow, PendingReply, Replies, ReplyError, RequestError, RespondError, Subscriber,
};

use crate::runtime::{Runtime, on_every_runtime};
use crate::support::{ByHand, LONG, block_on, within_limit};

/// A service, and a request that is on its way to it.
async fn one_request(bus: &Bus<u32>) -> (Subscriber<u32>, PendingReply<u32>) {
    let service = bus.subscribe("ask").unwrap();
    let pending = bus.request_async("ask", 1).await.unwrap();
    (service, pending)
}

/// A task that answers until the bus is closed.
fn serve(runtime: &impl Runtime, service: Subscriber<u32>, answer: impl Fn(u32) -> u32 + Send + Sync + 'static) {
    drop(runtime.spawn(async move {
        while let Ok(request) = service.recv_async().await {
            let _ = request.reply(answer(*request));
        }
    }));
}

/// It is not ready, also after others have had their turn.
async fn assert_pending(pending: &mut PendingReply<u32>) {
    for _ in 0..20 {
        assert!(poll_once(&mut *pending).await.is_none());
        yield_now().await;
    }
}

on_every_runtime![
    a01_r01_no_subscriber_is_no_responders_at_once_and_the_payload_comes_back,
    a01_r02_a_silent_responder_leaves_it_pending_and_it_can_be_awaited_again,
    a01_r03_every_copy_dropped_is_unanswered_at_once,
    a01_r03_a_request_that_is_evicted_or_not_taken_is_unanswered,
    a01_r04_a_late_reply_is_cancelled_at_the_responder_and_nothing_at_the_caller,
    a01_r05_the_first_reply_wins_and_the_second_is_already_answered,
    a01_r06_fail_reaches_the_caller_with_its_text,
    a01_r06_a_panicking_server_fails_the_request_and_answers_the_next,
    a01_r07_a_reply_to_a_plain_message_is_not_a_request_and_has_no_other_effect,
    a01_r08_the_responder_unsubscribes_with_requests_queued_and_each_is_unanswered,
    a01_r09_closing_the_bus_ends_requests_in_flight,
    a01_r09_an_answer_given_before_the_close_is_kept,
    a01_r10_a_thousand_requests_in_flight_to_four_workers_each_get_their_own_answer,
    a01_r11_ten_servers_in_one_group_answer_each_of_a_thousand_requests_once,
    a01_r12_gather_knows_four_outcomes_of_five,
    a01_r12_gather_without_the_silent_one_ends_early,
    a01_r12_gather_reports_failures_and_is_cancelled_when_it_is_dropped,
    a01_r12_a_mailbox_that_does_not_take_the_request_has_no_outcome,
    a01_r12_gather_that_waits_for_room_has_one_outcome_of_each,
    a01_r13_on_reply_fires_once_even_after_the_task_has_polled,
    a01_r14_a_request_within_a_service_works,
    a01_a_request_waits_for_room,
];

async fn a01_r01_no_subscriber_is_no_responders_at_once_and_the_payload_comes_back(_: impl Runtime) {
    let bus = Bus::<String>::new();
    let publisher = bus.publisher("ask").unwrap();
    let _elsewhere = bus.subscribe("other").unwrap();
    let tea = || "tea".to_owned();
    for error in [
        bus.request_async("ask", tea()).await.unwrap_err(),
        bus.gather_async("ask", tea()).await.unwrap_err(),
        publisher.request_async(tea()).await.unwrap_err(),
        publisher.gather_async(tea()).await.unwrap_err(),
    ] {
        assert!(matches!(error, RequestError::NoResponders(payload) if payload == "tea"));
    }
    assert_eq!(bus.request_async("a..b", tea()).await.unwrap_err().into_inner(), "tea");
    assert_eq!(bus.gather_async("a..b", tea()).await.unwrap_err().into_inner(), "tea");
    drop(bus.subscribe("ask").unwrap());
    assert!(publisher.request_async(tea()).await.unwrap_err().is_no_responders());
    bus.close();
    assert!(publisher.request_async(tea()).await.unwrap_err().is_closed());
    assert!(publisher.gather_async(tea()).await.unwrap_err().is_closed());
}

async fn a01_r02_a_silent_responder_leaves_it_pending_and_it_can_be_awaited_again(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let (service, mut pending) = one_request(&bus).await;
    let kept = service.recv_async().await.unwrap();
    assert_pending(&mut pending).await;
    // In another task, with another waker.
    let mut elsewhere = runtime.spawn(pending);
    for _ in 0..20 {
        assert!(poll_once(&mut elsewhere).await.is_none());
        yield_now().await;
    }
    kept.reply(2).unwrap();
    assert_eq!(elsewhere.await.unwrap(), 2);

    // The waits of threads and tasks mix.
    let mut pending = bus.request_async("ask", 1).await.unwrap();
    let kept = service.recv_async().await.unwrap();
    assert_pending(&mut pending).await;
    let mut pending = pending.wait_timeout(std::time::Duration::from_millis(1)).unwrap_err().into_inner().unwrap();
    assert_pending(&mut pending).await;
    kept.reply(3).unwrap();
    assert_eq!((&mut pending).await.unwrap(), 3);
    // The answer was taken, and there is no other.
    assert!(pending.try_take().is_none());
    assert!(pending.await.unwrap_err().is_unanswered());
}

async fn a01_r03_every_copy_dropped_is_unanswered_at_once(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let services = [bus.subscribe("ask").unwrap(), bus.subscribe("ask").unwrap(), bus.subscribe("*").unwrap()];
    let mut pending = bus.request_async("ask", 1).await.unwrap();
    let copies = services.each_ref().map(|service| service.try_recv().unwrap());
    let responder = copies[0].responder().unwrap();
    // A responder is a copy too: as long as one is left, there is hope.
    drop(copies);
    assert_pending(&mut pending).await;
    let asking = runtime.spawn(pending);
    drop(responder);
    assert!(matches!(asking.await, Err(ReplyError::Unanswered)));
}

async fn a01_r03_a_request_that_is_evicted_or_not_taken_is_unanswered(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let latest = bus.subscription("ask").capacity(1).overflow(Overflow::DropOldest).open().unwrap();
    let first = bus.request_async("ask", 1).await.unwrap();
    let second = bus.request_async("ask", 2).await.unwrap();
    assert!(matches!(first.await, Err(ReplyError::Unanswered)));
    latest.recv_async().await.unwrap().reply(20).unwrap();
    assert_eq!(second.await.unwrap(), 20);
    drop(latest);
    let _oldest = bus.subscription("ask").capacity(1).overflow(Overflow::DropNewest).open().unwrap();
    let _waiting = bus.publish_async("ask", 0).await.unwrap();
    assert!(bus.request_async("ask", 3).await.unwrap_err().is_no_responders());
}

async fn a01_r04_a_late_reply_is_cancelled_at_the_responder_and_nothing_at_the_caller(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let (service, mut pending) = one_request(&bus).await;
    let request = service.recv_async().await.unwrap();
    let responder = request.responder().unwrap();
    assert!(poll_once(&mut pending).await.is_none());
    assert!(!responder.is_cancelled());
    drop(pending);
    assert!(responder.is_cancelled());
    assert!(matches!(request.reply(7), Err(RespondError::Cancelled(7))));
    // The next request of the same caller hears nothing of the old one.
    let mut next = bus.request_async("ask", 2).await.unwrap();
    assert!(poll_once(&mut next).await.is_none());
    service.recv_async().await.unwrap().reply(9).unwrap();
    assert_eq!(next.await.unwrap(), 9);
}

async fn a01_r05_the_first_reply_wins_and_the_second_is_already_answered(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let services = [bus.subscribe("ask").unwrap(), bus.subscribe("ask").unwrap()];
    for _ in 0..200 {
        let pending = bus.request_async("ask", 1).await.unwrap();
        let mut replies = Vec::new();
        for (own, service) in (1..).zip(&services) {
            let request = service.recv_async().await.unwrap();
            replies.push(runtime.spawn(async move { request.reply(own).map(|()| own) }));
        }
        let answer = pending.await.unwrap();
        for (own, reply) in (1..).zip(replies) {
            match reply.await {
                Ok(winner) => assert_eq!((winner, answer), (own, own)),
                Err(error) => assert!(error.is_already_answered() && answer != own),
            }
        }
    }
}

async fn a01_r06_fail_reaches_the_caller_with_its_text(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let (service, pending) = one_request(&bus).await;
    let asking = runtime.spawn(pending);
    service.recv_async().await.unwrap().fail("x").unwrap();
    assert!(matches!(asking.await, Err(ReplyError::Failed(text)) if text == "x"));
}

async fn a01_r06_a_panicking_server_fails_the_request_and_answers_the_next(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let _server = bus
        .serve("ask", |n| {
            assert!(**n != 13, "unlucky {}", **n);
            **n * 2
        })
        .unwrap();
    match bus.request_async("ask", 13).await.unwrap().await {
        Err(ReplyError::Failed(text)) => assert!(text.contains("unlucky 13"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(bus.request_async("ask", 21).await.unwrap().await.unwrap(), 42);
}

async fn a01_r07_a_reply_to_a_plain_message_is_not_a_request_and_has_no_other_effect(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let (one, two) = (bus.subscribe("news").unwrap(), bus.subscribe("news").unwrap());
    assert_eq!(bus.publish_async("news", 5).await.unwrap().delivered(), 2);
    let message = one.recv_async().await.unwrap();
    assert!(!message.is_request() && message.responder().is_none());
    let before = bus.stats();
    assert!(matches!(message.reply(6), Err(RespondError::NotARequest(6))));
    assert_eq!(message.fail("nobody hears this"), Err(RespondError::NotARequest("nobody hears this".to_owned())));
    assert_eq!(bus.stats(), before);
    assert_eq!((*message, *two.recv_async().await.unwrap()), (5, 5));
}

async fn a01_r08_the_responder_unsubscribes_with_requests_queued_and_each_is_unanswered(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let service = bus.subscribe("ask").unwrap();
    let mut asking = Vec::new();
    for n in 0..100 {
        asking.push(runtime.spawn(bus.request_async("ask", n).await.unwrap()));
    }
    assert_eq!(service.unsubscribe(), 100);
    for pending in asking {
        assert!(matches!(pending.await, Err(ReplyError::Unanswered)));
    }
}

async fn a01_r09_closing_the_bus_ends_requests_in_flight(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let (service, mut in_hand) = one_request(&bus).await;
    let kept = service.recv_async().await.unwrap();
    assert_pending(&mut in_hand).await;
    let in_hand = runtime.spawn(in_hand);
    let queued = bus.request_async("ask", 2).await.unwrap();
    let mut gathered = bus.gather_async("ask", 3).await.unwrap();
    assert!(poll_once(gathered.next()).await.is_none());
    let gathered = runtime.spawn(async move { gathered.next().await });
    bus.close();
    assert!(matches!(in_hand.await, Err(ReplyError::Closed)));
    assert!(matches!(queued.await, Err(ReplyError::Closed)));
    assert_eq!(gathered.await, None);
    assert!(matches!(kept.reply(1), Err(RespondError::Cancelled(1))));
    assert!(bus.request_async("ask", 4).await.unwrap_err().is_closed());
}

async fn a01_r09_an_answer_given_before_the_close_is_kept(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let (service, mut pending) = one_request(&bus).await;
    assert!(poll_once(&mut pending).await.is_none());
    let mut gathered = bus.gather_async("ask", 3).await.unwrap();
    assert!(poll_once(gathered.next()).await.is_none());
    for reply in [2, 4] {
        service.recv_async().await.unwrap().reply(reply).unwrap();
    }
    bus.close();
    assert_eq!(pending.await.unwrap(), 2);
    assert_eq!(gathered.next().await, Some(Ok(4)));
    assert_eq!(gathered.next().await, None);
}

/// With the wake-up alone: each end of a request calls the waker, once.
#[test]
fn a01_r09_each_way_a_request_can_end_calls_the_waker() {
    type End = fn(&Bus<u32>, Message<u32>);
    let ends: [(End, &str); 6] = [
        (|_, request| request.reply(2).unwrap(), "Ok(2)"),
        (|_, request| request.fail("x").unwrap(), "Err(Failed(\"x\"))"),
        (|_, request| drop(request), "Err(Unanswered)"),
        (|bus, _request| bus.close(), "Err(Closed)"),
        (|_, request| drop(request.responder().unwrap().reply(2)), "Ok(2)"),
        (
            |bus, request| {
                bus.close();
                assert!(request.reply(1).unwrap_err().is_cancelled());
            },
            "Err(Closed)",
        ),
    ];
    for (end, expected) in ends {
        let bus = Bus::<u32>::new();
        let service = bus.subscribe("ask").unwrap();
        let mut waiting = ByHand::waiting(bus.request("ask", 1).unwrap());
        // Polled twice, there is still one waker.
        assert!(waiting.poll().is_pending());
        end(&bus, service.recv().unwrap());
        assert_eq!(waiting.wakes(), 1, "{expected}");
        assert_eq!(format!("{:?}", waiting.woken()), expected);
    }
}

async fn a01_r10_a_thousand_requests_in_flight_to_four_workers_each_get_their_own_answer(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    for _ in 0..4 {
        let worker = bus.subscription("ask").capacity(1000).group("workers").open().unwrap();
        serve(&runtime, worker, |n| n * 3);
    }
    let mut asking = Vec::new();
    for n in 0..1000 {
        asking.push(bus.request_async("ask", n).await.unwrap());
    }
    for (n, pending) in (0..).zip(asking) {
        assert_eq!(pending.await.unwrap(), n * 3);
    }
}

async fn a01_r11_ten_servers_in_one_group_answer_each_of_a_thousand_requests_once(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let served: Vec<_> = (0..10)
        .map(|_| {
            let service = bus.subscription("ask").group("servers").capacity(16).open().unwrap();
            runtime.spawn(async move {
                let mut served = Vec::new();
                while let Ok(request) = service.recv_async().await {
                    served.push(*request);
                    request.reply(*request + 1).unwrap();
                }
                served
            })
        })
        .collect();
    let asking: Vec<_> = (0..10)
        .map(|caller| {
            let ask = bus.publisher("ask").unwrap();
            runtime.spawn(async move {
                for n in (caller * 100..).take(100) {
                    assert_eq!(ask.request_async(n).await.unwrap().await.unwrap(), n + 1);
                }
            })
        })
        .collect();
    for caller in asking {
        caller.await;
    }
    bus.close();
    let mut all = Vec::new();
    for server in served {
        all.extend(server.await);
    }
    assert_eq!((all.len(), all.into_iter().collect::<HashSet<_>>().len()), (1000, 1000));
}

/// Three services that answer, one that keeps the request in silence, one that drops it.
fn five(runtime: &impl Runtime, bus: &Bus<u32>, with_silent: bool) -> Option<Subscriber<u32>> {
    for n in 1..=3 {
        serve(runtime, bus.subscribe("bid").unwrap(), move |_| n);
    }
    let dropping = bus.subscribe("bid").unwrap();
    drop(runtime.spawn(async move { while dropping.recv_async().await.is_ok() {} }));
    with_silent.then(|| bus.subscribe("bid").unwrap())
}

/// The replies, sorted, and how many of the outcomes were none.
async fn outcomes(replies: &mut Replies<u32>, limit: usize) -> (Vec<u32>, usize) {
    let (mut bids, mut unanswered) = (Vec::new(), 0);
    let mut outcomes = replies.take(limit);
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(bid) => bids.push(bid),
            Err(GatherError::Unanswered) => unanswered += 1,
            Err(other) => panic!("{other}"),
        }
    }
    bids.sort_unstable();
    (bids, unanswered)
}

async fn a01_r12_gather_knows_four_outcomes_of_five(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let silent = five(&runtime, &bus, true).unwrap();
    let mut replies = bus.gather_async("bid", 0).await.unwrap();
    let kept = silent.recv_async().await.unwrap();
    assert_eq!(outcomes(&mut replies, 4).await, (vec![1, 2, 3], 1));
    for _ in 0..20 {
        assert!(poll_once(replies.next()).await.is_none(), "one has not answered yet");
        yield_now().await;
    }
    // It was not too late yet.
    kept.reply(5).unwrap();
    assert_eq!(replies.next().await, Some(Ok(5)));
    assert_eq!(replies.next().await, None);
    assert_eq!(replies.next().await, None);
}

async fn a01_r12_gather_without_the_silent_one_ends_early(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    assert!(five(&runtime, &bus, false).is_none());
    for _ in 0..100 {
        let mut replies = bus.gather_async("bid", 0).await.unwrap();
        assert_eq!(outcomes(&mut replies, usize::MAX).await, (vec![1, 2, 3], 1));
    }
}

async fn a01_r12_gather_reports_failures_and_is_cancelled_when_it_is_dropped(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let (one, two) = (bus.subscribe("bid").unwrap(), bus.subscribe("bid").unwrap());
    let mut replies = bus.gather_async("bid", 0).await.unwrap();
    one.recv_async().await.unwrap().fail("no money").unwrap();
    assert_eq!(replies.next().await, Some(Err(GatherError::Failed("no money".to_owned()))));
    let request = two.recv_async().await.unwrap();
    let responder = request.responder().unwrap();
    assert!(poll_once(replies.next()).await.is_none());
    assert!(!responder.is_cancelled());
    drop(replies);
    assert!(responder.is_cancelled());
    assert!(matches!(request.reply(1), Err(RespondError::Cancelled(1))));
}

async fn a01_r12_a_mailbox_that_does_not_take_the_request_has_no_outcome(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    // Full ones before, between and after those with room, so that copies go from hand to hand.
    let open = |capacity| bus.subscription("bid").capacity(capacity).overflow(Overflow::DropNewest).open().unwrap();
    let services = [1, 8, 1, 8, 1].map(open);
    let _filling = bus.publish_async("bid", 0).await.unwrap();
    let mut replies = bus.gather_async("bid", 1).await.unwrap();
    for service in [&services[1], &services[3]] {
        assert_eq!(*service.recv_async().await.unwrap(), 0);
        service.recv_async().await.unwrap().reply(7).unwrap();
    }
    assert_eq!(outcomes(&mut replies, usize::MAX).await, (vec![7, 7], 0));
}

/// Copies that a mailbox does not take are used for others, or for none if it leaves: whoever has not got the request
/// has no outcome.
async fn a01_r12_gather_that_waits_for_room_has_one_outcome_of_each(runtime: impl Runtime) {
    for leaving in 0..5 {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let mut services: Vec<_> = (0..5).map(|_| Some(bus.subscribe("bid").unwrap())).collect();
        bus.publish_async("bid", 0).await.unwrap();
        let asking = bus.publisher("bid").unwrap();
        let mut asking = runtime.spawn(async move {
            let mut replies = asking.gather_async(1).await.unwrap();
            outcomes(&mut replies, usize::MAX).await
        });
        for _ in 0..20 {
            assert!(poll_once(&mut asking).await.is_none());
            yield_now().await;
        }
        drop(services[leaving].take());
        for service in services.iter().flatten() {
            assert_eq!(*service.recv_async().await.unwrap(), 0);
            let request = service.recv_async().await.unwrap();
            request.reply(7).unwrap();
        }
        assert_eq!(asking.await, (vec![7; 4], 0), "{leaving} left");
    }
}

async fn a01_r13_on_reply_fires_once_even_after_the_task_has_polled(_: impl Runtime) {
    type End = fn(&Bus<u32>, Message<u32>);
    let ends: [End; 4] = [
        |_, request| request.reply(2).unwrap(),
        |_, request| request.fail("x").unwrap(),
        |_, request| drop(request),
        |bus, _request| bus.close(),
    ];
    for early in [true, false] {
        for end in ends {
            let bus = Bus::<u32>::new();
            let (service, pending) = one_request(&bus).await;
            let mut pending = ByHand::waiting(pending);
            assert!(pending.poll().is_pending());
            let request = service.recv_async().await.unwrap();
            let calls = Arc::new(AtomicUsize::new(0));
            let called = Arc::clone(&calls);
            let call_back = move |pending: PendingReply<u32>| {
                pending.on_reply(move |_| {
                    called.fetch_add(1, Ordering::SeqCst);
                });
            };
            if early {
                call_back(pending.into_inner());
                end(&bus, request);
            } else {
                end(&bus, request);
                call_back(pending.into_inner());
            }
            drop((service, bus));
            assert_eq!(calls.load(Ordering::SeqCst), 1);
            assert_eq!(Arc::strong_count(&calls), 1, "it is not kept for ever");
        }
    }
}

async fn a01_r14_a_request_within_a_service_works(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    serve(&runtime, bus.subscribe("double").unwrap(), |n| 2 * n);
    let outer = bus.subscribe("double-plus-one").unwrap();
    let weak = bus.downgrade();
    drop(runtime.spawn(async move {
        while let Ok(request) = outer.recv_async().await {
            let bus = weak.upgrade().unwrap();
            let double = bus.request_async("double", *request).await.unwrap().await.unwrap();
            request.reply(double + 1).unwrap();
        }
    }));
    for n in 0..100 {
        assert_eq!(bus.request_async("double-plus-one", n).await.unwrap().await.unwrap(), 2 * n + 1);
    }
}

async fn a01_a_request_waits_for_room(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let service = bus.subscription("ask").capacity(1).open().unwrap();
    let ask = bus.publisher("ask").unwrap();
    ask.publish_async(0).await.unwrap();
    let serving = async {
        assert_eq!(*service.recv_async().await.unwrap(), 0);
        service.recv_async().await.unwrap().reply(42).unwrap();
    };
    let (answer, ()) = zip(async { ask.request_async(1).await.unwrap().await }, serving).await;
    assert_eq!(answer.unwrap(), 42);

    // While it waits, the mailbox goes, or the bus.
    ask.publish_async(0).await.unwrap();
    let waiting = ByHand::waiting(ask.request_async(2));
    drop(service);
    assert!(matches!(waiting.woken(), Err(RequestError::NoResponders(2))));
    let _full = bus.subscription("ask").capacity(1).open().unwrap();
    ask.publish_async(0).await.unwrap();
    let waiting = ByHand::waiting(ask.request_async(3));
    bus.close();
    assert!(matches!(waiting.woken(), Err(RequestError::Closed(3))));
}

/// A caller that looks, falls asleep or has a callback, as a task or as a thread, while the responder does anything that
/// ends the request and the bus closes.
#[test]
fn a01_r13_a_caller_sees_one_outcome_whatever_races() {
    within_limit(|| {
        for round in 0..1500 {
            let bus = Bus::<u32>::new();
            let service = bus.subscribe("ask").unwrap();
            let mut pending = bus.request("ask", 1).unwrap();
            let mut replies = bus.gather("ask", 2).unwrap();
            let requests = [service.recv().unwrap(), service.recv().unwrap()];
            let start = Barrier::new(4);
            thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    match round % 4 {
                        0 => drop(block_on(&mut pending)),
                        1 => {
                            let _ = block_on(poll_once(&mut pending));
                            drop(pending.wait());
                        }
                        2 => {
                            let looked = block_on(poll_once(&mut pending)).is_some();
                            let (told, calls) = channel();
                            pending.on_reply(move |outcome| {
                                assert!(!looked || outcome.is_err(), "it had its answer");
                                drop(told.send(outcome));
                            });
                            assert!(calls.recv_timeout(LONG).is_ok(), "the callback is called");
                            assert!(calls.recv_timeout(LONG).is_err(), "the callback is called once");
                        }
                        _ => drop(block_on(poll_once(&mut pending))),
                    }
                });
                scope.spawn(|| {
                    start.wait();
                    let outcomes = block_on(async {
                        let mut count = 0;
                        while replies.next().await.is_some() {
                            count += 1;
                        }
                        count
                    });
                    assert!(outcomes <= 1);
                });
                scope.spawn(|| {
                    start.wait();
                    for request in requests {
                        match round % 3 {
                            0 => drop(request.reply(1)),
                            1 => drop(request.fail("x")),
                            _ => {}
                        }
                    }
                });
                scope.spawn(|| {
                    start.wait();
                    (0..round % 50 * 20).for_each(|_| std::hint::spin_loop());
                    if round % 2 == 0 {
                        bus.close();
                    }
                });
            });
        }
    });
}
