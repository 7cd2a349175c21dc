//! A4: a subscriber as a stream: how it ends, and what it says of losses.

use futures_lite::StreamExt;
use futures_lite::future::poll_once;
use tramline::{Bus, Overflow, Subscriber};

use crate::runtime::{Runtime, on_every_runtime};
use crate::support::ByHand;

on_every_runtime![
    a04_a_stream_ends_after_close,
    a04_a_waiting_stream_ends_when_the_bus_is_dropped,
    a04_lag_is_seen_in_the_item_and_not_as_the_end,
    a04_an_overflow_ends_the_stream_and_later_receives_report_it,
];

async fn numbers(subscriber: &mut Subscriber<u32>) -> Vec<(u32, u64)> {
    subscriber.map(|message| (*message, message.lost_before())).collect().await
}

async fn a04_a_stream_ends_after_close(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let mut subscriber = bus.subscribe("work").unwrap();
    for number in 0..200 {
        bus.publish_async("work", number).await.unwrap();
    }
    bus.close();
    assert!(numbers(&mut subscriber).await.into_iter().eq((0..200).map(|number| (number, 0))));
    // It stays ended, and says why.
    assert!(subscriber.next().await.is_none());
    assert!(subscriber.next().await.is_none());
    assert!(subscriber.try_recv().unwrap_err().is_closed());
    assert!(subscriber.recv_async().await.unwrap_err().is_closed());
    assert!(subscriber.recv().unwrap_err().is_closed());
}

async fn a04_a_waiting_stream_ends_when_the_bus_is_dropped(runtime: impl Runtime) {
    for by_dropping in [true, false] {
        let bus = Bus::<u32>::new();
        let streams: Vec<_> = ["work", "work", "*"]
            .into_iter()
            .map(|pattern| {
                let mut subscriber = bus.subscription(pattern).group("members").open().unwrap();
                runtime.spawn(async move { numbers(&mut subscriber).await.len() })
            })
            .collect();
        bus.publish_async("work", 1).await.unwrap();
        if by_dropping {
            drop(bus)
        } else {
            bus.close()
        }
        let mut received = 0;
        for stream in streams {
            received += stream.await;
        }
        assert_eq!(received, 2);
    }
}

/// With the wake-up alone.
#[test]
fn a04_each_way_a_stream_can_end_wakes_every_waiting_task() {
    let ends: [fn(Bus<u32>); 2] = [|bus| bus.close(), drop];
    for end in ends {
        let bus = Bus::<u32>::new();
        let mut members = [(); 3].map(|()| bus.subscription("work").group("members").open().unwrap());
        let [stream, one, two] = &mut members;
        let (stream, receiving) = (ByHand::waiting(stream.next()), ByHand::waiting(one.recv_async()));
        let mut batch = Vec::new();
        let many = ByHand::waiting(two.recv_many_async(&mut batch, 3));
        end(bus);
        assert!(stream.woken().is_none());
        assert!(receiving.woken().unwrap_err().is_closed());
        assert!(many.woken().unwrap_err().is_closed());
    }
}

async fn a04_lag_is_seen_in_the_item_and_not_as_the_end(_: impl Runtime) {
    let bus = Bus::<u32>::new();
    let open = |overflow| bus.subscription("tick").capacity(2).overflow(overflow).open().unwrap();
    let mut oldest = open(Overflow::DropOldest);
    let mut newest = open(Overflow::DropNewest);
    for number in 0..5 {
        bus.publish_async("tick", number).await.unwrap();
    }
    let next = oldest.next().await.unwrap();
    assert_eq!((*next, next.lost_before()), (3, 3));
    let next = newest.next().await.unwrap();
    assert_eq!((*next, next.lost_before()), (0, 0));
    for number in 5..7 {
        bus.publish_async("tick", number).await.unwrap();
    }
    bus.close();
    assert_eq!(numbers(&mut oldest).await, [(5, 1), (6, 0)]);
    assert_eq!(numbers(&mut newest).await, [(1, 0), (5, 3)]);
    assert_eq!((oldest.dropped(), newest.dropped()), (4, 4));
}

async fn a04_an_overflow_ends_the_stream_and_later_receives_report_it(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let mut subscriber = bus.subscription("tick").capacity(2).overflow(Overflow::Disconnect).open().unwrap();
    assert!(poll_once(subscriber.next()).await.is_none());
    let other = bus.clone();
    let publishing = runtime.spawn(async move {
        for number in 0..3 {
            other.publish_async("tick", number).await.unwrap();
        }
    });
    publishing.await;
    assert_eq!(numbers(&mut subscriber).await, [(0, 0), (1, 0)]);
    assert!(subscriber.try_recv().unwrap_err().is_overflowed());
    assert!(subscriber.recv_async().await.unwrap_err().is_overflowed());
    assert!(subscriber.next().await.is_none());
}
