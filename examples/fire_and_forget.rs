//! Fire and forget: the sender never waits and never fails, and what an overloaded receiver loses is counted.
//!
//! `cargo run --example fire_and_forget`

use std::error::Error;

use tramline::{Bus, Overflow};

fn main() -> Result<(), Box<dyn Error>> {
    let bus = Bus::<u32>::new();
    let dead_letters = bus.dead_letters();

    // Three receivers of the same readings, none of which can keep up, and three ways to lose some.
    let oldest = bus.subscription("sensor").capacity(3).overflow(Overflow::DropNewest).open()?;
    let newest = bus.subscription("sensor").capacity(3).overflow(Overflow::DropOldest).open()?;
    let alarm = bus.subscription("sensor").capacity(3).overflow(Overflow::Disconnect).open()?;

    let sensor = bus.publisher("sensor")?;
    for reading in 1..=10 {
        sensor.fire(reading);
    }

    for message in oldest.try_iter() {
        println!("drop newest: {}", *message);
    }
    for message in newest.try_iter() {
        println!("drop oldest: {} after {} lost", *message, message.lost_before());
    }
    for message in &alarm {
        println!("disconnect:  {}", *message);
    }
    if let Err(error) = alarm.recv() {
        println!("disconnect:  {error}");
    }

    // The next message that gets in reports the loss too.
    println!("an eleventh reading");
    sensor.fire(11);
    let message = oldest.recv()?;
    println!("drop newest: {} after {} lost", *message, message.lost_before());

    for subscription in bus.stats().subscriptions {
        let (policy, lost) = (subscription.overflow, subscription.dropped);
        println!("{policy:?}: {} entered the mailbox, {lost} lost", subscription.delivered);
    }
    println!("{} dead letters, the first: {}", dead_letters.len(), dead_letters.recv()?.reason());
    Ok(())
}
