//! Subscribers that do not read, or do not keep up.

use std::ops::ControlFlow;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tramline::{Bus, DeadLetterReason, Overflow, Subscriber};

use crate::in_turn;
use crate::support::{LONG, counts};

/// A consumer that does not read holds up the publisher inside the bus, and with it every other consumer: in Watermill's
/// Go channels one subscriber blocks the others (ThreeDotsLabs/watermill, issue 247), in go-broadcast any receiver blocks
/// the broadcaster (dustin/go-broadcast, issue 3), with async-broadcast an inactive receiver is enough
/// (smol-rs/async-broadcast, issue 80), and with cskr/pubsub the unsubscribing itself waits for the full queue (issue 6).
///
/// Here one publisher waits for an idle subscriber, because that is what `publish` is for. Nobody else does.
#[test]
fn an_idle_subscriber_stalls_everyone() {
    in_turn(|| {
        let bus = Bus::<u32>::builder().capacity(1).build();
        let idle = bus.subscribe("shared").unwrap();
        let reading = bus.subscribe("*").unwrap();
        assert_eq!(counts(bus.publish("shared", 0).unwrap()), (2, 0));
        assert_eq!(*reading.recv().unwrap(), 0);
        let waiting = {
            let bus = bus.clone();
            thread::spawn(move || bus.publish("shared", 1))
        };
        // The one who reads has the message that the publisher waits with.
        assert_eq!(*reading.recv().unwrap(), 1);

        // The same topic: others publish, come, go and look.
        assert_eq!(counts(bus.try_publish("shared", 2).unwrap()), (1, 1));
        assert_eq!(*reading.recv().unwrap(), 2);
        assert!(bus.publish_timeout("shared", 3, Duration::from_millis(1)).unwrap_err().is_timeout());
        assert_eq!(*reading.recv().unwrap(), 3);
        let newcomer = bus.subscribe("shared").unwrap();
        bus.fire("shared", 4);
        assert_eq!((*newcomer.recv().unwrap(), *reading.recv().unwrap()), (4, 4));
        assert_eq!(newcomer.unsubscribe(), 0);
        assert_eq!(bus.publisher("shared").unwrap().subscriber_count(), 2);
        assert_eq!(bus.stats().subscriptions.len(), 2);
        drop(reading);

        // Other topics: all of a bus's work goes on.
        let server = bus.serve("ask", |n| **n + 1).unwrap();
        let (seen, handled) = channel();
        let handler = bus.on("other", move |n| seen.send(**n).unwrap()).unwrap();
        let other = bus.publisher("other").unwrap();
        for n in 0..1000 {
            assert_eq!(counts(other.publish(n).unwrap()), (1, 0));
            assert_eq!(handled.recv_timeout(LONG).unwrap(), n);
            assert_eq!(bus.request("ask", n).unwrap().wait().unwrap(), n + 1);
        }
        assert!(handler.stop(LONG).is_complete() && server.stop(LONG).is_complete());

        // The publisher still waits, and the end of the idle subscriber lets it go.
        assert!(!waiting.is_finished());
        assert_eq!(idle.unsubscribe(), 1);
        assert_eq!(counts(waiting.join().unwrap().unwrap()), (1, 0));
    });
}

/// Receivers of tokio's `broadcast` learn of a lag as an error of `recv`, beside the end. Loops of the form
/// `while let Ok(..)` stop there for ever: a stream of market data (Polymarket/rs-clob-client, pull request 279), one of a
/// blockchain's entries (jito-labs/shredstream-proxy, pull request 68), a radar's web socket (MarineYachtRadar/
/// mayara-server, issue 31). It had to be said more clearly what a lag is (tokio-rs/tokio, pull request 8239).
///
/// Here every such loop survives a lag, and the messages tell of it. Only a policy that is called `Disconnect` ends.
#[test]
fn lag_treated_as_the_end() {
    /// Takes one message, or as many as there are; `Break` at the end.
    type Take = fn(&Subscriber<u32>, &mut Vec<(u32, u64)>) -> ControlFlow<()>;

    fn note(message: &tramline::Message<u32>, taken: &mut Vec<(u32, u64)>) -> ControlFlow<()> {
        taken.push((**message, message.lost_before()));
        ControlFlow::Continue(())
    }

    let ways: [Take; 5] = [
        |reader, taken| reader.recv().map_or(ControlFlow::Break(()), |message| note(&message, taken)),
        |reader, taken| reader.recv_timeout(LONG).map_or(ControlFlow::Break(()), |message| note(&message, taken)),
        |reader, taken| reader.into_iter().next().map_or(ControlFlow::Break(()), |message| note(&message, taken)),
        |reader, taken| {
            let mut messages = Vec::new();
            if reader.recv_many(&mut messages, 2).is_err() {
                return ControlFlow::Break(());
            }
            messages.iter().try_for_each(|message| note(message, taken))
        },
        |reader, taken| {
            let mut select = crossbeam_channel::Select::new();
            let place = reader.register(&mut select);
            let operation = select.select();
            assert_eq!(operation.index(), place);
            reader.complete(operation).map_or(ControlFlow::Break(()), |message| note(&message, taken))
        },
    ];
    in_turn(move || {
        for way in ways {
            for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
                let bus = Bus::<u32>::new();
                let reader = bus.subscription("news").capacity(2).overflow(overflow).open().unwrap();
                let mut taken = Vec::new();
                for burst in 0..3 {
                    for n in 0..100 {
                        bus.publish("news", 100 * burst + n).unwrap();
                    }
                    // A reader that lags by 98 messages goes on.
                    while !reader.is_empty() {
                        assert!(way(&reader, &mut taken).is_continue(), "the lag has ended a loop");
                    }
                }
                let told: u64 = taken.iter().map(|(_, lost)| lost).sum();
                let untold = if overflow == Overflow::DropNewest { 98 } else { 0 };
                assert_eq!((taken.len(), told + untold, reader.dropped()), (6, 294, 294));
                bus.close();
                assert!(way(&reader, &mut taken).is_break());
                assert!(reader.recv().unwrap_err().is_closed());
            }
            // The one policy that ends says that it was the lag, and first gives what it has.
            let bus = Bus::<u32>::new();
            let reader = bus.subscription("news").capacity(2).overflow(Overflow::Disconnect).open().unwrap();
            (0..100).for_each(|n| bus.fire("news", n));
            let mut taken = Vec::new();
            while way(&reader, &mut taken).is_continue() {}
            assert_eq!(taken, [(0, 0), (1, 0)]);
            let error = reader.recv().unwrap_err();
            assert!(error.is_overflowed() && !error.is_closed());
        }
    });
}

/// A queue that is full drops, and nobody is told, or only a log is: more than half of the messages gone without a sign
/// at the publisher (nats-io/nats-server, issue 217), clients that cannot tell that they are slow (nats-io/nats.ts, issue
/// 73; nats-io/nats-pure.rb, issue 75), a Postgres-backed bus whose losses had to be made visible afterwards
/// (coder/coder, pull request 7660).
///
/// Here a loss has five witnesses, and they agree.
#[test]
fn a_full_queue_that_drops_silently() {
    /// What the publisher is told: messages put in, and lost.
    type Publish = fn(&Bus<u32>, u32) -> Option<(usize, usize)>;

    let ways: [(&str, Publish); 4] = [
        ("publish", |bus, n| Some(counts(bus.publish("work", n).unwrap()))),
        ("try_publish", |bus, n| Some(counts(bus.try_publish("work", n).unwrap()))),
        ("publish_retained", |bus, n| Some(counts(bus.publish_retained("work", n).unwrap()))),
        ("fire", |bus, n| {
            bus.fire("work", n);
            None
        }),
    ];
    in_turn(move || {
        for (name, publish) in ways {
            for overflow in [Overflow::Block, Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect] {
                if overflow == Overflow::Block && matches!(name, "publish" | "publish_retained") {
                    continue; // These wait.
                }
                let what = format!("{name} with {overflow:?}");
                let bus = Bus::<u32>::new();
                let letters = bus.dead_letters();
                let reader = bus.subscription("work").capacity(3).overflow(overflow).open().unwrap();
                let told: Vec<_> = (0..10).map(|n| publish(&bus, n)).collect();
                // A disconnected mailbox is no subscription any more: what follows is unheard, not lost there.
                let lost = if overflow == Overflow::Disconnect { 1 } else { 7 };
                if told[0].is_some() {
                    assert_eq!(told.iter().flatten().map(|(_, lost)| lost).sum::<usize>(), lost, "{what}: deliveries");
                }
                assert_eq!(reader.dropped(), lost as u64, "{what}: the subscriber");
                let stats = bus.stats();
                assert_eq!(stats.dropped, lost as u64, "{what}: the statistics of the bus");
                let of_full = letters.try_iter().filter(|letter| *letter.reason() != DeadLetterReason::Unheard);
                assert_eq!(of_full.count(), lost, "{what}: dead letters");
                // The messages: what was lost since the last is told by the next.
                let mut received: Vec<_> = reader.try_iter().collect();
                if overflow != Overflow::Disconnect {
                    let _ = publish(&bus, 10);
                    received.extend(reader.try_iter());
                    assert_eq!(received.iter().map(|m| m.lost_before()).sum::<u64>(), lost as u64, "{what}: messages");
                    assert_eq!(received.len(), 4);
                } else {
                    assert_eq!(received.len(), 3);
                    assert!(reader.recv().unwrap_err().is_overflowed(), "{what}: the end says why");
                }
            }
        }
    });
}
