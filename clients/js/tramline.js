/**
 * A client of a tramline gateway, for browsers and Node. It speaks `tramline.v1`, see `docs/gateway-protocol.md`;
 * `tramline.d.ts` says what its users may rely on.
 */

const SUBPROTOCOL = "tramline.v1";

/** Beyond the time between two pings, in ms, before a silent connection is taken for dead. */
const PING_GRACE = 20_000;

/** The longest time that timers know, in ms. */
const LONGEST = 2 ** 31 - 1;

/** The close code for a refused token. */
const UNAUTHORIZED = 3500;

/** Whether the same client would only be sent away again. */
const isFinal = (code) => code === 1003 || code === 1009 || (code >= 3500 && code <= 3999);

const textOf = (error) => (error instanceof Error ? error.message : String(error));

export class TramlineError extends Error {
  constructor(code, message = code, temporary = false) {
    super(message);
    this.name = "TramlineError";
    this.code = code;
    this.temporary = temporary;
  }
}

const disconnected = () =>
  new TramlineError("disconnected", "the connection went before the answer came: it may have been carried out", true);

/** One WebSocket, from before its handshake until it is over, which it says once. */
class Connection {
  #socket;
  #silence;
  #patience;
  #isOver = false;
  #onEvent;
  #onOver;

  /** `timeout` is for all that comes before `keepAlive` is called. */
  constructor({ url, WebSocket, token, id, timeout, onEvent, onOver }) {
    this.#onEvent = onEvent;
    this.#onOver = onOver;
    this.#listenFor(timeout);
    this.#open(url, WebSocket, token, id).catch((error) => this.end(undefined, textOf(error)));
  }

  async #open(url, WebSocket, token, id) {
    // Before the handshake, because after it the server does not wait long for `connect`.
    const said = typeof token === "function" ? await token() : token;
    if (this.#isOver) return;
    const socket = new WebSocket(url, SUBPROTOCOL);
    this.#socket = socket;
    // The listeners stay when it is over: some implementations throw an error that nobody listens to.
    socket.addEventListener("open", () => {
      if (!this.#isOver) this.send(JSON.stringify({ type: "connect", id, token: said }));
    });
    socket.addEventListener("message", ({ data }) => this.#hear(data));
    socket.addEventListener("close", ({ code, reason }) => this.#finish(code, reason));
    // It tells nothing that the `close` behind it does not.
    socket.addEventListener("error", () => {});
  }

  #hear(data) {
    if (this.#isOver) return;
    if (this.#patience) this.#listenFor(this.#patience);
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // As any event that is not known.
    }
    if (event) this.#onEvent(event);
  }

  #listenFor(patience) {
    clearTimeout(this.#silence);
    const giveUp = () => this.end(undefined, `nothing was heard for ${patience} ms`);
    this.#silence = setTimeout(giveUp, patience);
  }

  /** From now on every frame is a sign of life, and the connection is over when none has come for so long. */
  keepAlive(patience) {
    this.#patience = patience;
    this.#listenFor(patience);
  }

  send(text) {
    this.#socket.send(text);
  }

  /** Ends it without waiting for the other side, which may be dead. */
  end(code, reason) {
    this.#finish(code, reason);
    this.#socket?.close(1000);
  }

  #finish(code, reason) {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#silence);
    this.#onOver(code, reason);
  }
}

/**
 * Half as many commands a second as the server allows, and half as many at once: then it does not matter to the server
 * if some are held up on the way and come together.
 */
class Rate {
  #perMillisecond;
  #most;
  #left;
  #at = Date.now();

  constructor(perSecond = Infinity) {
    this.#perMillisecond = perSecond / 2000;
    this.#most = Math.max(1, perSecond / 2);
    // `connect` was one.
    this.#left = perSecond / 2 - 1;
  }

  /** Takes one, or tells in how many ms there will be one. */
  take() {
    const now = Date.now();
    // The clock may have been set, to any time.
    if (now > this.#at) this.#left = Math.min(this.#most, this.#left + (now - this.#at) * this.#perMillisecond);
    this.#at = now;
    if (this.#left < 1) return Math.ceil((1 - this.#left) / this.#perMillisecond);
    this.#left -= 1;
    return 0;
  }
}

/** A command and the promise of its answer, which the server, the timeout, the signal or the client settles, once. */
class Command {
  #resolve;
  #reject;
  #timer;
  #signal;
  #onAbort = () => this.fail(this.#signal.reason);
  #onSettled;

  constructor(id, fields, { timeout, signal, outlivesConnection = false, onOk, onSettled }) {
    this.id = id;
    // Written now: who called may change the payload later.
    this.text = JSON.stringify({ ...fields, id });
    this.outlivesConnection = outlivesConnection;
    /** Called before the next event is looked at, which a promise is not. */
    this.onOk = onOk;
    this.#onSettled = onSettled;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (timeout !== undefined) {
      const giveUp = () => this.fail(new TramlineError("timeout", `no answer within ${timeout} ms`, true));
      this.#timer = setTimeout(giveUp, timeout);
    }
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
  }

  succeed(event) {
    this.#settle();
    this.onOk?.();
    this.#resolve(event);
  }

  fail(error) {
    this.#settle();
    this.#reject(error);
  }

  #settle() {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#onSettled(this);
  }
}

class Message {
  #answer;

  constructor({ topic, payload, headers = {}, lost_before: lostBefore = 0 }, answer) {
    this.topic = topic;
    this.payload = payload;
    this.headers = headers;
    this.lostBefore = lostBefore;
    this.#answer = answer;
  }

  get isRequest() {
    return this.#answer !== undefined;
  }

  async reply(payload) {
    await this.#send({ payload });
  }

  async fail(text) {
    await this.#send({ error: String(text) });
  }

  #send(fields) {
    if (!this.#answer) throw new TramlineError("unknown_token", "the message is not a request");
    return this.#answer(fields);
  }
}

/** What the client holds of a subscription, through all connections. */
class Inbox {
  #callback;
  #report;
  #most;
  #messages = [];
  /** Those who wait for the next message. */
  #takers = [];
  #isOver = false;
  #confirm;
  #refuse;
  #tellEnd;

  constructor(pattern, options, callback, report) {
    const { queue = 1024, group, retained, overflow, capacity } = options;
    this.pattern = pattern;
    this.group = group;
    this.key = keyOf(pattern, group);
    this.fields = { type: "sub", pattern, group, retained, overflow, capacity };
    /** The last `sub` for it. */
    this.command = undefined;
    /** The promise of `unsubscribe`. */
    this.leaving = undefined;
    this.#most = Math.max(1, queue);
    this.#callback = callback;
    this.#report = report;
    this.ready = new Promise((resolve, reject) => {
      this.#confirm = resolve;
      this.#refuse = reject;
    });
    // Who does not care is told by `ended`.
    this.ready.catch(() => {});
    this.ended = new Promise((resolve) => (this.#tellEnd = resolve));
  }

  get isOver() {
    return this.#isOver;
  }

  get isIterable() {
    return !this.#callback;
  }

  confirm() {
    this.#confirm();
  }

  put(message) {
    if (this.#callback) {
      (async () => this.#callback(message))().catch(this.#report);
      return;
    }
    const taker = this.#takers.shift();
    if (taker) {
      taker({ value: message, done: false });
      return;
    }
    this.#messages.push(message);
    if (this.#messages.length > this.#most) {
      const { lostBefore } = this.#messages.shift();
      this.#messages[0].lostBefore += lostBefore + 1;
    }
  }

  async take() {
    const message = this.#messages.shift();
    if (message) return { value: message, done: false };
    if (this.#isOver) return { value: undefined, done: true };
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  discard() {
    this.#messages = [];
  }

  /** What is in it can still be taken. */
  end(why, error = new TramlineError(why, `the subscription has ended: ${why}`)) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#refuse(error);
    this.#tellEnd(why);
    for (const taker of this.#takers.splice(0)) taker({ value: undefined, done: true });
  }
}

/** The server tells subscriptions apart by pattern and group. */
const keyOf = (pattern, group) => JSON.stringify([pattern, group ?? null]);

class Subscription {
  #inbox;
  #unsubscribe;

  constructor(inbox, unsubscribe) {
    this.#inbox = inbox;
    this.#unsubscribe = unsubscribe;
  }

  get pattern() {
    return this.#inbox.pattern;
  }

  get group() {
    return this.#inbox.group;
  }

  get ready() {
    return this.#inbox.ready;
  }

  get ended() {
    return this.#inbox.ended;
  }

  unsubscribe() {
    return this.#unsubscribe();
  }

  [Symbol.asyncIterator]() {
    if (!this.#inbox.isIterable) throw new TypeError("its messages go to the callback");
    return {
      next: () => this.#inbox.take(),
      return: async (value) => {
        this.#inbox.discard();
        // Who leaves a loop has no use for the error.
        await this.unsubscribe().catch(() => {});
        return { value, done: true };
      },
    };
  }
}

export class Client extends EventTarget {
  #url;
  #WebSocket;
  #token;
  #timeout;
  #reconnect;
  #buffer;

  #state;
  #session;
  #limits;
  #connection;
  #connectId;
  #failures = 0;
  #retry;
  #isClosing = false;
  #nextId = 1;

  /** Commands that have not been sent, in their order. */
  #waiting = new Set();
  /** Commands that have been sent and have no answer yet, by their ids. */
  #inFlight = new Map();
  #rate;
  #pause;

  /** The inboxes that there are to be messages for. */
  #inboxes = new Map();
  /** Those of them that the server knows of. */
  #subscribed = new Map();

  constructor(url, options = {}) {
    super();
    const { token, reconnect = {}, buffer = 256, timeout = 10_000, WebSocket = globalThis.WebSocket } = options;
    const { min = 500, max = 20_000 } = reconnect;
    if (!WebSocket) throw new TypeError("there is no WebSocket here: give one in the options");
    this.#url = webSocketUrl(url);
    this.#WebSocket = WebSocket;
    this.#token = token;
    this.#timeout = Math.min(timeout, LONGEST);
    this.#reconnect = { min, max };
    this.#buffer = buffer;
    globalThis.addEventListener?.("online", this.#onOnline);
    this.#open();
  }

  get state() {
    return this.#state;
  }

  get session() {
    return this.#session;
  }

  get limits() {
    return this.#limits;
  }

  subscribe(pattern, options = {}, callback = undefined) {
    if (typeof options === "function") return this.subscribe(pattern, {}, options);
    const inbox = new Inbox(pattern, options, callback, this.#report);
    const subscription = new Subscription(inbox, () => (inbox.leaving ??= this.#unsubscribe(inbox)));
    if (this.#state === "closed") {
      inbox.end("closed");
    } else if (this.#inboxes.has(inbox.key)) {
      inbox.end("already_subscribed", new TramlineError("already_subscribed", `there is a subscription to ${pattern}`));
    } else {
      this.#inboxes.set(inbox.key, inbox);
      if (this.#state === "connected") this.#subscribe(inbox);
    }
    return subscription;
  }

  async publish(topic, payload, { headers, timeout, signal } = {}) {
    const fields = { type: "pub", topic, payload, headers };
    const { delivered, dropped } = await this.#ask(fields, { timeout, signal, outlivesConnection: true });
    return { delivered, dropped };
  }

  async request(topic, payload, { headers, timeout = this.#timeout, signal } = {}) {
    const fields = { type: "req", topic, payload, headers, timeout_ms: Math.ceil(Math.min(timeout, LONGEST)) };
    const { reply } = await this.#ask(fields, { timeout, signal, outlivesConnection: true });
    return reply;
  }

  serve(pattern, handler, options) {
    return this.subscribe(pattern, options, (message) => serveMessage(message, handler));
  }

  close() {
    if (this.#state === "closed") return;
    this.#isClosing = true;
    const reason = "the client was closed";
    if (this.#connection) this.#connection.end(1000, reason);
    else this.#finish(1000, reason);
  }

  // Connections.

  #open() {
    clearTimeout(this.#retry);
    this.#connectId = this.#nextId++;
    this.#connection = new Connection({
      url: this.#url,
      WebSocket: this.#WebSocket,
      token: this.#token,
      id: this.#connectId,
      timeout: this.#timeout,
      onEvent: (event) => this.#hear(event),
      onOver: (code, reason) => this.#lose(code, reason),
    });
    this.#change({ state: "connecting" });
  }

  #onOnline = () => {
    if (this.#state === "waiting") this.#open();
  };

  #hear(event) {
    switch (event.type) {
      case "connected":
        if (this.#state === "connecting") this.#start(event);
        break;
      case "ok":
        this.#inFlight.get(event.id)?.succeed(event);
        break;
      case "err":
        if (event.id === this.#connectId) this.#refuse(event);
        else this.#inFlight.get(event.id)?.fail(new TramlineError(event.code, event.message, event.temporary));
        break;
      case "msg":
        this.#deliver(event);
        break;
      case "unsubscribed":
        this.#end(this.#subscribed.get(keyOf(event.sub, event.group)), event.why);
        break;
    }
  }

  #start({ session, limits, ping_ms }) {
    this.#session = session;
    this.#limits = limits;
    this.#failures = 0;
    this.#rate = new Rate(limits?.commands_per_second);
    this.#connection.keepAlive(Math.min(ping_ms + PING_GRACE, LONGEST));
    this.#state = "connected";
    // Subscriptions first: what the commands cause may be meant for them.
    const commands = this.#waiting;
    this.#waiting = new Set();
    for (const inbox of this.#inboxes.values()) this.#subscribe(inbox);
    for (const command of commands) this.#waiting.add(command);
    this.#drain();
    this.#change({ state: "connected" });
  }

  /** The server closes the connection for it, with this code, but who knows when. */
  #refuse({ message, temporary }) {
    this.#connection.end(temporary ? undefined : UNAUTHORIZED, message);
  }

  #lose(code, reason) {
    this.#connection = undefined;
    this.#subscribed.clear();
    for (const command of this.#inFlight.values()) command.fail(disconnected());
    for (const command of this.#waiting) if (!command.outlivesConnection) command.fail(disconnected());
    if (this.#isClosing || isFinal(code)) {
      this.#finish(code, reason);
      return;
    }
    const { min, max } = this.#reconnect;
    const retryIn = Math.random() * Math.min(max, min * 2 ** this.#failures++);
    this.#retry = setTimeout(() => this.#open(), retryIn);
    this.#change({ state: "waiting", code, reason, retryIn });
  }

  #finish(code, reason) {
    clearTimeout(this.#retry);
    globalThis.removeEventListener?.("online", this.#onOnline);
    this.#state = "closed";
    for (const command of this.#waiting) command.fail(new TramlineError("closed", reason));
    for (const inbox of this.#inboxes.values()) this.#end(inbox, "closed");
    this.#change({ state: "closed", code, reason });
  }

  /** Comes last wherever it is called: who listens may call anything. */
  #change(detail) {
    this.#state = detail.state;
    this.dispatchEvent(new CustomEvent("state", { detail }));
  }

  #report = (error) => {
    if (typeof reportError === "function") reportError(error);
    else this.dispatchEvent(new CustomEvent("error", { detail: error }));
  };

  // Commands.

  async #ask(fields, { timeout = this.#timeout, signal, outlivesConnection }) {
    signal?.throwIfAborted();
    if (this.#state === "closed") throw new TramlineError("closed", "the client is closed");
    const within = Math.min(timeout, LONGEST);
    return this.#send(this.#command(fields, { timeout: within, signal, outlivesConnection })).answer;
  }

  #command(fields, options) {
    const onSettled = (command) => {
      this.#waiting.delete(command);
      this.#inFlight.delete(command.id);
    };
    return new Command(this.#nextId++, fields, { ...options, onSettled });
  }

  #send(command) {
    this.#waiting.add(command);
    this.#drain();
    // Only what users send without an end to it has a bound.
    const isTooMuch = command.outlivesConnection && this.#waiting.size > this.#buffer;
    if (isTooMuch) command.fail(new TramlineError("buffer_full", `${this.#buffer} commands wait to be sent`, true));
    return command;
  }

  #drain() {
    clearTimeout(this.#pause);
    if (this.#state !== "connected") return;
    for (const command of this.#waiting) {
      const pause = this.#rate.take();
      if (pause > 0) {
        this.#pause = setTimeout(() => this.#drain(), pause);
        return;
      }
      this.#waiting.delete(command);
      this.#write(command);
    }
  }

  #write(command) {
    const most = this.#limits?.frame ?? Infinity;
    // A frame that is too large would end the connection, and this client with it.
    if (isLonger(command.text, most)) {
      command.fail(new TramlineError("too_large", `the command has more than ${most} bytes`));
      return;
    }
    this.#inFlight.set(command.id, command);
    this.#connection.send(command.text);
  }

  // Subscriptions.

  #subscribe(inbox) {
    const onOk = () => {
      if (inbox.isOver) return; // There is an `unsub` on its way.
      this.#subscribed.set(inbox.key, inbox);
      inbox.confirm();
    };
    inbox.command = this.#command(inbox.fields, { onOk });
    inbox.command.answer.catch((error) => {
      // It is asked for again at the next connection.
      if (error.code !== "disconnected") this.#end(inbox, error.code, error);
    });
    this.#send(inbox.command);
  }

  async #unsubscribe(inbox) {
    if (inbox.isOver) return;
    this.#end(inbox, "unsubscribed");
    // If it was not asked for yet, there is nothing to take back.
    if (this.#state !== "connected" || this.#waiting.delete(inbox.command)) return;
    try {
      await this.#ask({ type: "unsub", pattern: inbox.pattern, group: inbox.group }, {});
    } catch (error) {
      // Either way the server does not know of it any more.
      if (error.code !== "not_subscribed" && error.code !== "disconnected") throw error;
    }
  }

  #end(inbox, why, error) {
    if (!inbox) return;
    // There may be another one with that key by now.
    for (const inboxes of [this.#inboxes, this.#subscribed]) {
      if (inboxes.get(inbox.key) === inbox) inboxes.delete(inbox.key);
    }
    inbox.end(why, error);
  }

  #deliver(event) {
    const inbox = this.#subscribed.get(keyOf(event.sub, event.group));
    if (!inbox) return;
    const { token } = event;
    const connection = this.#connection;
    const answer = token === undefined ? undefined : (fields) => this.#reply(connection, token, fields);
    inbox.put(new Message(event, answer));
  }

  async #reply(connection, token, fields) {
    // A token is good for the connection that got it.
    if (connection !== this.#connection) throw new TramlineError("unknown_token", "its connection has gone");
    await this.#ask({ type: "reply", token, ...fields }, {});
  }
}

/** Answers one message of a service. One that is no request is handled too, and its reply dropped. */
async function serveMessage(message, handler) {
  let reply;
  try {
    reply = await handler(message.payload, message);
  } catch (error) {
    if (!message.isRequest) throw error;
    await unlessTooLate(message.fail(textOf(error)));
    return;
  }
  try {
    // To what is no request there is no reply, as to one that is over.
    await unlessTooLate(message.reply(reply));
  } catch (error) {
    // It is nothing that can be sent. Without a word the caller would wait in vain.
    await unlessTooLate(message.fail(textOf(error)));
    throw error;
  }
}

/** The request or the connection may be over before the answer is there, and that is nobody's mistake. */
async function unlessTooLate(answering) {
  try {
    await answering;
  } catch (error) {
    if (!["unknown_token", "disconnected"].includes(error.code)) throw error;
  }
}

/** Whether a text has more bytes as UTF-8. */
function isLonger(text, bytes) {
  // No character has more than three for each of its units.
  return text.length * 3 > bytes && new TextEncoder().encode(text).length > bytes;
}

/** As browsers do by now: relative to the page, and with the schemes of HTTP too. */
function webSocketUrl(url) {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, "ws");
  return absolute.href;
}
