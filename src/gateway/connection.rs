//! The task of one connection: reads commands, carries them out one after the other, and writes what waits in the outbox.
//!
//! Nothing can be written to a socket from which the client's close frame, or the end of its stream, has been read. So
//! the socket is read only when all answers have been written. While a command waits for room in a mailbox, which may take
//! long, the socket is read to find the end of the client; the commands before that end are set aside, up to a limit.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message as Frame, Utf8Bytes, WebSocket};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::access::Action;
use super::client::{Client, Key, NoPlace, Subscription};
use super::feed::{JoinError, Wanted};
use super::frames::{self, CloseCode, Command, ErrorCode, MailboxChoice, Malformed};
use super::handshake::Session;
use super::limits::{Rate, after};
use super::outbox::{Next, Outbox};
use super::read_ahead::ReadAhead;
use super::registry::Place;
use super::shared::Shared;
use super::{group, write};
use crate::bus::PublishError;
use crate::metadata::Headers;
use crate::panic::catch;
use crate::request::{PendingReply, ReplyError, RequestError};
use crate::routing::SubscribeError;
use crate::sync::counters::Ordering;
use crate::topic::{Pattern, Topic};

/// A command that is not carried out yet, and holds up those behind it.
struct PendingCommand<R> {
    outcome: Pin<Box<dyn Future<Output = Outcome<R>> + Send>>,
    /// It waits for room in a mailbox, so the end of the client cancels it. Other commands end soon by themselves.
    is_cancellable: bool,
}

enum Outcome<R> {
    Answer(Utf8Bytes),
    /// A request has been sent; its reply may come after what is answered next.
    Asked {
        id: u64,
        pending: PendingReply<R>,
        until: Instant,
    },
}

/// A failed command.
struct Failure(ErrorCode, String);

impl Failure {
    fn new(code: ErrorCode, why: impl ToString) -> Self {
        Self(code, why.to_string())
    }
}

pub(super) struct Connection<T, R> {
    shared: Arc<Shared<T, R>>,
    session: Session,
    client: Arc<Client<T, R>>,
    rate: Rate,
    connected: bool,
    waiting: Option<PendingCommand<R>>,
    read_ahead: ReadAhead,
    requests: FuturesUnordered<Pin<Box<dyn Future<Output = Utf8Bytes> + Send>>>,
}

/// Looks after the connection until it ends.
pub(super) async fn run<T, R>(mut socket: WebSocket, shared: Arc<Shared<T, R>>, session: Session, place: Place<T, R>)
where
    T: Clone + Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    let limits = &shared.limits;
    let client = Arc::new(Client::new(place.number(), place.network(), limits.waiting_bytes, limits.requests));
    place.occupy(&client);
    let mut connection = Connection {
        rate: Rate::new(limits.commands_per_second),
        session,
        client,
        connected: false,
        waiting: None,
        read_ahead: ReadAhead::default(),
        requests: FuturesUnordered::new(),
        shared: Arc::clone(&shared),
    };
    let end = connection.serve(&mut socket).await;
    // What it held is free before the client hears of the end.
    drop(connection);
    match end {
        ConnectionEnd::Gone => {}
        ConnectionEnd::Left => write::farewell(&mut socket, shared.limits.write_timeout).await,
        ConnectionEnd::Cut(code) => {
            if code == CloseCode::Slow {
                shared.slow_clients.fetch_add(1, Ordering::Relaxed);
            }
            write::goodbye(&mut socket, shared.limits.write_timeout, code).await;
        }
    }
    drop(place);
}

impl<T, R> Drop for Connection<T, R> {
    fn drop(&mut self) {
        for (_, subscription) in self.client.release() {
            self.shared.release(&self.client, subscription);
        }
    }
}

/// How a connection ends.
enum ConnectionEnd {
    /// The client's side of the stream has ended.
    Gone,
    /// The client has said goodbye.
    Left,
    Cut(CloseCode),
}

impl From<Option<CloseCode>> for ConnectionEnd {
    fn from(code: Option<CloseCode>) -> Self {
        code.map_or(Self::Gone, Self::Cut)
    }
}

/// What the timer of the connection is for.
enum ConnectionState {
    /// The `connect` is due.
    Connecting,
    /// The next ping is.
    Idle,
    /// A sign of life is, and the next ping at that time.
    Pinged { next: Instant },
}

impl<T, R> Connection<T, R>
where
    T: Clone + Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    /// Until the client is gone, or is to be sent away with a code.
    async fn serve(&mut self, socket: &mut WebSocket) -> ConnectionEnd {
        let (shared, client) = (Arc::clone(&self.shared), Arc::clone(&self.client));
        let limits = &shared.limits;
        let mut timer = pin!(sleep(limits.connect_within));
        let mut phase = ConnectionState::Connecting;
        loop {
            if self.may_carry_out() {
                if let Some(command) = self.read_ahead.pop() {
                    self.take_or_close(&command);
                }
            }
            let may_read = self.may_read();
            tokio::select! {
                // What is ready is answered before the socket is read, because a read may find the end of the client. None of
                // the first three branches stays ready without a read. The last is fair to both sides of the socket.
                biased;
                () = timer.as_mut() => {
                    match phase {
                        ConnectionState::Connecting => return ConnectionEnd::Cut(CloseCode::NoConnect),
                        ConnectionState::Idle => {
                            if let Err(code) = write::ping(socket, &client.outbox, limits.write_timeout).await {
                                return code.into();
                            }
                            phase = ConnectionState::Pinged { next: after(limits.ping_every) };
                            timer.as_mut().reset(after(limits.pong_within));
                        }
                        // A pong may be there, but is not read now.
                        ConnectionState::Pinged { next } if !may_read => {
                            phase = ConnectionState::Idle;
                            timer.as_mut().reset(next);
                        }
                        ConnectionState::Pinged { next } => match socket.recv().now_or_never() {
                            None => return ConnectionEnd::Cut(CloseCode::NoPong),
                            // It was there, and nobody had looked.
                            Some(frame) => {
                                if let Err(end) = self.hear(socket, frame).await {
                                    return end;
                                }
                                phase = ConnectionState::Idle;
                                timer.as_mut().reset(next);
                            }
                        },
                    }
                }
                outcome = wait_for(&mut self.waiting), if self.waiting.is_some() => {
                    self.waiting = None;
                    match outcome {
                        Outcome::Answer(answer) => client.outbox.answer(answer),
                        Outcome::Asked { id, pending, until } => self.requests.push(Box::pin(reply_to(id, pending, until))),
                    }
                }
                Some(answer) = self.requests.next(), if !self.requests.is_empty() => client.outbox.answer(answer),
                turn = turn(socket, &client.outbox, may_read) => match turn {
                    Turn::Write(Next::Frames(frames)) => {
                        if let Err(code) = write::frames(socket, &client.outbox, limits.write_timeout, frames).await {
                            return code.into();
                        }
                    }
                    Turn::Write(Next::Close(code)) => return ConnectionEnd::Cut(code),
                    Turn::Read(frame) => {
                        if let Err(end) = self.hear(socket, frame).await {
                            return end;
                        }
                        match phase {
                            ConnectionState::Connecting if self.connected => {
                                phase = ConnectionState::Idle;
                                timer.as_mut().reset(after(limits.ping_every));
                            }
                            ConnectionState::Pinged { next } => {
                                phase = ConnectionState::Idle;
                                timer.as_mut().reset(next);
                            }
                            ConnectionState::Connecting | ConnectionState::Idle => {}
                        }
                    }
                },
            }
        }
    }

    /// Whether the next command may be carried out: what was carried out before is answered, and nothing comes behind the
    /// end.
    fn may_carry_out(&self) -> bool {
        self.waiting.is_none() && !self.client.outbox.owes_answer() && !self.client.outbox.is_closed()
    }

    /// Whether the socket may be read.
    fn may_read(&self) -> bool {
        let outbox = &self.client.outbox;
        let has_place = match &self.waiting {
            None => self.read_ahead.is_empty(),
            Some(waiting) => waiting.is_cancellable && self.read_ahead.has_room(),
        };
        has_place && !outbox.owes_answer() && !outbox.is_closed()
    }

    /// Hears what the client says, or that it is over.
    async fn hear(
        &mut self,
        socket: &mut WebSocket,
        frame: Option<Result<Frame, axum::Error>>,
    ) -> Result<(), ConnectionEnd> {
        let outbox = &self.client.outbox;
        match frame {
            Some(Ok(Frame::Text(text))) if self.waiting.is_some() => self.read_ahead.push(&text),
            Some(Ok(Frame::Text(text))) => self.take_or_close(&text),
            Some(Ok(Frame::Binary(_))) => outbox.close(CloseCode::Binary),
            Some(Ok(Frame::Ping(_))) => write::pongs(socket, outbox, self.shared.limits.write_timeout).await?,
            Some(Ok(Frame::Pong(_))) => {}
            Some(Ok(Frame::Close(_))) => return Err(ConnectionEnd::Left),
            Some(Err(error)) => match write::mistake(&error) {
                Some(code) => outbox.close(code),
                None => return Err(ConnectionEnd::Gone),
            },
            None => return Err(ConnectionEnd::Gone),
        }
        Ok(())
    }

    fn take_or_close(&mut self, text: &str) {
        if let Err(code) = self.take(text) {
            // What has been said comes first.
            self.client.outbox.close(code);
        }
    }

    /// Takes a frame of the client.
    ///
    /// # Errors
    ///
    /// The code with which the connection is to end.
    fn take(&mut self, text: &str) -> Result<(), CloseCode> {
        let (id, command) = match frames::parse(text) {
            Ok((id, command)) => (id, Ok(command)),
            Err(Malformed::Of(id, why)) => (id, Err(Failure(ErrorCode::BadCommand, why))),
            Err(Malformed::Nameless(_)) => return Err(CloseCode::BadRequest),
        };
        let done = if self.rate.take() {
            command.and_then(|command| self.carry_out(id, command))
        } else {
            let most = self.shared.limits.commands_per_second;
            Err(Failure::new(ErrorCode::TooManyRequests, format!("more than {most} commands a second")))
        };
        if let Err(Failure(code, why)) = done {
            self.client.outbox.answer(frames::err(id, code, &why));
            if code == ErrorCode::Unauthorized {
                return Err(CloseCode::Unauthorized);
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, id: u64, command: Command<'_>) -> Result<(), Failure> {
        match command {
            Command::Connect { token } => return self.connect(id, token.as_deref()),
            _ if !self.connected => return Err(Failure::new(ErrorCode::NotConnected, "`connect` comes first")),
            Command::Subscribe { pattern, group, options } => return self.subscribe(id, &pattern, group, options),
            Command::Unsubscribe { pattern, group } => return self.unsubscribe(id, &pattern, group),
            Command::Publish { topic, payload, headers } => return self.publish(id, &topic, payload, headers),
            Command::Request { topic, payload, headers, timeout } => {
                return self.request(id, &topic, payload, headers, timeout);
            }
            Command::Reply { token, answer } => self.reply(&token, answer)?,
            Command::Ping => {}
        }
        self.client.outbox.answer(frames::ok(id));
        Ok(())
    }

    fn connect(&mut self, id: u64, token: Option<&str>) -> Result<(), Failure> {
        if self.connected {
            return Err(Failure::new(ErrorCode::AlreadyConnected, "there was a `connect` before"));
        }
        let shared = &self.shared;
        if let Some(check) = &shared.token {
            let refused = || Failure::new(ErrorCode::Unauthorized, "the token was refused");
            // A hook that panics has not said yes.
            let user = catch(|| check(&self.session, token)).ok().and_then(Result::ok).ok_or_else(refused)?;
            self.session.user = user.or(self.session.user.take());
        }
        self.connected = true;
        let outbox = &self.client.outbox;
        outbox.push(frames::connected(&self.session.id, shared.limits.ping_every, &shared.told_limits()));
        outbox.answer(frames::ok(id));
        Ok(())
    }

    fn allow(&self, action: &Action<'_>) -> Result<(), Failure> {
        if catch(|| self.shared.access.allows(&self.session, action)) == Ok(true) {
            return Ok(());
        }
        Err(Failure::new(ErrorCode::Denied, format!("{action} is not allowed")))
    }

    fn check_length(&self, what: &str, text: &str) -> Result<(), Failure> {
        let most = self.shared.limits.topic;
        if text.len() <= most {
            return Ok(());
        }
        let why = format!("the {what} has {} bytes, more than {most}", text.len());
        Err(Failure::new(ErrorCode::BadTopic, why))
    }

    fn topic(&self, topic: &str) -> Result<Topic, Failure> {
        self.check_length("topic", topic)?;
        Topic::new(topic).map_err(|error| Failure::new(ErrorCode::BadTopic, error))
    }

    fn key(&self, pattern: &str, group: Option<String>) -> Result<Key, Failure> {
        self.check_length("pattern", pattern)?;
        self.check_length("group", group.as_deref().unwrap_or_default())?;
        let pattern = Pattern::new(pattern).map_err(|error| Failure::new(ErrorCode::BadTopic, error))?;
        Ok((pattern, group))
    }

    fn subscribe(
        &mut self,
        id: u64,
        pattern: &str,
        group: Option<String>,
        options: MailboxChoice,
    ) -> Result<(), Failure> {
        let limits = &self.shared.limits;
        let key = self.key(pattern, group)?;
        let (pattern, group) = (&key.0, key.1.as_deref());
        let MailboxChoice { retained, overflow, capacity } = options;
        let capacity = capacity.unwrap_or(limits.capacity);
        if capacity == 0 || capacity > limits.capacity {
            let why = format!("capacity must be between 1 and {}, got {capacity}", limits.capacity);
            return Err(Failure::new(ErrorCode::BadOption, why));
        }
        self.allow(&Action::Subscribe { pattern, group })?;
        self.client.reserve(&key, limits.subscriptions).map_err(|no_place| match no_place {
            NoPlace::Taken => {
                Failure::new(ErrorCode::AlreadySubscribed, format!("there is a subscription to {pattern} already"))
            }
            NoPlace::TooMany => {
                let why = format!("a connection has at most {} subscriptions", limits.subscriptions);
                Failure::new(ErrorCode::TooManySubscriptions, why)
            }
        })?;
        // In few steps, so that many clients have the same. A group is asked for its own.
        let in_steps =
            || capacity.checked_next_power_of_two().map_or(limits.capacity, |step| step.min(limits.capacity));
        let capacity = if group.is_some() { capacity } else { in_steps() };
        let wanted = Wanted { pattern: pattern.clone(), overflow, capacity };
        let ok = frames::ok(id);
        let joined = match group {
            None => self.shared.feeds.join(&self.client, &wanted, retained, ok),
            Some(group) => group::join(&self.shared, &self.client, &wanted, group, retained, ok)
                .map(|task| self.client.hold(&key, Subscription::Grouped(task)))
                .map_err(JoinError::Subscribe),
        };
        joined.map_err(|error| {
            drop(self.client.remove(&key));
            join_failure(&error)
        })
    }

    fn unsubscribe(&mut self, id: u64, pattern: &str, group: Option<String>) -> Result<(), Failure> {
        let key = self.key(pattern, group)?;
        let held = self.client.remove(&key);
        let not_subscribed =
            || Failure::new(ErrorCode::NotSubscribed, format!("there is no subscription to {}", key.0));
        match held.ok_or_else(not_subscribed)? {
            Subscription::Grouped(task) => {
                task.abort();
                // It may have a message in hand, which comes first.
                let outcome = Box::pin(async move {
                    let _ = task.await;
                    Outcome::Answer(frames::ok(id))
                });
                self.waiting = Some(PendingCommand { outcome, is_cancellable: false });
            }
            other => {
                self.shared.release(&self.client, other);
                self.client.outbox.answer(frames::ok(id));
            }
        }
        Ok(())
    }

    fn publish(&mut self, id: u64, topic: &str, payload: &str, headers: Option<&str>) -> Result<(), Failure> {
        let (topic, headers) = (self.topic(topic)?, read_headers(headers)?);
        self.allow(&Action::Publish { topic: &topic, headers: &headers })?;
        let payload: T = read("payload", payload)?;
        let (bus, patience) = (self.shared.bus.clone(), self.shared.limits.publish_timeout);
        let outcome = Box::pin(async move {
            let publish = bus.message(topic, payload).headers(&headers).publish_async();
            let answer = match timeout(patience, publish).await {
                Ok(Ok(delivery)) => frames::published(id, delivery.delivered(), delivery.dropped()),
                Ok(Err(PublishError::Topic(error, _))) => frames::err(id, ErrorCode::BadTopic, &error.to_string()),
                Ok(Err(PublishError::Header(error, _))) => frames::err(id, ErrorCode::BadHeader, &error.to_string()),
                Ok(Err(_)) => frames::err(id, ErrorCode::Closed, CLOSED),
                Err(_) => frames::err(id, ErrorCode::Timeout, "no room in a mailbox in time; others may have it"),
            };
            Outcome::Answer(answer)
        });
        self.waiting = Some(PendingCommand { outcome, is_cancellable: true });
        Ok(())
    }

    fn request(
        &mut self,
        id: u64,
        topic: &str,
        payload: &str,
        headers: Option<&str>,
        wait: Option<Duration>,
    ) -> Result<(), Failure> {
        let limits = &self.shared.limits;
        let (topic, headers) = (self.topic(topic)?, read_headers(headers)?);
        self.allow(&Action::Request { topic: &topic, headers: &headers })?;
        if self.requests.len() >= limits.requests {
            let why = format!("{} requests have no answer yet", limits.requests);
            return Err(Failure::new(ErrorCode::TooManyRequests, why));
        }
        let payload: T = read("payload", payload)?;
        let until = after(wait.unwrap_or(limits.request_timeout).min(limits.request_timeout));
        let (bus, room) = (self.shared.bus.clone(), until.min(after(limits.publish_timeout)));
        let outcome = Box::pin(async move {
            let request = bus.message(topic, payload).headers(&headers).request_async();
            let (code, why) = match timeout_at(room, request).await {
                Ok(Ok(pending)) => return Outcome::Asked { id, pending, until },
                Ok(Err(RequestError::Topic(error, _))) => (ErrorCode::BadTopic, error.to_string()),
                Ok(Err(RequestError::Header(error, _))) => (ErrorCode::BadHeader, error.to_string()),
                Ok(Err(RequestError::NoResponders(_))) => {
                    (ErrorCode::NoResponders, "nobody serves the topic".to_owned())
                }
                Ok(Err(_)) => (ErrorCode::Closed, CLOSED.to_owned()),
                Err(_) => (ErrorCode::Timeout, "no room in a mailbox in time".to_owned()),
            };
            Outcome::Answer(frames::err(id, code, &why))
        });
        self.waiting = Some(PendingCommand { outcome, is_cancellable: true });
        Ok(())
    }

    fn reply(&mut self, token: &str, answer: Result<&str, String>) -> Result<(), Failure> {
        let over = || Failure::new(ErrorCode::UnknownToken, "the token is not good for a reply, or not any more");
        // Read before the token is used, so that the client may try again.
        let answer = answer.map(|payload| read::<R>("reply", payload));
        match answer {
            Ok(reply) => {
                let reply = reply?;
                let responder = self.client.redeem(token).ok_or_else(over)?;
                responder.reply(reply).map_err(|_| over())
            }
            Err(why) => {
                let responder = self.client.redeem(token).ok_or_else(over)?;
                responder.fail(why).map_err(|_| over())
            }
        }
    }
}

const CLOSED: &str = "the bus is closed";

/// Reads what the user's type makes of a JSON value.
fn read<A: DeserializeOwned>(what: &str, json: &str) -> Result<A, Failure> {
    let bad =
        |why: String| Failure::new(ErrorCode::BadPayload, format!("the {what} is not what the bus carries: {why}"));
    match catch(|| serde_json::from_str(json)) {
        Ok(read) => read.map_err(|error| bad(error.to_string())),
        Err(panic) => Err(bad(panic)),
    }
}

/// Reads the headers of a command, which may have none.
fn read_headers(json: Option<&str>) -> Result<Headers, Failure> {
    let Some(json) = json else { return Ok(Headers::default()) };
    let headers = frames::headers(json).map_err(|error| Failure::new(ErrorCode::BadCommand, error))?;
    headers.map_err(|error| Failure::new(ErrorCode::BadHeader, error))
}

async fn wait_for<R>(waiting: &mut Option<PendingCommand<R>>) -> Outcome<R> {
    match waiting {
        Some(waiting) => waiting.outcome.as_mut().await,
        None => std::future::pending().await,
    }
}

/// What the socket is ready for.
enum Turn {
    Write(Next),
    Read(Option<Result<Frame, axum::Error>>),
}

async fn turn(socket: &mut WebSocket, outbox: &Outbox, may_read: bool) -> Turn {
    tokio::select! {
        next = outbox.next() => Turn::Write(next),
        frame = socket.recv(), if may_read => Turn::Read(frame),
    }
}

/// The answer to a request, when there is one or the time is over.
async fn reply_to<R: Serialize + Send + 'static>(id: u64, pending: PendingReply<R>, until: Instant) -> Utf8Bytes {
    let (code, why) = match timeout_at(until, pending).await {
        Ok(Ok(reply)) => match catch(|| frames::replied(id, &reply)) {
            Ok(Ok(frame)) => return frame,
            Ok(Err(error)) => (ErrorCode::Failed, format!("the reply cannot be written: {error}")),
            Err(panic) => (ErrorCode::Failed, format!("the reply cannot be written: {panic}")),
        },
        Ok(Err(ReplyError::Failed(why))) => (ErrorCode::Failed, why),
        Ok(Err(ReplyError::Unanswered)) => (ErrorCode::Unanswered, "nobody is left to answer".to_owned()),
        Ok(Err(ReplyError::Closed)) => (ErrorCode::Closed, CLOSED.to_owned()),
        Ok(Err(_)) | Err(_) => (ErrorCode::Timeout, "no reply in time".to_owned()),
    };
    frames::err(id, code, &why)
}

fn join_failure(error: &JoinError) -> Failure {
    let error = match error {
        JoinError::TooMany => {
            return Failure::new(ErrorCode::TooManySubscriptions, "there are as many patterns as there may be in all");
        }
        JoinError::TooManyOfAddress => {
            let why = "clients from this address have as many patterns as they may have";
            return Failure::new(ErrorCode::TooManySubscriptions, why);
        }
        JoinError::TooLarge => {
            let why = "the retained values are more bytes than may wait for a client: ask for fewer topics";
            return Failure::new(ErrorCode::TooLarge, why);
        }
        JoinError::Subscribe(error) => error,
    };
    let code = match error {
        SubscribeError::Topic(_) => ErrorCode::BadTopic,
        SubscribeError::Closed => ErrorCode::Closed,
        _ => ErrorCode::BadOption,
    };
    Failure::new(code, error)
}
