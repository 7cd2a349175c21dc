//! A5: threads that sleep and tasks that wait, on one subscriber and in one group.

use std::sync::Arc;
use std::thread;

use futures_lite::StreamExt;
use futures_lite::future::yield_now;
use tramline::{Bus, Publisher, Subscriber};

use crate::runtime::{Runtime, on_every_runtime};
use crate::support::{ByHand, block_on, within_limit};

on_every_runtime![
    a05_a_subscriber_that_moves_between_threads_and_tasks_loses_nothing,
    a05_threads_and_tasks_of_one_group_lose_nothing_together,
    a05_publishers_that_sleep_and_that_wait_lose_nothing_together,
];

/// Publishes a range of numbers as a task, then the next as a thread, and so on.
async fn publish_both_ways(publisher: Publisher<u32>, numbers: std::ops::Range<u32>) {
    for number in numbers {
        if number / 10 % 2 == 0 {
            publisher.publish_async(number).await.unwrap();
        } else {
            // A thread of its own: this one may be the only one that receives.
            let publisher = publisher.clone();
            let thread = thread::spawn(move || publisher.publish(number).unwrap());
            while !thread.is_finished() {
                yield_now().await;
            }
            let _ = thread.join().unwrap();
        }
    }
}

async fn a05_a_subscriber_that_moves_between_threads_and_tasks_loses_nothing(runtime: impl Runtime) {
    const COUNT: u32 = 1000;

    let bus = Bus::<u32>::builder().capacity(3).build();
    let mut subscriber = bus.subscribe("work").unwrap();
    let publisher = bus.publisher("work").unwrap();
    // On a thread beside the runtime's, because some of the receivers below hold up theirs.
    let publishing = thread::spawn(move || block_on(publish_both_ways(publisher, 0..COUNT)));
    let mut expected = 0..COUNT;
    while expected.start < COUNT {
        let mut own = expected.by_ref().take(7).collect::<Vec<_>>().into_iter();
        subscriber = match expected.start / 7 % 4 {
            0 => {
                runtime
                    .spawn(async move {
                        for number in own {
                            assert_eq!(*subscriber.recv_async().await.unwrap(), number);
                        }
                        subscriber
                    })
                    .await
            }
            1 => {
                own.for_each(|number| assert_eq!(*subscriber.recv().unwrap(), number));
                subscriber
            }
            2 => thread::spawn(move || {
                own.for_each(|number| assert_eq!(*subscriber.iter().next().unwrap(), number));
                subscriber
            })
            .join()
            .unwrap(),
            _ => {
                // It waits as a stream and goes on as a thread.
                let waiting = ByHand::new(subscriber.next()).poll();
                let next = own.next();
                if waiting.is_ready() {
                    assert_eq!(waiting.map(|message| message.map(|message| *message)), std::task::Poll::Ready(next));
                } else if let Some(number) = next {
                    assert_eq!(*subscriber.recv().unwrap(), number);
                }
                for number in own {
                    assert_eq!(subscriber.next().await.map(|message| *message), Some(number));
                }
                subscriber
            }
        };
    }
    publishing.join().unwrap();
    assert!(subscriber.is_empty());
}

async fn a05_threads_and_tasks_of_one_group_lose_nothing_together(runtime: impl Runtime) {
    const COUNT: u32 = 10_000;

    let bus = Bus::<u32>::builder().capacity(4).build();
    let member = || bus.subscription("work").group("members").open().unwrap();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let member = member();
            thread::spawn(move || member.iter().map(|message| *message).collect::<Vec<_>>())
        })
        .collect();
    // Two tasks of one subscriber, and one of another.
    let shared = Arc::new(member());
    let receive = |member: Arc<Subscriber<u32>>| async move {
        let mut received = Vec::new();
        while let Ok(message) = member.recv_async().await {
            received.push(*message);
            if *message % 16 == 0 {
                yield_now().await;
            }
        }
        received
    };
    let tasks = [Arc::clone(&shared), shared, Arc::new(member())].map(|member| runtime.spawn(receive(member)));
    let work = bus.publisher("work").unwrap();
    for number in 0..COUNT {
        // One by one now and then, so that all fall asleep.
        if number % 100 == 0 {
            while work.subscriber_count() == 1 && bus.stats().subscriptions[0].depth > 0 {
                yield_now().await;
            }
        }
        work.publish_async(number).await.unwrap();
    }
    bus.close();
    let mut received = Vec::new();
    for task in tasks {
        received.extend(task.await);
    }
    for thread in threads {
        received.extend(thread.join().unwrap());
    }
    received.sort_unstable();
    assert!(received.into_iter().eq(0..COUNT));
}

async fn a05_publishers_that_sleep_and_that_wait_lose_nothing_together(runtime: impl Runtime) {
    const EACH: u32 = 2000;

    let bus = Bus::<(usize, u32)>::new();
    let subscribers = [1, 2].map(|capacity| bus.subscription("work").capacity(capacity).open().unwrap());
    let threads: Vec<_> = (0..2)
        .map(|publisher| {
            let work = bus.publisher("work").unwrap();
            thread::spawn(move || {
                (0..EACH).for_each(|number| assert_eq!(work.publish((publisher, number)).unwrap().delivered(), 2));
            })
        })
        .collect();
    let tasks: Vec<_> = (2..4)
        .map(|publisher| {
            let work = bus.publisher("work").unwrap();
            runtime.spawn(async move {
                for number in 0..EACH {
                    assert_eq!(work.publish_async((publisher, number)).await.unwrap().delivered(), 2);
                }
            })
        })
        .collect();
    drop(bus);
    let receiving = subscribers.map(|subscriber| {
        runtime.spawn(async move {
            let mut next = [0; 4];
            while let Ok(message) = subscriber.recv_async().await {
                let (publisher, number) = *message;
                assert_eq!(number, next[publisher], "the next of publisher {publisher}");
                next[publisher] += 1;
            }
            next
        })
    });
    for task in tasks {
        task.await;
    }
    for receiving in receiving {
        assert_eq!(receiving.await, [EACH; 4]);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// One message at a time, for a thread and a task that both wait: one of them takes it, and the other waits on. It takes
/// the next, if the first has had enough.
#[test]
fn a05_a_message_goes_to_a_thread_or_a_task_that_waits() {
    within_limit(|| {
        for round in 0..500 {
            let bus = Bus::<u32>::new();
            let subscriber = bus.subscribe("work").unwrap();
            thread::scope(|scope| {
                let thread = scope.spawn(|| *subscriber.recv().unwrap());
                let task = scope.spawn(|| *block_on(subscriber.recv_async()).unwrap());
                for number in 1..=2 {
                    (0..round % 7 * 500).for_each(|_| std::hint::spin_loop());
                    bus.publish("work", number).unwrap();
                }
                assert_eq!(thread.join().unwrap() + task.join().unwrap(), 3);
            });
        }
    });
}

/// The same for room: one comes at a time, for a publisher that sleeps and one that waits as a task.
#[test]
fn a05_room_goes_to_a_thread_or_a_task_that_waits() {
    within_limit(|| {
        for round in 0..500 {
            let bus = Bus::<u32>::builder().capacity(1).build();
            let subscriber = bus.subscribe("work").unwrap();
            let work = bus.publisher("work").unwrap();
            work.publish(1).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| work.publish(2).unwrap().delivered());
                scope.spawn(|| block_on(work.publish_async(3)).unwrap().delivered());
                let mut sum = 0;
                for _ in 0..3 {
                    (0..round % 7 * 500).for_each(|_| std::hint::spin_loop());
                    sum += *subscriber.recv().unwrap();
                }
                assert_eq!(sum, 6);
            });
        }
    });
}
