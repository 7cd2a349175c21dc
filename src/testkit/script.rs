//! Responders that answer as a script says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::recorded::RecordedKind;
use super::recorder::Tapes;
use crate::lifecycle::EndSignal;
use crate::message::Message;
use crate::sync::Mutex;
use crate::sync::channel::RecvTimeoutError;

/// The answers of a scripted responder, one request after the other. Made by
/// [`TestKit::reply_to`](super::TestKit::reply_to).
///
/// Each of [`with`](Self::with), [`by`](Self::by), [`by_message`](Self::by_message), [`then_fail`](Self::then_fail) and
/// [`then_ignore`](Self::then_ignore) is one answer, for one request, in the order in which they are written down; the last
/// one is for all requests that come after it too. A script without an answer fails every request.
///
/// The responder is a handler with one thread: it answers requests in turn, and ignores messages that are no requests.
/// **Dropping the script** changes nothing; the responder goes on until the kit is dropped.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tramline::Bus;
/// use tramline::testkit::TestKit;
///
/// let bus = Bus::<&str, u32>::builder().build();
/// let kit = TestKit::new(&bus);
/// kit.reply_to("price.*")?.with(350).with(360).after(Duration::from_millis(5)).then_fail("out of stock");
///
/// assert_eq!(bus.request("price.tea", "a pound")?.wait()?, 350);
/// assert_eq!(bus.request("price.tea", "a pound")?.wait()?, 360); // 5 ms later
/// for _ in 0..2 {
///     let error = bus.request("price.tea", "a pound")?.wait().unwrap_err();
///     assert_eq!(error.to_string(), "the request failed: out of stock");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Script<T, R> {
    shared: Arc<ScriptState<T, R>>,
}

/// What the script shares with its responder.
pub(super) struct ScriptState<T, R> {
    tapes: Arc<Tapes<T>>,
    /// Ends with the kit.
    end: EndSignal,
    steps: Mutex<Steps<T, R>>,
}

struct Steps<T, R> {
    list: Vec<Step<T, R>>,
    /// The one for the next request, unless that is beyond the last.
    next: usize,
}

struct Step<T, R> {
    answer: ScriptedAnswer<T, R>,
    pause: Duration,
}

/// Makes the reply to a request, and its text.
type Make<T, R> = dyn FnMut(&Message<T, R>) -> (R, String) + Send;

enum ScriptedAnswer<T, R> {
    Reply(Box<Make<T, R>>),
    Fail(String),
    Ignore,
}

impl<T: 'static, R: 'static> Script<T, R> {
    pub(super) fn new(tapes: &Arc<Tapes<T>>, end: &EndSignal) -> Self {
        let steps = Mutex::new(Steps { list: Vec::new(), next: 0 });
        Self { shared: Arc::new(ScriptState { tapes: Arc::clone(tapes), end: end.clone(), steps }) }
    }

    pub(super) fn shared(&self) -> Arc<ScriptState<T, R>> {
        Arc::clone(&self.shared)
    }

    fn step(self, answer: ScriptedAnswer<T, R>) -> Self {
        self.shared.steps.lock().list.push(Step { answer, pause: Duration::ZERO });
        self
    }

    /// Answers one request with `reply`.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let kit = tramline::testkit::TestKit::new(&bus);
    /// kit.reply_to("double")?.with(42);
    /// assert_eq!(bus.request("double", 21)?.wait()?, 42);
    /// assert_eq!(bus.request("double", 8)?.wait()?, 42); // the last answer is for all that follow
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with(self, reply: R) -> Self
    where
        R: Clone + fmt::Debug + Send + 'static,
    {
        self.by(move |_| reply.clone())
    }

    /// Answers one request with the result of `f`.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let kit = tramline::testkit::TestKit::new(&bus);
    /// kit.reply_to("double")?.by(|n| 2 * n);
    /// assert_eq!(bus.request("double", 21)?.wait()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn by(self, mut f: impl FnMut(&T) -> R + Send + 'static) -> Self
    where
        R: fmt::Debug,
    {
        self.by_message(move |message| f(message.payload()))
    }

    /// Answers one request with the result of `f`, which looks at the whole message: its topic and headers too.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let kit = tramline::testkit::TestKit::new(&bus);
    /// kit.reply_to("price.*")?.by_message(|item| if item.headers().get("tenant") == Some("acme") { 90 } else { 100 });
    /// assert_eq!(bus.message("price.tea", 7).header("tenant", "acme").request()?.wait()?, 90);
    /// assert_eq!(bus.request("price.tea", 7)?.wait()?, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn by_message(self, mut f: impl FnMut(&Message<T, R>) -> R + Send + 'static) -> Self
    where
        R: fmt::Debug,
    {
        self.step(ScriptedAnswer::Reply(Box::new(move |message: &Message<T, R>| {
            let reply = f(message);
            let text = format!("{reply:?}");
            (reply, text)
        })))
    }

    /// Fails one request with the reason `why`. Its caller gets `Failed`. It may be the first answer of the script.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let kit = tramline::testkit::TestKit::new(&bus);
    /// kit.reply_to("divide")?.then_fail("by zero");
    /// assert_eq!(bus.request("divide", 0)?.wait().unwrap_err().to_string(), "the request failed: by zero");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn then_fail(self, why: impl Into<String>) -> Self {
        self.step(ScriptedAnswer::Fail(why.into()))
    }

    /// Drops one request without an answer. Its caller gets `Unanswered` if no other responder answers. It may be the first
    /// answer of the script.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let kit = tramline::testkit::TestKit::new(&bus);
    /// kit.reply_to("double")?.then_ignore().with(42);
    /// assert!(bus.request("double", 21)?.wait().unwrap_err().is_unanswered());
    /// assert_eq!(bus.request("double", 21)?.wait()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn then_ignore(self) -> Self {
        self.step(ScriptedAnswer::Ignore)
    }

    /// Delays the preceding answer by `pause`, from the moment that the responder takes the request. Other requests wait
    /// meanwhile. The end of the kit ends the pause, and leaves the request unanswered.
    ///
    /// # Panics
    ///
    /// If there is no preceding answer.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let bus = tramline::Bus::<u32>::new();
    /// let kit = tramline::testkit::TestKit::new(&bus);
    /// kit.reply_to("double")?.with(42).after(Duration::from_secs(60));
    /// let error = bus.request("double", 21)?.wait_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn after(self, pause: Duration) -> Self {
        let mut steps = self.shared.steps.lock();
        match steps.list.last_mut() {
            Some(step) => step.pause = pause,
            // A mistake in the test, found where it was made; documented under Panics.
            None => panic!("`after` has no answer before it to delay"),
        }
        drop(steps);
        self
    }
}

impl<T, R> ScriptState<T, R> {
    /// Answers one request. Runs on the one thread of the responder.
    pub(super) fn answer(&self, message: &Message<T, R>) {
        if !message.is_request() {
            return;
        }
        let Some((index, mut step)) = self.take() else {
            return self.fail(message, "the script has no answer");
        };
        // Nothing is ever sent: it ends in time, or with the kit.
        if !step.pause.is_zero() && self.end.recv_timeout(step.pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        // Written down before it is given, so that what the caller makes of it comes behind it.
        match &mut step.answer {
            ScriptedAnswer::Reply(make) => {
                let (reply, text) = make(message);
                self.tapes.write(message.topic(), || RecordedKind::Replied(text.clone()));
                // The caller may have gone, or another responder been first.
                let _ = message.reply(reply);
            }
            ScriptedAnswer::Fail(why) => self.fail(message, why),
            ScriptedAnswer::Ignore => self.tapes.write(message.topic(), || RecordedKind::Ignored),
        }
        self.steps.lock().list[index] = step;
    }

    fn fail(&self, message: &Message<T, R>, why: &str) {
        self.tapes.write(message.topic(), || RecordedKind::Refused(why.to_owned()));
        // The caller may have gone, or another responder been first.
        let _ = message.fail(why);
    }

    /// The step for the next request, out of its place while its closure runs; if that panics, the place stays as it is left
    /// here.
    fn take(&self) -> Option<(usize, Step<T, R>)> {
        let mut steps = self.steps.lock();
        let index = steps.next.min(steps.list.len().checked_sub(1)?);
        steps.next = index + 1;
        let empty = Step { answer: ScriptedAnswer::Fail("its closure has panicked".to_owned()), pause: Duration::ZERO };
        Some((index, std::mem::replace(&mut steps.list[index], empty)))
    }
}

impl<T, R> fmt::Debug for Script<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("answers", &self.shared.steps.lock().list.len()).finish_non_exhaustive()
    }
}
