//! Tasks that read dead letters, and publish some of them again.

use std::sync::Arc;

use futures_lite::future::yield_now;
use tramline::{Bus, DeadLetter, DeadLetters, Overflow};

use crate::runtime::{Runtime, on_every_runtime};

on_every_runtime![
    a_task_that_loses_between_letters_misses_none,
    a_task_that_republishes_unheard_letters_does_not_get_them_again,
    a_letter_that_is_published_again_hides_nothing_of_other_tasks,
    a_future_with_the_payload_of_a_letter_makes_no_letter_wherever_it_is_polled,
    a_task_that_waits_for_the_next_letter_hides_nothing_of_other_tasks,
    tasks_that_share_a_reader_and_republish_do_not_get_letters_again,
    a_task_that_asks_again_after_try_recv_hides_nothing_of_other_tasks,
];

/// The payloads of the letters that wait.
fn waiting(letters: &DeadLetters<u32>) -> Vec<u32> {
    letters.try_iter().map(|letter| *letter.payload()).collect()
}

async fn a_task_that_loses_between_letters_misses_none(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    bus.fire("nobody", 0);
    let reading = runtime.spawn(async move {
        for n in 1..=100 {
            let letter = letters.recv_async().await.unwrap();
            assert_eq!(*letter.payload(), n - 1);
            yield_now().await;
            // With the letter in hand.
            if n % 2 == 0 {
                bus.fire("nobody", n);
            } else {
                bus.publish_async("nobody", n).await.unwrap();
            }
            drop(letter);
        }
        letters.len()
    });
    assert_eq!(reading.await, 1);
}

/// Publishes a letter to nobody, in one of several ways.
async fn publish_again(bus: &Bus<u32>, way: u32, letter: DeadLetter<u32>) {
    let topic = letter.topic().clone();
    let nobody = bus.publisher("nobody").unwrap();
    match way % 11 {
        0 => assert!(bus.publish_async(topic, letter.into_payload()).await.unwrap().is_unheard()),
        1 => assert!(bus.publish_all_async(topic, [letter.into_payload()]).await.unwrap().is_unheard()),
        2 => assert!(bus.request_async(topic, letter.into_payload()).await.unwrap_err().is_no_responders()),
        3 => assert!(bus.gather_async(topic, letter.into_payload()).await.unwrap_err().is_no_responders()),
        4 => assert!(nobody.publish_async(letter.into_payload()).await.unwrap().is_unheard()),
        5 => assert!(nobody.publish_all_async([letter.into_payload()]).await.unwrap().is_unheard()),
        6 => assert!(nobody.publish_retained_async(letter.into_payload()).await.unwrap().is_unheard()),
        7 => assert!(bus.publish_async("full", letter.into_payload()).await.unwrap().is_unheard()),
        8 => assert!(letter.republish().unwrap().is_unheard()),
        9 => bus.fire(topic, letter.into_payload()),
        _ => {
            let payload = letter.into_payload();
            assert!(bus.publish_async(topic, payload).await.unwrap().is_unheard());
        }
    }
}

async fn a_task_that_republishes_unheard_letters_does_not_get_them_again(runtime: impl Runtime) {
    const LETTERS: u32 = 220;

    let bus = Bus::<u32>::builder().capacity(1).build();
    let _full = bus.subscription("full").overflow(Overflow::DropNewest).open().unwrap();
    bus.fire("full", 0);
    let letters = bus.dead_letters();
    let own = bus.clone();
    let republishing = runtime.spawn(async move {
        let mut taken = Vec::new();
        while let Ok(letter) = letters.recv_async().await {
            // It may go on on another thread.
            yield_now().await;
            let n = *letter.payload();
            taken.push(n);
            publish_again(&own, n, letter).await;
            yield_now().await;
            if n == LETTERS {
                break;
            }
        }
        assert!(letters.is_empty(), "what it published has come back");
        taken
    });
    for n in 1..=LETTERS {
        bus.publish_async("nobody.listens", n).await.unwrap();
        yield_now().await;
    }
    assert!(republishing.await.into_iter().eq(1..=LETTERS));
    assert_eq!(bus.stats().dead_letters, u64::from(LETTERS));
}

async fn a_letter_that_is_published_again_hides_nothing_of_other_tasks(runtime: impl Runtime) {
    let bus = Bus::<u32>::builder().capacity(1).build();
    let full = bus.subscribe("full").unwrap();
    bus.fire("full", 0);
    let letters = bus.dead_letters();
    bus.fire("nobody", 1);
    // It waits for room, while others run on its thread.
    let (letter, own) = (letters.recv_async().await.unwrap(), bus.clone());
    let republishing = runtime.spawn(async move {
        let mut publishing = std::pin::pin!(own.publish_async("full", letter.into_payload()));
        assert!(futures_lite::future::poll_once(publishing.as_mut()).await.is_none());
        own.fire("nobody", 2);
        // Cancelled: a loss without a letter.
    });
    republishing.await;
    assert_eq!((waiting(&letters), bus.stats().dropped), (vec![2], 1));
    let others = bus.clone();
    let losing = runtime.spawn(async move {
        others.fire("nobody", 3);
        others.publish_async("nobody", 4).await.unwrap();
    });
    losing.await;
    assert_eq!(waiting(&letters), [3, 4]);
    drop(full);
}

async fn a_future_with_the_payload_of_a_letter_makes_no_letter_wherever_it_is_polled(runtime: impl Runtime) {
    // A future that borrows its bus can be spawned only if the bus stays forever.
    let bus: &'static Bus<u32> = Box::leak(Box::default());
    let letters = bus.dead_letters();
    for n in 0..50 {
        bus.fire("nobody", n);
        let letter = letters.recv_async().await.unwrap();
        let publishing = bus.publish_async("nobody", letter.into_payload());
        // The loss of another publish comes first, and is none of the letter's.
        bus.fire("nobody", 100);
        let publishing = runtime.spawn(publishing);
        bus.fire("nobody", 101);
        assert!(publishing.await.unwrap().is_unheard());
        assert_eq!(waiting(&letters), [100, 101]);
    }
    bus.close();
}

async fn a_task_that_waits_for_the_next_letter_hides_nothing_of_other_tasks(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    bus.fire("nobody", 1);
    assert_eq!(letters.recv_async().await.unwrap().into_payload(), 1);
    assert!(futures_lite::future::poll_once(letters.recv_async()).await.is_none());
    // On one thread this is the thread of the task that had the letter.
    let others = bus.clone();
    let losing = runtime.spawn(async move {
        others.fire("nobody", 2);
        others.publish_async("nobody", 3).await.unwrap();
    });
    losing.await;
    assert_eq!(waiting(&letters), [2, 3]);
}

/// Two tasks take a letter in turn and publish it again: neither may make letters for the other.
async fn tasks_that_share_a_reader_and_republish_do_not_get_letters_again(runtime: impl Runtime) {
    const TASKS: u32 = 4;

    let bus = Bus::<u32>::new();
    let letters = Arc::new(bus.dead_letters());
    for n in 0..2 * TASKS {
        bus.publish_async("nobody.listens", n).await.unwrap();
    }
    let republishing: Vec<_> = (0..TASKS)
        .map(|_| {
            let (bus, letters) = (bus.clone(), Arc::clone(&letters));
            runtime.spawn(async move {
                for _ in 0..2 {
                    let letter = letters.recv_async().await.unwrap();
                    // The others take theirs meanwhile.
                    for _ in 0..10 {
                        yield_now().await;
                    }
                    assert!(bus.publish_async("nobody.either", letter.into_payload()).await.unwrap().is_unheard());
                }
            })
        })
        .collect();
    for task in republishing {
        task.await;
    }
    assert!(letters.is_empty(), "what one of them published has come back");
    assert_eq!(bus.stats().dead_letters, u64::from(2 * TASKS));
}

/// A letter that was taken with `try_recv` marks the thread, which other tasks share.
async fn a_task_that_asks_again_after_try_recv_hides_nothing_of_other_tasks(runtime: impl Runtime) {
    let bus = Bus::<u32>::new();
    let letters = bus.dead_letters();
    bus.fire("nobody.listens", 0);
    let reading = runtime.spawn(async move {
        assert_eq!(letters.try_recv().unwrap().into_payload(), 0);
        for n in 1..=10 {
            assert_eq!(letters.recv_async().await.unwrap().into_payload(), n);
        }
    });
    // The reader has asked again when it has marked its thread and waits.
    for n in 1..=10 {
        yield_now().await;
        bus.fire("nobody.listens", n);
    }
    reading.await;
}
