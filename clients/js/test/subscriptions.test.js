import assert from "node:assert/strict";

import { codeOf, connectedClient, fakeClient, test, turn } from "./support.js";

/** Says a message of this subscription. */
const say = (WebSocket, sub, payload, more) => WebSocket.last.say({ type: "msg", sub, topic: sub, payload, ...more });

/** A subscription that the server knows of. */
function subscribed({ client, WebSocket }, pattern, options, callback) {
  const subscription = client.subscribe(pattern, options, callback);
  WebSocket.last.ok("sub");
  return subscription;
}

async function payloads(subscription) {
  const all = [];
  for await (const { payload } of subscription) all.push(payload);
  return all;
}

test("subscribe sends its options, and is ready with the ok", async (t) => {
  const { client, WebSocket } = connectedClient(t);
  const options = { retained: true, group: "workers", overflow: "disconnect", capacity: 8, queue: 5 };
  const subscription = client.subscribe("jobs.>", options);
  const { id: _, ...command } = WebSocket.last.the("sub");
  const { queue: __, ...sent } = options;
  assert.deepEqual(command, { type: "sub", pattern: "jobs.>", ...sent });
  assert.deepEqual([subscription.pattern, subscription.group], ["jobs.>", "workers"]);
  WebSocket.last.ok("sub");
  await subscription.ready;
});

test("a message has its headers, or none", async (t) => {
  const fake = connectedClient(t);
  const got = [];
  subscribed(fake, "a", {}, ({ headers }) => got.push(headers));
  say(fake.WebSocket, "a", 1, { headers: { tenant: "acme" } });
  say(fake.WebSocket, "a", 2);
  await turn();
  assert.deepEqual(got, [{ tenant: "acme" }, {}]);
  fake.client.close();
});

test("messages come in order, whoever waits first", async (t) => {
  const fake = connectedClient(t);
  const subscription = subscribed(fake, "a");
  const iterator = subscription[Symbol.asyncIterator]();
  const early = [iterator.next(), iterator.next()];
  for (let n = 0; n < 4; n++) say(fake.WebSocket, "a", n);
  const late = [iterator.next(), iterator.next(), iterator.next()];
  fake.WebSocket.last.say({ type: "unsubscribed", sub: "a", why: "closed" });
  const results = await Promise.all([...early, ...late]);
  assert.deepEqual(results.map(({ value, done }) => [value?.payload, done]), [
    [0, false],
    [1, false],
    [2, false],
    [3, false],
    [undefined, true],
  ]);
});

test("a message has all its fields", async (t) => {
  const messages = [];
  const fake = connectedClient(t);
  subscribed(fake, "weather.*", {}, (message) => messages.push(message));
  const WebSocket = fake.WebSocket;
  WebSocket.last.say({ type: "msg", sub: "weather.*", topic: "weather.JFK", payload: { celsius: 4 } });
  WebSocket.last.say({ type: "msg", sub: "weather.*", topic: "weather.LGA", payload: 0, lost_before: 7, token: "b2" });
  const fields = messages.map(({ topic, payload, lostBefore, isRequest }) => [topic, payload, lostBefore, isRequest]);
  assert.deepEqual(fields, [
    ["weather.JFK", { celsius: 4 }, 0, false],
    ["weather.LGA", 0, 7, true],
  ]);
});

test("beyond the bound of its queue the oldest go, and are counted", async (t) => {
  const fake = connectedClient(t);
  const subscription = subscribed(fake, "a", { queue: 2 });
  for (let n = 0; n < 5; n++) say(fake.WebSocket, "a", n, { lost_before: n === 1 ? 10 : undefined });
  const iterator = subscription[Symbol.asyncIterator]();
  const next = async () => {
    const { payload, lostBefore } = (await iterator.next()).value;
    return [payload, lostBefore];
  };
  assert.deepEqual(await next(), [3, 13]);
  assert.deepEqual(await next(), [4, 0]);
});

test("a queue has room for 1024 if nobody says otherwise", async (t) => {
  const fake = connectedClient(t);
  const subscription = subscribed(fake, "a");
  for (let n = 0; n < 1025; n++) say(fake.WebSocket, "a", n);
  const { value } = await subscription[Symbol.asyncIterator]().next();
  assert.deepEqual([value.payload, value.lostBefore], [1, 1]);
});

test("the first message may come together with the ok", async (t) => {
  const { client, WebSocket } = connectedClient(t);
  const subscription = client.subscribe("a");
  WebSocket.last.ok("sub");
  say(WebSocket, "a", "retained");
  WebSocket.last.say({ type: "unsubscribed", sub: "a", why: "closed" });
  assert.deepEqual(await payloads(subscription), ["retained"]);
});

test("groups of a pattern are told apart", async (t) => {
  const fake = connectedClient(t);
  const got = [];
  for (const group of [undefined, "one", "two"]) {
    subscribed(fake, "a", { group }, ({ payload }) => got.push([group, payload]));
  }
  say(fake.WebSocket, "a", 1, { group: "two" });
  say(fake.WebSocket, "a", 2);
  say(fake.WebSocket, "a", 3, { group: "one" });
  assert.deepEqual(got, [["two", 1], [undefined, 2], ["one", 3]]);
});

test("when the server ends a subscription, its loop ends after what has come", async (t) => {
  for (const why of ["closed", "overflowed", "denied"]) {
    const fake = connectedClient(t);
    const subscription = subscribed(fake, "a");
    say(fake.WebSocket, "a", 1);
    fake.WebSocket.last.say({ type: "unsubscribed", sub: "a", why });
    assert.deepEqual(await payloads(subscription), [1]);
    assert.equal(await subscription.ended, why);
    await subscription.unsubscribe();
    assert.deepEqual(fake.WebSocket.last.all("unsub"), []);
    fake.client.close();
    t.mock.reset();
  }
});

test("a subscription that is refused ends with the code", async (t) => {
  const { client, WebSocket } = connectedClient(t);
  const subscription = client.subscribe("secret");
  WebSocket.last.err("sub", "denied");
  assert.equal(await codeOf(subscription.ready), "denied");
  assert.equal(await subscription.ended, "denied");
  assert.deepEqual(await payloads(subscription), []);
  // The pattern is free again.
  client.subscribe("secret");
  assert.equal(WebSocket.last.all("sub").length, 2);
});

test("nobody has to look at a refusal", async (t) => {
  const { client, WebSocket } = connectedClient(t);
  client.subscribe("secret", () => {});
  WebSocket.last.err("sub", "denied");
  await turn();
});

test("a second subscription to the same is refused here", async (t) => {
  const { client, WebSocket } = fakeClient(t);
  client.subscribe("a");
  const second = client.subscribe("a");
  assert.equal(await codeOf(second.ready), "already_subscribed");
  assert.equal(await second.ended, "already_subscribed");
  client.subscribe("a", { group: "g" });
  WebSocket.last.connect();
  assert.equal(WebSocket.last.all("sub").length, 2);
});

test("unsubscribe waits for its ok, and nothing comes any more", async (t) => {
  const fake = connectedClient(t);
  const { WebSocket } = fake;
  const subscription = subscribed(fake, "a", { group: "g" });
  say(WebSocket, "a", 1, { group: "g" });
  const unsubscribing = subscription.unsubscribe();
  const { id: _, ...command } = WebSocket.last.the("unsub");
  assert.deepEqual(command, { type: "unsub", pattern: "a", group: "g" });
  say(WebSocket, "a", 2, { group: "g" });
  assert.equal(await subscription.ended, "unsubscribed");
  let isOver = false;
  const again = subscription.unsubscribe().then(() => (isOver = true));
  await turn();
  assert.equal(isOver, false);
  WebSocket.last.ok("unsub", { left: 0 });
  await Promise.all([unsubscribing, again]);
  assert.equal(WebSocket.last.all("unsub").length, 1);
  assert.deepEqual(await payloads(subscription), [1]);
});

test("unsubscribe does not mind that the server has been quicker, or the connection has gone", async (t) => {
  const fake = connectedClient(t);
  const { WebSocket } = fake;
  const first = subscribed(fake, "a");
  const second = subscribed(fake, "b");
  const third = subscribed(fake, "c");
  const unsubscribing = first.unsubscribe();
  WebSocket.last.say({ type: "unsubscribed", sub: "a", why: "closed" });
  WebSocket.last.err("unsub", "not_subscribed");
  await unsubscribing;
  assert.equal(await first.ended, "unsubscribed");
  const cut = second.unsubscribe();
  WebSocket.last.drop(1006);
  await cut;
  await third.unsubscribe();
  fake.tick(500);
  WebSocket.last.connect();
  assert.deepEqual(WebSocket.last.all("sub"), []);
});

test("a subscription that was never asked for need not be taken back", async (t) => {
  const { client, WebSocket } = fakeClient(t);
  const subscription = client.subscribe("a");
  await subscription.unsubscribe();
  assert.equal(await codeOf(subscription.ready), "unsubscribed");
  WebSocket.last.connect({ limits: { commands_per_second: 2 } });
  assert.deepEqual(WebSocket.last.all("sub"), []);
  // The rate holds this one back.
  const heldBack = client.subscribe("b");
  await heldBack.unsubscribe();
  assert.deepEqual([WebSocket.last.all("sub"), WebSocket.last.all("unsub")], [[], []]);
});

test("the same pattern can be subscribed to at once after it was left", async (t) => {
  const { client, WebSocket } = connectedClient(t);
  const first = client.subscribe("a");
  const unsubscribing = first.unsubscribe();
  const second = client.subscribe("a");
  const [sub, again] = WebSocket.last.all("sub");
  WebSocket.last.say({ type: "ok", id: sub.id });
  say(WebSocket, "a", "for the first");
  WebSocket.last.ok("unsub");
  await unsubscribing;
  WebSocket.last.say({ type: "ok", id: again.id });
  say(WebSocket, "a", "for the second");
  WebSocket.last.say({ type: "unsubscribed", sub: "a", why: "closed" });
  assert.deepEqual(await payloads(second), ["for the second"]);
  assert.deepEqual(await payloads(first), []);
});

test("what becomes of an old subscription does not touch the one after it", async (t) => {
  const { client, WebSocket, tick } = connectedClient(t);
  const unsubscribing = client.subscribe("a").unsubscribe();
  client.subscribe("a");
  const [sub] = WebSocket.last.all("sub");
  WebSocket.last.say({ type: "err", id: sub.id, code: "too_many_requests", message: "", temporary: true });
  WebSocket.last.err("unsub", "not_subscribed");
  await unsubscribing;
  WebSocket.last.ok("sub");
  WebSocket.last.drop(1006);
  tick(500);
  WebSocket.last.connect();
  assert.equal(WebSocket.last.all("sub").length, 1);
});

test("break in a loop unsubscribes", async (t) => {
  const fake = connectedClient(t);
  const subscription = subscribed(fake, "a");
  say(fake.WebSocket, "a", 1);
  say(fake.WebSocket, "a", 2);
  const leaving = (async () => {
    for await (const message of subscription) if (message.payload === 1) break;
  })();
  await turn();
  fake.WebSocket.last.ok("unsub");
  await leaving;
  assert.equal(await subscription.ended, "unsubscribed");
  assert.deepEqual(await payloads(subscription), []);
});

test("a subscription with a callback has no loop", (t) => {
  const { client } = connectedClient(t);
  const subscription = client.subscribe("a", () => {});
  assert.throws(() => subscription[Symbol.asyncIterator](), TypeError);
});

test("callbacks that throw do no harm, and are reported", async (t) => {
  const fake = connectedClient(t);
  const reported = [];
  fake.client.addEventListener("error", ({ detail }) => reported.push(detail.message));
  const got = [];
  subscribed(fake, "a", ({ payload }) => {
    got.push(payload);
    throw new Error(`thrown ${payload}`);
  });
  subscribed(fake, "b", async ({ payload }) => {
    throw new Error(`rejected ${payload}`);
  });
  say(fake.WebSocket, "a", 1);
  say(fake.WebSocket, "a", 2);
  say(fake.WebSocket, "b", 3);
  await turn();
  assert.deepEqual(got, [1, 2]);
  assert.deepEqual(reported, ["thrown 1", "thrown 2", "rejected 3"]);

  globalThis.reportError = (error) => reported.push(`globally ${error.message}`);
  try {
    say(fake.WebSocket, "a", 4);
    await turn();
  } finally {
    delete globalThis.reportError;
  }
  assert.equal(reported.at(-1), "globally thrown 4");
  assert.equal(reported.length, 4);
});

test("after a reconnect all subscriptions are there again, with their options", async (t) => {
  const fake = connectedClient(t);
  const { client, WebSocket, tick } = fake;
  const a = subscribed(fake, "a", { retained: true });
  const got = [];
  subscribed(fake, "b", { group: "g" }, ({ payload }) => got.push(payload));
  const cut = client.subscribe("c");
  say(WebSocket, "a", 1);
  WebSocket.last.drop(1006);
  await turn();
  const later = client.subscribe("d");
  tick(500);
  WebSocket.last.connect();
  const asked = WebSocket.last.all("sub");
  assert.deepEqual(asked.map(({ id: _, type: __, ...rest }) => rest), [
    { pattern: "a", retained: true },
    { pattern: "b", group: "g" },
    { pattern: "c" },
    { pattern: "d" },
  ]);
  // Nothing comes for one before its ok.
  say(WebSocket, "a", "too early");
  for (const { id } of asked) WebSocket.last.say({ type: "ok", id });
  await Promise.all([cut.ready, later.ready]);
  say(WebSocket, "a", 2);
  say(WebSocket, "b", 3, { group: "g" });
  WebSocket.last.say({ type: "unsubscribed", sub: "a", why: "closed" });
  assert.deepEqual(await payloads(a), [1, 2]);
  assert.deepEqual(got, [3]);
});

test("a subscription that is refused after a reconnect ends with the code", async (t) => {
  const fake = connectedClient(t);
  const subscription = subscribed(fake, "a");
  fake.WebSocket.last.drop(1006);
  fake.tick(500);
  fake.WebSocket.last.connect();
  fake.WebSocket.last.err("sub", "denied");
  assert.equal(await subscription.ended, "denied");
  assert.deepEqual(await payloads(subscription), []);
  // It was ready once.
  await subscription.ready;
});

test("when the client ends, so do its subscriptions", async (t) => {
  const fake = connectedClient(t);
  const first = subscribed(fake, "a");
  const second = fake.client.subscribe("b");
  say(fake.WebSocket, "a", 1);
  fake.WebSocket.last.drop(3501);
  assert.equal(await first.ended, "closed");
  assert.deepEqual(await payloads(first), [1]);
  assert.equal(await codeOf(second.ready), "closed");
});

test("a request is answered, or fails, with its token", async (t) => {
  const fake = connectedClient(t);
  const { WebSocket } = fake;
  const messages = [];
  subscribed(fake, "a", (message) => void messages.push(message));
  say(WebSocket, "a", "?", { token: "b2" });
  say(WebSocket, "a", "??", { token: "b3" });
  say(WebSocket, "a", "!");
  const replying = messages[0].reply({ celsius: 4 });
  const { id: _, ...reply } = WebSocket.last.the("reply");
  assert.deepEqual(reply, { type: "reply", token: "b2", payload: { celsius: 4 } });
  WebSocket.last.ok("reply");
  assert.equal(await replying, undefined);
  const failing = messages[1].fail("no thermometer");
  const { id: __, ...failure } = WebSocket.last.the("reply");
  assert.deepEqual(failure, { type: "reply", token: "b3", error: "no thermometer" });
  WebSocket.last.err("reply", "unknown_token");
  assert.equal(await codeOf(failing), "unknown_token");
  assert.equal(await codeOf(messages[2].reply(1)), "unknown_token");
});

test("a token is not taken to another connection", async (t) => {
  const fake = connectedClient(t);
  const messages = [];
  subscribed(fake, "a", (message) => void messages.push(message));
  say(fake.WebSocket, "a", "?", { token: "0" });
  fake.WebSocket.last.drop(1006);
  assert.equal(await codeOf(messages[0].reply(1)), "unknown_token");
  fake.tick(500);
  fake.WebSocket.last.connect();
  assert.equal(await codeOf(messages[0].reply(1)), "unknown_token");
  assert.deepEqual(fake.WebSocket.last.all("reply"), []);
});

/** A service on `s`, and what it has reported. */
function serving(t, handler, options) {
  const fake = connectedClient(t);
  const reported = [];
  fake.client.addEventListener("error", ({ detail }) => reported.push(detail));
  const service = fake.client.serve("s", handler, options);
  fake.WebSocket.last.ok("sub");
  const ask = async (payload, token) => {
    say(fake.WebSocket, "s", payload, { token, group: options?.group });
    await turn();
  };
  return { ...fake, reported, service, ask };
}

test("a service replies with what it returns", async (t) => {
  const double = async (n, { topic }) => [topic, 2 * n];
  const { WebSocket, service, ask, reported } = serving(t, double, { group: "g" });
  await service.ready;
  assert.equal(WebSocket.last.the("sub").group, "g");
  await ask(21, "0");
  const { token, payload } = WebSocket.last.the("reply");
  assert.deepEqual([token, payload], ["0", ["s", 42]]);
  WebSocket.last.ok("reply");
  const unsubscribing = service.unsubscribe();
  WebSocket.last.ok("unsub");
  await unsubscribing;
  assert.deepEqual(reported, []);
});

test("a service that throws fails the request, and goes on", async (t) => {
  const { WebSocket, ask, reported } = serving(t, (text) => {
    if (text === "text") throw "no error at all";
    throw new Error(`there is no ${text} on the menu`);
  });
  await ask("soup", "0");
  assert.equal(WebSocket.last.the("reply").error, "there is no soup on the menu");
  WebSocket.last.ok("reply");
  await ask("text", "1");
  assert.equal(WebSocket.last.the("reply").error, "no error at all");
  WebSocket.last.ok("reply");
  await turn();
  assert.deepEqual(reported, []);
});

test("a service handles what is no request too, without a reply", async (t) => {
  const got = [];
  const { WebSocket, ask, reported } = serving(t, (payload) => {
    got.push(payload);
    if (payload === 2) throw new Error("two");
  });
  await ask(1);
  await ask(2);
  assert.deepEqual([got, WebSocket.last.all("reply")], [[1, 2], []]);
  assert.deepEqual(reported.map((error) => error.message), ["two"]);
});

test("a reply that comes too late is nobody's mistake", async (t) => {
  const { client, WebSocket, ask, reported } = serving(t, (payload) => payload);
  await ask(1, "0");
  WebSocket.last.err("reply", "unknown_token");
  await ask(2, "1");
  WebSocket.last.drop(1006);
  await turn();
  client.close();
  await turn();
  assert.deepEqual(reported, []);
});

test("a reply that cannot be sent fails the request, and is reported", async (t) => {
  const { WebSocket, ask, reported } = serving(t, (payload) => (payload === "big" ? 1n : payload));
  await ask("not of this bus", "0");
  WebSocket.last.err("reply", "bad_payload");
  await turn();
  const { token, error } = WebSocket.last.the("reply");
  assert.deepEqual([token, error], ["0", "it is bad_payload"]);
  WebSocket.last.ok("reply");
  await ask("big", "1");
  assert.match(WebSocket.last.the("reply").error, /BigInt/);
  WebSocket.last.ok("reply");
  await turn();
  assert.deepEqual(reported.map((error) => error.code ?? error.name), ["bad_payload", "TypeError"]);
});
