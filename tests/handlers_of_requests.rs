//! Handlers that answer requests: an error is an answer (M06), and a request whose caller has gone is skipped (M07). With
//! threads, and with tasks if there are any.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{LONG, gate, wait_until, within_limit};
use tramline::{Bus, DeadLetterReason, Hub, Overflow, ReplyError, Request, Retry};

/// The text of a failure that reached a caller.
fn failure<A: fmt::Debug>(answer: Result<A, ReplyError<A>>) -> String {
    match answer {
        Err(ReplyError::Failed(why)) => why,
        other => panic!("it was to fail, not {other:?}"),
    }
}

/// Half of an even number.
fn half(n: u32) -> Result<u32, String> {
    if n % 2 == 0 { Ok(n / 2) } else { Err(format!("{n} is odd")) }
}

#[test]
fn m06_an_error_reaches_the_caller_with_exactly_its_text() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _one = bus.serve_result("one", |n| half(**n)).unwrap();
        let _built = bus.subscription("built").serve_result(|n| half(**n)).unwrap();
        let _many = bus.subscription("many").workers(3).serve_result(|n| half(**n)).unwrap();
        for topic in ["one", "built", "many"] {
            assert_eq!(bus.request(topic, 42).unwrap().wait().unwrap(), 21);
            assert_eq!(failure(bus.request(topic, 43).unwrap().wait()), "43 is odd");
            assert_eq!(bus.request(topic, 44).unwrap().wait().unwrap(), 22, "the next is served");
        }
        assert_eq!((bus.stats().handler_failures, bus.stats().handler_panics), (3, 0));
    });
}

#[test]
fn m06_an_error_of_any_type_that_displays_will_do() {
    struct Refusal(&'static str);
    impl fmt::Display for Refusal {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "refused: {}", self.0)
        }
    }
    within_limit(|| {
        let bus = Bus::<String, u32>::builder().build();
        let _parsing = bus.serve_result("parse", |text| text.parse::<u32>()).unwrap();
        let mut asked = 0;
        let _refusing = bus
            .serve_result("refuse", move |_| {
                asked += 1;
                Err(Refusal(["no", "never"][asked - 1]))
            })
            .unwrap();
        let ask = |topic, text: &str| bus.request(topic, text.to_owned()).unwrap().wait();
        assert_eq!(ask("parse", "7").unwrap(), 7);
        assert_eq!(failure(ask("parse", "")), "cannot parse integer from empty string");
        assert_eq!([failure(ask("refuse", "")), failure(ask("refuse", ""))], ["refused: no", "refused: never"]);
    });
}

#[test]
fn m06_the_retry_policy_comes_first_and_the_last_error_is_the_answer_and_the_dead_letter() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let mut attempts = 0;
        let _server = bus
            .subscription("ask")
            .retry(Retry::fixed(2, Duration::ZERO))
            .serve_result(move |n| {
                attempts += 1;
                if **n == 0 || attempts < 3 { Err(format!("attempt {attempts}")) } else { Ok(**n) }
            })
            .unwrap();
        assert_eq!(bus.request("ask", 7).unwrap().wait().unwrap(), 7, "the third attempt succeeds");
        assert_eq!((letters.len(), bus.stats().handler_failures), (0, 0));
        assert_eq!(failure(bus.request("ask", 0).unwrap().wait()), "attempt 6");
        let letter = letters.recv().unwrap();
        assert!(matches!(letter.reason(), DeadLetterReason::Failed(why) if why == "attempt 6"));
        assert_eq!((letter.attempts(), bus.stats().handler_failures), (3, 1));
    });
}

#[test]
fn m06_a_panic_is_as_in_serve() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let retry = Retry::fixed(5, Duration::ZERO);
        let _server = bus
            .subscription("ask")
            .retry(retry)
            .serve_result(|n| if **n == 0 { panic!("out of tea") } else { half(**n) })
            .unwrap();
        assert_eq!(failure(bus.request("ask", 0).unwrap().wait()), "its handler panicked: out of tea");
        assert!(matches!(letters.recv().unwrap().reason(), DeadLetterReason::Panicked(why) if why == "out of tea"));
        assert_eq!(bus.request("ask", 2).unwrap().wait().unwrap(), 1);
        assert_eq!((bus.stats().handler_failures, bus.stats().handler_panics), (0, 1));
    });
}

#[test]
fn m06_nothing_bad_happens_without_a_caller_or_behind_another_answer() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let (gate, entered, key) = gate();
        let server = bus
            .serve_result("ask", move |n| {
                gate.pass(**n);
                if **n == 1 {
                    n.reply(100).unwrap();
                }
                half(**n)
            })
            .unwrap();
        // Answered by the closure itself; and by another responder.
        let answered = bus.request("ask", 1).unwrap();
        assert_eq!(entered.recv().unwrap(), 1);
        key.send(()).unwrap();
        assert_eq!(answered.wait().unwrap(), 100);
        let other = bus.subscribe("ask").unwrap();
        let raced = bus.request("ask", 3).unwrap();
        other.recv().unwrap().reply(30).unwrap();
        assert_eq!(raced.wait().unwrap(), 30);
        drop(other);
        assert_eq!(entered.recv().unwrap(), 3, "a request that another has answered is served all the same");
        key.send(()).unwrap();
        // The caller goes while the closure runs.
        let gone = bus.request("ask", 5).unwrap();
        assert_eq!(entered.recv().unwrap(), 5);
        drop(gone);
        key.send(()).unwrap();
        // A message that is no request.
        bus.publish("ask", 7).unwrap();
        drop(key);
        assert!(server.stop(LONG).is_complete());
        let failed: Vec<_> =
            letters.try_iter().map(|letter| (*letter.payload(), letter.reason().to_string())).collect();
        let expected = [1, 3, 5, 7].map(|n| (n, format!("its handler failed: {n} is odd")));
        assert_eq!(failed, expected);
        assert_eq!((bus.stats().handler_failures, bus.stats().skipped_requests), (4, 0));
    });
}

#[derive(Clone)]
struct Half(u32);

impl Request for Half {
    type Reply = u32;
    const TOPIC: &'static str = "half";
}

#[test]
fn m06_a_hub_serves_by_type_and_may_fail() {
    within_limit(|| {
        let hub = Hub::new();
        let _server = hub.serve_result::<Half>(|request| half(request.0)).unwrap();
        assert_eq!(hub.request(Half(42)).unwrap().wait().unwrap(), 21);
        assert_eq!(failure(hub.request(Half(43)).unwrap().wait()), "43 is odd");
    });
}

/// Each way to make a server that is a thread, of a closure that counts its calls and enters a gate.
type Server = fn(&Bus<u32>, Box<dyn Fn(u32) -> u32 + Send + Sync>) -> tramline::Handler;

const SERVERS: [Server; 4] = [
    |bus, f| bus.serve("ask", move |n| f(**n)).unwrap(),
    |bus, f| bus.serve_result("ask", move |n| Ok::<_, String>(f(**n))).unwrap(),
    |bus, f| bus.subscription("ask").workers(1).serve(move |n| f(**n)).unwrap(),
    |bus, f| bus.subscription("ask").workers(1).serve_result(move |n| Ok::<_, String>(f(**n))).unwrap(),
];

#[test]
fn m07_requests_whose_callers_have_gone_are_skipped_and_counted() {
    within_limit(|| {
        for server in SERVERS {
            let bus = Bus::<u32>::new();
            let letters = bus.dead_letters();
            let (gate, entered, key) = gate();
            let pass = move |n| {
                gate.pass(n);
                n
            };
            let server = server(&bus, Box::new(pass));
            let first = bus.request("ask", 0).unwrap();
            assert_eq!(entered.recv().unwrap(), 0);
            (1..=100).for_each(|n| drop(bus.request("ask", n).unwrap()));
            let next = bus.request("ask", 101).unwrap();
            bus.publish("ask", 102).unwrap();
            drop(key);
            assert_eq!((first.wait().unwrap(), next.wait().unwrap()), (0, 101));
            assert!(server.stop(LONG).is_complete());
            assert_eq!(entered.iter().collect::<Vec<_>>(), [101, 102], "nothing between them was served");
            let stats = bus.stats();
            assert_eq!((stats.skipped_requests, stats.handler_failures, stats.dropped), (100, 0, 0));
            assert!(stats.to_string().lines().next().unwrap().ends_with(", 100 skipped requests"), "{stats}");
            assert_eq!(letters.len(), 0);
        }
    });
}

#[test]
fn m07_a_caller_that_gives_up_after_a_timeout_has_gone() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, key) = gate();
        let server = bus.serve("ask", move |n| {
            gate.pass(**n);
            **n
        });
        let server = server.unwrap();
        let first = bus.request("ask", 0).unwrap();
        assert_eq!(entered.recv().unwrap(), 0);
        // One drops the reply with the error, another goes on to wait.
        assert!(bus.request("ask", 1).unwrap().wait_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
        let ReplyError::Timeout(patient) = bus.request("ask", 2).unwrap().wait_timeout(Duration::ZERO).unwrap_err()
        else {
            panic!("nobody has answered")
        };
        let (told, answers) = channel();
        bus.request("ask", 3).unwrap().on_reply(move |reply| told.send(reply.unwrap()).unwrap());
        drop(key);
        assert_eq!((first.wait().unwrap(), patient.wait().unwrap(), answers.recv().unwrap()), (0, 2, 3));
        assert!(server.stop(LONG).is_complete());
        assert_eq!(entered.iter().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(bus.stats().skipped_requests, 1);
    });
}

#[test]
fn m07_a_gathered_request_is_skipped_when_nobody_collects() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, key) = gate();
        let gate = Arc::new(gate);
        let servers = [(); 2].map(|()| {
            let gate = Arc::clone(&gate);
            bus.serve("ask", move |n| {
                gate.pass(**n);
                **n
            })
            .unwrap()
        });
        drop(gate);
        let first = bus.gather("ask", 0).unwrap();
        assert_eq!([entered.recv().unwrap(), entered.recv().unwrap()], [0, 0]);
        drop(bus.gather("ask", 1).unwrap());
        let next = bus.gather("ask", 2).unwrap();
        drop(key);
        assert_eq!((first.collect_within(LONG), next.collect_within(LONG)), (vec![0, 0], vec![2, 2]));
        assert!(servers.map(|server| server.stop(LONG)).iter().all(|report| report.is_complete()));
        assert_eq!(entered.iter().collect::<Vec<_>>(), [2, 2]);
        assert_eq!(bus.stats().skipped_requests, 2, "once for each responder");
    });
}

#[test]
fn m07_a_request_whose_caller_goes_between_two_attempts_is_not_tried_again() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let letters = bus.dead_letters();
        let pending = Arc::new(Mutex::new(None));
        let (attempts, caller) = (Arc::new(AtomicU32::new(0)), Arc::clone(&pending));
        let count = Arc::clone(&attempts);
        let server = bus
            .subscription("ask")
            // A second attempt would come before the test fails by its limit, and be counted.
            .retry(Retry::fixed(3, Duration::ZERO))
            .serve_result(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                wait_until("there is a caller", || caller.lock().unwrap().take().is_some());
                Err::<u32, _>("no answer")
            })
            .unwrap();
        *pending.lock().unwrap() = Some(bus.request("ask", 1).unwrap());
        assert!(server.stop(LONG).is_complete());
        assert_eq!(attempts.load(Ordering::Relaxed), 1);
        // The closure has run, so it is a failure and not a request that was skipped.
        let letter = letters.try_recv().unwrap();
        assert!(matches!(letter.reason(), DeadLetterReason::Failed(why) if why == "no answer"));
        assert_eq!((letter.attempts(), bus.stats().handler_failures, bus.stats().skipped_requests), (1, 1, 0));
    });
}

#[test]
fn m07_a_handler_that_did_not_promise_to_answer_handles_every_request() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, key) = gate();
        let handler = bus.on("ask", move |n| gate.pass(**n)).unwrap();
        bus.publish("ask", 0).unwrap();
        assert_eq!(entered.recv().unwrap(), 0);
        drop(bus.request("ask", 1).unwrap());
        drop(key);
        assert!(handler.stop(LONG).is_complete());
        assert_eq!(entered.iter().collect::<Vec<_>>(), [1]);
        assert_eq!(bus.stats().skipped_requests, 0);
    });
}

#[test]
fn m07_the_close_of_the_bus_is_the_end_of_every_caller() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, key) = gate();
        let server = bus.serve("ask", move |n| {
            gate.pass(**n);
            **n
        });
        let server = server.unwrap();
        let pending = (0..3).map(|n| bus.request("ask", n).unwrap()).collect::<Vec<_>>();
        assert_eq!(entered.recv().unwrap(), 0);
        bus.publish("ask", 3).unwrap();
        bus.close();
        drop(key);
        assert!(server.stop(LONG).is_complete());
        assert_eq!(entered.iter().collect::<Vec<_>>(), [3], "what is no request is handled");
        assert!(pending.into_iter().all(|pending| pending.wait().unwrap_err().is_closed()));
        assert_eq!(bus.stats().skipped_requests, 2);
    });
}

#[test]
fn m07_a_large_payload_and_one_that_panics_when_it_is_dropped_are_skipped_too() {
    #[derive(Clone)]
    struct Bomb(Option<u32>, #[expect(dead_code, reason = "it is large")] [u8; 8192]);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(self.0 != Some(1), "dropped");
        }
    }
    within_limit(|| {
        let bus = Bus::<Bomb, u32>::builder().overflow(Overflow::DropNewest).build();
        let (gate, entered, key) = gate();
        let server = bus.serve("ask", move |bomb| {
            gate.pass(bomb.0.unwrap());
            bomb.0.unwrap()
        });
        let server = server.unwrap();
        let ask = |n| bus.request("ask", Bomb(Some(n), [0; 8192])).unwrap();
        let first = ask(0);
        assert_eq!(entered.recv().unwrap(), 0);
        drop(ask(1));
        let next = ask(2);
        drop(key);
        assert_eq!((first.wait().unwrap(), next.wait().unwrap()), (0, 2));
        assert!(server.stop(LONG).is_complete());
        assert_eq!(entered.iter().collect::<Vec<_>>(), [2]);
        assert_eq!((bus.stats().skipped_requests, bus.stats().handler_panics), (1, 1));
    });
}

#[cfg(feature = "async")]
mod tasks {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tokio::sync::Semaphore;
    use tramline::HandlerTask;

    use super::*;

    fn on_tokio(task: HandlerTask) {
        tokio::spawn(task);
    }

    /// Runs the test on a runtime with one thread, on one with two, and fails if it hangs.
    fn on_each_runtime<Fut: Future<Output = ()>>(test: impl Fn() -> Fut + Send + 'static) {
        within_limit(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
            let two = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            two.block_on(test());
        });
    }

    #[test]
    fn m06_a_task_may_answer_with_an_error() {
        on_each_runtime(|| async {
            let bus = Bus::<u32>::new();
            let answer = |n: u32| async move {
                tokio::task::yield_now().await;
                half(n)
            };
            let _one = bus.serve_result_async("one", on_tokio, move |n| answer(**n)).unwrap();
            let _built = bus.subscription("built").serve_result_async(on_tokio, move |n| answer(**n)).unwrap();
            let many = bus.subscription("many").workers(3);
            let _many = many.serve_result_async(on_tokio, move |n| answer(**n)).unwrap();
            for topic in ["one", "built", "many"] {
                assert_eq!(bus.request(topic, 42).unwrap().await.unwrap(), 21);
                assert_eq!(failure(bus.request(topic, 43).unwrap().await), "43 is odd");
                assert_eq!(bus.request(topic, 44).unwrap().await.unwrap(), 22);
            }
            assert_eq!((bus.stats().handler_failures, bus.stats().handler_panics), (3, 0));
        });
    }

    #[test]
    fn m06_a_task_tries_again_and_then_answers_with_the_last_error() {
        on_each_runtime(|| async {
            let bus = Bus::<u32>::new();
            let letters = bus.dead_letters();
            let mut attempts = 0;
            let _server = bus
                .subscription("ask")
                .retry(Retry::fixed(2, Duration::from_millis(1)))
                .serve_result_async(on_tokio, move |n| {
                    attempts += 1;
                    let (n, attempts) = (**n, attempts);
                    async move { if n == 0 || attempts < 3 { Err(format!("attempt {attempts}")) } else { Ok(n) } }
                })
                .unwrap();
            assert_eq!(bus.request("ask", 7).unwrap().await.unwrap(), 7);
            assert_eq!(failure(bus.request("ask", 0).unwrap().await), "attempt 6");
            let letter = letters.recv_async().await.unwrap();
            assert!(matches!(letter.reason(), DeadLetterReason::Failed(why) if why == "attempt 6"));
            assert_eq!((letter.attempts(), bus.stats().handler_failures), (3, 1));
        });
    }

    #[test]
    fn m06_a_hub_serves_by_type_with_a_task_and_may_fail() {
        on_each_runtime(|| async {
            let hub = Hub::new();
            let _server = hub
                .serve_result_async::<Half>(on_tokio, |request| {
                    let n = request.0;
                    async move { half(n) }
                })
                .unwrap();
            assert_eq!(hub.request_async(Half(42)).await.unwrap().await.unwrap(), 21);
            assert_eq!(failure(hub.request_async(Half(43)).await.unwrap().await), "43 is odd");
        });
    }

    #[test]
    fn m07_a_task_skips_requests_whose_callers_have_gone() {
        on_each_runtime(|| async {
            for fails in [false, true] {
                let bus = Bus::<u32>::new();
                let gate = Arc::new(Semaphore::new(0));
                let (entering, mut entered) = tokio::sync::mpsc::unbounded_channel();
                let f = {
                    let gate = Arc::clone(&gate);
                    move |n: u32| {
                        let (gate, entering) = (Arc::clone(&gate), entering.clone());
                        async move {
                            entering.send(n).unwrap();
                            gate.acquire().await.unwrap().forget();
                            n
                        }
                    }
                };
                let server = if fails {
                    bus.serve_result_async("ask", on_tokio, move |n| {
                        let answer = f(**n);
                        async move { Ok::<_, String>(answer.await) }
                    })
                } else {
                    bus.serve_async("ask", on_tokio, move |n| f(**n))
                };
                let server = server.unwrap();
                let first = bus.request("ask", 0).unwrap();
                assert_eq!(entered.recv().await, Some(0));
                (1..=100).for_each(|n| drop(bus.request("ask", n).unwrap()));
                drop(bus.gather("ask", 101).unwrap());
                let next = bus.request("ask", 102).unwrap();
                gate.add_permits(200);
                assert_eq!((first.await.unwrap(), next.await.unwrap()), (0, 102));
                assert_eq!(entered.recv().await, Some(102));
                assert!(server.stop_async(LONG).await.is_complete());
                assert_eq!(bus.stats().skipped_requests, 101);
            }
        });
    }

    #[test]
    fn m07_a_task_does_not_try_again_for_a_caller_that_has_gone() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let tasks = Mutex::new(Vec::new());
            let attempts = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&attempts);
            let _server = bus
                .subscription("ask")
                .retry(Retry::fixed(3, Duration::ZERO))
                .serve_result_async(
                    |task| tasks.lock().unwrap().push(task),
                    move |_| {
                        count.fetch_add(1, Ordering::Relaxed);
                        let mut waits = true;
                        std::future::poll_fn(move |context| {
                            context.waker().wake_by_ref();
                            if std::mem::take(&mut waits) { Poll::Pending } else { Poll::Ready(Err::<u32, _>("no")) }
                        })
                    },
                )
                .unwrap();
            let mut task = pin!(tasks.lock().unwrap().pop().unwrap());
            let mut poll = || task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let pending = bus.request("ask", 1).unwrap();
            assert!(poll().is_pending());
            drop(pending);
            assert!(poll().is_pending());
            let stats = bus.stats();
            assert_eq!(attempts.load(Ordering::Relaxed), 1);
            assert_eq!((stats.handler_failures, stats.skipped_requests), (1, 0));
        });
    }
}
