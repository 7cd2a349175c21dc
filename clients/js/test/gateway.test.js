import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before } from "node:test";

import { Client } from "../tramline.js";
import { codeOf, realWebSocket, startServer, state, test } from "./support.js";

const WebSocket = await realWebSocket();
let server;

before(async () => (server = await startServer()), { timeout: 600_000 });
after(() => server?.quit());

/** A client of the server for one test. */
function connect(t, { url = server.url, ...options } = {}) {
  const client = new Client(url, { WebSocket, reconnect: { min: 20, max: 100 }, ...options });
  t.after(() => client.close());
  return client;
}

/** A name that no other test uses. */
const unique = ((n) => (prefix) => `${prefix}.${n++}`)(0);

async function first(subscription, count) {
  const got = [];
  for await (const { payload } of subscription) if (got.push(payload) === count) break;
  return got;
}

test("what one publishes another gets, in order", async (t) => {
  const [ann, ben] = [connect(t), connect(t)];
  const room = unique("chat");
  const subscription = ann.subscribe(room);
  await subscription.ready;
  const lines = [{ text: "hello" }, "é✓", 3.5, null, [true, { "": [] }]];
  for (const line of lines) assert.deepEqual(await ben.publish(room, line), { delivered: 1, dropped: 0 });
  assert.deepEqual(await first(subscription, lines.length), lines);
  // The loop has unsubscribed.
  assert.deepEqual(await ben.publish(room, "anybody?"), { delivered: 0, dropped: 0 });
});

test("headers come with messages and requests", async (t) => {
  const [ann, ben] = [connect(t), connect(t)];
  const headers = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", empty: "" };
  const room = unique("chat");
  const subscription = ann.subscribe(room);
  const topic = unique("service");
  const service = ann.serve(topic, (_, message) => message.headers);
  await Promise.all([subscription.ready, service.ready]);
  await ben.publish(room, 1, { headers });
  await ben.publish(room, 2);
  const got = [];
  for await (const message of subscription) if (got.push(message.headers) === 2) break;
  assert.deepEqual(got, [headers, {}]);
  assert.deepEqual(await ben.request(topic, null, { headers }), headers);
  assert.deepEqual(await ben.request(topic, null), {});
  for (const invalid of [{ "": "x" }, { tenant: "x".repeat(257) }]) {
    assert.equal(await codeOf(ben.publish(room, 3, { headers: invalid })), "bad_header");
    assert.equal(await codeOf(ben.request(topic, 3, { headers: invalid })), "bad_header");
  }
  assert.equal(await codeOf(ben.publish(room, 4, { headers: { tenant: 7 } })), "bad_command");
});

test("the limits of the server are known", async (t) => {
  const client = connect(t);
  await state(client, "connected");
  assert.match(client.session, /^[0-9a-f]{16}$/);
  assert.deepEqual(client.limits, {
    frame: 65_536,
    topic: 255,
    subscriptions: 128,
    capacity: 256,
    commands_per_second: 200,
    timeout_ms: 30_000,
  });
});

test("a retained value comes first", async (t) => {
  const subscription = connect(t).subscribe("status.>", { retained: true });
  for await (const { topic, payload, isRequest } of subscription) {
    assert.deepEqual([topic, isRequest], ["status.version", false]);
    assert.match(payload, /^\d+\.\d+\.\d+$/);
    break;
  }
});

test("requests to the server, many at once", async (t) => {
  const client = connect(t);
  const numbers = Array.from({ length: 50 }, (_, n) => n);
  assert.deepEqual(await Promise.all(numbers.map((n) => client.request("echo", { n }))), numbers.map((n) => ({ n })));
});

test("a service replies, fails, and is gone", async (t) => {
  const [ann, ben] = [connect(t), connect(t)];
  const topic = unique("service");
  const service = ann.serve(topic, async (n) => {
    if (n < 0) throw new Error("it is negative");
    return Math.sqrt(n);
  });
  await service.ready;
  assert.equal(await ben.request(topic, 9), 3);
  const error = await ben.request(topic, -1).catch((error) => error);
  assert.deepEqual([error.code, error.message, error.temporary], ["failed", "it is negative", false]);
  await service.unsubscribe();
  const refused = await ben.request(topic, 9).catch((error) => error);
  assert.deepEqual([refused.code, refused.temporary], ["no_responders", true]);
});

test("a service with a group shares the requests", async (t) => {
  const topic = unique("service");
  const served = [0, 0];
  const services = served.map((_, index) => {
    const handler = () => (served[index] += 1);
    return connect(t).serve(topic, handler, { group: "workers" });
  });
  await Promise.all(services.map((service) => service.ready));
  const client = connect(t);
  await Promise.all(Array.from({ length: 40 }, () => client.request(topic, null)));
  assert.equal(served[0] + served[1], 40);
});

test("a message can be answered once", async (t) => {
  const [ann, ben] = [connect(t), connect(t)];
  const topic = unique("service");
  const subscription = ann.subscribe(topic);
  await subscription.ready;
  const asking = ben.request(topic, "?");
  for await (const message of subscription) {
    assert.equal(message.isRequest, true);
    await message.reply("first");
    assert.equal(await codeOf(message.reply("second")), "unknown_token");
    break;
  }
  assert.equal(await asking, "first");
});

test("a request that nobody answers is over in time, or when nobody is left", async (t) => {
  const [ann, ben] = [connect(t), connect(t)];
  const topic = unique("service");
  const subscription = ann.subscribe(topic);
  await subscription.ready;
  assert.equal(await codeOf(ben.request(topic, "?", { timeout: 50 })), "timeout");
  const asking = codeOf(ben.request(topic, "?"));
  await first(subscription, 2);
  ann.close();
  assert.equal(await asking, "unanswered");
});

test("what is not allowed is refused", async (t) => {
  const client = connect(t);
  assert.equal(await codeOf(client.publish("status.version", "9")), "denied");
  assert.equal(await codeOf(client.request("chat.lobby", "?")), "denied");
  assert.equal(await codeOf(client.publish("chat..lobby", 1)), "bad_topic");
  const subscription = client.subscribe(">");
  assert.equal(await codeOf(subscription.ready), "denied");
  assert.equal(await subscription.ended, "denied");
  const greedy = client.subscribe("chat.greedy", { capacity: 2000 });
  assert.equal(await greedy.ended, "bad_option");
  assert.equal(client.state, "connected");
});

test("a command that is too large does not end the connection", async (t) => {
  const client = connect(t);
  await state(client, "connected");
  assert.equal(await codeOf(client.publish("chat.lobby", "x".repeat(65_536))), "too_large");
  assert.deepEqual(await client.request("echo", "x".repeat(60_000)), "x".repeat(60_000));
});

test("more commands than the server allows at once are all carried out", async (t) => {
  const client = connect(t, { buffer: 300 });
  const room = unique("chat");
  const answers = await Promise.all(Array.from({ length: 250 }, (_, n) => client.publish(room, n)));
  assert.equal(answers.length, 250);
});

test("the token is checked, and a client without it is not let in", async (t) => {
  const guarded = await startServer({ token: "open sesame" });
  t.after(() => guarded.quit());
  const friend = connect(t, { url: guarded.url, token: async () => "open sesame" });
  assert.equal(await friend.request("echo", "it works"), "it works");
  const stranger = connect(t, { url: guarded.url, token: "open barley" });
  const waiting = stranger.request("echo", 1);
  const [{ detail }] = await once(stranger, "state");
  assert.deepEqual(detail, { state: "closed", code: 3500, reason: "the token was refused" });
  assert.equal(await codeOf(waiting), "closed");
});

test("after a restart of the server everything is there again", async (t) => {
  const old = await startServer();
  const [ann, ben] = [connect(t, { url: old.url }), connect(t, { url: old.url })];
  const details = [];
  ann.addEventListener("state", ({ detail }) => details.push(detail));
  const subscription = ann.subscribe("chat.lobby");
  const topic = unique("service");
  const service = ann.serve(topic, (payload) => payload);
  await Promise.all([subscription.ready, service.ready]);
  assert.equal(await ben.request(topic, "before"), "before");
  const { session } = ann;

  await old.quit();
  await Promise.all([ann, ben].map((client) => state(client, "waiting")));
  const { code, reason } = details.find(({ state }) => state === "waiting");
  assert.deepEqual([code, reason], [3001, "the server is shutting down, connect again"]);
  // Both wait for the next server.
  const publishing = ann.publish("chat.lobby", "in between");

  const next = await startServer({ port: old.port });
  t.after(() => next.quit());
  assert.deepEqual(await publishing, { delivered: 1, dropped: 0 });
  assert.deepEqual(await first(subscription, 1), ["in between"]);
  assert.notEqual(ann.session, session);
  assert.equal(await ben.request(topic, "after"), "after");
});
