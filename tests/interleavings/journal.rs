//! Journals: publishers, readers that come, go and go back, and the line of those who wait, on threads.
//!
//! A journal that keeps one or two entries has chunks of the same length, so that all of this happens within a few entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tramline::{Bus, Journal, JournalReader, Overflow, Publisher, Start};

use super::checker::thread;
use super::{SECOND, TOPIC, bus, meanwhile};

/// A journal that keeps this many entries.
pub fn journal(bus: &Bus<u32>, capacity: usize, overflow: Overflow) -> Journal<u32> {
    bus.journal(TOPIC).capacity(capacity).overflow(overflow).open().unwrap()
}

/// A journal with room for one entry, which it has, and the reader that has not read it.
pub fn full_journal() -> (Bus<u32>, Journal<u32>, Publisher<u32>, JournalReader<u32>) {
    let bus = bus(1);
    let journal = journal(&bus, 1, Overflow::Block);
    let (publisher, reader) = (bus.publisher(TOPIC).unwrap(), journal.reader(Start::Next).unwrap());
    assert_eq!(publisher.publish(0).unwrap().delivered(), 1);
    (bus, journal, publisher, reader)
}

/// Publishes these one after the other.
pub fn publish_all(publisher: &Publisher<u32>, payloads: impl IntoIterator<Item = u32>) {
    payloads.into_iter().for_each(|payload| assert_eq!(publisher.publish(payload).unwrap().delivered(), 1));
}

/// Reads up to the entry before `end`, and returns the payloads. No entry is missing or comes twice.
pub fn read_up_to(reader: &mut JournalReader<u32>, end: u64) -> Vec<u32> {
    let start = reader.offset();
    (start..end)
        .map(|offset| {
            let entry = reader.recv().unwrap();
            assert_eq!((entry.offset(), entry.lost_before()), (offset, 0));
            *entry
        })
        .collect()
}

/// Reads what is there, from entry `next` on, and returns the payloads and how many entries were lost before and among them.
pub fn read_with_losses(reader: &mut JournalReader<u32>, next: &mut u64) -> (Vec<u32>, u64) {
    let (mut payloads, mut lost) = (Vec::new(), 0);
    while let Ok(entry) = reader.try_recv() {
        assert_eq!(entry.offset(), *next + entry.lost_before(), "every loss is told of, where it is");
        *next = entry.offset() + 1;
        lost += entry.lost_before();
        payloads.push(*entry);
    }
    (payloads, lost)
}

/// An entry that a reader sleeps for wakes it.
pub fn append_against_read() {
    let bus = bus(1);
    let journal = journal(&bus, 2, Overflow::Block);
    let (publisher, mut reader) = (bus.publisher(TOPIC).unwrap(), journal.reader(Start::Next).unwrap());
    let publishing = meanwhile(move || publish_all(&publisher, [1]));
    assert_eq!(read_up_to(&mut reader, 1), [1]);
    publishing.join().unwrap();
}

/// Two chunks, one behind the other.
pub fn append_against_a_reader_of_the_next_chunk() {
    let bus = bus(1);
    let journal = journal(&bus, 1, Overflow::DropOldest);
    let (publisher, mut reader) = (bus.publisher(TOPIC).unwrap(), journal.reader(Start::Next).unwrap());
    publish_all(&publisher, [0]);
    assert_eq!(read_up_to(&mut reader, 1), [0]);
    let publishing = meanwhile(move || publish_all(&publisher, [1]));
    assert_eq!(read_up_to(&mut reader, 2), [1]);
    publishing.join().unwrap();
}

/// It sees what is kept when it joins, and everything from there on.
fn append_against_a_reader_that_joins(start: Start, capacity: usize) {
    let bus = bus(1);
    let journal = journal(&bus, capacity, Overflow::Block);
    let publisher = bus.publisher(TOPIC).unwrap();
    publish_all(&publisher, [0]);
    let publishing = meanwhile(move || publish_all(&publisher, [1, 2]));
    let mut reader = journal.reader(start).unwrap();
    let first = reader.offset();
    assert_eq!(read_up_to(&mut reader, 3), (u32::try_from(first).unwrap()..3).collect::<Vec<_>>());
    publishing.join().unwrap();
}

pub fn append_against_a_reader_that_joins_at_the_oldest() {
    append_against_a_reader_that_joins(Start::Oldest, 2);
}

pub fn append_against_a_reader_that_joins_at_the_next() {
    append_against_a_reader_that_joins(Start::Next, 2);
}

/// The publisher comes to the entry that the reader joins at, and waits for it.
pub fn append_against_a_reader_that_joins_a_full_journal() {
    append_against_a_reader_that_joins(Start::Oldest, 1);
}

/// A reader that joins keeps what it joins at, though another has passed it and makes room for the publisher.
pub fn append_against_one_reader_that_reads_and_one_that_joins() {
    let (_bus, journal, publisher, mut reads) = full_journal();
    let publishing = meanwhile(move || publish_all(&publisher, [1]));
    let reading = meanwhile(move || {
        assert_eq!(read_up_to(&mut reads, 1), [0]);
        reads
    });
    let mut joins = journal.reader(Start::Oldest).unwrap();
    let first = joins.offset();
    let seen = read_up_to(&mut joins, 1);
    assert_eq!(seen, if first == 0 { vec![0] } else { vec![] });
    drop(reading.join().unwrap());
    assert_eq!(read_up_to(&mut joins, 2), [1]);
    publishing.join().unwrap();
}

/// Two publishers that do not wait, and that have known of no reader: from the moment that it has joined they overwrite
/// nothing that it has not read.
fn appends_that_do_not_wait_against_a_reader_that_joins(start: Start) {
    let bus = bus(1);
    let journal = journal(&bus, 1, Overflow::Block);
    let publisher = bus.publisher(TOPIC).unwrap();
    publish_all(&publisher, [0]);
    let other = publisher.clone();
    let publishing = [(publisher, 1), (other, 2)]
        .map(|(publisher, times)| meanwhile(move || (0..times).for_each(|_| _ = publisher.try_publish(1).unwrap())));
    let mut reader = journal.reader(start).unwrap();
    publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
    read_up_to(&mut reader, journal.next_offset());
}

pub fn appends_that_do_not_wait_against_a_reader_that_joins_at_the_oldest() {
    appends_that_do_not_wait_against_a_reader_that_joins(Start::Oldest);
}

pub fn appends_that_do_not_wait_against_a_reader_that_joins_at_the_next() {
    appends_that_do_not_wait_against_a_reader_that_joins(Start::Next);
}

/// A copy of a reader begins where that is, and keeps it.
pub fn append_against_a_reader_that_is_cloned() {
    let bus = bus(1);
    let journal = journal(&bus, 1, Overflow::Block);
    let (publisher, mut reader) = (bus.publisher(TOPIC).unwrap(), journal.reader(Start::Next).unwrap());
    let publishing = meanwhile(move || publish_all(&publisher, [0, 1]));
    let mut copy = reader.clone();
    assert_eq!(read_up_to(&mut reader, 1), [0]);
    assert_eq!(read_up_to(&mut copy, 1), [0]);
    drop(reader);
    assert_eq!(read_up_to(&mut copy, 2), [1]);
    publishing.join().unwrap();
}

/// The publisher waits for nobody any more.
pub fn append_against_a_reader_that_leaves() {
    let (_bus, journal, publisher, reader) = full_journal();
    let publishing = meanwhile(move || publish_all(&publisher, [1]));
    drop(reader);
    publishing.join().unwrap();
    assert_eq!((journal.next_offset(), journal.readers()), (2, 0));
}

/// It finds the entry that it has read again, or the one that has taken its place; then everything.
pub fn append_against_a_reader_that_goes_back() {
    let (_bus, _journal, publisher, mut reader) = full_journal();
    assert_eq!(read_up_to(&mut reader, 1), [0]);
    let publishing = meanwhile(move || publish_all(&publisher, [1]));
    reader.seek(Start::Oldest).unwrap();
    let first = reader.offset();
    assert_eq!(read_up_to(&mut reader, 2), if first == 0 { vec![0, 1] } else { vec![1] });
    publishing.join().unwrap();
}

/// It makes room for those who wait.
pub fn append_against_a_reader_that_skips() {
    let (_bus, _journal, publisher, mut reader) = full_journal();
    let publishing = meanwhile(move || publish_all(&publisher, [1]));
    reader.seek(Start::Next).unwrap();
    assert_eq!(reader.offset(), 1 + u64::from(publishing.join().is_err()));
    assert_eq!(read_up_to(&mut reader, 2), [1]);
}

/// What was accepted is read before the end.
pub fn close_against_append() {
    let bus = bus(1);
    let journal = journal(&bus, 2, Overflow::Block);
    let (publisher, mut reader) = (bus.publisher(TOPIC).unwrap(), journal.reader(Start::Next).unwrap());
    let publishing = meanwhile(move || match publisher.publish(1) {
        Ok(delivery) => delivery.delivered(),
        Err(error) => {
            assert!(error.is_closed());
            assert_eq!(error.into_inner(), 1);
            0
        }
    });
    let closing = meanwhile(move || bus.close());
    let mut read = 0;
    let end = loop {
        match reader.recv() {
            Ok(entry) => read += *entry as usize,
            Err(end) => break end,
        }
    };
    assert!(end.is_closed());
    assert_eq!(read, publishing.join().unwrap());
    closing.join().unwrap();
}

pub fn close_of_a_journal_against_a_reader_that_sleeps() {
    let bus = bus(1);
    let mut reader = journal(&bus, 2, Overflow::Block).reader(Start::Next).unwrap();
    let closing = meanwhile(move || bus.close());
    assert!(reader.recv().unwrap_err().is_closed());
    closing.join().unwrap();
}

/// Nobody has made room for the message, so it comes back.
pub fn close_against_a_publisher_in_the_line() {
    let (bus, journal, publisher, mut reader) = full_journal();
    let publishing = meanwhile(move || {
        let error = publisher.publish(1).unwrap_err();
        assert!(error.is_closed());
        assert_eq!(error.into_inner(), 1);
    });
    bus.close();
    publishing.join().unwrap();
    assert_eq!(read_up_to(&mut reader, 1), [0]);
    assert!(reader.recv().unwrap_err().is_closed());
    assert_eq!(journal.next_offset(), 1);
}

/// The message comes back, or is read.
pub fn close_against_room_and_a_publisher_in_the_line() {
    let (bus, _journal, publisher, mut reader) = full_journal();
    let publishing = meanwhile(move || match publisher.publish(1) {
        Ok(delivery) => delivery.delivered(),
        Err(error) => {
            assert!(error.is_closed());
            assert_eq!(error.into_inner(), 1);
            0
        }
    });
    let closing = meanwhile(move || bus.close());
    let read = reader.iter().map(|entry| *entry.payload()).collect::<Vec<_>>();
    assert_eq!(read, if publishing.join().unwrap() == 1 { vec![0, 1] } else { vec![0] });
    closing.join().unwrap();
}

/// Each entry is read or lost, once.
pub fn overrun_against_a_reader() {
    let bus = bus(1);
    let journal = journal(&bus, 1, Overflow::DropOldest);
    let (publisher, mut reader) = (bus.publisher(TOPIC).unwrap(), journal.reader(Start::Next).unwrap());
    let publishing = meanwhile(move || publish_all(&publisher, [0, 1, 2]));
    let mut next = 0;
    let (mut read, mut lost) = read_with_losses(&mut reader, &mut next);
    publishing.join().unwrap();
    let (rest, lost_then) = read_with_losses(&mut reader, &mut next);
    read.extend(rest);
    lost += lost_then;
    assert_eq!(read.len() as u64 + lost, 3);
    assert_eq!(read.last(), Some(&2));
}

/// Who has lost its place before it has written there is told so, once; the reader is told of the same place as of any other.
pub fn overrun_against_a_late_publisher() {
    let bus = bus(1);
    let journal = journal(&bus, 1, Overflow::DropOldest);
    let mut reader = journal.reader(Start::Next).unwrap();
    let publishing = [1, 2].map(|payload| {
        let publisher = bus.publisher(TOPIC).unwrap();
        meanwhile(move || {
            let delivery = publisher.publish(payload).unwrap();
            assert_eq!(delivery.delivered() + delivery.dropped(), 1);
            delivery.dropped() as u64
        })
    });
    let mut next = 0;
    let (mut read, mut lost) = read_with_losses(&mut reader, &mut next);
    let late: u64 = publishing.into_iter().map(|publishing| publishing.join().unwrap()).sum();
    let (rest, lost_then) = read_with_losses(&mut reader, &mut next);
    read.extend(rest);
    lost += lost_then;
    assert_eq!(read.len() as u64 + lost, 2);
    assert!(late <= lost, "a message that has no place is lost for the reader too");
    assert_eq!(journal.next_offset(), 2);
}

/// It reads what it holds, and then its end, though publishers have lost their places.
pub fn overrun_that_disconnects_against_a_reader() {
    let bus = bus(1);
    let journal = journal(&bus, 1, Overflow::Disconnect);
    let mut reader = journal.reader(Start::Next).unwrap();
    let publishing = [1, 2].map(|payload| {
        let publisher = bus.publisher(TOPIC).unwrap();
        meanwhile(move || _ = publisher.publish(payload).unwrap())
    });
    let mut read = 0;
    let overflowed = loop {
        match reader.recv() {
            Ok(entry) => assert_eq!((entry.offset(), entry.lost_before()), (read, 0)),
            Err(end) => break end.is_overflowed(),
        }
        read += 1;
        if read == 2 {
            break false;
        }
    };
    assert!(overflowed || read == 2);
    publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
    if overflowed {
        assert!(reader.try_recv().unwrap_err().is_overflowed(), "it has ended");
    }
}

/// A reader keeps the entry that it looks at, whatever becomes of its chunk; payloads are gone when nobody keeps them.
pub fn recycling_against_a_reader_of_the_old_chunk() {
    let bus = Bus::<Arc<u32>>::builder().capacity(1).build();
    let journal = bus.journal(TOPIC).capacity(1).overflow(Overflow::DropOldest).open().unwrap();
    let mut reader = journal.reader(Start::Next).unwrap();
    let publisher = bus.publisher(TOPIC).unwrap();
    let payloads = [0, 1, 2, 3].map(Arc::new);
    let sent = payloads.clone();
    publisher.publish(Arc::clone(&sent[0])).unwrap();
    let publishing = meanwhile(move || sent.into_iter().skip(1).for_each(|n| _ = publisher.publish(n).unwrap()));
    let mut next = 0;
    while next < 4 {
        let Ok(entry) = reader.recv() else { unreachable!("the bus is open") };
        assert_eq!(entry.offset(), next + entry.lost_before());
        assert_eq!(u64::from(**entry), entry.offset());
        next = entry.offset() + 1;
    }
    publishing.join().unwrap();
    drop(reader);
    let kept = payloads.iter().filter(|payload| Arc::strong_count(payload) > 1).count();
    assert!(kept <= 2, "the journal keeps one, and at most one chunk more");
    drop(journal);
    assert!(payloads.iter().all(|payload| Arc::strong_count(payload) == 1));
}

/// Both have their places, whichever comes first, and add one chunk together. Who comes to write when the other has taken its
/// place has lost its message, and tells so.
pub fn two_publishers_of_a_journal() {
    let bus = bus(1);
    let journal = journal(&bus, 1, Overflow::DropOldest);
    // Both find a chunk without a place.
    publish_all(&bus.publisher(TOPIC).unwrap(), [0]);
    let publishing = [1, 2].map(|payload| {
        let publisher = bus.publisher(TOPIC).unwrap();
        meanwhile(move || {
            let delivery = publisher.publish(payload).unwrap();
            assert_eq!(delivery.delivered() + delivery.dropped(), 1);
            delivery.delivered() == 1
        })
    });
    let delivered = publishing.map(|publishing| publishing.join().unwrap());
    assert_eq!(journal.next_offset(), 3);
    let mut reader = journal.reader(Start::Oldest).unwrap();
    let kept = *reader.try_recv().unwrap();
    assert!(delivered[kept as usize - 1], "what is there was delivered");
    assert!(reader.try_recv().is_err());
    assert_eq!(bus.stats().dropped, delivered.iter().filter(|delivered| !**delivered).count() as u64);
}

/// Readers see one order, without a hole.
pub fn two_publishers_against_a_reader_of_a_journal() {
    let bus = bus(1);
    let journal = journal(&bus, 2, Overflow::Block);
    let mut reader = journal.reader(Start::Next).unwrap();
    // The next chunk is for them to add.
    publish_all(&bus.publisher(TOPIC).unwrap(), [8, 9]);
    assert_eq!(read_up_to(&mut reader, 2), [8, 9]);
    let publishing = [1, 2].map(|payload| {
        let publisher = bus.publisher(TOPIC).unwrap();
        meanwhile(move || publish_all(&publisher, [payload]))
    });
    let read = read_up_to(&mut reader, 4);
    publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
    assert!(read == [1, 2] || read == [2, 1]);
    assert_eq!(read_up_to(&mut journal.reader(Start::Oldest).unwrap(), 4), read);
}

/// A publisher finds the line and comes behind it; room for one is made twice.
pub fn publishers_in_the_line_against_room() {
    let (_bus, _journal, publisher, mut reader) = full_journal();
    let other = publisher.clone();
    let publishing =
        [(publisher, 1), (other, 2)].map(|(publisher, payload)| meanwhile(move || publish_all(&publisher, [payload])));
    let mut read = read_up_to(&mut reader, 3);
    publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
    read.sort_unstable();
    assert_eq!(read, [0, 1, 2]);
}

/// The message is in the journal, or its publisher has it back.
pub fn publisher_with_a_timeout_against_room() {
    let (_bus, journal, publisher, mut reader) = full_journal();
    let publishing = meanwhile(move || match publisher.publish_timeout(1, SECOND) {
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

const CAUSE: u32 = 1;
const EFFECT: u32 = 2;

/// Two journals have the topic, and their places are claimed one after the other: whoever sees the message in one of them,
/// and publishes because of it, comes behind it in the other.
pub fn cause_against_effect_in_two_journals() {
    let bus = bus(1);
    let [first, second] =
        ["first", "second"].map(|name| bus.journal("cause").also("effect").capacity(2).name(name).open().unwrap());
    let publisher = bus.publisher("cause").unwrap();
    let mut readers = [&first, &second].map(|journal| journal.reader(Start::Next).unwrap());
    let publishing = meanwhile(move || assert_eq!(publisher.publish(CAUSE).unwrap().delivered(), 2));
    let reacting = readers.each_mut().map(|reader| reader.try_recv().is_ok());
    if reacting.contains(&true) {
        assert_eq!(bus.publish("effect", EFFECT).unwrap().delivered(), 2);
        let mut all = [&first, &second].map(|journal| journal.reader(Start::Oldest).unwrap());
        all.iter_mut().for_each(|reader| assert_eq!(read_up_to(reader, 2), [CAUSE, EFFECT]));
    }
    publishing.join().unwrap();
}

// The larger ones, in random orders only.

/// Each reader sees the order of each publisher, and all see one order, whoever waits for whom.
pub fn journal_with_publishers_and_readers() {
    let bus = bus(1);
    let journal = journal(&bus, 2, Overflow::Block);
    let readers = [(); 2].map(|()| {
        let mut reader = journal.reader(Start::Next).unwrap();
        meanwhile(move || read_up_to(&mut reader, 6))
    });
    let publishing = [0, 10].map(|first| {
        let publisher = bus.publisher(TOPIC).unwrap();
        meanwhile(move || publish_all(&publisher, first..first + 3))
    });
    publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
    let [one, other] = readers.map(|reading| reading.join().unwrap());
    assert_eq!(one, other);
    for first in [0, 10] {
        let of_one = one.iter().copied().filter(|n| (first..first + 3).contains(n));
        assert!(of_one.eq(first..first + 3));
    }
}

/// Readers come at the oldest and the next, go back, and leave, while publishers wait for them.
pub fn journal_while_readers_come_and_go() {
    let bus = bus(1);
    let journal = Arc::new(journal(&bus, 2, Overflow::Block));
    let mut stays = journal.reader(Start::Next).unwrap();
    let publishing = [0, 10].map(|first| {
        let publisher = bus.publisher(TOPIC).unwrap();
        meanwhile(move || publish_all(&publisher, first..first + 3))
    });
    let visitors = [Start::Oldest, Start::Next].map(|start| {
        let journal = Arc::clone(&journal);
        meanwhile(move || {
            let mut reader = journal.reader(start).unwrap();
            let first = reader.offset();
            let mut seen = Vec::from_iter(reader.try_iter().map(|entry| (entry.offset(), *entry.payload())));
            assert!(seen.iter().map(|(offset, _)| *offset).eq(first..reader.offset()), "no gap, and no repeat");
            reader.seek(Start::Oldest).unwrap();
            let first = reader.offset();
            let again = Vec::from_iter(reader.try_iter().map(|entry| (entry.offset(), *entry.payload())));
            assert!(again.iter().map(|(offset, _)| *offset).eq(first..reader.offset()), "nor when it has gone back");
            seen.extend(again);
            seen
        })
    });
    let read = read_up_to(&mut stays, 6);
    publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
    for visitor in visitors {
        assert!(visitor.join().unwrap().into_iter().all(|(offset, payload)| read[offset as usize] == payload));
    }
}

/// Read and lost are all that was published, for each reader.
pub fn journal_that_drops_with_publishers_and_readers() {
    let bus = bus(1);
    let journal = journal(&bus, 2, Overflow::DropOldest);
    let readers = [(); 2].map(|()| {
        let mut reader = journal.reader(Start::Next).unwrap();
        meanwhile(move || {
            let (mut read, mut lost, mut next) = (0, 0, 0);
            while next < 8 {
                let entry = reader.recv().unwrap();
                assert_eq!(entry.offset(), next + entry.lost_before());
                next = entry.offset() + 1;
                lost += entry.lost_before();
                read += 1;
            }
            read + lost
        })
    });
    let publishing = [0, 10].map(|first| {
        let publisher = bus.publisher(TOPIC).unwrap();
        // The last is not to be lost: no place behind it would tell the readers.
        meanwhile(move || {
            (first..first + 3).map(|payload| publisher.publish(payload).unwrap()).map(|it| it.dropped()).sum::<usize>()
        })
    });
    publishing.into_iter().for_each(|publishing| _ = publishing.join().unwrap());
    publish_all(&bus.publisher(TOPIC).unwrap(), [20, 21]);
    readers.into_iter().for_each(|reading| assert_eq!(reading.join().unwrap(), 8));
}

/// Two who publish to two journals, one of which is full and read slowly: a reaction comes behind its cause in both.
pub fn cause_against_effect_in_two_journals_that_are_full() {
    let bus = bus(1);
    let open = |name, capacity| bus.journal("cause").also("effect").capacity(capacity).name(name).open().unwrap();
    let (fast, slow) = (open("fast", 8), open("slow", 1));
    let mut reacts = fast.reader(Start::Next).unwrap();
    let mut reads_slowly = slow.reader(Start::Next).unwrap();
    let publisher = bus.publisher("cause").unwrap();
    let publishing = meanwhile(move || [10, 20].into_iter().for_each(|cause| _ = publisher.publish(cause).unwrap()));
    let effects = bus.publisher("effect").unwrap();
    let reacting = meanwhile(move || {
        let mut causes = 0;
        while causes < 2 {
            let cause = *reacts.recv().unwrap();
            if cause % 10 == 0 {
                causes += 1;
                assert_eq!(effects.publish(cause + 1).unwrap().delivered(), 2);
            }
        }
    });
    let in_slow = read_up_to(&mut reads_slowly, 4);
    publishing.join().unwrap();
    reacting.join().unwrap();
    let in_fast = read_up_to(&mut fast.reader(Start::Oldest).unwrap(), 4);
    for order in [in_slow, in_fast] {
        let at = |payload| order.iter().position(|other| *other == payload).unwrap();
        assert!(at(10) < at(20) && at(10) < at(11) && at(20) < at(21), "{order:?}");
    }
}

/// What is in the journal when its handler is told to stop, it handles; nothing twice, and nothing out of order.
pub fn stop_of_a_handler_on_a_journal_against_appends() {
    let bus = bus(1);
    let journal = journal(&bus, 2, Overflow::Block);
    let handled = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&handled);
    let handler = journal.on(Start::Next, move |entry| {
        assert_eq!(counter.fetch_add(1, Ordering::Relaxed), **entry);
    });
    let handler = handler.unwrap();
    let publisher = bus.publisher(TOPIC).unwrap();
    let publishing = meanwhile(move || publish_all(&publisher, 0..3));
    while journal.next_offset() == 0 {
        thread::yield_now();
    }
    let before = journal.next_offset();
    let report = handler.stop(std::time::Duration::MAX);
    let handled = handled.load(Ordering::Relaxed);
    assert!(report.is_complete(), "{report:?}");
    assert!(u64::from(handled) >= before, "{handled} of {before}");
    // It has left, and keeps nobody waiting.
    publishing.join().unwrap();
    assert_eq!((journal.next_offset(), journal.readers()), (3, 0));
}
