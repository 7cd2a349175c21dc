//! Journals: tasks in the line. A thread there looks again by itself after a while, a task is woken or waits for ever; and
//! a task that gives up does so at any moment.

use tramline::Start;

use super::journal::{full_journal, publish_all, read_up_to, read_with_losses};
use super::tasks::{block_on, once};
use super::{SECOND, TOPIC, bus, meanwhile};

/// A reader that has read the last entry makes room, also if it only looks for the next one and does not wait for it.
pub fn task_in_the_line_against_room() {
    let (_bus, _journal, publisher, mut reader) = full_journal();
    let publishing = meanwhile(move || block_on(publisher.publish_async(1)).unwrap().delivered());
    assert_eq!(read_up_to(&mut reader, 1), [0]);
    let seen = read_with_losses(&mut reader, &mut 1);
    assert_eq!(publishing.join().unwrap(), 1);
    if seen == (vec![], 0) {
        assert_eq!(read_up_to(&mut reader, 2), [1]);
    }
}

/// A reader that knows of somebody who waits makes room with the entry that it passes, whatever it does then.
pub fn task_that_waits_already_against_room() {
    let bus = bus(1);
    let journal = bus.journal(TOPIC).capacity(2).open().unwrap();
    let (publisher, mut reader) = (bus.publisher(TOPIC).unwrap(), journal.reader(Start::Next).unwrap());
    publish_all(&publisher, [0, 1]);
    let mut publish = Box::pin(publisher.publish_async(2));
    assert!(block_on(once(&mut publish)).is_none());
    let reading = meanwhile(move || {
        assert_eq!(read_up_to(&mut reader, 1), [0]);
        reader
    });
    assert_eq!(block_on(publish).unwrap().delivered(), 1);
    assert_eq!(read_up_to(&mut reading.join().unwrap(), 3), [1, 2]);
}

/// A reader that sleeps lets in what it sleeps for, or is woken by it.
pub fn task_in_the_line_against_a_reader_that_sleeps() {
    let (_bus, _journal, publisher, mut reader) = full_journal();
    let publishing = meanwhile(move || block_on(publisher.publish_async(1)).unwrap().delivered());
    assert_eq!(read_up_to(&mut reader, 2), [0, 1]);
    assert_eq!(publishing.join().unwrap(), 1);
}

pub fn task_in_the_line_against_a_reader_that_leaves() {
    let (_bus, journal, publisher, reader) = full_journal();
    let publishing = meanwhile(move || block_on(publisher.publish_async(1)).unwrap().delivered());
    drop(reader);
    assert_eq!(publishing.join().unwrap(), 1);
    assert_eq!(journal.next_offset(), 2);
}

pub fn task_in_the_line_against_a_reader_that_skips() {
    let (_bus, journal, publisher, mut reader) = full_journal();
    let publishing = meanwhile(move || block_on(publisher.publish_async(1)).unwrap().delivered());
    reader.seek(Start::Next).unwrap();
    assert_eq!(publishing.join().unwrap(), 1);
    assert_eq!(journal.next_offset(), 2);
}

/// Going back over what it has read, and forward again: it keeps the one that it has gone back to until it has passed it.
pub fn task_in_the_line_against_a_reader_that_goes_back() {
    let (_bus, _journal, publisher, mut reader) = full_journal();
    let publishing = meanwhile(move || block_on(publisher.publish_async(1)).unwrap().delivered());
    assert_eq!(read_up_to(&mut reader, 1), [0]);
    reader.seek(Start::Oldest).unwrap();
    let first = reader.offset();
    assert_eq!(read_up_to(&mut reader, 2), if first == 0 { vec![0, 1] } else { vec![1] });
    assert_eq!(publishing.join().unwrap(), 1);
}

/// Nobody has made room for the message, so it comes back.
pub fn task_in_the_line_against_close() {
    let (bus, journal, publisher, reader) = full_journal();
    let publishing = meanwhile(move || {
        let error = block_on(publisher.publish_async(1)).unwrap_err();
        assert!(error.is_closed());
        assert_eq!(error.into_inner(), 1);
    });
    bus.close();
    publishing.join().unwrap();
    assert_eq!(journal.next_offset(), 1);
    drop(reader);
}

/// The message is in the journal, or comes back.
pub fn task_in_the_line_with_a_timeout_against_room() {
    let (_bus, journal, publisher, mut reader) = full_journal();
    let publishing = meanwhile(move || match block_on(publisher.message(1).timeout(SECOND).publish_async()) {
        Ok(delivery) => delivery.delivered(),
        Err(error) => {
            assert!(error.is_timeout() && error.delivery().is_unheard());
            assert_eq!(error.into_inner(), 1);
            0
        }
    });
    assert_eq!(read_up_to(&mut reader, 1), [0]);
    let delivered = publishing.join().unwrap();
    assert_eq!(journal.next_offset(), 1 + delivered as u64);
    assert_eq!(read_with_losses(&mut reader, &mut 1), (vec![1; delivered], 0));
}

/// A future that is dropped while room is made: its message is in the journal, or counts as dropped.
pub fn cancelled_task_in_the_line_against_room() {
    let (bus, journal, publisher, mut reader) = full_journal();
    let mut publish = Box::pin(publisher.publish_async(1));
    assert!(block_on(once(&mut publish)).is_none());
    let reading = meanwhile(move || {
        assert_eq!(read_up_to(&mut reader, 1), [0]);
        reader
    });
    drop(publish);
    let mut reader = reading.join().unwrap();
    let (read, lost) = read_with_losses(&mut reader, &mut 1);
    assert_eq!(lost, 0);
    assert_eq!(journal.next_offset(), 1 + read.len() as u64);
    assert_eq!(read.len() as u64 + bus.stats().dropped, 1);
}

/// Who waits behind one that gives up gets its room.
pub fn cancelled_task_in_the_line_before_another() {
    let (_bus, _journal, publisher, mut reader) = full_journal();
    let mut first = Box::pin(publisher.publish_async(8));
    assert!(block_on(once(&mut first)).is_none());
    let other = publisher.clone();
    let publishing = meanwhile(move || block_on(other.publish_async(9)).unwrap().delivered());
    let reading = meanwhile(move || {
        let read = [(); 2].map(|()| *reader.recv().unwrap());
        if read[1] != 9 {
            assert_eq!((read, *reader.recv().unwrap()), ([0, 8], 9));
        }
    });
    drop(first);
    reading.join().unwrap();
    assert_eq!(publishing.join().unwrap(), 1);
}

/// A future that nobody polls keeps its place in the line, and its message is moved on from there: it holds up nobody.
pub fn forgotten_task_in_the_line_before_another() {
    let (_bus, _journal, publisher, mut reader) = full_journal();
    let mut forgotten = Box::pin(publisher.publish_async(1));
    assert!(block_on(once(&mut forgotten)).is_none());
    let other = publisher.clone();
    let publishing = meanwhile(move || block_on(other.publish_async(2)).unwrap().delivered());
    assert_eq!(read_up_to(&mut reader, 3), [0, 1, 2]);
    assert_eq!(publishing.join().unwrap(), 1);
    assert_eq!(block_on(forgotten).unwrap().delivered(), 1);
}

/// The journal that is full has the cause in its line when it can be read in the other one: the effect comes behind it.
pub fn cause_in_the_line_against_effect() {
    let bus = bus(1);
    let open = |name, capacity| bus.journal("cause").also("effect").capacity(capacity).name(name).open().unwrap();
    let (wide, narrow) = (open("wide", 4), open("narrow", 1));
    let (mut reacts, mut reads) = (wide.reader(Start::Next).unwrap(), narrow.reader(Start::Next).unwrap());
    assert_eq!(bus.publish("cause", 0).unwrap().delivered(), 2);
    assert_eq!(*reacts.recv().unwrap(), 0);
    let causes = bus.publisher("cause").unwrap();
    let publishing = meanwhile(move || block_on(causes.publish_async(1)).unwrap().delivered());
    assert_eq!(*reacts.recv().unwrap(), 1);
    let effects = bus.publisher("effect").unwrap();
    let mut effect = Box::pin(effects.publish_async(2));
    assert!(block_on(once(&mut effect)).is_none());
    assert_eq!(read_up_to(&mut reads, 3), [0, 1, 2]);
    assert_eq!(publishing.join().unwrap(), 2);
    assert_eq!(block_on(effect).unwrap().delivered(), 2);
}

/// A mailbox and a journal on one topic are full: the task waits for both at once.
pub fn task_in_the_line_and_at_a_mailbox_against_room() {
    let bus = bus(1);
    let journal = bus.journal(TOPIC).capacity(1).open().unwrap();
    let mut reader = journal.reader(Start::Next).unwrap();
    let subscriber = bus.subscribe(TOPIC).unwrap();
    let publisher = bus.publisher(TOPIC).unwrap();
    assert_eq!(publisher.publish(0).unwrap().delivered(), 2);
    let publishing = meanwhile(move || block_on(publisher.publish_async(1)).unwrap().delivered());
    assert_eq!(read_up_to(&mut reader, 1), [0]);
    assert_eq!(*subscriber.recv().unwrap(), 0);
    assert_eq!(publishing.join().unwrap(), 2);
    assert_eq!(read_up_to(&mut reader, 2), [1]);
    assert_eq!(*subscriber.recv().unwrap(), 1);
}
