import assert from "node:assert/strict";

import { Client } from "../tramline.js";
import { fakeClient, fakeWebSocket, connectedClient, test, turn } from "./support.js";

test("it connects at once, and tells its states", (t) => {
  const { client, WebSocket, states } = fakeClient(t, { token: "secret" });
  const socket = WebSocket.last;
  assert.deepEqual([socket.url, socket.protocol], ["ws://localhost/bus", "tramline.v1"]);
  assert.equal(client.state, "connecting");
  socket.open();
  assert.equal(socket.the("connect").token, "secret");
  assert.equal(client.state, "connecting");
  socket.say({ type: "connected", session: "5e55", ping_ms: 25_000, limits: { frame: 100 } });
  assert.deepEqual([client.state, client.session, client.limits], ["connected", "5e55", { frame: 100 }]);
  assert.deepEqual(states, [{ state: "connected" }]);
});

test("the url may be that of a page", () => {
  for (const [given, used] of [
    ["http://example.com/bus", "ws://example.com/bus"],
    ["https://example.com:8443/bus?a=1", "wss://example.com:8443/bus?a=1"],
    ["wss://example.com/", "wss://example.com/"],
  ]) {
    const WebSocket = fakeWebSocket();
    new Client(given, { WebSocket }).close();
    assert.equal(WebSocket.last.url, used);
  }
  globalThis.location = { href: "https://example.com/pages/chat.html" };
  try {
    const WebSocket = fakeWebSocket();
    new Client("/bus", { WebSocket }).close();
    assert.equal(WebSocket.last.url, "wss://example.com/bus");
  } finally {
    delete globalThis.location;
  }
  assert.throws(() => new Client("no url", { WebSocket: fakeWebSocket() }), TypeError);
});

test("a token that is a function is asked for at each connection, before the handshake", async (t) => {
  const tokens = ["first", "second"];
  const { WebSocket, tick } = fakeClient(t, { token: async () => tokens.shift() });
  assert.equal(WebSocket.sockets.length, 0);
  await turn();
  WebSocket.last.connect();
  assert.equal(WebSocket.last.the("connect").token, "first");
  WebSocket.last.drop(1006);
  tick(500);
  await turn();
  WebSocket.last.connect();
  assert.equal(WebSocket.last.the("connect").token, "second");
});

test("a token that cannot be had is asked for again", async (t) => {
  const tokens = [Promise.reject(new Error("no token today")), Promise.resolve("fresh")];
  const { WebSocket, states, tick } = fakeClient(t, { token: () => tokens.shift() });
  await turn();
  assert.deepEqual(states, [{ state: "waiting", code: undefined, reason: "no token today", retryIn: 500 }]);
  tick(500);
  await turn();
  WebSocket.last.open();
  assert.equal(WebSocket.last.the("connect").token, "fresh");
});

test("it waits longer each time, up to the most, and begins anew when it has connected", (t) => {
  const { WebSocket, states, tick } = fakeClient(t, { reconnect: { min: 100, max: 1000 } });
  const waits = [];
  const fail = () => {
    WebSocket.last.drop(1006);
    const { state, retryIn } = states.at(-1);
    assert.equal(state, "waiting");
    waits.push(retryIn);
    const count = WebSocket.sockets.length;
    tick(retryIn - 1);
    assert.equal(WebSocket.sockets.length, count);
    tick(1);
    assert.equal(WebSocket.sockets.length, count + 1);
    assert.equal(states.at(-1).state, "connecting");
  };
  for (let n = 0; n < 6; n++) fail();
  WebSocket.last.connect();
  fail();
  assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000, 100]);
});

test("the waits are half a second to twenty if nobody says otherwise", (t) => {
  for (const [reconnect, first, last] of [
    [undefined, 500, 20_000],
    [{ min: 7 }, 7, 20_000],
    [{ max: 3000 }, 500, 3000],
  ]) {
    const { client, WebSocket, states, tick } = fakeClient(t, { reconnect });
    for (let n = 0; n < 15; n++) {
      WebSocket.last.drop(1006);
      tick(states.at(-1).retryIn);
    }
    const waits = states.filter(({ state }) => state === "waiting").map(({ retryIn }) => retryIn);
    assert.deepEqual([waits[0], waits.at(-1)], [first, last]);
    client.close();
    t.mock.reset();
  }
});

test("a wait is any part of what it may be", (t) => {
  const { WebSocket, states } = connectedClient(t);
  t.mock.method(Math, "random", () => 0.25);
  WebSocket.last.drop(3001, "the server is shutting down");
  const waiting = { state: "waiting", code: 3001, reason: "the server is shutting down", retryIn: 125 };
  assert.deepEqual(states.at(-1), waiting);
});

test("some close codes are final", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  for (const [code, state] of [
    [1003, "closed"],
    [1009, "closed"],
    [3500, "closed"],
    [3999, "closed"],
    [1000, "waiting"],
    [1006, "waiting"],
    [3001, "waiting"],
    [3499, "waiting"],
    [4000, "waiting"],
  ]) {
    const WebSocket = fakeWebSocket();
    const client = new Client("ws://localhost/", { WebSocket });
    const details = [];
    client.addEventListener("state", ({ detail }) => details.push(detail));
    WebSocket.last.connect();
    WebSocket.last.drop(code, "because");
    assert.equal(client.state, state, String(code));
    assert.deepEqual([details.at(-1).code, details.at(-1).reason], [code, "because"]);
    t.mock.timers.tick(60_000);
    assert.equal(WebSocket.sockets.length, state === "closed" ? 1 : 2, String(code));
    client.close();
  }
});

test("a refused token is final, also before the close code comes", (t) => {
  const { client, WebSocket, states } = fakeClient(t);
  WebSocket.last.open();
  WebSocket.last.err("connect", "unauthorized");
  assert.equal(client.state, "closed");
  assert.deepEqual(states, [{ state: "closed", code: 3500, reason: "it is unauthorized" }]);
  WebSocket.last.drop(3500);
  assert.equal(states.length, 1);
});

test("a connect that is refused for now is tried again", (t) => {
  const { client, WebSocket } = fakeClient(t);
  WebSocket.last.open();
  WebSocket.last.err("connect", "too_many_requests", true);
  assert.equal(client.state, "waiting");
});

test("a connection of which nothing is heard is replaced", (t) => {
  const { client, WebSocket, states, tick } = connectedClient(t, {}, { ping_ms: 10_000 });
  const [first] = WebSocket.sockets;
  tick(29_999);
  first.say({ type: "ping" });
  tick(29_999);
  // Any frame is a sign of life.
  first.say({ type: "of another version" });
  tick(29_999);
  assert.equal(client.state, "connected");
  tick(1);
  assert.deepEqual([client.state, first.closedWith], ["waiting", 1000]);
  assert.equal(states.at(-1).reason, "nothing was heard for 30000 ms");
  tick(500);
  // The old one has nothing to say any more.
  first.say({ type: "connected", session: "old", ping_ms: 1, limits: {} });
  assert.equal(client.state, "connecting");
  WebSocket.last.connect();
  assert.equal(client.state, "connected");
  first.drop(3500);
  assert.deepEqual([client.state, client.session], ["connected", "5e55"]);
});

test("a handshake that takes too long is given up", (t) => {
  const { client, WebSocket, tick } = fakeClient(t, { timeout: 3000 });
  tick(2999);
  WebSocket.last.open();
  WebSocket.last.say({ type: "ping" });
  assert.equal(client.state, "connecting");
  tick(1);
  assert.deepEqual([client.state, WebSocket.last.closedWith], ["waiting", 1000]);
  tick(500);
  WebSocket.last.open();
  WebSocket.last.say({ type: "connected", session: "5e55", ping_ms: 25_000, limits: {} });
  tick(3000);
  assert.equal(client.state, "connected");
});

test("when the browser is online again, the wait is over", (t) => {
  const page = new EventTarget();
  const remove = t.mock.method(page, "removeEventListener");
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  try {
    const { client, WebSocket, tick } = connectedClient(t);
    page.dispatchEvent(new Event("online"));
    assert.equal(WebSocket.sockets.length, 1);
    WebSocket.last.drop(1006);
    page.dispatchEvent(new Event("online"));
    assert.deepEqual([client.state, WebSocket.sockets.length], ["connecting", 2]);
    // The timer of the wait is gone with it.
    tick(500);
    assert.equal(WebSocket.sockets.length, 2);
    WebSocket.last.drop(1006);
    client.close();
    page.dispatchEvent(new Event("online"));
    assert.deepEqual([client.state, WebSocket.sockets.length, remove.mock.callCount()], ["closed", 2, 1]);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

test("close is for good, in any state", (t) => {
  const { client, WebSocket, states, tick } = connectedClient(t);
  client.close();
  client.close();
  assert.deepEqual([client.state, WebSocket.last.closedWith], ["closed", 1000]);
  assert.deepEqual(states.at(-1), { state: "closed", code: 1000, reason: "the client was closed" });
  assert.equal(states.length, 2);

  const waiting = new Client("ws://localhost/", { WebSocket });
  WebSocket.last.drop(1006);
  waiting.close();
  assert.equal(waiting.state, "closed");

  const connecting = new Client("ws://localhost/", { WebSocket });
  connecting.close();
  WebSocket.last.open();
  assert.deepEqual([connecting.state, WebSocket.last.sent], ["closed", []]);

  tick(60_000);
  assert.equal(WebSocket.sockets.length, 3);
});

test("a client that is closed while its token is asked for makes no connection", async (t) => {
  const { client, WebSocket } = fakeClient(t, { token: async () => "late" });
  client.close();
  await turn();
  assert.equal(WebSocket.sockets.length, 0);
});

test("what is not of the protocol is ignored", async (t) => {
  const { client, WebSocket } = connectedClient(t);
  const texts = ['{"type":"news","id":1}', '{"type":"ok","id":99}', "{}", "null", "7", '"text"', "[]", "no JSON", ""];
  for (const text of texts) WebSocket.last.sayText(text);
  WebSocket.last.sayText(new ArrayBuffer(3));
  WebSocket.last.say({ type: "msg", sub: "nobody.asked", topic: "nobody.asked", payload: 1 });
  WebSocket.last.say({ type: "unsubscribed", sub: "nobody.asked", why: "closed" });
  WebSocket.last.say({ type: "connected", session: "another", ping_ms: 25_000, limits: {} });
  // An error of a listener comes a little later.
  await turn();
  assert.deepEqual([client.state, client.session], ["connected", "5e55"]);
});

test("without a WebSocket there is no client", () => {
  assert.throws(() => new Client("ws://localhost/", { WebSocket: null }), /there is no WebSocket here/);
});
