//! What a drain reports, and drains that wait for handlers alone. The drains themselves are in `lifecycle.rs`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use support::{LONG, gate, wait_until, within_limit};
use tramline::{Bus, Handler, Hub, Unfinished};

/// A handler that has a message in hand until its key is dropped.
fn busy(bus: &Bus<u32>, topic: &str) -> (Handler, Receiver<u32>, Sender<()>) {
    let (gate, entered, go) = gate();
    let handler = bus.on(topic, move |n| gate.pass(**n)).unwrap();
    bus.publish(topic, 0).unwrap();
    entered.recv().unwrap();
    (handler, entered, go)
}

fn lines(unfinished: &[Unfinished]) -> Vec<String> {
    unfinished.iter().map(ToString::to_string).collect()
}

#[test]
fn l04_a_report_names_each_subscription_that_has_not_finished() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _finished = bus.on("finished", |_| {}).unwrap();
        let _empty = bus.subscribe("empty").unwrap();
        let (_handler, _entered, _go) = busy(&bus, "work");
        let _audit = bus.subscription("news.*").also("other").name("audit").open().unwrap();
        let _member = bus.subscription("news.*").group("mail").open().unwrap();
        bus.publish("work", 1).unwrap();
        (0..2).for_each(|n| _ = bus.publish("news.new", n).unwrap());
        let report = bus.drain(Duration::ZERO);
        assert_eq!((report.remaining(), report.running(), report.is_complete()), (5, 1, false));
        let expected = [
            "work: 1 message remaining, 1 worker running",
            "news.*, other (name audit): 2 messages remaining",
            "news.* (group mail): 2 messages remaining",
        ];
        assert_eq!(lines(report.unfinished()), expected);
        let text = report.to_string();
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.ends_with(": 5 messages remaining, 1 worker running"), "{first}");
        assert_eq!(rest, expected.map(|line| format!("  {line}")).join("\n"));
        let audit = &report.unfinished()[1];
        assert_eq!(audit.patterns().iter().map(ToString::to_string).collect::<Vec<_>>(), ["news.*", "other"]);
        assert_eq!((audit.group(), audit.name(), audit.bus()), (None, Some("audit"), "u32"));
    });
}

#[test]
fn l04_a_report_displays_twenty_subscriptions_and_the_number_of_the_others() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let _readers: Vec<_> =
            (0..23).map(|n| bus.subscription("news").name(format!("n{n}")).open().unwrap()).collect();
        bus.publish("news", 1).unwrap();
        let text = bus.drain(Duration::ZERO).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 22);
        assert_eq!(
            (lines[1], lines[20]),
            ("  news (name n0): 1 message remaining", "  news (name n19): 1 message remaining")
        );
        assert_eq!(lines[21], "  and 3 more");
    });
}

#[test]
fn l04_a_group_of_handlers_is_reported_once_with_the_workers_of_all_members() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (entering, entered) = channel();
        let (go, opened) = channel::<()>();
        let opened = std::sync::Arc::new(std::sync::Mutex::new(opened));
        let join = || {
            let (entering, opened) = (entering.clone(), std::sync::Arc::clone(&opened));
            bus.subscription("work").group("crew").workers(2).handle(move |_| {
                entering.send(()).unwrap();
                let _ = opened.lock().unwrap().recv();
            })
        };
        let _members = [join().unwrap(), join().unwrap()];
        (0..3).for_each(|n| _ = bus.publish("work", n).unwrap());
        entered.iter().take(3).for_each(drop);
        let report = bus.drain(Duration::ZERO);
        assert_eq!(lines(report.unfinished()), ["work (group crew): 3 workers running"]);
        drop(go);
    });
}

#[test]
fn l04_a_hub_names_the_bus_of_what_has_not_finished() {
    within_limit(|| {
        let hub = Hub::new();
        let _text = hub.bus::<String>().subscribe("text").unwrap();
        let (_handler, _entered, _go) = busy(&hub.bus::<u32>(), "work");
        hub.bus::<String>().publish("text", "tea".to_owned()).unwrap();
        let report = hub.drain(Duration::ZERO);
        let expected = ["text (bus alloc::string::String): 1 message remaining", "work (bus u32): 1 worker running"];
        assert_eq!(lines(report.unfinished()), expected);
        assert_eq!(report.unfinished()[1].bus(), "u32");
    });
}

#[test]
fn l04_a_drain_of_handlers_waits_for_no_subscriber() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let unread = bus.subscribe(">").unwrap();
        let (sender, handled) = channel();
        let weak = bus.downgrade();
        let _handler = bus
            .on("work", move |n| {
                weak.upgrade().unwrap().publish("done", **n).unwrap();
                sender.send(**n).unwrap();
            })
            .unwrap();
        (0..3).for_each(|n| _ = bus.publish("work", n).unwrap());
        let report = bus.drain_handlers(LONG);
        assert!(report.is_complete(), "{report}");
        assert_eq!((report.remaining(), report.unfinished()), (0, &[][..]));
        assert_eq!(handled.iter().collect::<Vec<_>>(), [0, 1, 2]);
        // What is in its mailbox can still be read, and then the end is seen.
        assert_eq!(unread.iter().count(), 6);
        assert!(bus.publish("work", 9).unwrap_err().is_closed());
    });
}

#[test]
fn l04_a_drain_of_handlers_reports_handlers_and_groups_with_one() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let unread = bus.subscribe(">").unwrap();
        let (_handler, _entered, go) = busy(&bus, "work");
        let (gate, entered, _go) = gate();
        let _member = bus.subscription("shared").group("g").handle(move |n| gate.pass(**n)).unwrap();
        let _other = bus.subscription("shared").group("g").open().unwrap();
        bus.publish("shared", 1).unwrap();
        entered.recv().unwrap();
        bus.publish("shared", 2).unwrap();
        let draining = bus.clone();
        let drain = thread::spawn(move || draining.drain_handlers(Duration::from_millis(20)));
        wait_until("the bus refuses new work", || bus.is_closed());
        let report = drain.join().unwrap();
        let expected = ["work: 1 worker running", "shared (group g): 1 message remaining, 1 worker running"];
        assert_eq!(lines(report.unfinished()), expected);
        assert_eq!(unread.len(), 3);
        drop(go);
    });
}

#[test]
fn l04_a_drain_of_the_handlers_of_a_hub_waits_for_no_subscriber() {
    within_limit(|| {
        let hub = Hub::new();
        let unread = hub.bus::<String>().subscribe("text").unwrap();
        let weak = hub.downgrade();
        let _handler =
            hub.bus::<u32>().on("work", move |n| weak.upgrade().unwrap().bus().fire("text", n.to_string())).unwrap();
        hub.bus::<u32>().publish("work", 7).unwrap();
        let report = hub.drain_handlers(LONG);
        assert!(report.is_complete(), "{report}");
        assert_eq!(unread.iter().map(|text| text.to_string()).collect::<Vec<_>>(), ["7"]);
    });
}
