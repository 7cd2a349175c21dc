//! What a reader sees, from where it begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tramline::{Bus, Journal, JournalReader, Overflow, Start};

use crate::support::{Counted, InOrder, LONG, SHORT, within, within_limit};

/// The offsets and payloads of what is there.
fn read(reader: &mut JournalReader<u64>) -> Vec<(u64, u64)> {
    reader.try_iter().map(|entry| (entry.offset(), *entry)).collect()
}

fn filled(bus: &Bus<u64>, capacity: usize, messages: u64) -> Journal<u64> {
    let journal = bus.journal("tick").capacity(capacity).open().unwrap();
    (0..messages).for_each(|tick| assert_eq!(bus.publish("tick", tick).unwrap().delivered(), 1));
    journal
}

#[test]
fn j01_each_reader_sees_its_part_in_one_order() {
    within_limit(|| {
        let bus = Bus::new();
        let journal = bus.journal("tick").open().unwrap();
        let mut next = journal.reader(Start::Next).unwrap();
        (0..500).for_each(|tick| _ = bus.publish("tick", tick).unwrap());
        let mut middle = journal.reader(Start::Next).unwrap();
        (500..1000).for_each(|tick| _ = bus.publish("tick", tick).unwrap());
        let mut oldest = journal.reader(Start::Oldest).unwrap();
        let mut last = journal.reader(Start::Last(10)).unwrap();
        let expected = |from: u64| (from..1000).map(|tick| (tick, tick)).collect::<Vec<_>>();
        assert_eq!(read(&mut oldest), expected(0));
        assert_eq!(read(&mut next), expected(0));
        assert_eq!(read(&mut middle), expected(500));
        assert_eq!(read(&mut last), expected(990));
    });
}

#[test]
fn j02_there_is_no_gap_between_history_and_what_is_new() {
    within(Duration::from_secs(120), || {
        for round in 0..1000 {
            let bus = Bus::<(usize, usize)>::new();
            let journal = bus.journal("tick").capacity(if round % 2 == 0 { 4096 } else { 7 }).open().unwrap();
            let is_done = Arc::new(AtomicBool::new(false));
            thread::scope(|scope| {
                for publisher in 0..4 {
                    let ticks = bus.publisher("tick").unwrap();
                    scope.spawn(move || (0..50).for_each(|tick| _ = ticks.publish((publisher, tick)).unwrap()));
                }
                for start in [Start::Oldest, Start::Next, Start::Last(5)] {
                    let (journal, is_done) = (journal.clone(), Arc::clone(&is_done));
                    scope.spawn(move || {
                        let mut reader = journal.reader(start).unwrap();
                        let mut next = reader.offset();
                        while next < 200 {
                            let entry = reader.recv().unwrap();
                            assert_eq!((entry.offset(), entry.lost_before()), (next, 0));
                            next += 1;
                        }
                        is_done.store(true, Ordering::Relaxed);
                    });
                }
            });
            assert!(is_done.load(Ordering::Relaxed));
            assert_eq!(journal.next_offset(), 200);
        }
    });
}

#[test]
fn j03_the_order_of_each_publishing_thread_holds_across_topics() {
    within(Duration::from_secs(120), || {
        const EACH: usize = 20_000;
        let bus = Bus::<(usize, usize)>::new();
        let journal = bus.journal("a.*").also("b").capacity(64).open().unwrap();
        let mut readers = [journal.reader(Start::Oldest).unwrap(), journal.reader(Start::Oldest).unwrap()];
        thread::scope(|scope| {
            for publisher in 0..4 {
                let topics = ["a.x", "b", "a.y"].map(|topic| bus.publisher(topic).unwrap());
                scope.spawn(move || {
                    (0..EACH).for_each(|number| _ = topics[number % 3].publish((publisher, number)).unwrap());
                });
            }
            let orders = readers.each_mut().map(|reader| {
                scope.spawn(move || {
                    let mut in_order = InOrder::default();
                    let all = reader.iter().take(4 * EACH).map(|entry| *entry);
                    all.inspect(|numbered| in_order.check(*numbered)).collect::<Vec<_>>()
                })
            });
            let [one, two] = orders.map(|order| order.join().unwrap());
            assert!(one == two, "both readers see one order");
        });
    });
}

#[test]
fn j09_at_an_offset_before_within_and_beyond() {
    within_limit(|| {
        let bus = Bus::new();
        let journal = filled(&bus, 8, 20);
        let mut before = journal.reader(Start::At(5)).unwrap();
        let entry = before.recv().unwrap();
        assert_eq!((entry.offset(), entry.lost_before()), (12, 7));
        assert_eq!(before.recv().unwrap().lost_before(), 0, "a loss is told once");
        assert_eq!(read(&mut journal.reader(Start::At(18)).unwrap()), [(18, 18), (19, 19)]);
        let mut next = journal.reader(Start::At(20)).unwrap();
        assert!(next.try_recv().unwrap_err().is_empty());
        let beyond = journal.reader(Start::At(21)).unwrap_err();
        assert!(beyond.is_ahead());
        assert_eq!(beyond.to_string(), "cannot begin at offset 21: the next entry has offset 20");
        assert_eq!(read(&mut journal.reader(Start::Last(usize::MAX)).unwrap()).len(), 8);
        assert!(read(&mut journal.reader(Start::Last(0)).unwrap()).is_empty());
        assert_eq!((journal.readers(), journal.len(), journal.oldest_offset()), (2, 8, 12));
    });
}

#[test]
fn j10_only_skips_other_topics_and_lag_counts_them() {
    within_limit(|| {
        let bus = Bus::<u64>::new();
        let journal = bus.journal("trade.>").open().unwrap();
        for tick in 0..6 {
            bus.publish(if tick % 3 == 0 { "trade.EU.a" } else { "trade.US.a" }, tick).unwrap();
        }
        let mut eu = journal.reader(Start::Oldest).unwrap().only("trade.EU.*").unwrap();
        assert_eq!(eu.lag(), 6);
        assert_eq!(read(&mut eu), [(0, 0), (3, 3)]);
        assert_eq!((eu.lag(), eu.offset()), (0, 6));
        assert!(journal.reader(Start::Next).unwrap().only("trade..EU").is_err());
        // What it skips keeps nobody waiting.
        let full = bus.journal("trade.>").name("full").capacity(2).open().unwrap();
        let mut eu = full.reader(Start::Next).unwrap().only("trade.EU.*").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| (0..100).for_each(|tick| _ = bus.publish("trade.US.a", tick).unwrap()));
            scope.spawn(|| {
                while eu.offset() < 100 {
                    let _ = eu.recv_timeout(Duration::from_millis(1));
                }
            });
        });
    });
}

#[test]
fn j18_nobody_clones_what_is_read() {
    within_limit(|| {
        let bus = Bus::<Counted>::new();
        let journal = bus.journal("tick").open().unwrap();
        let mut readers: Vec<_> = (0..8).map(|_| journal.reader(Start::Oldest).unwrap()).collect();
        let (payload, clones) = Counted::new();
        bus.publish("tick", payload).unwrap();
        for reader in &mut readers {
            assert!(reader.recv().unwrap().is_original);
        }
        assert_eq!(clones.load(Ordering::SeqCst), 0);
        // The last mailbox gets the original, as without a journal.
        let one = bus.subscribe("tick").unwrap();
        let (payload, clones) = Counted::new();
        assert_eq!(bus.publish("tick", payload).unwrap().delivered(), 2);
        assert!(one.recv().unwrap().is_original);
        assert!(!readers[0].recv().unwrap().is_original);
        assert_eq!(clones.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn j20_a_hundred_journals_on_a_topic() {
    within_limit(|| {
        let bus = Bus::<u64>::new();
        let journals: Vec<_> =
            (0..100).map(|n| bus.journal("tick").name(format!("journal {n}")).capacity(16).open().unwrap()).collect();
        let mut readers: Vec<_> = journals.iter().map(|journal| journal.reader(Start::Oldest).unwrap()).collect();
        assert_eq!(bus.journals().len(), 100);
        thread::scope(|scope| {
            for reader in &mut readers {
                scope.spawn(move || (0..200).for_each(|tick| assert_eq!(*reader.recv().unwrap(), tick)));
            }
            let ticks = bus.publisher("tick").unwrap();
            (0..200).for_each(|tick| assert_eq!(ticks.publish(tick).unwrap().delivered(), 100));
        });
    });
}

#[test]
fn j20_a_journal_of_ten_thousand_topics() {
    within(Duration::from_secs(120), || {
        let bus = Bus::<u64>::new();
        let journal = bus.journal(">").capacity(30_000).open().unwrap();
        let publishers: Vec<_> = (0..10_000).map(|topic| bus.publisher(format!("topic.{topic}")).unwrap()).collect();
        for round in 0..2 {
            for (topic, publisher) in (0..).zip(&publishers) {
                publisher.publish(round * 10_000 + topic).unwrap();
            }
        }
        (0..10_000).for_each(|topic| _ = bus.publish(format!("other.{topic}"), 20_000 + topic).unwrap());
        let mut reader = journal.reader(Start::Oldest).unwrap();
        for number in 0..30_000 {
            let entry = reader.recv().unwrap();
            let kind = if number < 20_000 { "topic" } else { "other" };
            assert_eq!((entry.topic().to_string(), *entry), (format!("{kind}.{}", number % 10_000), number));
        }
    });
}

#[test]
fn j21_a_clone_reads_on_and_a_reader_seeks() {
    within_limit(|| {
        let bus = Bus::new();
        let journal = filled(&bus, 8, 8);
        let mut one = journal.reader(Start::Oldest).unwrap();
        assert_eq!(*one.recv().unwrap(), 0);
        let mut two = one.clone();
        assert_eq!((two.offset(), journal.readers()), (1, 2));
        assert_eq!(read(&mut one), read(&mut two));
        one.seek(Start::At(2)).unwrap();
        assert_eq!(*one.recv().unwrap(), 2);
        one.seek(Start::Last(1)).unwrap();
        assert_eq!(*one.recv().unwrap(), 7);
        assert!(one.seek(Start::At(9)).unwrap_err().is_ahead());
        assert_eq!(one.offset(), 8, "it stays where it is");
        (8..12).for_each(|tick| _ = bus.publish("tick", tick).unwrap());
        one.seek(Start::At(0)).unwrap();
        let entry = one.recv().unwrap();
        assert_eq!((entry.offset(), entry.lost_before()), (4, 4));
    });
}

#[test]
fn j21_a_reader_that_seeks_back_is_waited_for() {
    within_limit(|| {
        let bus = Bus::<u64>::new();
        let journal = filled(&bus, 4, 4);
        let mut reader = journal.reader(Start::Next).unwrap();
        reader.seek(Start::Oldest).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| (4..8).try_for_each(|tick| bus.publish("tick", tick).map(drop)));
            thread::sleep(SHORT);
            assert_eq!(journal.next_offset(), 4, "it has passed nothing");
            reader.seek(Start::At(2)).unwrap();
            while journal.next_offset() < 6 {
                thread::yield_now();
            }
            // Back again while the publisher waits: what it may still read stays.
            reader.seek(Start::Oldest).unwrap();
            assert_eq!(*reader.recv_timeout(LONG).unwrap(), 2);
            assert_eq!(*reader.recv_timeout(LONG).unwrap(), 3);
            assert!(waiting.join().unwrap().is_ok());
        });
        assert_eq!(read(&mut reader), [(4, 4), (5, 5), (6, 6), (7, 7)]);
    });
}

#[test]
fn j21_readers_that_seek_at_random_lose_nothing() {
    within(Duration::from_secs(120), || {
        let bus = Bus::<u64>::new();
        let journal = bus.journal("tick").capacity(8).open().unwrap();
        let mut readers: Vec<_> = (0..3).map(|_| journal.reader(Start::Oldest).unwrap()).collect();
        let seeks = AtomicUsize::new(0);
        thread::scope(|scope| {
            for (number, reader) in (0..).zip(&mut readers) {
                let (journal, seeks) = (&journal, &seeks);
                scope.spawn(move || {
                    let mut step = number;
                    while reader.offset() < 20_000 {
                        let at = reader.offset();
                        step = (step * 3 + 1) % 101;
                        if step % 8 == 0 {
                            // Back to what it has read, as far as that is kept.
                            reader.seek(Start::At(at.saturating_sub(step % 5))).unwrap();
                            let lost = reader.clone().try_recv().map_or(0, |entry| entry.lost_before());
                            assert!(lost <= 8, "{lost}");
                            seeks.fetch_add(1, Ordering::Relaxed);
                        } else {
                            let entry = reader.recv().unwrap();
                            assert_eq!(*entry, entry.offset());
                        }
                        assert!(reader.offset() >= journal.oldest_offset(), "a reader is not overrun");
                    }
                });
            }
            let ticks = bus.publisher("tick").unwrap();
            (0..20_000).for_each(|tick| _ = ticks.publish(tick).unwrap());
        });
        assert!(seeks.load(Ordering::Relaxed) > 1000);
    });
}

#[test]
fn j02_expired_messages_are_skipped_and_keep_their_offset() {
    within_limit(|| {
        let bus = Bus::<u64>::new();
        let journal = bus.journal("tick").open().unwrap();
        bus.publish("tick", 0).unwrap();
        bus.message("tick", 1).expires_after(Duration::ZERO).publish().unwrap();
        bus.message("tick", 2).header("tenant", "acme").publish().unwrap();
        let mut reader = journal.reader(Start::Oldest).unwrap();
        assert_eq!(*reader.recv().unwrap(), 0);
        let entry = reader.recv().unwrap();
        assert_eq!((entry.offset(), *entry, entry.lost_before()), (2, 2, 0));
        assert_eq!(entry.headers().get("tenant"), Some("acme"));
        assert_eq!(journal.len(), 3);
    });
}

#[test]
fn j01_timeouts_and_deadlines() {
    within_limit(|| {
        let bus = Bus::<u64>::new();
        let journal = bus.journal("tick").overflow(Overflow::DropOldest).open().unwrap();
        let mut reader = journal.reader(Start::Next).unwrap();
        assert!(reader.try_recv().unwrap_err().is_empty());
        assert!(reader.recv_timeout(Duration::ZERO).unwrap_err().is_timeout());
        assert!(reader.recv_timeout(Duration::from_millis(5)).unwrap_err().is_timeout());
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(*reader.recv_timeout(Duration::MAX).unwrap(), 7));
            bus.publish("tick", 7).unwrap();
        });
        bus.close();
        assert!(reader.recv_timeout(LONG).unwrap_err().is_closed());
        assert!(reader.try_recv().unwrap_err().is_closed());
    });
}
