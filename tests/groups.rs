//! Groups: subscriptions that share one mailbox, so that every message goes to exactly one member.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread;

use tramline::{Bus, Overflow, SubscribeError, Subscriber, SubscriptionStats};

use support::{LONG, wait_until, within_limit};

fn join(bus: &Bus<u32>, group: &str) -> Subscriber<u32> {
    bus.subscription("jobs").group(group).open().unwrap()
}

/// The one group in the statistics.
fn only_group(bus: &Bus<u32>) -> SubscriptionStats {
    let mut groups: Vec<_> = bus.stats().subscriptions.into_iter().filter(|mailbox| mailbox.group.is_some()).collect();
    assert_eq!(groups.len(), 1, "{groups:?}");
    groups.remove(0)
}

/// Each number below `count` is there exactly once.
fn assert_each_once(mut received: Vec<u32>, count: u32) {
    received.sort_unstable();
    assert!(received.into_iter().eq(0..count), "each of {count} messages exactly once");
}

#[test]
fn g01_a_plain_subscriber_gets_all_and_each_group_shares_all() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(64).build();
        let plain = bus.subscribe("jobs").unwrap();
        let members = ["a", "a", "b", "b"].map(|group| join(&bus, group));
        let jobs = bus.publisher("jobs").unwrap();
        assert_eq!(jobs.subscriber_count(), 3);
        let read = |subscriber: Subscriber<u32>| {
            thread::spawn(move || subscriber.iter().map(|message| *message).collect::<Vec<_>>())
        };
        let plain = read(plain);
        let [a1, a2, b1, b2] = members.map(read);
        for number in 0..1000 {
            assert_eq!(jobs.publish(number).unwrap().delivered(), 3);
        }
        bus.close();
        assert_eq!(plain.join().unwrap(), (0..1000).collect::<Vec<_>>());
        for (one, other) in [(a1, a2), (b1, b2)] {
            assert_each_once([one.join().unwrap(), other.join().unwrap()].concat(), 1000);
        }
    });
}

#[test]
fn g02_nothing_waits_for_a_stuck_member_beyond_what_it_holds() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(4).build();
        let (fast, stuck) = (join(&bus, "workers"), join(&bus, "workers"));
        let jobs = bus.publisher("jobs").unwrap();
        jobs.publish(0).unwrap();
        let held = stuck.recv().unwrap();
        let publishing = thread::spawn(move || {
            for number in 1..1000 {
                assert_eq!(jobs.publish(number).unwrap().delivered(), 1);
            }
        });
        for number in 1..1000 {
            assert_eq!(*fast.recv_timeout(LONG).unwrap(), number);
        }
        publishing.join().unwrap();
        assert_eq!((*held, stuck.len(), fast.len()), (0, 0, 0));
    });
}

#[test]
fn g03_members_come_and_go_and_each_message_is_handled_once() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(16).build();
        let (seen, received) = channel();
        for stay in 1..=4 {
            let (bus, seen) = (bus.clone(), seen.clone());
            let mut member = join(&bus, "workers");
            thread::spawn(move || {
                loop {
                    // A few messages, then the next member takes over. It joins before this one leaves.
                    for message in member.iter().take(5 * stay) {
                        seen.send(*message).unwrap();
                    }
                    match bus.subscription("jobs").group("workers").open() {
                        Ok(next) => member = next,
                        Err(error) => break assert!(error.is_closed()),
                    }
                }
                member.iter().for_each(|message| seen.send(*message).unwrap());
            });
        }
        drop(seen);
        let jobs = bus.publisher("jobs").unwrap();
        for number in 0..10_000 {
            assert_eq!(jobs.publish(number).unwrap().delivered(), 1);
        }
        assert_eq!((only_group(&bus).dropped, bus.stats().dropped), (0, 0));
        bus.close();
        assert_each_once(received.iter().collect(), 10_000);
    });
}

#[test]
fn g04_when_the_last_member_leaves_the_group_is_gone() {
    let bus = Bus::<u32>::new();
    let (first, second) = (join(&bus, "workers"), join(&bus, "workers"));
    bus.publish("jobs", 1).unwrap();
    bus.publish("jobs", 2).unwrap();
    assert_eq!((only_group(&bus).members, only_group(&bus).depth), (2, 2));
    // The first leaves what is queued to the second, so nothing is left over.
    assert_eq!(first.unsubscribe(), 0);
    assert_eq!((only_group(&bus).members, only_group(&bus).depth), (1, 2));
    assert_eq!(*second.try_recv().unwrap(), 1);
    assert_eq!(second.unsubscribe(), 1);
    assert_eq!((bus.stats().subscriptions.len(), bus.stats().topics), (0, 0));
    assert!(bus.publish("jobs", 3).unwrap().is_unheard());

    // A later one starts afresh: with nothing of before, and with options of its own.
    let later = bus.subscription("jobs").group("workers").capacity(7).open().unwrap();
    assert!(later.try_recv().unwrap_err().is_empty());
    bus.publish("jobs", 4).unwrap();
    assert_eq!((*later.try_recv().unwrap(), later.capacity()), (4, 7));
    let stats = only_group(&bus);
    assert_eq!((stats.members, stats.delivered, stats.dropped), (1, 1, 0));
}

#[test]
fn joining_with_a_different_filter_names_the_difference() {
    let bus = Bus::<u32>::new();
    let _even = bus.subscription("jobs").group("workers").filter(|n| n % 2 == 0).open().unwrap();
    let error = bus.subscription("jobs").group("workers").filter(|n| n % 2 == 1).open().unwrap_err();
    assert_eq!(error.to_string(), "cannot join group `workers`: its filter is a different closure, not this one");
}

#[test]
fn g05_joining_with_other_options_names_the_difference() {
    let bus = Bus::<u32>::new();
    let open = || bus.subscription("jobs").group("workers").capacity(8).overflow(Overflow::DropNewest);
    let member = open().open().unwrap();
    for (builder, option, existing, requested) in [
        (open().capacity(9), "capacity", "8", "9"),
        (open().overflow(Overflow::Block), "overflow", "DropNewest", "Block"),
        (open().with_retained(), "retained", "false", "true"),
        (open().filter(|_| true), "filter", "absent", "present"),
    ] {
        let error = builder.open().unwrap_err();
        let told = error.to_string();
        for part in ["workers", option, existing, requested] {
            assert!(told.contains(part), "`{told}` names {part}");
        }
        let SubscribeError::Group { group, option: named, existing: has, requested: wants } = error else {
            panic!("{error:?}");
        };
        assert_eq!((group.as_str(), named, has.as_str(), wants.as_str()), ("workers", option, existing, requested));
    }
    // A handler is a member like any other.
    assert!(matches!(
        bus.subscription("jobs").group("workers").handle(|_| ()),
        Err(SubscribeError::Group { option: "capacity", .. })
    ));
    // Who was refused is no member, and has changed nothing.
    let stats = only_group(&bus);
    assert_eq!((stats.members, stats.capacity, stats.overflow), (1, 8, Overflow::DropNewest));
    bus.publish("jobs", 1).unwrap();
    assert_eq!(*member.try_recv().unwrap(), 1);
    assert!(open().open().is_ok());
}

#[test]
fn a_group_is_its_name_and_its_patterns() {
    let bus = Bus::<u32>::new();
    let open = |name: &str, first: &str, second: &str| bus.subscription(first).also(second).group(name).open().unwrap();
    let _members = [
        open("workers", "a", "b.*"),
        // The same in another order, and told twice.
        open("workers", "b.*", "a"),
        bus.subscription("a").also("b.*").also("a").group("workers").open().unwrap(),
    ];
    assert_eq!(only_group(&bus).members, 3);
    let _others = [
        open("others", "a", "b.*"),
        open("workers", "a", "b.>"),
        bus.subscription("a").group("workers").open().unwrap(),
        bus.subscribe("a").unwrap(),
    ];
    let members: Vec<_> = bus.stats().subscriptions.iter().map(|mailbox| mailbox.members).collect();
    assert_eq!(members, [3, 1, 1, 1, 1]);
    assert_eq!(bus.publish("a", 1).unwrap().delivered(), 5);
}

#[test]
fn a_member_that_leaves_does_not_wake_a_blocked_publisher_in_vain() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let (leaving, staying) = (join(&bus, "workers"), join(&bus, "workers"));
        let offered = bus.subscription("*").capacity(9).open().unwrap();
        let jobs = bus.publisher("jobs").unwrap();
        jobs.publish(1).unwrap();
        let (done, delivery) = channel();
        thread::spawn(move || done.send(jobs.publish(2).unwrap()));
        wait_until("the message was offered", || offered.len() == 2);
        drop(leaving);
        assert!(delivery.recv_timeout(LONG / 600).is_err(), "the mailbox is still full");
        assert_eq!(*staying.recv().unwrap(), 1);
        assert_eq!(*staying.recv().unwrap(), 2);
        assert_eq!(delivery.recv_timeout(LONG).unwrap().delivered(), 2);
    });
}

#[test]
fn joining_while_the_last_member_leaves_loses_nothing_published_afterwards() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let jobs = bus.publisher("jobs").unwrap();
        let at_once = Barrier::new(2);
        thread::scope(|scope| {
            let (hand_over, leaving) = channel::<Subscriber<u32>>();
            let at_once = &at_once;
            scope.spawn(move || {
                for last in leaving {
                    at_once.wait();
                    drop(last);
                }
            });
            for round in 0..1000 {
                hand_over.send(join(&bus, "workers")).unwrap();
                at_once.wait();
                let joining = join(&bus, "workers");
                assert_eq!(jobs.publish(round).unwrap().delivered(), 1);
                assert_eq!(*joining.recv_timeout(LONG).unwrap(), round);
            }
        });
        assert!(bus.stats().subscriptions.is_empty());
    });
}

#[test]
fn members_that_join_at_the_same_time_share_one_mailbox() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        for round in 0..200 {
            let at_once = Barrier::new(4);
            let members: Vec<_> = thread::scope(|scope| {
                let joining = [(); 4].map(|()| {
                    scope.spawn(|| {
                        at_once.wait();
                        join(&bus, "workers")
                    })
                });
                joining.map(|thread| thread.join().unwrap()).into()
            });
            assert_eq!(only_group(&bus).members, 4);
            assert_eq!(bus.publish("jobs", round).unwrap().delivered(), 1);
            assert_eq!(members.iter().filter(|member| member.try_recv().is_ok()).count(), 1);
        }
        assert!(bus.stats().subscriptions.is_empty());
    });
}

#[test]
fn a_subscriber_takes_over_what_a_stopped_handler_leaves() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (begun, in_hand) = channel();
        let (finish, finished) = channel::<()>();
        let handler = bus
            .subscription("jobs")
            .group("workers")
            .handle(move |message| {
                begun.send(**message).unwrap();
                finished.recv().unwrap();
            })
            .unwrap();
        let subscriber = join(&bus, "workers");
        for number in 0..10 {
            bus.publish("jobs", number).unwrap();
        }
        assert_eq!(in_hand.recv_timeout(LONG).unwrap(), 0);
        drop(handler);
        finish.send(()).unwrap();
        for number in 1..10 {
            assert_eq!(*subscriber.recv_timeout(LONG).unwrap(), number);
        }
        assert!(in_hand.recv_timeout(LONG).is_err(), "the handler took no other message");
    });
}

#[test]
fn a_group_that_ran_over_is_gone_and_can_be_made_again() {
    let bus = Bus::<u32>::new();
    let open = || bus.subscription("jobs").group("workers").capacity(1).overflow(Overflow::Disconnect).open().unwrap();
    let members = [open(), open()];
    bus.publish("jobs", 1).unwrap();
    assert_eq!(bus.publish("jobs", 2).unwrap().dropped(), 1);
    let afresh = open();
    assert_eq!(bus.publish("jobs", 3).unwrap().delivered(), 1);
    assert_eq!(*members[0].try_recv().unwrap(), 1);
    assert!(members.iter().all(|member| member.try_recv().unwrap_err().is_overflowed()));
    assert_eq!(*afresh.try_recv().unwrap(), 3);
    // The end of the old mailbox does not touch the new one.
    drop(members);
    bus.publish("jobs", 4).unwrap();
    assert_eq!((*afresh.try_recv().unwrap(), only_group(&bus).members), (4, 1));
}

#[test]
fn filters_that_capture_values_cannot_be_compared_and_are_refused() {
    let bus = Bus::<u32>::new();
    let above = |limit| bus.subscription("work").group("g").filter(move |n| *n > limit).open();
    let _first = above(1).unwrap();
    let error = above(100).unwrap_err().to_string();
    assert!(error.contains("filter") && error.contains("captures values"), "{error}");

    let even: fn(&u32) -> bool = |n| n % 2 == 0;
    let odd: fn(&u32) -> bool = |n| n % 2 == 1;
    let _even = bus.subscription("work").group("h").filter(even).open().unwrap();
    assert!(bus.subscription("work").group("h").filter(odd).open().unwrap_err().is_group_mismatch());
}
