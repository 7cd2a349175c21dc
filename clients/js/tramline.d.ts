/** Where the client is: `waiting` is between two attempts to connect, `closed` is for good. */
export type State = "connecting" | "connected" | "waiting" | "closed";

/** The detail of a `state` event. */
export interface StateDetail {
  state: State;
  /** The close code of the connection that has gone, if it had one. */
  code?: number;
  /** Why it has gone. */
  reason?: string;
  /** With `waiting`: in how many ms the next attempt begins. */
  retryIn?: number;
}

/** What the server allows, as it says when a client connects. */
export interface Limits {
  /** The longest frame, in bytes. */
  frame: number;
  /** The longest topic or pattern, in bytes. */
  topic: number;
  /** Subscriptions of a connection. */
  subscriptions: number;
  /** The largest capacity that a subscription may ask for. */
  capacity: number;
  commands_per_second: number;
  /** The longest time that a request may wait. */
  timeout_ms: number;
}

/** What the client needs of a WebSocket, as browsers, Node 22 and the package `ws` have it. */
export type WebSocketConstructor = new (url: string, protocol: string) => {
  send(text: string): void;
  close(code?: number): void;
  addEventListener(type: any, listener: (event: any) => void): void;
};

export interface ClientOptions {
  /** What to say in `connect`. A function is asked anew for each connection. */
  token?: string | (() => string | Promise<string>);
  /**
   * The wait before a connection is attempted again is a random part of a time that begins with `min` ms (500) and is
   * doubled with each attempt that fails, up to `max` ms (20,000).
   */
  reconnect?: { min?: number; max?: number };
  /** The most commands that wait to be sent. 256. One more is rejected with `buffer_full`. */
  buffer?: number;
  /** How many ms a command waits for its answer, and a connection to be made. 10,000. */
  timeout?: number;
  /** Where there is no global one. */
  WebSocket?: WebSocketConstructor;
}

export interface SubscribeOptions {
  /** Whether the last value of each topic comes first; after each reconnect, too. */
  retained?: boolean;
  /** Each message goes to one member of the group. */
  group?: string;
  /** What the server does with messages that it cannot encode in time. `drop_oldest`. */
  overflow?: "drop_oldest" | "drop_newest" | "disconnect";
  /** How many messages may wait for that. */
  capacity?: number;
  /** The most messages that wait here for a loop. 1024. Beyond it the oldest go, and are counted in `lostBefore`. */
  queue?: number;
}

/** A few short pairs of strings beside the payload, such as `traceparent`. */
export type MessageHeaders = Record<string, string>;

export interface CommandOptions {
  /** At most 16; a name of 1 to 256 bytes, a value of up to 256. One that is not is rejected with `bad_header`. */
  headers?: MessageHeaders;
  /** How many ms to wait for the answer; what the client's options say, if nothing. */
  timeout?: number;
  /** Ends the wait, with the reason of the signal. What was sent already is not taken back. */
  signal?: AbortSignal;
}

/** To how many mailboxes a message went. */
export interface Delivery {
  delivered: number;
  dropped: number;
}

/** The codes of the protocol, and those of the client itself. */
export type ErrorCode =
  | "bad_command"
  | "not_connected"
  | "already_connected"
  | "unauthorized"
  | "denied"
  | "bad_topic"
  | "bad_payload"
  | "bad_header"
  | "bad_option"
  | "already_subscribed"
  | "not_subscribed"
  | "too_many_subscriptions"
  | "too_many_requests"
  | "timeout"
  | "no_responders"
  | "unanswered"
  | "failed"
  | "unknown_token"
  | "closed"
  /** The connection went while the command was in flight: it may or may not have been carried out. */
  | "disconnected"
  /** Too many commands wait to be sent. */
  | "buffer_full"
  /** The command has more bytes than the server allows. It was not sent. */
  | "too_large"
  /** A subscription was taken back before it was ready. */
  | "unsubscribed";

export class TramlineError extends Error {
  constructor(code: string, message?: string, temporary?: boolean);
  /** A later version of the server may have codes that are not listed. */
  readonly code: ErrorCode | (string & {});
  /** Whether the same command may succeed later. */
  readonly temporary: boolean;
}

export interface Message<T = unknown, R = unknown> {
  readonly topic: string;
  readonly payload: T;
  /** Empty if it has none. */
  readonly headers: Readonly<MessageHeaders>;
  /** How many messages are missing before this one, as far as anybody knows: not those of a time without a connection. */
  readonly lostBefore: number;
  readonly isRequest: boolean;
  /** Answers the request. It is rejected with `unknown_token` if that is over, or was none. */
  reply(value: R): Promise<void>;
  /** Fails the request; whoever asked gets the text. */
  fail(text: string): Promise<void>;
}

/**
 * Messages, in the order in which they came: for the callback, or for a `for await` loop, which ends when the
 * subscription does and unsubscribes when it is left. After a reconnect the subscription is there again.
 */
export interface Subscription<T = unknown, R = unknown> extends AsyncIterable<Message<T, R>> {
  readonly pattern: string;
  readonly group: string | undefined;
  /** Fulfilled when the server has confirmed it for the first time; rejected with `TramlineError` if it does not. */
  readonly ready: Promise<void>;
  /** Why it has ended: `unsubscribed`, `closed`, `overflowed`, `denied`, or the code of an error. Never rejected. */
  readonly ended: Promise<string>;
  /** Fulfilled when the server has confirmed it. No message comes once it is called; what waits in the queue remains. */
  unsubscribe(): Promise<void>;
}

interface ClientEvents {
  state: CustomEvent<StateDetail>;
  /** What a callback has thrown, where there is no `reportError`. */
  error: CustomEvent<unknown>;
}

/** As in the types of the DOM, which are not everywhere. */
type Listener<E> = ((event: E) => void) | { handleEvent(event: E): void };
type Listening = boolean | { capture?: boolean; once?: boolean; passive?: boolean; signal?: AbortSignal };

export class Client extends EventTarget {
  /** Connects at once; `url` may be relative to the page, and have the scheme of HTTP. */
  constructor(url: string | URL, options?: ClientOptions);

  readonly state: State;
  /** The name of the last connection at the server; `undefined` before the first. */
  readonly session: string | undefined;
  readonly limits: Limits | undefined;

  subscribe<T = unknown, R = unknown>(
    pattern: string,
    options?: SubscribeOptions,
    callback?: (message: Message<T, R>) => unknown,
  ): Subscription<T, R>;
  subscribe<T = unknown, R = unknown>(
    pattern: string,
    callback: (message: Message<T, R>) => unknown,
  ): Subscription<T, R>;

  publish(topic: string, payload?: unknown, options?: CommandOptions): Promise<Delivery>;

  request<R = unknown>(topic: string, payload?: unknown, options?: CommandOptions): Promise<R>;

  /** Answers requests with what the handler returns; one that throws fails the request. */
  serve<T = unknown, R = unknown>(
    pattern: string,
    handler: (payload: T, message: Message<T, R>) => R | Promise<R>,
    options?: SubscribeOptions,
  ): Subscription<T, R>;

  /** Ends the connection, all subscriptions, and all commands that have no answer yet. */
  close(): void;

  addEventListener<K extends keyof ClientEvents>(type: K, listener: Listener<ClientEvents[K]>, options?: Listening): void;
  addEventListener(type: string, listener: Listener<Event> | null, options?: Listening): void;
  removeEventListener<K extends keyof ClientEvents>(
    type: K,
    listener: Listener<ClientEvents[K]>,
    options?: boolean | { capture?: boolean },
  ): void;
  removeEventListener(
    type: string,
    listener: Listener<Event> | null,
    options?: boolean | { capture?: boolean },
  ): void;
}
