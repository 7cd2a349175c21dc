// The program `airport_web`, as a process of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const START_MS = 20_000;

export class Server {
  #child;
  url;

  /** The path of the built program. */
  constructor(binary) {
    this.binary = binary;
  }

  /** Starts it on this port, 0 for a free one, and waits until it says where it is. */
  async start(port = 0, speed = 300) {
    const args = ["--port", String(port), "--speed", String(speed), "--airport", "JFK"];
    this.#child = spawn(this.binary, args, { stdio: ["ignore", "pipe", "inherit"] });
    const signal = AbortSignal.timeout(START_MS);
    const lines = createInterface({ input: this.#child.stdout });
    const ended = once(this.#child, "exit", { signal }).then(([code]) => {
      throw new Error(`the server ended with code ${code}`);
    });
    const [line] = await Promise.race([once(lines, "line", { signal }), ended]);
    this.url = line.match(/http:\S+/)[0];
    ended.catch(() => {});
  }

  get port() {
    return Number(new URL(this.url).port);
  }

  /** As pulling the plug: no connection is ended in order. */
  async stop() {
    if (this.#child?.exitCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}
