//! The types that a hub sends and receives by: events and requests.

#[cfg(doc)]
use super::Hub;

/// A message with one topic of its own, for [`Hub::publish`], [`Hub::subscribe`] and [`Hub::on`].
///
/// # Examples
///
/// ```
/// use tramline::{Event, Hub};
///
/// #[derive(Clone)]
/// struct DoorOpened { door: u32 }
///
/// impl Event for DoorOpened {
///     const TOPIC: &'static str = "door.opened";
/// }
///
/// let hub = Hub::new();
/// let log = hub.subscribe::<DoorOpened>()?;
/// hub.publish(DoorOpened { door: 1 })?;
/// assert_eq!(log.recv()?.door, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an `Event`",
    label = "has no topic of its own",
    note = "implement `Event` with a `TOPIC`; use `hub.request` for a request, `hub.bus::<T>()` for other types"
)]
pub trait Event: Clone + Send + 'static {
    /// The topic on which the event is published and received. It must be a [`Topic`](crate::Topic): a pattern with
    /// wildcards is not valid. An invalid topic is an error of every [`Hub::publish`], [`Hub::subscribe`] and [`Hub::on`].
    const TOPIC: &'static str;
}

/// A message that asks for an answer, with one topic of its own, for [`Hub::request`] and [`Hub::serve`].
///
/// The bus of a request is [`hub.bus_with_reply::<Q, Q::Reply>()`](Hub::bus_with_reply); `hub.bus::<Q>()` is a
/// different bus, which never sees the request.
///
/// # Examples
///
/// ```
/// use tramline::{Hub, Request};
///
/// #[derive(Clone)]
/// struct IsOpen { door: u32 }
///
/// impl Request for IsOpen {
///     type Reply = bool;
///     const TOPIC: &'static str = "door.is-open";
/// }
///
/// let hub = Hub::new();
/// let _doors = hub.serve::<IsOpen>(|request| request.door == 1)?;
/// assert!(hub.request(IsOpen { door: 1 })?.wait()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Request`",
    label = "has no topic and reply of its own",
    note = "implement `Request` with a `Reply` and a `TOPIC`",
    note = "use `hub.publish` for an event, `hub.bus_with_reply::<T, R>()` for other types"
)]
pub trait Request: Clone + Send + 'static {
    /// The type of the answer.
    type Reply: Send + 'static;
    /// The topic on which the request is sent and served. It must be a [`Topic`](crate::Topic): a pattern with wildcards is
    /// not valid. An invalid topic is an error of every [`Hub::request`] and [`Hub::serve`].
    const TOPIC: &'static str;
}
