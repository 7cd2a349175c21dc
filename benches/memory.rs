//! W9 and J5: what a bus and a journal keep on the heap. Nothing is timed; the counter is that of the process.

use peak_alloc::PeakAlloc;
use tramline::{Bus, Journal, Overflow, Start, Subscriber};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const COUNT: usize = 10_000;

/// Bytes on the heap for each of `COUNT` of what `make` makes.
fn each<T>(make: impl Fn(usize) -> T) -> usize {
    let mut kept = Vec::with_capacity(COUNT);
    let before = HEAP.current_usage();
    kept.extend((0..COUNT).map(make));
    (HEAP.current_usage() - before) / COUNT
}

fn subscribe(bus: &Bus<u64>, pattern: &str) -> Subscriber<u64> {
    bus.subscribe(pattern).expect("the bus is open")
}

fn main() {
    let bus = Bus::<u64>::new();
    println!("\n| bytes for each | u64 |");
    println!("| --- | --- |");
    println!("| idle topic with a publisher | {} |", each(|n| bus.publisher(format!("a.{n}"))));
    let channel = each(|_| crossbeam_channel::bounded::<u64>(256));
    println!("| bare channel of 256 | {channel} |");
    let subscriber = |pattern: String| subscribe(&bus, &pattern);
    println!("| idle mailbox, all of one topic | {} |", each(|_| subscriber("a.topic".to_owned())));
    println!("| idle mailbox, each of its own topic | {} |", each(|n| subscriber(format!("b.{n}"))));
    println!("| idle mailbox, each of its own pattern | {} |", each(|n| subscriber(format!("c.{n}.*"))));
    let used = |pattern: String, topic: String| {
        let subscriber = subscriber(pattern);
        bus.publish(topic, 1).expect("the bus is open");
        drop(subscriber.recv().expect("the bus is open"));
        subscriber
    };
    println!("| mailbox of 256, each of its own topic | {} |", each(|n| used(format!("d.{n}"), format!("d.{n}"))));
    println!(
        "| mailbox of 256, each of its own pattern | {} |",
        each(|n| used(format!("e.{n}.*"), format!("e.{n}.f")))
    );

    let bus = Bus::<u64>::new();
    let _reader = subscribe(&bus, "read.>");
    let before = HEAP.current_usage();
    for n in 0..1_000_000_u64 {
        bus.publish(format!("once.{n}"), n).expect("the bus is open");
    }
    let after = HEAP.current_usage();
    println!("| a bus, after a million topics used once | {} |", after.saturating_sub(before));
    journals();
}

/// What a chunk of a journal and a reader take at most.
const CHUNK_AND_READER: usize = 12 * 1024 + 512;

fn journals() {
    println!("\n| bytes of a journal | u64 | bar |");
    println!("| --- | --- | --- |");
    let line = |name: &str, bytes: usize, bar: usize| {
        let held = if bytes <= bar { "held" } else { "**not held**" };
        println!("| {name} | {bytes} | {bar}: {held} |");
    };
    let bus = Bus::<u64>::new();
    let journal = |topic: &str, capacity: usize, overflow: Overflow| -> Journal<u64> {
        bus.journal(topic).capacity(capacity).overflow(overflow).open().expect("the bus is open")
    };
    let read = journal("read", 65_536, Overflow::Block);
    line("a further reader", each(|_| read.reader(Start::Next)), 512);

    const KEPT: usize = 1_000_000;
    let before = HEAP.current_usage();
    let kept = journal("kept", KEPT, Overflow::Block);
    let publish = |topic: &str, count: usize| {
        let publisher = bus.publisher(topic).expect("the topic is valid");
        for n in 0..count as u64 {
            publisher.publish(n).expect("the bus is open");
        }
    };
    publish("kept", KEPT);
    assert_eq!(kept.len(), KEPT);
    line("a kept entry, of one topic", (HEAP.current_usage() - before) / KEPT, 32);

    line("an idle journal of 65536", each(|n| journal(&format!("idle.{n}"), 65_536, Overflow::Block)), 16 * 1024);

    // What a journal keeps when its reader has stopped at the first of so many entries, beside one without a reader.
    let after_many = |topic: &str, stalls: bool| {
        let before = HEAP.current_usage();
        let journal = journal(topic, 65_536, Overflow::DropOldest);
        let reader = stalls.then(|| journal.reader(Start::Oldest));
        publish(topic, 10_000_000);
        let kept = HEAP.current_usage() - before;
        drop(reader);
        kept
    };
    let alone = after_many("many.alone", false);
    let stalled = after_many("many.read", true);
    line("a reader that has stopped, after 10000000 entries", stalled.saturating_sub(alone), CHUNK_AND_READER);
}
