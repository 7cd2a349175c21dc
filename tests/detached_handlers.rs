//! Handlers that live as long as their bus (H12): with threads, and with tasks if there are any.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::{Arc, Weak};
use std::time::Duration;

use support::{LONG, gate, wait_until, within_limit};
use tramline::{Bus, Message, Overflow};

/// Something for a closure to capture, and a look at whether the closure is gone.
fn captured() -> (Arc<()>, Weak<()>) {
    let token = Arc::new(());
    let weak = Arc::downgrade(&token);
    (token, weak)
}

fn wait_until_gone(closure: &Weak<()>) {
    wait_until("the workers have dropped the closure", || closure.strong_count() == 0);
}

#[test]
fn h12_a_detached_handler_goes_on_until_the_bus_closes() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (token, closure) = captured();
        let (gate, entered, key) = gate();
        let pass = move |n: &Message<u32>| {
            let _token = &token;
            gate.pass(**n);
        };
        bus.subscription("work").workers(2).handle(pass).unwrap().detach();
        (0..5).for_each(|n| assert_eq!(bus.publish("work", n).unwrap().delivered(), 1));
        let mut taken = [entered.recv().unwrap(), entered.recv().unwrap()];
        taken.sort_unstable();
        assert_eq!(taken, [0, 1]);
        assert_eq!((bus.stats().subscriptions[0].members, bus.stats().abandoned), (1, 0));
        bus.close();
        assert_eq!(closure.strong_count(), 1, "what is queued is finished");
        drop(key);
        assert_eq!(entered.iter().count(), 3);
        wait_until_gone(&closure);
        wait_until("the subscription has gone", || bus.stats().subscriptions.is_empty());
        assert_eq!(bus.stats().abandoned, 0);
    });
}

#[test]
fn h12_a_drain_waits_for_a_detached_handler_and_reports_it() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, key) = gate();
        bus.subscription("work").name("worker").handle(move |n| gate.pass(**n)).unwrap().detach();
        (0..3).for_each(|n| bus.fire("work", n));
        assert_eq!(entered.recv().unwrap(), 0);
        let report = bus.drain(Duration::ZERO);
        assert_eq!((report.remaining(), report.running()), (2, 1), "{report}");
        assert_eq!(report.unfinished()[0].name(), Some("worker"));
        drop(key);
        assert_eq!(entered.iter().collect::<Vec<_>>(), [1, 2]);
        assert!(bus.drain(LONG).is_complete());
    });
}

#[test]
fn h12_the_last_handle_of_the_bus_ends_a_detached_handler_after_what_is_queued() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (token, closure) = captured();
        let (gate, entered, key) = gate();
        let pass = move |n: &Message<u32>| {
            let _token = &token;
            gate.pass(**n);
        };
        bus.on("work", pass).unwrap().detach();
        (0..3).for_each(|n| bus.fire("work", n));
        let weak = bus.downgrade();
        drop(bus);
        assert!(weak.upgrade().is_none(), "a detached handler keeps no bus open");
        drop(key);
        assert_eq!(entered.iter().collect::<Vec<_>>(), [0, 1, 2]);
        wait_until_gone(&closure);
    });
}

#[test]
fn h12_a_detached_member_of_a_group_stays_one() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, key) = gate();
        let member = |bus: &Bus<u32>| bus.subscription("work").group("group");
        let other = member(&bus).open().unwrap();
        member(&bus).handle(move |n| gate.pass(**n)).unwrap().detach();
        assert_eq!(bus.stats().subscriptions[0].members, 2);
        (0..3).for_each(|n| bus.fire("work", n));
        let first = entered.recv().unwrap();
        let second = *other.recv().unwrap();
        drop(other);
        drop(key);
        let third = entered.recv().unwrap();
        let mut all = [first, second, third];
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2], "what the other member has left is handled");
        bus.close();
        assert_eq!(entered.iter().count(), 0);
        wait_until("the group has gone", || bus.stats().subscriptions.is_empty());
        assert_eq!(bus.stats().abandoned, 0);
    });
}

#[test]
fn h12_a_mailbox_that_runs_over_ends_a_detached_handler() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (gate, entered, key) = gate();
        let strict = bus.subscription("work").capacity(1).overflow(Overflow::Disconnect);
        strict.handle(move |n| gate.pass(**n)).unwrap().detach();
        bus.fire("work", 0);
        assert_eq!(entered.recv().unwrap(), 0);
        (1..=2).for_each(|n| bus.fire("work", n));
        drop(key);
        assert_eq!(entered.iter().collect::<Vec<_>>(), [1]);
        wait_until("the subscription has gone", || bus.stats().subscriptions.is_empty());
        assert!(bus.publish("work", 3).unwrap().is_unheard());
    });
}

#[test]
fn h12_a_handler_that_has_ended_may_be_detached() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let (token, closure) = captured();
        let handler = bus.on("work", move |_| _ = &token).unwrap();
        bus.close();
        wait_until_gone(&closure);
        assert_eq!(bus.stats().subscriptions.len(), 1, "as long as the handle is kept");
        handler.detach();
        wait_until("the subscription has gone", || bus.stats().subscriptions.is_empty());
    });
}

#[cfg(feature = "async")]
mod tasks {
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn h12_a_detached_task_goes_on_until_the_bus_closes() {
        within_limit(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let bus = Bus::<u32>::new();
                let (token, closure) = captured();
                let (entering, mut entered) = tokio::sync::mpsc::unbounded_channel();
                let enter = move |n: &Message<u32>| {
                    let (n, entering, token) = (**n, entering.clone(), Arc::clone(&token));
                    async move {
                        tokio::task::yield_now().await;
                        entering.send(n).unwrap();
                        drop(token);
                    }
                };
                let on_tokio = |task| _ = tokio::spawn(task);
                bus.subscription("work").group("group").workers(2).handle_async(on_tokio, enter).unwrap().detach();
                for n in 0..5 {
                    bus.publish_async("work", n).await.unwrap();
                }
                assert!(entered.recv().await.is_some());
                assert!(bus.drain_async(LONG).await.is_complete());
                assert_eq!(entered.len(), 4);
                assert_eq!((closure.strong_count(), bus.stats().subscriptions.len()), (0, 0));
            });
        });
    }

    #[test]
    fn h12_a_detached_task_that_its_runtime_drops_unsubscribes() {
        within_limit(|| {
            let bus = Bus::<u32>::new();
            let (token, closure) = captured();
            let tasks = Mutex::new(Vec::new());
            let handle = move |_: &Message<u32>| {
                let token = Arc::clone(&token);
                async move {
                    let _token = token;
                    std::future::pending::<()>().await;
                }
            };
            bus.on_async("work", |task| tasks.lock().unwrap().push(task), handle).unwrap().detach();
            (0..3).for_each(|n| bus.fire("work", n));
            {
                let mut task = pin!(tasks.lock().unwrap().pop().unwrap());
                assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                assert_eq!(closure.strong_count(), 2);
            }
            assert_eq!((closure.strong_count(), bus.stats().subscriptions.len()), (0, 0));
            assert_eq!(bus.stats().abandoned, 2);
        });
    }
}
