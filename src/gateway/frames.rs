//! Frames of `tramline.v1`: what a client says, and what it is told. `docs/gateway-protocol.md` is the contract.

use std::fmt;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::mailbox::Overflow;
use crate::message::Message;
use crate::metadata::{HeaderError, Headers};
use crate::topic::{Pattern, Topic};

/// The subprotocol of the handshake.
pub(super) const SUBPROTOCOL: &str = "tramline.v1";

/// Why a subscription has ended.
pub(super) const CLOSED: &str = "closed";
pub(super) const OVERFLOWED: &str = "overflowed";

/// JavaScript's largest safe integer: a number beyond it may come back as another.
const LARGEST_ID: u64 = (1 << 53) - 1;

/// One command of a client.
#[derive(Debug)]
pub(super) enum Command<'a> {
    Connect { token: Option<String> },
    Subscribe { pattern: String, group: Option<String>, options: MailboxChoice },
    Unsubscribe { pattern: String, group: Option<String> },
    Publish { topic: String, payload: &'a str, headers: Option<&'a str> },
    Request { topic: String, payload: &'a str, headers: Option<&'a str>, timeout: Option<Duration> },
    Reply { token: String, answer: Result<&'a str, String> },
    Ping,
}

/// What `sub` may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MailboxChoice {
    pub(super) retained: bool,
    pub(super) overflow: Overflow,
    pub(super) capacity: Option<usize>,
}

/// A frame that is not a valid command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// There is an `id`, so its `err` can be told apart.
    Of(u64, String),
    /// There is none.
    Nameless(String),
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type")]
    kind: String,
    pattern: Option<String>,
    group: Option<String>,
    #[serde(default)]
    retained: bool,
    overflow: Option<OverflowName>,
    capacity: Option<usize>,
    topic: Option<String>,
    /// `None` also for `null`.
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    /// The same. Only commands that can have headers look into it.
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    timeout_ms: Option<u64>,
    token: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OverflowName {
    DropOldest,
    DropNewest,
    Disconnect,
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

/// Reads a frame. Its length has been checked by then.
pub(super) fn parse(text: &str) -> Result<(u64, Command<'_>), Malformed> {
    // An array would do for a struct.
    if !text.trim_start().starts_with('{') {
        return Err(Malformed::Nameless("it is no object".to_owned()));
    }
    let Id { id } = serde_json::from_str(text).map_err(|error| Malformed::Nameless(error.to_string()))?;
    if id > LARGEST_ID {
        return Err(Malformed::Nameless(format!("the id {id} is larger than {LARGEST_ID}")));
    }
    let fields = serde_json::from_str(text).map_err(|error| Malformed::Of(id, error.to_string()))?;
    command(fields).map(|command| (id, command)).map_err(|why| Malformed::Of(id, why))
}

fn command(fields: Fields<'_>) -> Result<Command<'_>, String> {
    let Fields { kind, pattern, group, retained, overflow, capacity, .. } = fields;
    let Fields { topic, payload, headers, timeout_ms, token, error, .. } = fields;
    let needs = |field: &str| format!("`{kind}` needs a `{field}`");
    let payload = payload.map_or("null", RawValue::get);
    let headers = headers.map(RawValue::get);
    Ok(match &*kind {
        "connect" => Command::Connect { token },
        "sub" => Command::Subscribe {
            pattern: pattern.ok_or_else(|| needs("pattern"))?,
            group,
            options: MailboxChoice {
                retained,
                overflow: match overflow {
                    None | Some(OverflowName::DropOldest) => Overflow::DropOldest,
                    Some(OverflowName::DropNewest) => Overflow::DropNewest,
                    Some(OverflowName::Disconnect) => Overflow::Disconnect,
                },
                capacity,
            },
        },
        "unsub" => Command::Unsubscribe { pattern: pattern.ok_or_else(|| needs("pattern"))?, group },
        "pub" => Command::Publish { topic: topic.ok_or_else(|| needs("topic"))?, payload, headers },
        "req" => Command::Request {
            topic: topic.ok_or_else(|| needs("topic"))?,
            payload,
            headers,
            timeout: timeout_ms.map(Duration::from_millis),
        },
        "reply" => {
            Command::Reply { token: token.ok_or_else(|| needs("token"))?, answer: error.map_or(Ok(payload), Err) }
        }
        "ping" => Command::Ping,
        _ => return Err(format!("`{kind}` is not a valid command")),
    })
}

/// Reads the headers of a command.
///
/// # Errors
///
/// They are not an object of strings, or a name comes twice; or a header is invalid, or they are too many.
pub(super) fn headers(text: &str) -> Result<Result<Headers, HeaderError>, serde_json::Error> {
    serde_json::from_str(text).map(|ReadHeaders(headers)| headers)
}

struct ReadHeaders(Result<Headers, HeaderError>);

impl<'de> Deserialize<'de> for ReadHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = ReadHeaders;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings as headers")
    }

    /// Looks at no more headers than a message can have: whatever the client sends, it costs little.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ReadHeaders, A::Error> {
        let mut headers = Headers::default();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if headers.get(&name).is_some() {
                return Err(A::Error::custom(format_args!("duplicate header `{name}`")));
            }
            if let Err(error) = headers.set(&name, &value) {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(ReadHeaders(Err(error)));
            }
        }
        Ok(ReadHeaders(Ok(headers)))
    }
}

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ErrorCode {
    BadCommand,
    NotConnected,
    AlreadyConnected,
    Unauthorized,
    Denied,
    BadTopic,
    BadPayload,
    BadHeader,
    BadOption,
    AlreadySubscribed,
    NotSubscribed,
    TooManySubscriptions,
    TooManyRequests,
    TooLarge,
    Timeout,
    NoResponders,
    Unanswered,
    Failed,
    UnknownToken,
    Closed,
}

impl ErrorCode {
    /// Whether the same command may succeed later.
    fn is_temporary(self) -> bool {
        use ErrorCode::{NoResponders, Timeout, TooManyRequests, TooManySubscriptions, Unanswered};

        matches!(self, TooManySubscriptions | TooManyRequests | Timeout | NoResponders | Unanswered)
    }
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseCode {
    Protocol,
    Binary,
    InvalidUtf8,
    TooLarge,
    Shutdown,
    Slow,
    WriteTimeout,
    NoPong,
    Unauthorized,
    BadRequest,
    NoConnect,
}

impl CloseCode {
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::Binary => 1003,
            Self::InvalidUtf8 => 1007,
            Self::TooLarge => 1009,
            Self::Shutdown => 3001,
            Self::Slow => 3008,
            Self::WriteTimeout => 3009,
            Self::NoPong => 3012,
            Self::Unauthorized => 3500,
            Self::BadRequest => 3501,
            Self::NoConnect => 3502,
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Protocol => "the frame breaks the rules of WebSockets",
            Self::InvalidUtf8 => "the text is not valid UTF-8",
            Self::Binary => "binary frames are not supported, send JSON as text",
            Self::TooLarge => "the frame is too large",
            Self::Shutdown => "the server is shutting down, connect again",
            Self::Slow => "too many bytes wait for this client",
            Self::WriteTimeout => "a write took too long",
            Self::NoPong => "no sign of life since the last ping",
            Self::Unauthorized => "the token was refused",
            Self::BadRequest => "the frame is no JSON object with an id",
            Self::NoConnect => "no connect in time",
        }
    }
}

/// What `connected` tells of the limits.
#[derive(Debug, Serialize)]
pub(super) struct ToldLimits {
    pub(super) frame: usize,
    pub(super) topic: usize,
    pub(super) subscriptions: usize,
    pub(super) capacity: usize,
    pub(super) commands_per_second: u32,
    pub(super) timeout_ms: u64,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a, A> {
    Connected {
        session: &'a str,
        ping_ms: u64,
        limits: &'a ToldLimits,
    },
    Ok(A),
    Err {
        id: u64,
        code: ErrorCode,
        message: &'a str,
        temporary: bool,
    },
    Msg(A),
    Unsubscribed {
        sub: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<&'a str>,
        why: &'a str,
    },
    Ping,
}

#[derive(Serialize)]
struct Done {
    id: u64,
}

#[derive(Serialize)]
struct Published {
    id: u64,
    delivered: usize,
    dropped: usize,
}

#[derive(Serialize)]
struct Replied<'a, R> {
    id: u64,
    reply: &'a R,
}

#[derive(Serialize)]
struct Msg<'a, T> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    topic: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    lost_before: u64,
    #[serde(skip_serializing_if = "Headers::is_empty", serialize_with = "as_object")]
    headers: &'a Headers,
    payload: &'a T,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn as_object<S: Serializer>(headers: &&Headers, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter())
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Frames without anything of the user's in them cannot fail.
fn frame<A: Serialize>(event: &Event<'_, A>) -> Utf8Bytes {
    serde_json::to_string(event).unwrap_or_default().into()
}

pub(super) fn connected(session: &str, ping: Duration, limits: &ToldLimits) -> Utf8Bytes {
    let ping_ms = u64::try_from(ping.as_millis()).unwrap_or(u64::MAX);
    frame::<()>(&Event::Connected { session, ping_ms, limits })
}

pub(super) fn ok(id: u64) -> Utf8Bytes {
    frame(&Event::Ok(Done { id }))
}

pub(super) fn published(id: u64, delivered: usize, dropped: usize) -> Utf8Bytes {
    frame(&Event::Ok(Published { id, delivered, dropped }))
}

/// # Errors
///
/// The reply cannot be written as JSON.
pub(super) fn replied(id: u64, reply: &impl Serialize) -> Result<Utf8Bytes, serde_json::Error> {
    serde_json::to_string(&Event::Ok(Replied { id, reply })).map(Into::into)
}

pub(super) fn err(id: u64, code: ErrorCode, message: &str) -> Utf8Bytes {
    frame::<()>(&Event::Err { id, code, message, temporary: code.is_temporary() })
}

pub(super) fn unsubscribed(sub: &Pattern, group: Option<&str>, why: &str) -> Utf8Bytes {
    frame::<()>(&Event::Unsubscribed { sub: sub.as_str(), group, why })
}

pub(super) fn ping() -> Utf8Bytes {
    frame::<()>(&Event::Ping)
}

/// A `msg`, which is written once however many clients get it.
pub(super) enum Broadcast {
    Message(Utf8Bytes),
    /// Without the brace at its end: each client gets a token besides, a different one.
    Request(String),
}

impl Broadcast {
    /// # Errors
    ///
    /// The payload cannot be written as JSON.
    pub(super) fn message<T: Serialize>(
        sub: &Pattern,
        topic: &Topic,
        headers: &Headers,
        payload: &T,
    ) -> Result<Utf8Bytes, serde_json::Error> {
        let msg = Msg { sub: sub.as_str(), group: None, topic: topic.as_str(), lost_before: 0, headers, payload };
        serde_json::to_string(&Event::Msg(msg)).map(Into::into)
    }

    /// # Errors
    ///
    /// The payload cannot be written as JSON.
    pub(super) fn new<T: Serialize, R>(
        sub: &Pattern,
        group: Option<&str>,
        lost_before: u64,
        message: &Message<T, R>,
    ) -> Result<Self, serde_json::Error> {
        let (topic, headers, payload) = (message.topic().as_str(), message.headers(), message.payload());
        let msg = Msg { sub: sub.as_str(), group, topic, lost_before, headers, payload };
        let mut text = serde_json::to_string(&Event::Msg(msg))?;
        if message.is_request() {
            text.pop();
            return Ok(Self::Request(text));
        }
        Ok(Self::Message(text.into()))
    }
}

/// The frame of a request for one client.
pub(super) fn with_token(open: &str, token: u64) -> Utf8Bytes {
    format!("{open},\"token\":\"{token}\"}}").into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Command, Headers, Malformed, parse};

    /// JSON of every kind, also where a command has something else.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    fn strings() -> impl Strategy<Value = Value> {
        prop::collection::btree_map(".{0,4}", ".{0,8}", 0..20).prop_map(|map| map.into_iter().collect())
    }

    fn any_frame() -> impl Strategy<Value = Value> {
        const KINDS: [&str; 8] = ["connect", "sub", "unsub", "pub", "req", "reply", "ping", "dance"];
        const FIELDS: [&str; 14] = [
            "pattern",
            "group",
            "retained",
            "overflow",
            "capacity",
            "topic",
            "payload",
            "headers",
            "timeout_ms",
            "token",
            "error",
            "id",
            "type",
            "other",
        ];
        let others = prop::collection::vec((prop::sample::select(&FIELDS[..]), any_json()), 0..6);
        (prop::sample::select(&KINDS[..]), 0_u64..1 << 54, others).prop_map(|(kind, id, others)| {
            let mut frame = json!({"type": kind, "id": id, "topic": "a", "pattern": "a", "token": "7"});
            for (name, value) in others {
                frame[name] = value;
            }
            frame
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever comes, it is a command, an error that can be told apart exactly if there is an id, or neither.
        #[test]
        fn a_frame_is_a_command_or_has_an_error_with_its_id(frame in any_frame()) {
            let text = frame.to_string();
            let id = frame["id"].as_u64().filter(|id| *id < 1 << 53);
            match parse(&text) {
                Ok((parsed, _)) | Err(Malformed::Of(parsed, _)) => prop_assert_eq!(Some(parsed), id),
                Err(Malformed::Nameless(_)) => prop_assert_eq!(None, id),
            }
        }

        #[test]
        fn a_payload_comes_through_as_it_is(payload in any_json(), topic in ".{0,8}", id in 0_u64..1 << 53) {
            let text = json!({"type": "pub", "id": id, "topic": topic, "payload": payload}).to_string();
            match parse(&text) {
                Ok((parsed, Command::Publish { topic: parsed_topic, payload: parsed_payload, headers })) => {
                    prop_assert_eq!((parsed, parsed_topic, headers), (id, topic, None));
                    prop_assert_eq!(serde_json::from_str::<Value>(parsed_payload).ok(), Some(payload));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn headers_come_through_or_are_refused(headers in prop_oneof![any_json(), strings()]) {
            let object = headers.as_object();
            let pairs = object.and_then(|object| {
                object.iter().map(|(name, value)| Some((&**name, value.as_str()?))).collect::<Option<Vec<_>>>()
            });
            match (super::headers(&headers.to_string()), object, pairs) {
                (Err(_), _, None) => {}
                // What is wrong behind the first invalid header does not matter.
                (Ok(Err(error)), Some(object), _) => {
                    let is_invalid = (error.is_empty_name() && object.contains_key(""))
                        || (error.is_too_many() && object.len() > Headers::MAX_LEN);
                    prop_assert!(is_invalid, "{}", error);
                }
                (Ok(Ok(read)), _, Some(pairs)) => prop_assert!(read.iter().eq(pairs)),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,64}") {
            let _ = parse(&text);
            let _ = super::headers(&text);
        }

        /// A frame that was cut off anywhere has no id that counts.
        #[test]
        fn a_piece_of_a_frame_is_none(frame in any_frame(), part in 0.0..1.0) {
            let text = frame.to_string();
            let cut = (text.len() as f64 * part) as usize;
            if let Some(piece) = text.get(..cut) {
                prop_assert!(matches!(parse(piece), Err(Malformed::Nameless(_))));
            }
        }
    }
}
