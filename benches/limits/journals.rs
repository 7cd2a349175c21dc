//! J3: appending to a journal that nobody reads. J4: reading what a journal keeps.

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use crossbeam_channel::bounded;
use tramline::{Bus, Overflow, Start};

use crate::fan_out::CAPACITY;
use crate::table::{Bar, Table, is_test};

pub(crate) fn run(criterion: &mut Criterion, table: &mut Table) {
    append(criterion, table);
    read(criterion, table);
}

fn append(criterion: &mut Criterion, table: &mut Table) {
    let bus = Bus::<u64>::new();
    let _journal = bus.journal("a.topic").overflow(Overflow::DropOldest).open().expect("the bus is open");
    let publisher = bus.publisher("a.topic").expect("the topic is valid");
    let (sender, receiver) = bounded(CAPACITY);
    table.compare(
        criterion,
        "J3 append without readers, beside a send and a receive",
        1,
        // 30 ns where a send and a receive take 16.
        Bar::Ratio(1.875),
        ("a channel", |bencher| {
            bencher.iter(|| {
                sender.send(black_box(1_u64)).expect("the receiver is here");
                receiver.recv().expect("the sender is here")
            });
        }),
        ("a journal", |bencher| bencher.iter(|| publisher.publish(black_box(1)).expect("the bus is open"))),
    );
}

fn read(criterion: &mut Criterion, table: &mut Table) {
    let entries = if is_test() { 1_000 } else { 1_000_000 };
    let bus = Bus::<u64>::new();
    let journal = bus.journal("a.topic").capacity(entries).open().expect("the bus is open");
    let publisher = bus.publisher("a.topic").expect("the topic is valid");
    let numbers: Vec<u64> = (0..entries as u64).collect();
    for &number in &numbers {
        publisher.publish(number).expect("the bus is open");
    }
    // So a reader ends behind the last entry.
    bus.close();
    table.compare(
        criterion,
        "J4 read 1000000 kept entries, beside a Vec",
        entries as u64,
        // Where the `Vec` takes 1: that is read from memory as fast as it comes, so a ratio to it says little.
        Bar::Nanoseconds(6.0),
        ("a Vec", |bencher| {
            // Each by itself, as a reader gets them.
            bencher.iter(|| numbers.iter().for_each(|number| _ = black_box(*number)));
        }),
        ("a journal", |bencher| {
            bencher.iter_custom(|rounds| {
                let mut readers: Vec<_> = (0..rounds).map(|_| journal.reader(Start::Oldest)).collect();
                let start = Instant::now();
                for reader in readers.iter_mut().flatten() {
                    let mut count = 0;
                    while let Ok(entry) = reader.recv() {
                        black_box(*entry);
                        count += 1;
                    }
                    assert_eq!(count, entries);
                }
                start.elapsed()
            });
        }),
    );
}
