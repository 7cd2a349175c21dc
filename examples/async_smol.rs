//! Threads and tasks on one bus: a control loop on its own thread, and smol tasks that watch it. Nothing in the bus knows
//! the runtime.
//!
//! `cargo run --example async_smol --features async`

use std::error::Error;
use std::thread;
use std::time::Duration;

use futures_lite::{StreamExt, future};
use smol::Timer;
use tramline::{Bus, Overflow};

#[derive(Debug, Clone, Copy)]
struct Reading {
    sensor: u32,
    celsius: f32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let bus = Bus::<Reading>::new();

    // A display wants the latest and may skip; what it skips is counted, and costs the control loop nothing.
    let mut display = bus.subscription("sensor.*").capacity(4).overflow(Overflow::DropOldest).open()?;
    let display = smol::spawn(async move {
        let (mut shown, mut skipped) = (0_u64, 0);
        while let Some(reading) = display.next().await {
            shown += 1;
            skipped += reading.lost_before();
        }
        (shown, skipped)
    });

    // An alarm wants them all, or the control loop waits.
    let alarms = bus.subscription("sensor.*").filter(|reading| reading.celsius > 90.0).open()?;
    let alarms = smol::spawn(async move {
        let mut hot = 0;
        loop {
            // The first alarm must come soon; whichever future loses is dropped, and loses nothing.
            let next = async { alarms.recv_async().await.ok() };
            let too_late = async {
                Timer::after(Duration::from_secs(5)).await;
                None
            };
            let Some(alarm) = future::or(next, too_late).await else { return hot };
            if hot == 0 {
                println!("alarm: sensor {} has {:.1} degrees", alarm.sensor, alarm.celsius);
            }
            hot += 1;
        }
    });

    // The control loop is a thread, and stays one.
    let readings = 10_000;
    let control = thread::spawn(move || {
        for n in 0..readings {
            let reading = Reading { sensor: n % 10, celsius: 20.0 + (n % 100) as f32 };
            bus.publish(format!("sensor.{}", reading.sensor), reading)?;
        }
        // The bus is dropped with its last handle, and so the streams end.
        Ok::<(), tramline::PublishError<Reading>>(())
    });

    let ((shown, skipped), hot) = smol::block_on(future::zip(display, alarms));
    control.join().expect("the control loop does not panic")?;
    println!("display: {} of {readings} readings were shown or known to be skipped", shown + skipped);
    println!("alarms: {hot}");
    Ok(())
}
