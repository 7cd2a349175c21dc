//! What happens when a reader is behind by the whole capacity.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tramline::{Bus, DeadLetterReason, Journal, JournalReader, Overflow, Start};

use crate::support::{LONG, SHORT, counts, letters, patient, taken, wait_until, within, within_limit};

/// A journal of eight that is full for its reader.
fn full(bus: &Bus<u32>) -> (Journal<u32>, JournalReader<u32>) {
    let journal = bus.journal("tick").capacity(8).open().unwrap();
    let reader = journal.reader(Start::Oldest).unwrap();
    (0..8).for_each(|tick| assert_eq!(counts(bus.publish("tick", tick).unwrap()), (1, 0)));
    (journal, reader)
}

/// Runs `goes_on` while a publisher waits with 8, and returns what became of that.
fn waits_until(
    bus: &Bus<u32>,
    journal: &Journal<u32>,
    goes_on: impl FnOnce(),
) -> Result<(usize, usize), tramline::PublishError<u32>> {
    thread::scope(|scope| {
        let (done, is_done) = channel::<()>();
        let publisher = bus.publisher("tick").unwrap();
        let waiting = scope.spawn(move || {
            let published = publisher.publish(8).map(counts);
            drop(done);
            published
        });
        assert!(is_done.recv_timeout(SHORT).is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout));
        assert_eq!(journal.next_offset(), 8);
        goes_on();
        waiting.join().unwrap()
    })
}

#[test]
fn j04_a_publisher_waits_until_the_reader_reads() {
    within_limit(|| {
        let bus = Bus::new();
        let (journal, mut reader) = full(&bus);
        let published = waits_until(&bus, &journal, || assert_eq!(*reader.recv().unwrap(), 0));
        assert_eq!(published.unwrap(), (1, 0));
        assert_eq!(reader.try_iter().map(|tick| *tick).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    });
}

#[test]
fn j04_a_publisher_waits_until_the_reader_is_dropped() {
    within_limit(|| {
        let bus = Bus::new();
        let (journal, reader) = full(&bus);
        assert_eq!(waits_until(&bus, &journal, || drop(reader)).unwrap(), (1, 0));
        assert_eq!(journal.next_offset(), 9);
    });
}

#[test]
fn j04_a_publisher_waits_until_its_time_is_over() {
    within_limit(|| {
        let bus = Bus::new();
        let (journal, mut reader) = full(&bus);
        let error = bus.message("tick", 8).timeout(SHORT).publish().unwrap_err();
        assert!(error.is_timeout());
        assert_eq!((error.delivery().delivered(), error.into_inner()), (0, 8));
        assert_eq!(journal.next_offset(), 8);
        assert_eq!(reader.try_iter().count(), 8, "it has left the line");
        assert_eq!(counts(bus.publish("tick", 9).unwrap()), (1, 0));
        assert_eq!(*reader.recv().unwrap(), 9);
    });
}

#[test]
fn j04_a_publisher_waits_until_the_bus_closes() {
    within_limit(|| {
        let bus = Bus::new();
        let (journal, mut reader) = full(&bus);
        let error = waits_until(&bus, &journal, || bus.close()).unwrap_err();
        assert!(error.is_closed());
        assert_eq!(error.into_inner(), 8);
        assert_eq!(reader.iter().count(), 8);
        assert!(reader.recv().unwrap_err().is_closed());
    });
}

#[test]
fn j04_one_place_is_enough_at_every_capacity() {
    within(Duration::from_secs(60), || {
        for capacity in [1, 2, 3, 7, 600, 65_536] {
            let bus = Bus::<usize>::new();
            let journal = bus.journal("tick").capacity(capacity).open().unwrap();
            let mut reader = journal.reader(Start::Oldest).unwrap();
            (0..capacity).for_each(|tick| _ = bus.publish("tick", tick).unwrap());
            assert!(bus.try_publish("tick", 0).unwrap().is_unheard(), "{capacity}");
            assert_eq!(*reader.recv().unwrap(), 0);
            assert_eq!(bus.publish("tick", capacity).unwrap().delivered(), 1, "one read, one room");
            assert!(bus.try_publish("tick", 0).unwrap().is_unheard());
            assert_eq!((journal.len(), reader.lag()), (capacity, capacity as u64));
        }
    });
}

#[test]
fn j04_many_publishers_and_slow_readers_at_a_small_journal() {
    within(Duration::from_secs(120), || {
        for capacity in [1, 3] {
            let bus = Bus::<u64>::new();
            let journal = bus.journal("tick").capacity(capacity).open().unwrap();
            let mut readers: Vec<_> = (0..3).map(|_| journal.reader(Start::Oldest).unwrap()).collect();
            thread::scope(|scope| {
                for reader in &mut readers {
                    scope.spawn(move || {
                        for offset in 0..8000 {
                            assert_eq!(reader.recv_timeout(patient(LONG)).unwrap().offset(), offset);
                        }
                    });
                }
                for _ in 0..8 {
                    let ticks = bus.publisher("tick").unwrap();
                    scope.spawn(move || {
                        (0..1000).for_each(|tick| assert_eq!(counts(ticks.publish(tick).unwrap()), (1, 0)))
                    });
                }
            });
            assert_eq!(journal.next_offset(), 8000);
        }
    });
}

#[test]
fn j05_without_readers_nobody_waits() {
    within_limit(|| {
        let bus = Bus::new();
        let journal = bus.journal("tick").capacity(8).open().unwrap();
        (0..10_000).for_each(|tick| assert_eq!(counts(bus.publish("tick", tick).unwrap()), (1, 0)));
        let mut last = journal.reader(Start::Oldest).unwrap();
        assert_eq!(last.try_iter().map(|tick| *tick).collect::<Vec<u32>>(), (9992..10_000).collect::<Vec<_>>());
        drop(last);
        (0..10_000).for_each(|tick| assert_eq!(counts(bus.publish("tick", tick).unwrap()), (1, 0)));
    });
}

#[test]
fn j06_what_was_read_and_what_was_lost_is_what_was_published() {
    within(Duration::from_secs(120), || {
        for capacity in [1, 8, 1000] {
            const EACH: u64 = 20_000;
            let bus = Bus::<u64>::new();
            let journal = bus.journal("tick").capacity(capacity).overflow(Overflow::DropOldest).open().unwrap();
            let mut readers: Vec<_> = (0..2).map(|_| journal.reader(Start::Oldest).unwrap()).collect();
            thread::scope(|scope| {
                let readers: Vec<_> = readers
                    .iter_mut()
                    .map(|reader| {
                        scope.spawn(move || {
                            let (mut read, mut lost) = (0, 0);
                            while let Ok(entry) = reader.recv() {
                                read += 1;
                                lost += entry.lost_before();
                                assert_eq!(entry.offset() + 1, read + lost);
                            }
                            (read, lost)
                        })
                    })
                    .collect();
                thread::scope(|scope| {
                    for _ in 0..8 {
                        let ticks = bus.publisher("tick").unwrap();
                        scope.spawn(move || (0..EACH).for_each(|tick| _ = ticks.publish(tick).unwrap()));
                    }
                });
                bus.close();
                for reader in readers {
                    let (read, lost) = reader.join().unwrap();
                    assert_eq!(read + lost, 8 * EACH);
                    assert!(read >= capacity as u64);
                }
            });
        }
    });
}

#[test]
fn j06_an_overrun_reader_goes_on_at_the_oldest() {
    within_limit(|| {
        let bus = Bus::<u64>::new();
        for capacity in [1, 8, 600] {
            let journal = bus.journal("tick").name(capacity.to_string()).capacity(capacity);
            let journal = journal.overflow(Overflow::DropOldest).open().unwrap();
            let mut reader = journal.reader(Start::Oldest).unwrap();
            let total = 3 * capacity as u64 + 1;
            (0..total).for_each(|tick| _ = bus.publish("tick", tick).unwrap());
            let entry = reader.recv().unwrap();
            assert_eq!((entry.offset(), entry.lost_before()), (total - capacity as u64, total - capacity as u64));
            assert_eq!(reader.try_iter().count() + 1, capacity);
        }
    });
}

#[test]
fn j07_an_overrun_reader_ends_after_the_rest() {
    within_limit(|| {
        let bus = Bus::<u64>::new();
        let journal = bus.journal("tick").capacity(8).overflow(Overflow::Disconnect).open().unwrap();
        let mut slow = journal.reader(Start::Oldest).unwrap();
        let mut fast = journal.reader(Start::Oldest).unwrap();
        for tick in 0..20 {
            bus.publish("tick", tick).unwrap();
            assert_eq!(*fast.recv().unwrap(), tick);
        }
        let rest: Vec<_> = slow.try_iter().map(|tick| (tick.offset(), tick.lost_before())).collect();
        assert_eq!(rest, (0..8).map(|offset| (offset, 0)).collect::<Vec<_>>());
        assert!(slow.recv().unwrap_err().is_overflowed());
        assert!(slow.recv_timeout(LONG).unwrap_err().is_overflowed(), "for good");
        slow.seek(Start::Oldest).unwrap();
        assert_eq!(*slow.recv().unwrap(), 12, "unless it begins anew");
        assert!(fast.try_recv().unwrap_err().is_empty());
    });
}

#[test]
fn j07_a_place_that_is_never_written_ends_an_overrun_reader() {
    within(Duration::from_secs(120), || {
        let bus = Bus::<u64>::new();
        let journal = bus.journal("tick").capacity(2).overflow(Overflow::Disconnect).open().unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                let ticks = bus.publisher("tick").unwrap();
                scope.spawn(|| {
                    let ticks = ticks;
                    while !is_over.load(Ordering::Relaxed) {
                        ticks.publish(1).unwrap();
                    }
                });
            }
            for _ in 0..2000 {
                let mut reader = journal.reader(Start::Oldest).unwrap();
                while reader.recv().is_ok() {}
            }
            is_over.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn j12_a_stalled_journal_keeps_no_message_from_a_mailbox() {
    within_limit(|| {
        let bus = Bus::new();
        let (journal, mut reader) = full(&bus);
        let mailbox = bus.subscribe("tick").unwrap();
        let other = bus.journal("tick").name("other").open().unwrap();
        let mut other = other.reader(Start::Oldest).unwrap();
        let published = waits_until(&bus, &journal, || {
            assert_eq!(*mailbox.recv_timeout(LONG).unwrap(), 8, "while its publisher waits");
            assert_eq!(*other.recv_timeout(LONG).unwrap(), 8);
            assert_eq!(*reader.recv().unwrap(), 0);
        });
        assert_eq!(published.unwrap(), (3, 0));
    });
}

#[test]
fn j12_a_publisher_waits_for_journals_and_mailboxes_at_once() {
    within_limit(|| {
        for journal_first in [true, false] {
            let bus = Bus::new();
            let (journal, mut reader) = full(&bus);
            let mailbox = bus.subscription("tick").capacity(1).open().unwrap();
            bus.message("tick", 99).no_wait().publish().unwrap();
            let published = waits_until(&bus, &journal, || {
                let mut read = || assert_eq!(*reader.recv().unwrap(), 0);
                if journal_first {
                    read();
                    wait_until("the journal has it", || journal.next_offset() == 9);
                    assert_eq!(*mailbox.recv().unwrap(), 99);
                } else {
                    assert_eq!(*mailbox.recv().unwrap(), 99);
                    assert_eq!(*mailbox.recv_timeout(LONG).unwrap(), 8);
                    read();
                }
            });
            assert_eq!(published.unwrap(), (2, 0));
        }
    });
}

#[test]
fn j12_a_time_that_is_over_says_who_has_the_message() {
    within_limit(|| {
        let bus = Bus::new();
        let (_journal, _reader) = full(&bus);
        let mailbox = bus.subscribe("tick").unwrap();
        let error = bus.message("tick", 8).timeout(SHORT).publish().unwrap_err();
        assert_eq!((error.delivery().delivered(), error.into_inner()), (1, 8));
        assert_eq!(taken(&mailbox), [8]);
    });
}

#[test]
fn j27_publishers_that_do_not_wait_are_counted_losses() {
    within_limit(|| {
        let bus = Bus::new();
        let dead_letters = bus.dead_letters();
        let (journal, _reader) = full(&bus);
        let mailbox = bus.subscribe("tick").unwrap();
        assert_eq!(counts(bus.try_publish("tick", 8).unwrap()), (1, 1));
        bus.fire("tick", 9);
        assert_eq!(counts(bus.message("tick", 10).no_wait().publish().unwrap()), (1, 1));
        assert_eq!(letters(&dead_letters), [8, 9, 10].map(|tick| (tick, DeadLetterReason::Full)));
        assert_eq!(taken(&mailbox), [8, 9, 10]);
        assert_eq!((journal.next_offset(), bus.stats().dropped), (8, 3));
    });
}

#[test]
fn j27_a_letter_of_a_full_journal_goes_back_to_it() {
    within_limit(|| {
        let bus = Bus::new();
        let dead_letters = bus.dead_letters();
        let (_journal, mut reader) = full(&bus);
        bus.fire("tick", 8);
        let letter = dead_letters.recv().unwrap().try_retry().unwrap_err();
        assert!(letter.is_full());
        thread::scope(|scope| {
            let retrying = scope.spawn(move || letter.into_inner().retry());
            assert_eq!(reader.iter().take(9).last().map(|tick| *tick), Some(8));
            assert!(retrying.join().unwrap().is_ok());
        });
    });
}

#[test]
fn j25_publishers_that_time_out_leave_no_hole() {
    within(Duration::from_secs(120), || {
        let bus = Bus::new();
        let (journal, mut reader) = full(&bus);
        thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    for tick in 0..200 {
                        let error = bus.message("tick", tick).timeout(Duration::from_micros(20)).publish().unwrap_err();
                        assert_eq!(error.into_inner(), tick);
                    }
                });
            }
        });
        assert_eq!((journal.next_offset(), journal.readers()), (8, 1));
        assert_eq!(reader.try_iter().map(|tick| tick.offset()).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
        assert_eq!(counts(bus.publish("tick", 8).unwrap()), (1, 0));
        assert_eq!(reader.recv().unwrap().offset(), 8);
    });
}

#[test]
fn j25_who_gives_up_while_room_is_made_is_in_or_out() {
    within(Duration::from_secs(120), || {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("tick").capacity(1).open().unwrap();
        let mut reader = journal.reader(Start::Oldest).unwrap();
        let (mut published, total) = (Vec::new(), 3000);
        let read = thread::scope(|scope| {
            let reading = scope.spawn(move || reader.iter().map(|tick| *tick).collect::<Vec<_>>());
            for tick in 0..total {
                match bus.message("tick", tick).timeout(Duration::from_micros(u64::from(tick % 40))).publish() {
                    Ok(delivery) => {
                        assert_eq!(counts(delivery), (1, 0));
                        published.push(tick);
                    }
                    Err(error) => assert!(error.is_timeout()),
                }
            }
            bus.close();
            reading.join().unwrap()
        });
        assert_eq!(read, published);
    });
}
