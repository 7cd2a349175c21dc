//! W9: what a bus keeps on the heap. Nothing is timed; the counter is that of the process.

use peak_alloc::PeakAlloc;
use tramline::{Bus, Subscriber};

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
}
