//! Handlers that read a journal.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tramline::{Bus, DeadLetterReason, Handler, Retry, Start, WeakBus};

use crate::support::{LONG, counts, gate, letters, wait_until, within, within_limit};

#[test]
fn j16_a_handler_retries_and_gives_up() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let journal = bus.journal("work.*").open().unwrap();
        bus.message("work.a", 1).header("tenant", "acme").publish().unwrap();
        let (tried, tries) = channel();
        let retry = Retry::fixed(2, Duration::from_millis(1));
        let handler = journal.handler(Start::Oldest).retry(retry).name("printer").handle(move |work| {
            tried.send((**work, work.offset())).unwrap();
            if **work == 1 { Err("no paper") } else { Ok(()) }
        });
        let handler = handler.unwrap();
        bus.publish("work.b", 2).unwrap();
        let letter = dead_letters.recv().unwrap();
        assert_eq!((letter.attempts(), letter.handler()), (3, Some("printer")));
        assert_eq!(letter.reason(), &DeadLetterReason::Failed("no paper".into()));
        assert_eq!(
            (letter.headers().get("tenant"), letter.pattern().map(ToString::to_string)),
            (Some("acme"), Some("work.*".into()))
        );
        assert!(handler.stop(LONG).is_complete());
        assert_eq!(tries.iter().collect::<Vec<_>>(), [(1, 0), (1, 0), (1, 0), (2, 1)]);
        assert_eq!(bus.stats().handler_failures, 1);
    });
}

#[test]
fn j16_a_letter_goes_back_to_its_handler_alone() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let journal = bus.journal("work").open().unwrap();
        let (seen, all) = channel();
        let mut fails = true;
        let handler = journal.on(Start::Oldest, move |work| {
            seen.send((work.offset(), **work, work.topic().to_string())).unwrap();
            if std::mem::replace(&mut fails, false) { Err("not yet") } else { Ok(()) }
        });
        let handler = handler.unwrap();
        let (other, others) = channel();
        let _other = journal.on(Start::Oldest, move |work| other.send(**work).unwrap()).unwrap();
        bus.publish("work", 7).unwrap();
        bus.publish("work", 8).unwrap();
        let letter = dead_letters.recv().unwrap();
        letter.retry().unwrap();
        let expected = [7, 8, 7].map(|work| (u64::from(work - 7), work, "work".to_owned()));
        let seen: Vec<_> = all.iter().take(3).collect();
        assert!(seen.iter().all(|work| expected.contains(work)), "{seen:?}");
        assert_eq!(seen.iter().filter(|(_, work, _)| *work == 7).count(), 2);
        assert_eq!(journal.next_offset(), 2, "nothing was appended");
        assert!(handler.stop(LONG).is_complete());
        assert_eq!([others.recv().unwrap(), others.recv().unwrap()], [7, 8]);
        assert!(others.try_recv().is_err());
    });
}

#[test]
fn j16_a_letter_of_a_handler_that_has_gone_comes_back() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let journal = bus.journal("work").open().unwrap();
        let handler = journal.on(Start::Oldest, |_| Err::<(), _>("never")).unwrap();
        bus.publish("work", 7).unwrap();
        let letter = dead_letters.recv().unwrap();
        assert!(handler.stop(LONG).is_complete());
        let error = letter.retry().unwrap_err();
        assert!(error.is_gone());
        assert_eq!(*error.into_inner().payload(), 7);
    });
}

#[test]
fn j16_a_panic_makes_a_letter_and_the_handler_goes_on() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let journal = bus.journal("work").capacity(2).open().unwrap();
        let (seen, all) = channel();
        let handler = journal.on(Start::Oldest, move |work| {
            assert!(**work != 1, "no ones");
            seen.send(**work).unwrap();
        });
        let handler = handler.unwrap();
        (0..5).for_each(|work| _ = bus.publish("work", work).unwrap());
        assert!(handler.stop(LONG).is_complete());
        assert_eq!(letters(&dead_letters), [(1, DeadLetterReason::Panicked("no ones".into()))]);
        assert_eq!(all.iter().collect::<Vec<_>>(), [0, 2, 3, 4]);
    });
}

/// Publishes these, lets the handler stop itself at the first, and publishes one more to `a` when it has. Returns what it
/// handled.
fn stops_itself(only: &str, topics: &[&str]) -> Vec<u64> {
    let bus = Bus::<u32>::new();
    let journal = bus.journal("*").open().unwrap();
    let (give, given) = channel::<Handler>();
    let (seen, all) = channel();
    let weak = bus.downgrade();
    let handler = journal.handler(Start::Oldest).only(only).handle(move |work| {
        seen.send(work.offset()).unwrap();
        if work.offset() == 0 {
            assert_eq!(given.recv().unwrap().stop(LONG).running(), 1, "it runs the closure that stops it");
            weak.upgrade().unwrap().publish("a", 0).unwrap();
        }
    });
    topics.iter().for_each(|topic| _ = bus.publish(*topic, 0).unwrap());
    give.send(handler.unwrap()).unwrap();
    let handled = all.iter().collect();
    assert_eq!(journal.next_offset(), topics.len() as u64 + 1);
    handled
}

#[test]
fn j16_a_stop_reads_up_to_the_next_offset_at_the_call() {
    within_limit(|| assert_eq!(stops_itself("*", &["a", "a", "b"]), [0, 1, 2]));
}

#[test]
fn j16_a_stop_of_a_handler_of_some_topics_reads_no_further() {
    within_limit(|| assert_eq!(stops_itself("a", &["a", "b"]), [0]));
}

#[test]
fn j16_a_letter_that_comes_at_the_end_is_handled_or_comes_back() {
    within(Duration::from_secs(60), || {
        for round in 0..500 {
            let bus = Bus::<u32>::new();
            let dead_letters = bus.dead_letters();
            let journal = bus.journal("work").open().unwrap();
            let (seen, all) = channel();
            let fails = move |work: &tramline::Entry<'_, u32>| {
                seen.send(**work).unwrap();
                Err::<(), _>("never")
            };
            let handler = journal.on(Start::Oldest, fails).unwrap();
            bus.publish("work", 7).unwrap();
            let letter = dead_letters.recv().unwrap();
            let retrying = thread::spawn(move || {
                (0..20 * (round % 200)).for_each(|_| std::hint::spin_loop());
                letter.retry().is_ok()
            });
            assert!(handler.stop(LONG).is_complete());
            let expected = 1 + usize::from(retrying.join().unwrap());
            assert_eq!(all.iter().count(), expected);
        }
    });
}

#[test]
fn j16_a_stop_that_runs_out_of_time_says_what_is_left() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("work").open().unwrap();
        let (gate, entered, key) = gate();
        let handler = journal.on(Start::Oldest, move |work| gate.pass(**work)).unwrap();
        (0..3).for_each(|work| _ = bus.publish("work", work).unwrap());
        assert_eq!(entered.recv().unwrap(), 0);
        let report = handler.stop(Duration::from_millis(20));
        assert_eq!((report.remaining(), report.running()), (2, 1));
        drop(key);
        wait_until("the thread has ended", || journal.readers() == 0);
        assert_eq!(journal.len(), 3, "the entries stay");
    });
}

#[test]
fn j16_dropping_and_detaching_a_handler() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("work").capacity(1).open().unwrap();
        let dropped = journal.on(Start::Oldest, |_| {}).unwrap();
        let (seen, all) = channel();
        journal.on(Start::Oldest, move |work| _ = seen.send(**work)).unwrap().detach();
        drop(dropped);
        wait_until("it has left", || journal.readers() == 1);
        drop(journal);
        (0..100).for_each(|work| assert_eq!(counts(bus.publish("work", work).unwrap()), (1, 0)));
        assert!(bus.drain(LONG).is_complete());
        assert_eq!(all.iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn j16_bad_options_are_errors() {
    within_limit(|| {
        let journal = Bus::<u32>::new().journal("work").open().unwrap();
        assert!(journal.on(Start::At(1), |_| {}).unwrap_err().is_ahead());
        let handler = journal.handler(Start::Next).only("a..b").handle(|_| {});
        assert!(handler.unwrap_err().is_invalid_topic());
        assert_eq!(journal.readers(), 0);
        let named = journal.handler(Start::Next).name("zero\0byte").handle(|_| {}).unwrap();
        assert!(named.stop(LONG).is_complete());
    });
}

/// A handler that publishes into its own journal, which is full.
fn reacts(bus: &WeakBus<u32>, number: u32) {
    if let (true, Some(bus)) = (number < 100, bus.upgrade()) {
        for reaction in 1..=3 {
            bus.publish("work", 100 * reaction + number).unwrap();
        }
    }
}

#[test]
fn j26_a_handler_does_not_wait_for_itself() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let journal = bus.journal("work").capacity(2).open().unwrap();
        let (seen, all) = channel();
        let weak = bus.downgrade();
        let handler = journal.on(Start::Oldest, move |work| {
            reacts(&weak, **work);
            seen.send(**work).unwrap();
        });
        let _handler = handler.unwrap();
        bus.publish("work", 7).unwrap();
        assert_eq!(all.iter().take(3).collect::<Vec<_>>(), [7, 107, 207]);
        assert_eq!(letters(&dead_letters), [(307, DeadLetterReason::SelfDeadlock)]);
        assert!(bus.drain(LONG).is_complete());
    });
}

#[test]
fn j26_two_readers_and_a_handler_that_reacts() {
    within(Duration::from_secs(60), || {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("work").capacity(4).open().unwrap();
        let weak = bus.downgrade();
        let _handler = journal.on(Start::Oldest, move |work| reacts(&weak, **work)).unwrap();
        let mut reader = journal.reader(Start::Oldest).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || while reader.recv().is_ok() {});
            (0..1000).for_each(|number| _ = bus.publish("work", number % 100).unwrap());
            assert!(bus.drain(LONG).is_complete());
        });
        assert_eq!(journal.next_offset() + bus.stats().dropped, 4000);
    });
}
