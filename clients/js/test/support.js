import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test as nodeTest } from "node:test";
import { fileURLToPath } from "node:url";

import { Client } from "../tramline.js";

/** Every test has a limit of its own. */
export const test = (name, body) => nodeTest(name, { timeout: 20_000 }, body);

/** Lets everything happen that needs no time to pass. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A WebSocket of which the test is the other side; `sockets` are those that were made, in their order. */
export function fakeWebSocket() {
  return class FakeWebSocket extends EventTarget {
    static sockets = [];

    static get last() {
      return this.sockets.at(-1);
    }

    sent = [];
    closedWith = undefined;

    constructor(url, protocol) {
      super();
      Object.assign(this, { url, protocol });
      this.constructor.sockets.push(this);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close(code) {
      this.closedWith = code;
    }

    open() {
      this.dispatchEvent(new Event("open"));
    }

    say(event) {
      this.sayText(JSON.stringify(event));
    }

    sayText(data) {
      this.dispatchEvent(Object.assign(new Event("message"), { data }));
    }

    drop(code, reason = "") {
      this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
    }

    /** What was sent with this type. */
    all(type) {
      return this.sent.filter((command) => command.type === type);
    }

    /** The last one, which has to be there. */
    the(type) {
      const command = this.all(type).at(-1);
      assert.ok(command, `no ${type} among ${JSON.stringify(this.sent)}`);
      return command;
    }

    ok(type, fields) {
      this.say({ type: "ok", id: this.the(type).id, ...fields });
    }

    err(type, code, temporary = false) {
      this.say({ type: "err", id: this.the(type).id, code, message: `it is ${code}`, temporary });
    }

    /** The whole of the handshake. */
    connect({ limits = {}, ping_ms = 25_000 } = {}) {
      this.open();
      this.say({ type: "connected", session: "5e55", ping_ms, limits });
      this.ok("connect");
    }
  };
}

/** A client with a fake WebSocket and timers that the test moves. Waits are as long as they may be. */
export function fakeClient(t, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.mock.method(Math, "random", () => 1);
  const WebSocket = fakeWebSocket();
  const client = new Client("ws://localhost/bus", { WebSocket, ...options });
  const states = [];
  client.addEventListener("state", ({ detail }) => states.push(detail));
  return { client, WebSocket, states, tick: (ms) => t.mock.timers.tick(ms) };
}

/** The same, when it has connected. */
export function connectedClient(t, options, welcome) {
  const fake = fakeClient(t, options);
  fake.WebSocket.last.connect(welcome);
  assert.equal(fake.client.state, "connected");
  return fake;
}

/** The code of what a promise is rejected with. */
export async function codeOf(promise) {
  const value = await promise.catch((error) => error);
  assert.ok(value instanceof Error, `it is fulfilled: ${JSON.stringify(value)}`);
  return value.code;
}

/** Starts `examples/gateway.rs`, on any free port unless one is given. */
export async function startServer({ port = 0, token } = {}) {
  const program = process.env.TRAMLINE_GATEWAY;
  const own = ["--port", String(port), ...(token === undefined ? [] : ["--token", token])];
  const cargo = ["run", "--quiet", "--example", "gateway", "--features", "gateway", "--"];
  const [command, args] = program ? [program, own] : ["cargo", [...cargo, ...own]];
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const server = spawn(command, args, { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(server, "exit");
  const lines = createInterface(server.stdout);
  const first = await Promise.race([once(lines, "line"), exited.then(() => assert.fail("the server did not start"))]);
  const { port: bound } = new URL(first[0].replace("listening on ", ""));
  return {
    port: Number(bound),
    url: `ws://127.0.0.1:${bound}/bus`,
    async quit() {
      server.stdin.end("quit\n");
      await exited;
    },
  };
}

/** That of Node 22 and later; before that, the one package that only tests need. */
export const realWebSocket = async () => globalThis.WebSocket ?? (await import("ws")).WebSocket;

/** Waits until the client is in this state. */
export async function state(client, wanted) {
  while (client.state !== wanted) await once(client, "state");
}
