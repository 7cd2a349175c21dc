//! What becomes of requests and retained values in a journal, and journals that do not count.

use std::time::Duration;

use tramline::{Bus, DeadLetterReason, Start};

use crate::support::{LONG, SHORT, counts, letters, taken, within_limit};

fn kept(journal: &tramline::Journal<u32>) -> Vec<u32> {
    journal.reader(Start::Oldest).unwrap().try_iter().map(|entry| *entry).collect()
}

#[test]
fn j13_requests_are_kept_and_journals_do_not_answer() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("double").open().unwrap();
        let error = bus.request("double", 1).unwrap_err();
        assert!(error.is_no_responders());
        assert_eq!(error.into_inner(), 1);
        assert!(bus.gather("double", 2).unwrap_err().is_no_responders());
        let _server = bus.serve("double", |number| 2 * **number).unwrap();
        assert_eq!(bus.request("double", 3).unwrap().wait_timeout(LONG).unwrap(), 6);
        let _another = bus.serve("double", |number| 2 * **number).unwrap();
        let replies = bus.gather("double", 4).unwrap();
        assert_eq!(replies.collect_within(LONG), [8, 8]);
        assert_eq!(kept(&journal), [1, 2, 3, 4]);
        let mut reader = journal.reader(Start::Last(1)).unwrap();
        assert!(reader.recv().unwrap().headers().is_empty());
    });
}

#[test]
fn j13_a_request_at_a_full_journal() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let journal = bus.journal("double").capacity(1).open().unwrap();
        let _reader = journal.reader(Start::Oldest).unwrap();
        let _server = bus.serve("double", |number| 2 * **number).unwrap();
        assert_eq!(bus.request("double", 1).unwrap().wait_timeout(LONG).unwrap(), 2);
        let pending = bus.message("double", 2).timeout(SHORT).request().unwrap();
        assert_eq!(pending.wait_timeout(LONG).unwrap(), 4, "who has it may answer");
        assert_eq!(letters(&dead_letters), [(2, DeadLetterReason::Full)], "the journal has lost it");
    });
}

#[test]
fn j13_retained_values_are_kept_too() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let journal = bus.journal("level").open().unwrap();
        assert_eq!(counts(bus.publish_retained("level", 1).unwrap()), (1, 0));
        let mailbox = bus.subscription("level").with_retained().open().unwrap();
        assert_eq!(counts(bus.publish_retained("level", 2).unwrap()), (2, 0));
        assert_eq!((kept(&journal), taken(&mailbox)), (vec![1, 2], vec![1, 2]));
        let full = bus.journal("level").name("full").capacity(1).open().unwrap();
        let mut reader = full.reader(Start::Oldest).unwrap();
        bus.publish_retained("level", 3).unwrap();
        let error = bus.message("level", 4).timeout(SHORT).publish_retained().unwrap_err();
        assert_eq!((error.delivery().delivered(), bus.retained("level")), (2, Some(4)));
        assert_eq!(*reader.recv().unwrap(), 3);
        assert_eq!(counts(bus.publish_retained("level", 5).unwrap()), (3, 0));
        assert_eq!(*reader.recv().unwrap(), 5);
    });
}

#[test]
fn j28_an_observing_journal_does_not_count() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let audit = bus.journal(">").observer().open().unwrap();
        assert!(bus.publish("tick", 1).unwrap().is_unheard());
        assert_eq!(letters(&dead_letters), [(1, DeadLetterReason::Unheard)]);
        let mailbox = bus.subscribe("tick").unwrap();
        assert_eq!(counts(bus.publish("tick", 2).unwrap()), (1, 0));
        let journal = bus.journal("tick").open().unwrap();
        assert_eq!(counts(bus.publish("tick", 3).unwrap()), (2, 0));
        drop(mailbox);
        assert_eq!(counts(bus.publish("tick", 4).unwrap()), (1, 0));
        assert!(bus.publish_retained("tock", 5).unwrap().is_unheard());
        assert!(bus.request("tack", 6).unwrap_err().is_no_responders());
        assert_eq!((kept(&audit), kept(&journal)), (vec![1, 2, 3, 4, 5, 6], vec![3, 4]));
    });
}

#[test]
fn j28_an_observing_journal_that_is_full_loses_it_when_the_time_is_over() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let dead_letters = bus.dead_letters();
        let audit = bus.journal(">").observer().capacity(1).open().unwrap();
        let _reader = audit.reader(Start::Oldest).unwrap();
        let mailbox = bus.subscribe("tick").unwrap();
        bus.publish("tick", 1).unwrap();
        let delivery = bus.message("tick", 2).timeout(Duration::from_millis(5)).publish().unwrap();
        assert_eq!(counts(delivery), (1, 0));
        assert_eq!(letters(&dead_letters), [(2, DeadLetterReason::Full)]);
        assert_eq!(taken(&mailbox), [1, 2]);
    });
}

#[test]
fn j19_payloads_that_are_not_sync_are_as_before() {
    within_limit(|| {
        let bus = Bus::<std::cell::Cell<u32>>::new();
        let mailbox = bus.subscribe("tick").unwrap();
        bus.publish("tick", std::cell::Cell::new(7)).unwrap();
        assert_eq!(mailbox.recv().unwrap().get(), 7);
    });
}
