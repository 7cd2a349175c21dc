//! Publish-subscribe: typed messages, wildcard topics, a filter, a group that shares the work, and the last value.
//!
//! `cargo run --example publish_subscribe`

use std::error::Error;

use tramline::Bus;

#[derive(Debug, Clone)]
struct Order {
    item: &'static str,
    cents: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let bus = Bus::<Order>::new();

    // `*` stands for one token, a last `>` for one or more.
    let all = bus.subscribe("orders.>")?;
    let germany = bus.subscribe("orders.de.*")?;
    let large = bus.subscription("orders.>").filter(|order| order.cents >= 10_000).open()?;
    let packers = [
        bus.subscription("orders.*.paid").group("packers").open()?,
        bus.subscription("orders.*.paid").group("packers").open()?,
    ];

    // A publisher is bound to its topic: the fast path.
    let paid = bus.publisher("orders.de.paid")?;
    let delivery = paid.publish(Order { item: "tea", cents: 799 })?;
    println!("tea went into {} mailboxes", delivery.delivered());
    let delivery = paid.publish(Order { item: "a samovar", cents: 24_900 })?;
    println!("a samovar went into {} mailboxes", delivery.delivered());
    // The bus itself publishes to any topic.
    let delivery = bus.publish("orders.fr.new", Order { item: "coffee", cents: 1_250 })?;
    println!("coffee went into {} mailbox", delivery.delivered());
    let delivery = bus.publish("returns.fr", Order { item: "a cup", cents: 450 })?;
    println!("nobody wants a cup back: unheard is {}", delivery.is_unheard());

    for message in all.try_iter() {
        println!("all:     {} on {}", message.item, message.topic());
    }
    for message in germany.try_iter() {
        println!("germany: {} for {} cents", message.item, message.cents);
    }
    for message in large.try_iter() {
        println!("large:   {} for {} cents", message.item, message.cents);
    }
    // Each paid order goes to one packer, whoever takes it first.
    println!("packer 1: {}", packers[0].recv()?.item);
    println!("packer 2: {}", packers[1].recv()?.item);

    // A retained value waits for those who come later.
    bus.publish_retained("menu.today", Order { item: "soup", cents: 590 })?;
    let late = bus.subscription("menu.*").with_retained().open()?;
    println!("late, but there is still {}", late.recv()?.item);

    // After the close everyone gets what is queued, then the end.
    bus.close();
    if let Err(error) = late.recv() {
        println!("the end: {error}");
    }
    Ok(())
}
