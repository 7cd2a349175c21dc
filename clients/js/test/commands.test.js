import assert from "node:assert/strict";

import { TramlineError } from "../tramline.js";
import { codeOf, connectedClient, fakeClient, test, turn } from "./support.js";

const topics = (socket) => socket.all("pub").map((command) => command.topic);

test("publish tells how many got it", async (t) => {
  const { client, WebSocket } = connectedClient(t);
  const publishing = client.publish("chat.lobby", { text: "hello" });
  const { id, ...command } = WebSocket.last.the("pub");
  assert.deepEqual(command, { type: "pub", topic: "chat.lobby", payload: { text: "hello" } });
  assert.ok(Number.isSafeInteger(id));
  WebSocket.last.ok("pub", { delivered: 3, dropped: 1 });
  assert.deepEqual(await publishing, { delivered: 3, dropped: 1 });
  client.close();
});

test("request has the reply, and tells the server how long it waits", async (t) => {
  const { client, WebSocket } = connectedClient(t);
  const asking = client.request("weather.JFK", { Ask: "JFK" }, { timeout: 2000 });
  const { id: _, ...command } = WebSocket.last.the("req");
  assert.deepEqual(command, { type: "req", topic: "weather.JFK", payload: { Ask: "JFK" }, timeout_ms: 2000 });
  WebSocket.last.ok("req", { reply: { celsius: 4 } });
  assert.deepEqual(await asking, { celsius: 4 });
});

test("headers go with what is published and requested, and only if there are any", (t) => {
  const { client, WebSocket } = connectedClient(t);
  const headers = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
  client.publish("a", 1, { headers }).catch(() => {});
  client.request("b", 2, { headers }).catch(() => {});
  client.publish("c", 3).catch(() => {});
  client.request("d", 4).catch(() => {});
  const sent = [...WebSocket.last.all("pub"), ...WebSocket.last.all("req")];
  assert.deepEqual(sent.map((command) => [command.topic, command.headers]), [
    ["a", headers],
    ["c", undefined],
    ["b", headers],
    ["d", undefined],
  ]);
  client.close();
});

test("answers find their commands in any order", async (t) => {
  const { client, WebSocket } = connectedClient(t);
  const asking = [client.request("a"), client.request("b")];
  const [a, b] = WebSocket.last.all("req");
  assert.notEqual(a.id, b.id);
  WebSocket.last.say({ type: "ok", id: b.id, reply: "to b" });
  WebSocket.last.say({ type: "ok", id: a.id, reply: "to a" });
  assert.deepEqual(await Promise.all(asking), ["to a", "to b"]);
});

test("an error of the server has its code", async (t) => {
  const { client, WebSocket } = connectedClient(t);
  for (const [code, temporary] of [
    ["denied", false],
    ["no_responders", true],
  ]) {
    const asking = client.request("secret.plans", null);
    WebSocket.last.err("req", code, temporary);
    const error = await asking.catch((error) => error);
    assert.ok(error instanceof TramlineError);
    assert.deepEqual([error.name, error.code, error.temporary], ["TramlineError", code, temporary]);
    assert.equal(error.message, `it is ${code}`);
  }
});

test("commands wait for the connection, and are sent after connect and the subscriptions", async (t) => {
  const { client, WebSocket } = fakeClient(t);
  const publishing = client.publish("first", 1);
  const asking = client.request("second", 2);
  client.subscribe("third");
  WebSocket.last.open();
  assert.deepEqual(WebSocket.last.sent.map((command) => command.type), ["connect"]);
  WebSocket.last.connect();
  assert.deepEqual(WebSocket.last.sent.slice(-3).map((command) => command.type), ["sub", "pub", "req"]);
  WebSocket.last.ok("pub", { delivered: 1, dropped: 0 });
  WebSocket.last.ok("req", { reply: "yes" });
  assert.deepEqual(await Promise.all([publishing, asking]), [{ delivered: 1, dropped: 0 }, "yes"]);
});

test("what waits is as it was when it was published", (t) => {
  const { client, WebSocket } = fakeClient(t);
  const payload = { text: "before" };
  client.publish("chat", payload).catch(() => {});
  payload.text = "after";
  WebSocket.last.connect();
  assert.deepEqual(WebSocket.last.the("pub").payload, { text: "before" });
  client.close();
});

test("no more wait than may, and subscriptions do not count", async (t) => {
  const { client, WebSocket } = fakeClient(t, { buffer: 2 });
  for (let n = 0; n < 5; n++) client.subscribe(`any.${n}`);
  const publishing = [client.publish("a"), client.publish("b")];
  const error = await client.request("c").catch((error) => error);
  assert.deepEqual([error.code, error.temporary], ["buffer_full", true]);
  WebSocket.last.connect();
  assert.deepEqual([topics(WebSocket.last), WebSocket.last.all("req")], [["a", "b"], []]);
  client.close();
  assert.deepEqual(await Promise.all(publishing.map(codeOf)), ["disconnected", "disconnected"]);
});

test("256 commands may wait if nobody says otherwise", async (t) => {
  const { client } = fakeClient(t);
  const codes = Array.from({ length: 257 }, (_, n) => codeOf(client.publish("a", n)));
  await turn();
  client.close();
  assert.deepEqual(await Promise.all(codes), [...Array(256).fill("closed"), "buffer_full"]);
});

test("with no buffer, commands need a connection", async (t) => {
  const { client, WebSocket } = fakeClient(t, { buffer: 0 });
  assert.equal(await codeOf(client.publish("a")), "buffer_full");
  WebSocket.last.connect();
  const publishing = client.publish("b");
  WebSocket.last.ok("pub", { delivered: 0, dropped: 0 });
  await publishing;
});

test("what was in flight when the connection went is rejected, and never sent twice", async (t) => {
  const { client, WebSocket, tick } = connectedClient(t);
  const commands = [client.publish("once", 1), client.request("once", 2)];
  WebSocket.last.drop(1006);
  const errors = await Promise.all(commands.map((command) => command.catch((error) => error)));
  for (const { code, temporary } of errors) assert.deepEqual([code, temporary], ["disconnected", true]);
  const waiting = client.publish("later", 3);
  tick(500);
  WebSocket.last.connect();
  assert.deepEqual([topics(WebSocket.last), WebSocket.last.all("req")], [["later"], []]);
  WebSocket.last.ok("pub", { delivered: 0, dropped: 0 });
  await waiting;
});

test("a command has a time limit, and its late answer is nothing", async (t) => {
  const { client, WebSocket, tick } = connectedClient(t, { timeout: 1000 });
  const publishing = codeOf(client.publish("slow", 1));
  const asking = codeOf(client.request("slow", 1, { timeout: 2000 }));
  tick(999);
  const inTime = client.publish("quick", 1);
  WebSocket.last.ok("pub", { delivered: 1, dropped: 0 });
  await inTime;
  tick(1);
  assert.equal(await publishing, "timeout");
  tick(999);
  WebSocket.last.say({ type: "ping" });
  tick(1);
  assert.equal(await asking, "timeout");
  WebSocket.last.ok("req", { reply: "late" });
  assert.equal(client.state, "connected");
});

test("a command that has waited too long is not sent any more", async (t) => {
  const { client, WebSocket, tick } = connectedClient(t);
  WebSocket.last.drop(1006);
  const publishing = codeOf(client.publish("stale", 1, { timeout: 400 }));
  tick(500);
  assert.equal(await publishing, "timeout");
  WebSocket.last.connect();
  assert.deepEqual(topics(WebSocket.last), []);
});

test("the time limit is ten seconds if nobody says otherwise", async (t) => {
  const { client, tick } = connectedClient(t);
  const asking = codeOf(client.request("slow"));
  tick(9999);
  const asked = codeOf(client.request("slow"));
  tick(1);
  assert.equal(await asking, "timeout");
  client.close();
  assert.equal(await asked, "disconnected");
});

test("a time limit may be none", async (t) => {
  const { client, WebSocket, tick } = connectedClient(t);
  const asking = client.request("slow", 1, { timeout: Infinity });
  tick(40_000);
  WebSocket.last.say({ type: "ping" });
  tick(40_000);
  WebSocket.last.ok("req", { reply: "at last" });
  assert.equal(await asking, "at last");
  assert.ok(Number.isSafeInteger(WebSocket.last.the("req").timeout_ms));
});

test("a signal ends the wait with its reason, before, in the buffer and in flight", async (t) => {
  const { client, WebSocket, tick } = fakeClient(t);
  const reason = new Error("the page was left");
  await assert.rejects(client.request("a", 1, { signal: AbortSignal.abort(reason) }), reason);

  const inBuffer = new AbortController();
  const asking = client.request("a", 1, { signal: inBuffer.signal });
  inBuffer.abort(reason);
  await assert.rejects(asking, reason);
  WebSocket.last.connect();
  assert.deepEqual(WebSocket.last.all("req"), []);

  const inFlight = new AbortController();
  const asked = client.request("a", 1, { signal: inFlight.signal });
  inFlight.abort();
  await assert.rejects(asked, { name: "AbortError" });
  WebSocket.last.ok("req", { reply: "late" });

  const answered = new AbortController();
  const remove = t.mock.method(answered.signal, "removeEventListener");
  const quick = client.request("a", 1, { signal: answered.signal });
  WebSocket.last.ok("req", { reply: "quick" });
  assert.equal(await quick, "quick");
  // It is settled: neither time nor the end of the connection have to do with it any more.
  tick(20_000);
  client.close();
  assert.equal(remove.mock.callCount(), 1);
});

test("a payload that is no JSON is the caller's mistake", async (t) => {
  const { client, WebSocket } = connectedClient(t);
  await assert.rejects(client.publish("a", 1n), TypeError);
  assert.deepEqual(topics(WebSocket.last), []);
});

test("a command that would end the connection is not sent", async (t) => {
  const { client, WebSocket } = connectedClient(t, {}, { limits: { frame: 100 } });
  const error = await client.publish("a", "é".repeat(40)).catch((error) => error);
  assert.deepEqual([error.code, error.temporary], ["too_large", false]);
  assert.deepEqual(topics(WebSocket.last), []);
  client.publish("b", "e".repeat(40)).catch(() => {});
  assert.deepEqual(topics(WebSocket.last), ["b"]);
  client.close();
});

test("commands are held back to half of what the server allows, in their order", (t) => {
  const { client, WebSocket, tick } = connectedClient(t, { buffer: 20 }, { limits: { commands_per_second: 20 } });
  const socket = WebSocket.last;
  for (let n = 0; n < 29; n++) client.publish(String(n)).catch(() => {});
  // `connect` was one of ten.
  assert.equal(topics(socket).length, 9);
  tick(100);
  assert.equal(topics(socket).length, 10);
  client.publish("29").catch(() => {});
  // In small steps: the clock of the mock is at the end of a step when its timers fire.
  for (let step = 0; step < 20; step++) tick(100);
  assert.deepEqual(topics(socket), Array.from({ length: 30 }, (_, n) => String(n)));
  // However long there were none, no more than ten come at once.
  tick(20_000);
  for (let n = 30; n < 45; n++) client.publish(String(n)).catch(() => {});
  assert.equal(topics(socket).length, 40);
  client.close();
});

test("subscriptions are held back too, and come first", async (t) => {
  const { client, WebSocket, tick } = fakeClient(t);
  const publishing = client.publish("news", 1);
  for (let n = 0; n < 12; n++) client.subscribe(`any.${n}`);
  WebSocket.last.connect({ limits: { commands_per_second: 20 } });
  assert.deepEqual([WebSocket.last.all("sub").length, topics(WebSocket.last)], [9, []]);
  tick(1000);
  assert.deepEqual([WebSocket.last.all("sub").length, topics(WebSocket.last)], [12, ["news"]]);
  WebSocket.last.ok("pub", { delivered: 1, dropped: 0 });
  await publishing;
});

test("what is held back when the connection goes is sent by the next one", async (t) => {
  const { client, WebSocket, tick } = connectedClient(t, { buffer: 2 }, { limits: { commands_per_second: 4 } });
  for (const topic of ["a", "b", "c"]) client.publish(topic).catch(() => {});
  client.subscribe("d");
  client.subscribe("e");
  await turn();
  assert.deepEqual([topics(WebSocket.last), WebSocket.last.all("sub")], [["a"], []]);
  WebSocket.last.drop(1006);
  tick(500);
  WebSocket.last.connect();
  assert.deepEqual(WebSocket.last.all("sub").map(({ pattern }) => pattern), ["d", "e"]);
  assert.deepEqual(topics(WebSocket.last), ["b", "c"]);
  client.close();
});

test("after the end of the client commands are rejected", async (t) => {
  const { client, WebSocket } = fakeClient(t);
  const waiting = codeOf(client.publish("a"));
  client.close();
  assert.equal(await waiting, "closed");
  assert.equal(await codeOf(client.request("b")), "closed");
  const subscription = client.subscribe("c");
  assert.equal(await codeOf(subscription.ready), "closed");
  assert.equal(await subscription.ended, "closed");
  WebSocket.last.open();
  await turn();
  assert.deepEqual(WebSocket.last.sent, []);
});
