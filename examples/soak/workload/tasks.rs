//! Handlers that are tasks, on an executor that two threads run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, yield_now};
use smol::Executor;
use smol::channel::{Receiver, Sender, bounded};
use tramline::{Handler, HandlerTask, Message, Retry, SubscriptionBuilder};

use super::asking::{self, Question};
use super::traffic::{Load, Post};
use super::{Chance, Crew, LONG, wait_for_threads_of};

/// Runs until the last clone is dropped, and has ended every task by then.
#[derive(Clone)]
pub(super) struct Tasks {
    executor: Arc<Executor<'static>>,
    _end: Sender<()>,
}

impl Tasks {
    pub(super) fn start(crew: &mut Crew) -> Self {
        let executor = Arc::new(Executor::new());
        let (end, ended): (_, Receiver<()>) = bounded(1);
        for _ in 0..2 {
            let (executor, ended) = (Arc::clone(&executor), ended.clone());
            crew.reads(move || _ = block_on(executor.run(ended.recv())));
        }
        Self { executor, _end: end }
    }

    fn spawner(&self) -> impl Fn(HandlerTask) + use<> {
        let executor = Arc::clone(&self.executor);
        move |task| executor.spawn(task).detach()
    }

    /// Its workers retry, fail, panic and publish while they have a message in hand.
    pub(super) fn work(&self, post: &Post) -> Handler {
        let (ledger, fired) = (Arc::clone(&post.ledger), post.bus.publisher("fired").expect("a valid topic"));
        let handler = post.bus.subscription("work").workers(3).retry(Retry::fixed(1, Duration::ZERO)).name("tasks");
        let handler = handler.handle_async(self.spawner(), move |message: &Message<Load>| {
            let fate = message.begin(&ledger.work.received);
            let derived = message.may_fire().then(|| message.derive());
            let (ledger, fired) = (Arc::clone(&ledger), fired.clone());
            async move {
                yield_now().await;
                if let Some(derived) = derived {
                    ledger.fired.one();
                    drop(fired.publish_async(derived).await);
                }
                fate.meet(&ledger)
            }
        });
        handler.expect("it is open")
    }

    /// A handler that ends in mid-stream: because it is dropped or stopped, or because its executor drops its tasks.
    pub(super) fn churn(
        &self,
        post: &Post,
        lane: usize,
        builder: SubscriptionBuilder<Load, Load>,
        chance: &mut Chance,
    ) {
        let closure = Arc::new(());
        let (of_closure, ledger) = (Arc::clone(&closure), Arc::clone(&post.ledger));
        // To be dropped here, some of them with a message in hand.
        let (sender, tasks) = crossbeam_channel::unbounded();
        let executor = Arc::clone(&self.executor);
        let spawner = move |task| drop(sender.send(executor.spawn(task)));
        let workers = 1 + chance.below(3) as usize;
        let handler = builder.workers(workers).handle_async(spawner, move |message: &Message<Load>| {
            let _ = &of_closure;
            let fate = message.begin_and_end(&ledger.lanes[lane].received);
            let (steps, ledger) = (message.number % 4, Arc::clone(&ledger));
            async move {
                for _ in 0..steps {
                    yield_now().await;
                }
                fate.meet(&ledger)
            }
        });
        let handler = handler.expect("it is open");
        let until = Instant::now() + Duration::from_micros(chance.below(3_000));
        while Instant::now() < until {
            std::thread::yield_now();
        }
        let how = chance.below(4);
        if how == 0 {
            post.ledger.tasks_dropped.add(workers as u64);
            drop(tasks);
        } else {
            tasks.try_iter().for_each(smol::Task::detach);
        }
        match how {
            0 | 1 => drop(handler),
            2 => drop(handler.stop(Duration::ZERO)),
            _ => drop(handler.stop(LONG)),
        }
        wait_for_threads_of(&closure);
    }

    /// Answers questions as their callers want it.
    pub(super) fn serve(&self, bus: &asking::Questions, ledger: &Arc<asking::Ledger>) -> Handler {
        let ledger = Arc::clone(ledger);
        let server = bus.subscription("serve.async").workers(3).name("serve.async");
        let server = server.serve_async(self.spawner(), move |question: &Message<Question, u64>| {
            let (question, ledger) = (question.payload().clone(), Arc::clone(&ledger));
            async move {
                yield_now().await;
                question.serve(&ledger)
            }
        });
        server.expect("it is open")
    }
}
