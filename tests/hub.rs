//! The hub: one bus for each pair of types, and what acts on all of them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use support::{LONG, gate, wait_until, within_limit};
use tramline::{Event, Hub, Overflow, PublishError, Request, WeakHub};

#[derive(Debug, Clone, PartialEq)]
struct Placed(u32);

#[derive(Debug, Clone, PartialEq)]
struct Paid(u32);

#[derive(Debug, Clone, PartialEq)]
struct Shipped(u32);

#[derive(Clone)]
struct GetPrice(u32);

impl Event for Placed {
    const TOPIC: &'static str = "order.placed";
}

impl Request for GetPrice {
    type Reply = f64;
    const TOPIC: &'static str = "price";
}

impl Event for Paid {
    const TOPIC: &'static str = "order.paid";
}

#[test]
fn the_same_pair_of_types_is_the_same_bus_for_every_clone() {
    let hub = Hub::new();
    let placed = hub.bus::<Placed>().subscribe("order.*").unwrap();
    assert_eq!(hub.clone().bus::<Placed>().publish("order.placed", Placed(1)).unwrap().delivered(), 1);
    assert_eq!(hub.bus_with_reply::<Placed, Placed>().publish("order.placed", Placed(2)).unwrap().delivered(), 1);
    assert_eq!(placed.try_iter().map(|order| order.0).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn other_types_and_other_replies_are_other_buses() {
    let hub = Hub::new();
    let _placed = hub.bus::<Placed>().subscribe(">").unwrap();
    assert!(hub.bus::<Paid>().publish("order.placed", Paid(1)).unwrap().is_unheard());
    assert!(hub.bus_with_reply::<Placed, u32>().publish("order.placed", Placed(1)).unwrap().is_unheard());
    assert!(hub.bus_with_reply::<Placed, u64>().publish("order.placed", Placed(1)).unwrap().is_unheard());
    assert!(Hub::new().bus::<Placed>().publish("order.placed", Placed(1)).unwrap().is_unheard(), "another hub");
    assert_eq!(hub.stats().len(), 4);
}

#[test]
fn threads_that_ask_at_once_get_the_same_bus() {
    const THREADS: usize = 8;

    within_limit(|| {
        for _ in 0..500 {
            let hub = Hub::new();
            let start = Barrier::new(THREADS);
            let subscribers: Vec<_> = thread::scope(|scope| {
                let subscribe = || {
                    start.wait();
                    hub.bus::<Placed>().subscribe("order.placed").unwrap()
                };
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(subscribe)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(hub.publish(Placed(1)).unwrap().delivered(), THREADS);
            assert!(subscribers.iter().all(|subscriber| subscriber.try_recv().unwrap().0 == 1));
            assert_eq!(hub.stats().len(), 1);
        }
    });
}

#[test]
fn the_defaults_are_those_of_the_hub() {
    let hub = Hub::with_defaults(2, Overflow::DropNewest);
    let placed = hub.bus::<Placed>().subscribe("order.placed").unwrap();
    assert_eq!(placed.capacity(), 2);
    let dropped: Vec<_> = (0..3).map(|n| hub.publish(Placed(n)).unwrap().dropped()).collect();
    assert_eq!(dropped, [0, 0, 1]);
    assert!(Hub::with_defaults(0, Overflow::Block).bus::<Placed>().subscribe("a").unwrap_err().is_invalid_capacity());
    assert_eq!(Hub::default().bus::<Placed>().subscribe("a").unwrap().capacity(), 256);
}

#[test]
fn events_and_requests_know_their_topic() {
    within_limit(|| {
        let hub = Hub::new();
        assert!(hub.publish(Placed(1)).unwrap().is_unheard());
        assert!(hub.request(GetPrice(1)).err().unwrap().is_no_responders());
        let placed = hub.bus::<Placed>().subscribe(Placed::TOPIC).unwrap();
        let prices = hub.bus_with_reply::<GetPrice, f64>();
        let _server = prices.serve(GetPrice::TOPIC, |request| f64::from(request.0) / 2.0).unwrap();
        assert_eq!(hub.publish(Placed(7)).unwrap().delivered(), 1);
        assert_eq!(placed.recv().unwrap().payload(), &Placed(7));
        assert_eq!(hub.request(GetPrice(7)).unwrap().wait().unwrap(), 3.5);
    });
}

#[test]
fn an_invalid_topic_of_an_event_is_an_error_with_the_event() {
    #[derive(Debug, Clone, PartialEq)]
    struct Wrong;

    impl Event for Wrong {
        const TOPIC: &'static str = "a..b";
    }

    let error = Hub::new().publish(Wrong).unwrap_err();
    assert!(error.is_invalid_topic());
    assert_eq!(error.into_inner(), Wrong);
}

#[test]
fn close_ends_every_bus_and_those_asked_for_later() {
    within_limit(|| {
        let hub = Hub::new();
        let (placed, paid) = (hub.bus::<Placed>().subscribe(">").unwrap(), hub.bus::<Paid>().subscribe(">").unwrap());
        hub.publish(Placed(1)).unwrap();
        assert!(!hub.is_closed());
        hub.close();
        assert!(hub.is_closed());
        assert_eq!(placed.recv().unwrap().0, 1, "what is queued can still be read");
        assert!(placed.recv().unwrap_err().is_closed());
        assert!(paid.recv().unwrap_err().is_closed());
        assert_eq!(hub.publish(Placed(2)), Err(PublishError::Closed(Placed(2).into())));
        assert!(hub.bus::<Shipped>().is_closed());
        assert!(hub.bus::<Shipped>().subscribe(">").unwrap_err().is_closed());
        hub.close();
        assert!(hub.drain(LONG).is_complete());
    });
}

/// Placed makes Paid makes Shipped, each on its own bus; the last counts.
fn pipeline(hub: &Hub, shipped: &Arc<AtomicUsize>) -> [tramline::Handler; 3] {
    let (first, second): (WeakHub, WeakHub) = (hub.downgrade(), hub.downgrade());
    let shipped = Arc::clone(shipped);
    let small = |hub: &Hub| hub.bus::<Placed>().subscription("order.placed").capacity(4);
    [
        small(hub)
            .handle(move |order| {
                let delivery = first.upgrade().unwrap().bus::<Paid>().publish("order.paid", Paid(order.0)).unwrap();
                assert_eq!(delivery.delivered(), 1);
            })
            .unwrap(),
        hub.bus::<Paid>()
            .subscription("order.paid")
            .workers(2)
            .handle(move |order| {
                let shipped = second.upgrade().unwrap().bus::<Shipped>();
                assert_eq!(shipped.publish("order.shipped", Shipped(order.0)).unwrap().delivered(), 1);
            })
            .unwrap(),
        hub.bus::<Shipped>().on("order.*", move |_| _ = shipped.fetch_add(1, Ordering::SeqCst)).unwrap(),
    ]
}

#[test]
fn drain_finishes_work_that_goes_through_several_buses() {
    within_limit(|| {
        for round in 0..100 {
            let (hub, shipped) = (Hub::new(), Arc::new(AtomicUsize::new(0)));
            let handlers = pipeline(&hub, &shipped);
            let orders = 1 + round % 40;
            for n in 0..orders {
                assert_eq!(hub.publish(Placed(n)).unwrap().delivered(), 1);
            }
            let report = hub.drain(LONG);
            assert!(report.is_complete(), "{report:?}");
            assert_eq!(shipped.load(Ordering::SeqCst), orders as usize);
            assert!(hub.is_closed());
            assert!(hub.stats().iter().all(|bus| bus.stats.handler_panics == 0));
            drop(handlers);
        }
    });
}

#[test]
fn drain_refuses_what_does_not_come_from_a_handler_of_the_hub() {
    within_limit(|| {
        let hub = Hub::new();
        let (gate, entered, go) = gate();
        let _handler = hub.bus::<Placed>().on("order.placed", move |_| gate.pass(())).unwrap();
        hub.publish(Placed(1)).unwrap();
        entered.recv().unwrap();
        let draining = hub.clone();
        let drain = thread::spawn(move || draining.drain(LONG));
        // Not waiting for room: until the drain begins, the handler that it waits for takes nothing.
        wait_until("the drain has begun", || hub.bus::<Placed>().try_publish("order.placed", Placed(2)).is_err());
        assert!(hub.bus::<Paid>().publish("order.paid", Paid(1)).is_err(), "one that is made during the drain");
        let stranger = Hub::new();
        let refused = {
            let hub = hub.clone();
            let (sender, refused) = channel();
            let _handler = stranger
                .bus::<Paid>()
                .on("order.paid", move |_| sender.send(hub.publish(Placed(3)).is_err()).unwrap())
                .unwrap();
            stranger.bus::<Paid>().publish("order.paid", Paid(1)).unwrap();
            refused.recv().unwrap()
        };
        assert!(refused, "a handler of another hub");
        // Those that got in before the drain began are let through too.
        drop(go);
        assert!(drain.join().unwrap().is_complete());
    });
}

#[test]
fn drain_past_its_deadline_reports_what_all_buses_left() {
    let hub = Hub::new();
    let (placed, paid) = (hub.bus::<Placed>().subscribe(">").unwrap(), hub.bus::<Paid>().subscribe(">").unwrap());
    (0..3).for_each(|n| _ = hub.publish(Placed(n)).unwrap());
    (0..4).for_each(|n| _ = hub.bus::<Paid>().publish("order.paid", Paid(n)).unwrap());
    let report = hub.drain(Duration::from_millis(1));
    assert_eq!((report.remaining(), report.running()), (7, 0));
    assert_eq!((placed.iter().count(), paid.iter().count()), (3, 4));
}

#[test]
fn a_handler_may_drain_or_close_its_hub() {
    within_limit(|| {
        for drain in [true, false] {
            let (hub, weak) = (Hub::new(), Hub::new().downgrade());
            assert!(weak.upgrade().is_none());
            let weak = hub.downgrade();
            let (sender, done) = channel();
            let _other = hub.bus::<Paid>().on(">", |_| {}).unwrap();
            let _handler = hub
                .bus::<Placed>()
                .on(">", move |_| {
                    let hub = weak.upgrade().unwrap();
                    let complete = if drain { hub.drain(LONG).is_complete() } else { true };
                    hub.close();
                    sender.send(complete).unwrap();
                })
                .unwrap();
            hub.publish(Placed(1)).unwrap();
            assert!(done.recv().unwrap());
            assert!(hub.is_closed());
        }
    });
}

#[test]
fn the_last_hub_and_the_last_handle_close_a_bus() {
    within_limit(|| {
        let hub = Hub::new();
        let weak = hub.downgrade();
        let placed = hub.bus::<Placed>().subscribe(">").unwrap();
        let paid = hub.bus::<Paid>().subscribe(">").unwrap();
        let publisher = hub.bus::<Paid>().publisher("order.paid").unwrap();
        drop(hub);
        assert!(weak.upgrade().is_none());
        assert!(placed.recv().unwrap_err().is_closed());
        assert_eq!(publisher.publish(Paid(1)).unwrap().delivered(), 1, "a publisher keeps its bus open");
        drop(publisher);
        assert_eq!(paid.iter().count(), 1);
    });
}

#[test]
fn stats_name_the_types() {
    let hub = Hub::new();
    let _placed = hub.bus::<Placed>().subscribe(">").unwrap();
    hub.publish(Placed(1)).unwrap();
    let _ = hub.bus_with_reply::<GetPrice, f64>();
    let stats = hub.stats();
    let names: Vec<_> = stats.iter().map(|bus| (bus.payload, bus.reply)).collect();
    assert_eq!(names, [("hub::GetPrice", "f64"), ("hub::Placed", "hub::Placed")]);
    assert_eq!(stats[1].stats.subscriptions[0].delivered, 1);
    assert_eq!(format!("{hub:?}"), "Hub { buses: 2, closed: false, .. }");
}

#[test]
fn hubs_go_from_thread_to_thread() {
    fn assert_handle<H: Clone + Send + Sync + Unpin + 'static>() {}
    assert_handle::<Hub>();
    assert_handle::<WeakHub>();
}

#[test]
fn m11_events_and_requests_are_received_by_one_type_parameter() {
    within_limit(|| {
        let hub = Hub::new();
        let placed = hub.subscribe::<Placed>().unwrap();
        let (sender, seen) = channel();
        let other = sender.clone();
        let mut sum = 0;
        let handlers = [
            hub.on::<Placed>(move |order| {
                sum += order.0;
                sender.send(sum).unwrap();
            })
            .unwrap(),
            hub.on::<Placed>(move |order| if order.0 == 13 { Err("bad luck") } else { Ok(()) }).unwrap(),
            hub.on::<Placed>(move |order| -> Result<(), Box<dyn std::error::Error>> {
                other.send(1000 * "1".parse::<u32>()? * order.0)?;
                Ok(())
            })
            .unwrap(),
            hub.serve::<GetPrice>(|request| f64::from(request.0) / 2.0).unwrap(),
        ];
        let dead_letters = hub.bus::<Placed>().dead_letters();
        assert_eq!(hub.publish(Placed(13)).unwrap().delivered(), 4);
        assert_eq!(placed.recv().unwrap().0, 13);
        let mut seen = [seen.recv().unwrap(), seen.recv().unwrap()];
        seen.sort_unstable();
        assert_eq!(seen, [13, 13_000]);
        assert_eq!(dead_letters.recv().unwrap().into_payload(), Placed(13));
        assert_eq!(hub.request(GetPrice(7)).unwrap().wait().unwrap(), 3.5);
        drop(handlers);
        assert!(hub.request(GetPrice(7)).unwrap_err().is_no_responders(), "a dropped handler serves no more");
        hub.close();
        assert!(hub.subscribe::<Placed>().unwrap_err().is_closed());
        assert!(hub.on::<Placed>(|_| {}).unwrap_err().is_closed());
        assert!(hub.serve::<GetPrice>(|_| 0.0).unwrap_err().is_closed());
    });
}

#[test]
fn m11_a_pattern_is_not_a_valid_topic_of_an_event_or_a_request() {
    #[derive(Clone)]
    struct Wild;

    impl Event for Wild {
        const TOPIC: &'static str = "order.*";
    }

    impl Request for Wild {
        type Reply = ();
        const TOPIC: &'static str = "order.>";
    }

    let hub = Hub::new();
    assert!(hub.publish(Wild).unwrap_err().is_invalid_topic());
    assert!(hub.request(Wild).unwrap_err().is_invalid_topic());
    assert!(hub.subscribe::<Wild>().unwrap_err().is_invalid_topic());
    assert!(hub.on::<Wild>(|_| {}).unwrap_err().is_invalid_topic());
    assert!(hub.serve::<Wild>(|_| {}).unwrap_err().is_invalid_topic());
}

#[test]
fn a_handler_that_is_busy_during_a_drain_sees_the_hub_closed() {
    within_limit(|| {
        let hub = Hub::new();
        let weak = hub.downgrade();
        let (entered, inside) = channel();
        let (sender, seen) = channel();
        let _handler = hub
            .on::<Placed>(move |_| {
                let hub = weak.upgrade().unwrap();
                sender.send((hub.is_closed(), hub.bus::<Placed>().is_closed())).unwrap();
                entered.send(()).unwrap();
                // Refusing is what the drain begins with, and it waits for this handler before it ends.
                wait_until("the hub refuses new work", || hub.is_closed());
                sender.send((hub.is_closed(), hub.bus::<Paid>().is_closed())).unwrap();
                // A handler's own messages are part of the work.
                assert_eq!(hub.publish(Paid(1)).unwrap().delivered(), 1);
            })
            .unwrap();
        let paid = hub.subscribe::<Paid>().unwrap();
        hub.publish(Placed(1)).unwrap();
        inside.recv().unwrap();
        let reader = thread::spawn(move || paid.iter().count());
        assert!(hub.drain(LONG).is_complete());
        assert_eq!(seen.iter().collect::<Vec<_>>(), [(false, false), (true, true)]);
        assert_eq!((reader.join().unwrap(), hub.is_closed()), (1, true));
        assert!(hub.stats().iter().all(|bus| bus.stats.handler_panics == 0));
    });
}

/// The names of the buses, in the order of their types.
fn names(hub: &Hub) -> Vec<String> {
    hub.stats().into_iter().map(|bus| bus.stats.name).collect()
}

#[test]
fn m11_a_bus_is_named_before_or_after_others_use_it() {
    within_limit(|| {
        let hub = Hub::new();
        let placed = hub.subscribe::<Placed>().unwrap();
        assert_eq!(names(&hub), ["hub::Placed"]);
        let orders = hub.named::<Placed>("orders");
        assert_eq!(orders.publish(Placed::TOPIC, Placed(1)).unwrap().delivered(), 1, "the bus that is there");
        assert_eq!(placed.recv().unwrap().0, 1);

        let prices = hub.named_with_reply::<GetPrice, f64>("prices");
        let _server = hub.serve::<GetPrice>(|request| f64::from(request.0) / 2.0).unwrap();
        let price = prices.request(GetPrice::TOPIC, GetPrice(7)).unwrap().wait().unwrap();
        assert_eq!(price, hub.request(GetPrice(7)).unwrap().wait().unwrap(), "the bus that is made later");
        assert_eq!(names(&hub), ["prices", "orders"]);
        assert_eq!(orders.stats().name, "orders");
        assert_eq!(hub.stats()[1].payload, "hub::Placed", "the types are there, too");
        assert!(hub.stats()[0].to_string().starts_with("prices: "), "{}", hub.stats()[0]);

        // Another reply is another bus.
        let _ = hub.bus_with_reply::<Placed, bool>();
        assert_eq!(names(&hub), ["prices", "hub::Placed -> bool", "orders"]);
    });
}

#[test]
fn m11_the_last_name_of_a_bus_stands() {
    within_limit(|| {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];

        let hub = Hub::new();
        hub.named::<Placed>("first");
        hub.clone().named::<Placed>(String::from("second"));
        assert_eq!(names(&hub), ["second"]);
        thread::scope(|scope| {
            for name in NAMES {
                let hub = &hub;
                scope.spawn(move || hub.named::<Placed>(name).publish(Placed::TOPIC, Placed(1)));
            }
        });
        assert!(NAMES.contains(&names(&hub)[0].as_str()));
        hub.named::<Placed>("last");
        assert_eq!(names(&hub), ["last"]);
        hub.close();
        assert!(hub.named::<Placed>("closed").is_closed());
        assert!(hub.named::<Paid>("late").is_closed());
        assert_eq!(names(&hub), ["late", "closed"]);
    });
}

#[test]
fn m11_a_drain_reports_the_names_of_the_buses() {
    within_limit(|| {
        let hub = Hub::new();
        let _placed = hub.subscribe::<Placed>().unwrap();
        hub.publish(Placed(1)).unwrap();
        hub.named::<Placed>("orders");
        let report = hub.drain(Duration::ZERO);
        assert_eq!(report.unfinished()[0].bus(), "orders");
        assert_eq!(report.unfinished()[0].to_string(), "order.placed (bus orders): 1 message remaining");
    });
}

#[cfg(feature = "async")]
#[test]
fn m11_tasks_receive_by_one_type_parameter() {
    use tokio::runtime::Builder;

    within_limit(|| {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let on_tokio = |task| drop(tokio::spawn(task));
            let hub = Hub::new();
            let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
            let dead_letters = hub.bus::<Placed>().dead_letters();
            let handlers = [
                hub.on_async::<Placed>(on_tokio, move |order| {
                    let (order, sender) = (order.0, sender.clone());
                    async move { sender.send(order).unwrap() }
                }),
                hub.on_async::<Placed>(on_tokio, |_| async { Err::<(), _>("bad luck") }),
                hub.serve_async::<GetPrice>(on_tokio, |request| {
                    let n = request.0;
                    async move { f64::from(n) / 2.0 }
                }),
            ];
            assert_eq!(hub.publish_async(Placed(13)).await.unwrap().delivered(), 2);
            assert_eq!(seen.recv().await, Some(13));
            assert_eq!(dead_letters.recv_async().await.unwrap().into_payload(), Placed(13));
            assert_eq!(hub.request_async(GetPrice(7)).await.unwrap().await.unwrap(), 3.5);
            assert!(handlers.iter().all(Result::is_ok));
        });
    });
}
