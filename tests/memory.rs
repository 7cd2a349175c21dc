//! The memory that a bus leaves behind. The tests measure the heap of the whole process, so they have a file of their own,
//! and take turns.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use peak_alloc::PeakAlloc;
use support::in_turn;
use tramline::{Bus, Overflow, Start};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The most that may be left.
const SLACK: usize = 64 * 1024;

/// Runs `round` once for what the first use of anything allocates, then a number of times, and fails if more is left on
/// the heap than before.
fn leaves_nothing_behind<S: 'static>(
    state: impl FnOnce() -> S + Send + 'static,
    rounds: u32,
    round: impl Fn(&S, u32) + Send + 'static,
) {
    in_turn(Duration::from_secs(120), move || {
        let state = state();
        round(&state, rounds);
        let before = HEAP.current_usage();
        for n in 0..rounds {
            round(&state, n);
        }
        let after = HEAP.current_usage();
        assert!(after <= before + SLACK, "{} bytes are left after {rounds} rounds", after - before);
    });
}

#[test]
fn r14_a_million_sequential_requests_leave_no_memory_behind() {
    leaves_nothing_behind(
        || {
            let bus = Bus::<u32>::new();
            let service = bus.subscribe("ask").unwrap();
            (bus.publisher("ask").unwrap(), service)
        },
        1_000_000,
        |(publisher, service), n| {
            let pending = publisher.request(n).unwrap();
            // Answered here, or a million changes of thread would be what takes the time.
            service.recv().unwrap().reply(n).unwrap();
            assert_eq!(pending.wait().unwrap(), n);
        },
    );
}

#[test]
fn r14_requests_to_a_server_with_callbacks_and_without_answers_leave_no_memory_behind() {
    leaves_nothing_behind(
        || {
            let bus = Bus::<u32>::new();
            let service = bus.subscribe("silent").unwrap();
            let server = bus.serve("ask", |n| **n).unwrap();
            (bus, service, server)
        },
        20_000,
        |(bus, service, _), n| {
            assert_eq!(bus.request("ask", n).unwrap().wait().unwrap(), n);
            bus.request("silent", n).unwrap().on_reply(|_| {});
            drop(service.recv().unwrap());
            drop(bus.request("silent", n).unwrap());
            drop(bus.gather("*", n).map(drop));
            drop(bus.gather("silent", n).unwrap());
            assert_eq!(service.try_iter().count(), 2);
        },
    );
}

#[test]
fn h12_detached_handlers_leave_no_memory_behind_when_their_bus_closes() {
    leaves_nothing_behind(
        || (),
        300,
        |(), n| {
            let bus = Bus::<u32>::new();
            bus.on("work", |_| {}).unwrap().detach();
            bus.subscription("work").group("group").workers(2).handle(|_| {}).unwrap().detach();
            assert_eq!(bus.publish("work", n).unwrap().delivered(), 2);
            assert!(bus.drain(Duration::from_secs(30)).is_complete());
            assert!(bus.stats().subscriptions.is_empty());
        },
    );
}

#[test]
fn l05_a_million_one_off_topics_leave_the_bus_as_small_as_before() {
    leaves_nothing_behind(
        || {
            let bus = Bus::<u32>::new();
            let reader = bus.subscribe("read.>").unwrap();
            (bus, reader)
        },
        1_000_000,
        |(bus, reader), n| {
            // Some are heard, most are not; some have a publisher, some keep a value for a while.
            match n % 8 {
                0 | 1 => {
                    assert_eq!(bus.publish(format!("read.{n}"), n).unwrap().delivered(), 1);
                    assert_eq!(*reader.try_recv().unwrap(), n);
                }
                2 => assert!(bus.publisher(format!("once.{n}.a")).unwrap().publish(n).unwrap().is_unheard()),
                3 => {
                    let topic = format!("kept.{n}");
                    bus.publish_retained(topic.as_str(), n).unwrap();
                    assert_eq!(bus.clear_retained(topic.as_str()), Some(n));
                }
                _ => assert!(bus.publish(format!("once.{n}"), n).unwrap().is_unheard()),
            }
        },
    );
}

#[test]
fn l05_a_flood_of_topics_that_live_at_the_same_time_leaves_no_memory_behind() {
    leaves_nothing_behind(Bus::<u32>::new, 5, |bus, round| {
        let topics: Vec<_> = (0..2_000).map(|n| bus.publisher(format!("flood.{round}.{n}.x")).unwrap()).collect();
        let subscribers: Vec<_> =
            (0..500).map(|n| bus.subscription(format!("flood.*.{n}.>")).capacity(1).open().unwrap()).collect();
        assert!(topics.iter().all(|topic| topic.try_publish(1).is_ok()));
        drop((topics, subscribers));
        assert_eq!(bus.stats().topics, 0);
    });
}

#[test]
fn l05_a_hundred_thousand_subscriptions_to_a_topic_leave_no_memory_behind() {
    leaves_nothing_behind(Bus::<u32>::new, 100_000, |bus, n| {
        // Every other time a topic that was never seen before.
        let topic = if n % 2 == 0 { "exact.same".to_owned() } else { format!("exact.{n}") };
        let subscriber = bus.subscription(topic).capacity(4).open().unwrap();
        assert_eq!(subscriber.unsubscribe(), 0);
    });
}

#[test]
fn l05_a_hundred_thousand_subscriptions_to_a_pattern_leave_no_memory_behind() {
    leaves_nothing_behind(
        || {
            let bus = Bus::<u32>::new();
            // The route of a topic in use is renewed each time.
            let publisher = bus.publisher("pattern.same.x").unwrap();
            (bus, publisher)
        },
        100_000,
        |(bus, publisher), n| {
            let (pattern, heard) = match n % 3 {
                0 => (format!("pattern.{n}.*"), 0),
                1 => ("pattern.*.>".to_owned(), 1),
                _ => ("*.same.>".to_owned(), 1),
            };
            let subscriber = bus.subscription(pattern).capacity(4).open().unwrap();
            assert_eq!(publisher.publish(n).unwrap().delivered(), heard);
            assert_eq!(subscriber.unsubscribe(), heard);
        },
    );
}

#[test]
fn l05_a_flood_of_groups_that_live_at_the_same_time_leaves_no_memory_behind() {
    leaves_nothing_behind(Bus::<u32>::new, 3, |bus, round| {
        let group = |n| bus.subscription(format!("work.{n}")).group("g").capacity(1).open().unwrap();
        // The round that comes before the others, as number 3, is no flood: what a flood leaves must show.
        let groups = if round == 3 { 10 } else { 20_000 };
        drop((0..groups).map(group).collect::<Vec<_>>());
    });
}

#[test]
fn l05_groups_filters_and_handlers_that_come_and_go_leave_no_memory_behind() {
    leaves_nothing_behind(Bus::<u32>::new, 2_000, |bus, n| {
        let group = || bus.subscription("work.*").also("work").group(format!("g{n}")).filter(|n| *n > 0);
        let (one, two) = (group().open().unwrap(), group().open().unwrap());
        bus.publish("work", 1).unwrap();
        drop((one, two));
        let handler = bus.on("work", |_| {}).unwrap();
        bus.publish("work", 1).unwrap();
        assert!(handler.stop(Duration::MAX).is_complete());
        drop(bus.dead_letters());
    });
}

#[test]
fn l05_a_bus_that_is_dropped_leaves_no_memory_behind() {
    leaves_nothing_behind(
        || (),
        2_000,
        |(), n| {
            let bus = Bus::<Vec<u32>>::new();
            let reader = bus.subscribe(">").unwrap();
            let publisher = bus.publisher("a.b").unwrap();
            publisher.publish(vec![n; 100]).unwrap();
            bus.publish_retained("a.c", vec![n; 100]).unwrap();
            bus.request("a.d", vec![n; 100]).unwrap().on_reply(|_| {});
            drop((bus, publisher));
            drop(reader);
        },
    );
}

#[test]
fn an_idle_subscription_takes_little_memory_until_its_first_message() {
    in_turn(Duration::from_secs(120), || {
        const COUNT: usize = 1_000;
        let bus = Bus::<[u64; 4]>::new();
        let before = HEAP.current_usage();
        let idle: Vec<_> = (0..COUNT).map(|n| bus.subscribe(format!("idle.{n}.*")).unwrap()).collect();
        // Asking does not change it, nor does what is published elsewhere.
        bus.publish("else.where", [0; 4]).unwrap();
        assert!(idle.iter().all(|subscriber| subscriber.try_recv().is_err() && subscriber.is_empty()));
        let each = (HEAP.current_usage() - before) / COUNT;
        assert!(each < 4 * 1024, "{each} bytes each");
        for (n, subscriber) in idle.iter().enumerate() {
            bus.publish(format!("idle.{n}.now"), [n as u64; 4]).unwrap();
            assert_eq!(subscriber.recv().unwrap()[0], n as u64);
        }
        let each = (HEAP.current_usage() - before) / COUNT;
        assert!(each > 16 * 1024, "{each} bytes each have room for 256 messages");
        drop(idle);
        let left = HEAP.current_usage().saturating_sub(before);
        assert!(left < SLACK, "{left} bytes are left");
    });
}

#[test]
fn a_wildcard_that_leaves_takes_its_queue_along_though_nobody_publishes_again() {
    leaves_nothing_behind(
        || {
            let bus = Bus::<u64>::new();
            let publishers: Vec<_> = (0..100).map(|n| bus.publisher(format!("in.use.{n}")).unwrap()).collect();
            (bus, publishers)
        },
        200,
        |(bus, publishers), _| {
            // A megabyte each time, in the routes of a hundred topics that are idle from then on.
            let all = bus.subscription(">").capacity(16 * 1024).open().unwrap();
            publishers.iter().for_each(|publisher| publisher.fire(1));
            drop(all);
        },
    );
}

#[test]
fn topics_that_went_are_not_remembered_by_a_wildcard() {
    leaves_nothing_behind(
        || {
            let bus = Bus::<u64>::new();
            let all = bus.subscription(">").overflow(tramline::Overflow::DropOldest).capacity(1).open().unwrap();
            (bus, all)
        },
        20_000,
        |(bus, _), n| bus.publisher(format!("once.{n}")).unwrap().fire(1),
    );
}

#[test]
fn values_that_were_cleared_leave_no_memory_behind() {
    leaves_nothing_behind(Bus::<u64>::new, 5, |bus, _| {
        for n in 0..5_000 {
            bus.publish_retained(format!("kept.{n}"), 1).unwrap();
        }
        for n in 0..5_000 {
            assert_eq!(bus.clear_retained(format!("kept.{n}")), Some(1));
        }
    });
}

#[test]
fn counting_subscribers_makes_no_queue() {
    in_turn(Duration::from_secs(120), || {
        let bus = Bus::<u64>::new();
        let work = bus.publisher("work").unwrap();
        let idle: Vec<_> = (0..100).map(|_| bus.subscribe("*").unwrap()).collect();
        let before = HEAP.current_usage();
        assert_eq!(work.subscriber_count(), 100);
        assert!(HEAP.current_usage() < before + SLACK);
        drop(idle);
    });
}

/// The memory that a message takes while it waits in this number of mailboxes, in bytes, and the most meanwhile.
fn of_a_message(mailboxes: usize, publish: impl Fn(&Bus<u64>)) -> (usize, usize) {
    let bus = Bus::<u64>::new();
    let subscribers: Vec<_> = (0..mailboxes).map(|_| bus.subscribe("order").unwrap()).collect();
    let mut measured: Vec<_> = (0..51)
        .map(|_| {
            let before = HEAP.current_usage();
            HEAP.reset_peak_usage();
            publish(&bus);
            let (after, peak) = (HEAP.current_usage(), HEAP.peak_usage());
            assert!(subscribers.iter().all(|subscriber| subscriber.recv().is_ok()));
            (after.saturating_sub(before), peak.saturating_sub(before))
        })
        .collect();
    // The first use of anything allocates, and so may the thread that runs the tests.
    measured.sort_unstable();
    measured[measured.len() / 2]
}

#[test]
fn m01_a_bare_message_allocates_nothing_and_headers_are_shared() {
    in_turn(Duration::from_secs(30), || {
        for mailboxes in [1, 8] {
            let bare = of_a_message(mailboxes, |bus| assert!(bus.publish("order", 7).is_ok()));
            let built = of_a_message(mailboxes, |bus| assert!(bus.message("order", 7).no_wait().publish().is_ok()));
            assert_eq!((bare, built), ((0, 0), (0, 0)));
        }
        let with_header = |bus: &Bus<u64>| assert!(bus.message("order", 7).header("tenant", "acme").publish().is_ok());
        let ((one, most), (eight, most_of_eight)) = (of_a_message(1, with_header), of_a_message(8, with_header));
        // A small box for each mailbox, and one piece of memory for the headers; nothing besides.
        let each = (eight - one) / 7;
        assert_eq!((one, eight), (most, most_of_eight));
        assert_eq!(eight - one, 7 * each);
        assert!(each <= 48 && one - each > 100, "{each} bytes for each mailbox, {} for all", one - each);
    });
}

/// A payload of a kilobyte.
type Kilobyte = [u8; 1024];

#[test]
fn j08_a_stalled_reader_costs_a_chunk() {
    in_turn(Duration::from_secs(300), || {
        let bus = Bus::<Kilobyte>::new();
        let journal = bus.journal("tick").capacity(1024).overflow(Overflow::DropOldest).open().unwrap();
        let ticks = bus.publisher("tick").unwrap();
        let fill = |messages: u32| (0..messages).for_each(|_| _ = ticks.publish([7; 1024]).unwrap());
        fill(4096);
        let before = HEAP.current_usage();
        let mut stalled = journal.reader(Start::Oldest).unwrap();
        stalled.recv().unwrap();
        HEAP.reset_peak_usage();
        fill(10_000_000);
        // A chunk of such payloads has 16 places; another is filled, and another waits to be used again.
        let (chunk, peak) = (17 * 1040, HEAP.peak_usage());
        assert!(peak <= before + 3 * chunk, "{} bytes more", peak - before);
        assert!(before <= (1024 + 48) * 1040 + SLACK, "{before} bytes for 1,024 payloads");
        assert_eq!(stalled.recv().unwrap().lost_before(), 10_000_000 - 1);
    });
}

#[test]
fn j15_a_journal_returns_its_memory() {
    leaves_nothing_behind(
        || {
            let bus = Bus::<Kilobyte>::new();
            let publisher = bus.publisher("tick").unwrap();
            (bus, publisher)
        },
        100,
        |(bus, ticks), round| {
            let journal = bus.journal(if round % 2 == 0 { "tick" } else { "*" }).capacity(64).open().unwrap();
            let mut reader = journal.reader(Start::Oldest).unwrap();
            for _ in 0..200 {
                ticks.publish([7; 1024]).unwrap();
                reader.recv().unwrap();
            }
            bus.publish("tock", [7; 1024]).unwrap();
        },
    );
}

#[test]
fn j25_ten_thousand_publishers_that_time_out_leave_no_memory_behind() {
    leaves_nothing_behind(
        || {
            let bus = Bus::<Vec<u8>>::new();
            let journal = bus.journal("tick").capacity(1).open().unwrap();
            let stalled = journal.reader(Start::Oldest).unwrap();
            bus.publish("tick", vec![7; 1024]).unwrap();
            (bus, stalled)
        },
        10_000,
        |(bus, _), _| {
            if let Ok(delivery) = bus.message("tick", vec![7; 1024]).timeout(Duration::from_nanos(1)).publish() {
                panic!("there is no room: {delivery:?}");
            }
        },
    );
}
