//! Closing, draining, and the last handle.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tramline::{Bus, Overflow, Start};

use crate::support::{LONG, SHORT, counts, gate, within_limit};

#[test]
fn j15_after_the_close_what_is_kept_can_be_read() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("tick").open().unwrap();
        let mut before = journal.reader(Start::Oldest).unwrap();
        (0..5).for_each(|tick| _ = bus.publish("tick", tick).unwrap());
        bus.close();
        assert!(bus.publish("tick", 5).unwrap_err().is_closed());
        let mut after = journal.reader(Start::Last(2)).unwrap();
        assert_eq!(before.iter().count(), 5);
        assert_eq!(after.iter().map(|tick| *tick).collect::<Vec<_>>(), [3, 4]);
        assert!(before.recv().unwrap_err().is_closed());
        before.seek(Start::At(4)).unwrap();
        assert_eq!(*before.recv().unwrap(), 4);
        let (seen, all) = channel();
        let handler = journal.on(Start::Oldest, move |tick| _ = seen.send(**tick)).unwrap();
        assert_eq!(all.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(handler.stop(LONG).is_complete());
        assert!(bus.journal("tick").open().unwrap_err().is_closed());
    });
}

#[test]
fn j15_a_reader_that_sleeps_is_woken_by_the_close() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let mut reader = bus.journal("tick").open().unwrap().reader(Start::Oldest).unwrap();
        let reading = thread::spawn(move || reader.recv().map(|tick| *tick));
        thread::sleep(SHORT);
        bus.close();
        assert!(reading.join().unwrap().unwrap_err().is_closed());
    });
}

#[test]
fn j15_no_handle_keeps_the_bus_open() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("tick").open().unwrap();
        let mut reader = journal.reader(Start::Oldest).unwrap();
        let (seen, all) = channel();
        let _handler = journal.on(Start::Oldest, move |tick| _ = seen.send(**tick)).unwrap();
        bus.publish("tick", 7).unwrap();
        drop(bus);
        assert_eq!(*reader.recv().unwrap(), 7);
        assert!(reader.recv().unwrap_err().is_closed());
        assert_eq!(all.iter().collect::<Vec<_>>(), [7], "its closure is gone");
    });
}

#[test]
fn j15_the_last_handle_takes_the_journal_off_its_topics() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let publisher = bus.publisher("tick").unwrap();
        let journal = bus.journal("tick").open().unwrap();
        let reader = journal.reader(Start::Oldest).unwrap();
        let other = journal.clone();
        drop(journal);
        assert_eq!(counts(publisher.publish(1).unwrap()), (1, 0));
        drop(other);
        assert_eq!(counts(publisher.publish(2).unwrap()), (1, 0), "a reader is left");
        let handler = bus.find_journal("tick").unwrap().on(Start::Oldest, |_| {}).unwrap();
        drop(reader);
        assert_eq!(counts(publisher.publish(3).unwrap()), (1, 0), "a handler is left");
        assert!(handler.stop(LONG).is_complete());
        assert!(publisher.publish(4).unwrap().is_unheard());
        assert!(bus.publish("tick", 5).unwrap().is_unheard());
        assert!(bus.find_journal("tick").is_none() && bus.journals().is_empty());
        // Another one of this name begins anew.
        let another = bus.journal("tick").capacity(8).open().unwrap();
        publisher.publish(6).unwrap();
        assert_eq!((another.len(), another.next_offset()), (1, 1));
    });
}

#[test]
fn j15_a_drain_waits_for_handlers_and_for_readers_of_journals_that_block() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("tick").open().unwrap();
        let (gate, entered, key) = gate();
        let handler = journal.handler(Start::Oldest).name("slow").handle(move |tick| gate.pass(**tick)).unwrap();
        let mut reader = journal.reader(Start::Oldest).unwrap();
        (0..3).for_each(|tick| _ = bus.publish("tick", tick).unwrap());
        assert_eq!(entered.recv().unwrap(), 0);
        let report = thread::scope(|scope| {
            let draining = scope.spawn(|| bus.drain(Duration::from_millis(100)));
            draining.join().unwrap()
        });
        assert_eq!((report.remaining(), report.running()), (3 + 2, 1));
        assert_eq!(report.unfinished().iter().map(|left| left.name().unwrap()).collect::<Vec<_>>(), ["slow", "tick"]);
        drop(key);
        assert_eq!(reader.iter().count(), 3);
        assert!(handler.stop(LONG).is_complete());
    });
}

#[test]
fn j15_a_drain_completes_when_all_is_read() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("tick").capacity(4).open().unwrap();
        let (seen, all) = channel();
        let _handler = journal.on(Start::Oldest, move |tick| _ = seen.send(**tick)).unwrap();
        let lossy = bus.journal("tick").name("lossy").overflow(Overflow::DropOldest).open().unwrap();
        let _nobody_waits_for_it = lossy.reader(Start::Oldest).unwrap();
        (0..1000).for_each(|tick| _ = bus.publish("tick", tick).unwrap());
        let mut reader = journal.reader(Start::Next).unwrap();
        let report = thread::scope(|scope| {
            scope.spawn(move || while reader.recv().is_ok() {});
            bus.drain(LONG)
        });
        assert!(report.is_complete(), "{report}");
        assert_eq!(all.iter().count(), 1000);
    });
}
