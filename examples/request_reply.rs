//! Request-reply: blocking, with a callback, many in flight, from everyone, with no responder, and too late.
//!
//! `cargo run --example request_reply`

use std::error::Error;
use std::sync::mpsc::channel;
use std::time::Duration;

use tramline::{Bus, ReplyError};

/// The replies of this bus have a type of their own.
type Shop = Bus<&'static str, u32>;

fn main() -> Result<(), Box<dyn Error>> {
    let shop = Shop::builder().build();

    // A server answers on a thread of its own; several workers share the requests.
    let prices = shop.subscription("price").workers(2).serve(|item| match **item {
        "tea" => 799,
        "coffee" => 1_250,
        item => panic!("no price for {item}"),
    })?;

    // Blocking.
    println!("tea costs {} cents", shop.request("price", "tea")?.wait()?);

    // With a callback, called once, on the thread that answers.
    let (sender, answers) = channel();
    shop.request("price", "coffee")?.on_reply(move |price| {
        let _ = sender.send(price);
    });
    println!("coffee costs {} cents", answers.recv()??);

    // Many in flight: ask first, wait later.
    let pending: Vec<_> = (0..100).map(|_| shop.request("price", "tea")).collect::<Result<_, _>>()?;
    let sum = pending.into_iter().map(|reply| reply.wait()).sum::<Result<u32, _>>()?;
    println!("a hundred teas cost {sum} cents");

    // A panic in the server reaches the caller, and the server goes on. It is told on stderr as any other.
    match shop.request("price", "a samovar")?.wait() {
        Err(ReplyError::Failed(why)) => println!("failed: {why}"),
        other => println!("unexpected: {other:?}"),
    }

    // Nobody to answer: known at once, and the question comes back.
    match shop.request("weather", "is it raining?") {
        Err(error) => {
            println!("{error}");
            println!("unasked: {}", error.into_inner());
        }
        Ok(_) => println!("unexpected: somebody knows the weather"),
    }

    // A timeout hands the pending reply back, to be waited on again.
    let slow = shop.subscribe("advice")?;
    let pending = match shop.request("advice", "tea or coffee?")?.wait_timeout(Duration::from_millis(20)) {
        Err(ReplyError::Timeout(pending)) => pending,
        other => return Err(format!("unexpected: {other:?}").into()),
    };
    println!("no advice in 20 ms");
    slow.recv()?.reply(1)?;
    println!("late advice: number {}", pending.wait()?);

    // A responder that drops the request says so, at once.
    let pending = shop.request("advice", "milk?")?;
    drop(slow.recv()?);
    if let Err(error) = pending.wait() {
        println!("milk? {error}");
    }

    // Everyone's answer.
    let _low = shop.serve("bid", |_| 40)?;
    let _high = shop.serve("bid", |_| 55)?;
    let bids = shop.gather("bid", "a chair")?.collect_within(Duration::from_secs(1));
    println!("{} bids, the highest {:?}", bids.len(), bids.iter().max());

    println!("stopped: {:?}", prices.stop(Duration::from_secs(1)));
    Ok(())
}
