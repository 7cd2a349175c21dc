//! A member of a group: its messages are its own, and it takes one only if the client is fast enough for it.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use tokio::task::JoinHandle;

use super::client::{Client, Key};
use super::feed::{Wanted, end};
use super::frames::Broadcast;
use super::shared::Shared;
use crate::panic::catch;
use crate::routing::SubscribeError;
use crate::subscription::Subscriber;

/// Joins the group, and has a task give the client its messages until that is aborted.
pub(super) fn join<T, R>(
    shared: &Arc<Shared<T, R>>,
    client: &Arc<Client<T, R>>,
    wanted: &Wanted,
    group: &str,
    retained: bool,
    ok: Utf8Bytes,
) -> Result<JoinHandle<()>, SubscribeError>
where
    T: Clone + Serialize + Send + 'static,
    R: Send + 'static,
{
    let builder = shared.bus.subscription(wanted.pattern.clone()).group(group).name("gateway");
    let builder = builder.capacity(wanted.capacity).overflow(wanted.overflow);
    let subscriber = if retained { builder.with_retained().open()? } else { builder.open()? };
    client.outbox.answer(ok);
    let key = (wanted.pattern.clone(), Some(group.to_owned()));
    Ok(tokio::spawn(run(Arc::clone(shared), Arc::clone(client), subscriber, key)))
}

async fn run<T, R>(shared: Arc<Shared<T, R>>, client: Arc<Client<T, R>>, subscriber: Subscriber<T, R>, key: Key)
where
    T: Clone + Serialize + Send + 'static,
    R: Send + 'static,
{
    let mut unwritable = 0;
    while client.outbox.shallow().await {
        let received = tokio::select! {
            biased;
            // Others may be faster by now.
            () = client.outbox.deep() => continue,
            received = subscriber.recv_async() => received,
        };
        let message = match received {
            Ok(message) => message,
            Err(why) => return client.group_ended(&key, end(&why)),
        };
        let lost_before = message.lost_before() + unwritable;
        let written = catch(|| Broadcast::new(&key.0, key.1.as_deref(), lost_before, &message));
        match shared.feeds.written(written) {
            Some(broadcast) => {
                unwritable = 0;
                drop(client.send(&message, &broadcast));
            }
            None => unwritable += 1,
        }
        // The `Drop` of a payload may panic.
        let _ = catch(|| drop(message));
    }
}
