//! Statistics: the name of a bus, and the table.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::mpsc::channel;
use std::time::Duration;

use tramline::{Bus, Hub, Overflow, Retry};

mod support;
use support::{wait_until, within_limit};

const NO_TROUBLE: &str = "0 unheard, 0 dropped, 0 abandoned, 0 dead letters";

#[test]
fn an_empty_bus_is_one_line() {
    let bus = Bus::<u32>::new();
    assert_eq!(bus.stats().to_string(), format!("u32: 0 topics, 0 subscriptions, 0 groups, {NO_TROUBLE}"));
    let bus = Bus::<u32>::builder().name("orders").build();
    let _publisher = bus.publisher("orders.new").unwrap();
    assert_eq!(bus.stats().to_string(), format!("orders: 1 topic, 0 subscriptions, 0 groups, {NO_TROUBLE}"));
}

#[test]
fn a_bus_is_named_for_its_messages_unless_somebody_names_it() {
    assert_eq!(Bus::<u32, bool>::builder().build().stats().name, "u32");
    assert_eq!(Bus::<u32>::builder().name("orders").build().clone().stats().name, "orders");
    let hub = Hub::new();
    let _buses = (hub.bus::<u8>(), hub.bus_with_reply::<u8, bool>());
    let names: Vec<_> = hub.stats().into_iter().map(|bus| bus.stats.name).collect();
    assert_eq!(names, ["u8 -> bool", "u8"], "the type of the replies is a part of the name where it tells two apart");
}

#[test]
fn the_table_shows_every_kind_of_subscription() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().name("flights").capacity(8).build();
        let board = bus.subscription("flug.*.MÜC").name("Tafel").overflow(Overflow::DropNewest).open().unwrap();
        let workers = [bus.subscription(">").group("audit").open(), bus.subscription(">").group("audit").open()];
        let both = bus.subscription("a").name("one").group("two\n").overflow(Overflow::DropOldest).open();
        let _plain = bus.subscription("quiet").overflow(Overflow::Disconnect).open().unwrap();
        let (done, has_failed) = channel();
        let failing = bus
            .subscription("fails.*")
            .name("failing")
            .retry(Retry::none())
            .handle(move |_| {
                done.send(()).unwrap();
                Err::<(), _>("no")
            })
            .unwrap();
        for n in 1..=3 {
            bus.publish("flug.JFK.MÜC", n).unwrap();
        }
        let _ = board.recv().unwrap();
        bus.publish("fails.now", 4).unwrap();
        has_failed.recv().unwrap();
        wait_until("the failure is counted", || bus.stats().handler_failures == 1);
        let table = "\
flights: 2 topics, 5 subscriptions, 2 groups, 0 unheard, 0 dropped, 0 abandoned, 0 dead letters, 1 handler failure
patterns    name            when full    queue              peak  delivered  dropped
flug.*.MÜC  Tafel           drop newest  [##........]  2/8     3          3        0
>           audit (2)       block        [#####.....]  4/8     4          4        0  <- slowest
a           one, two\\n (1)  drop oldest  [..........]  0/8     0          0        0
quiet       -               disconnect   [..........]  0/8     0          0        0
fails.*     failing         block        [..........]  0/8     1          1        0";
        assert_eq!(bus.stats().to_string(), table);
        drop((failing, workers, both));
    });
}

#[test]
fn a_full_mailbox_has_a_full_bar() {
    let bus = Bus::<u32>::builder().name("ticks").build();
    let _full = bus.subscription("tick").capacity(1000).overflow(Overflow::DropNewest).open().unwrap();
    let _over = bus.subscription("tick").capacity(1000).overflow(Overflow::Disconnect).open().unwrap();
    let _one_less = bus.subscription("tick").capacity(1001).overflow(Overflow::DropNewest).open().unwrap();
    for n in 0..1000 {
        bus.fire("tick", n);
    }
    let table = "\
ticks: 1 topic, 3 subscriptions, 0 groups, 0 unheard, 0 dropped, 0 abandoned, 0 dead letters
patterns  name  when full    queue                    peak  delivered  dropped
tick      -     drop newest  [##########]  1000/1000  1000       1000        0  <- slowest
tick      -     disconnect   [##########]  1000/1000  1000       1000        0
tick      -     drop newest  [#########.]  1000/1001  1000       1000        0";
    assert_eq!(bus.stats().to_string(), table);
    bus.fire("tick", 1000);
    bus.fire("tick", 1001);
    let table = "\
ticks: 1 topic, 3 subscriptions, 0 groups, 1 unheard, 4 dropped, 0 abandoned, 0 dead letters
patterns  name  when full     queue                    peak  delivered  dropped
tick      -     drop newest   [##########]  1000/1000  1000       1000        2
tick      -     disconnected  [##########]  1000/1000  1000       1000        1
tick      -     drop newest   [##########]  1001/1001  1001       1001        1  <- slowest";
    assert_eq!(bus.stats().to_string(), table, "of two that are full, the one in which more messages wait");
}

#[test]
fn retained_values_beyond_the_capacity_do_not_widen_the_bar() {
    let bus = Bus::<u32>::new();
    for n in 0..3 {
        bus.publish_retained(format!("kept.{n}"), n).unwrap();
    }
    let _late = bus.subscription("kept.*").capacity(1).with_retained().open().unwrap();
    let table = bus.stats().to_string();
    assert!(table.contains("  [##########]  3/1  "), "{table}");
}

#[test]
fn a_long_list_of_patterns_is_cut() {
    let bus = Bus::<u32>::new();
    let mut many = bus.subscription("topic.0000");
    for n in 1..10 {
        many = many.also(format!("topic.{n:04}"));
    }
    let long = "l".repeat(60);
    let (_many, _long) = (many.open().unwrap(), bus.subscription(long.as_str()).also("z").open().unwrap());
    let table = bus.stats().to_string();
    let first = |row: usize| table.lines().nth(row).unwrap().split("  ").next().unwrap();
    assert_eq!(first(2), "topic.0000, topic.0001, topic.0002, +7 more");
    assert_eq!(first(3), format!("{long}, +1 more"), "the first is always there");
}

#[test]
fn no_line_of_the_table_ends_in_a_space() {
    let bus = Bus::<u32>::new();
    let _reader = bus.subscribe("a").unwrap();
    bus.publish("a", 1).unwrap();
    let _ = bus.drain(Duration::ZERO);
    assert!(bus.stats().to_string().lines().all(|line| line == line.trim_end()));
}

#[test]
fn the_slowest_of_equals_is_the_oldest() {
    let bus = Bus::<u32>::new();
    let (_one, _two) = (bus.subscription("a").name("one").open(), bus.subscription("a").name("two").open());
    assert_eq!(bus.stats().slowest(), None);
    bus.publish("a", 1).unwrap();
    assert_eq!(bus.stats().slowest().unwrap().name.as_deref(), Some("one"));
}
