// The box of one flight, with the weather where it leaves: a request over the bus.

import { delayOf, flightOf, statusOf } from "/rows.js";

const TIMEOUT_MS = 3000;
const KM_PER_MILE = 1.609344;

/** The Beaufort scale: up to how many miles per hour, and what that is called. */
const WINDS = [
  [1, "calm"],
  [3, "light air"],
  [7, "light breeze"],
  [12, "gentle breeze"],
  [18, "moderate breeze"],
  [24, "fresh breeze"],
  [31, "strong breeze"],
  [38, "near gale"],
  [46, "gale"],
  [54, "strong gale"],
  [63, "storm"],
  [72, "violent storm"],
];

const byId = (id) => document.getElementById(id);
const at = (time) => time.slice(11, 16);

function wind(miles) {
  if (miles === null) return "not measured";
  const name = WINDS.find(([most]) => miles <= most)?.[1] ?? "hurricane";
  return `${name}, ${Math.round(miles)} mph (${Math.round(miles * KM_PER_MILE)} km/h)`;
}

function visibility(miles) {
  if (miles === null) return "not measured";
  // What is measured ends at ten miles.
  const orMore = miles >= 10 ? " or more" : "";
  return `${miles} miles${orMore} (${Math.round(miles * KM_PER_MILE)} km)`;
}

export class FlightBox {
  #client;
  #box = byId("flight");
  #topic = null;
  #row = null;
  #asking = null;

  constructor(client) {
    this.#client = client;
    byId("flight-close").addEventListener("click", () => this.#box.close());
    byId("weather-again").addEventListener("click", () => this.#ask());
    // A click beside the box is one on the dialog itself.
    this.#box.addEventListener("click", ({ target }) => target === this.#box && this.#box.close());
    this.#box.addEventListener("close", () => {
      this.#asking?.abort();
      this.#topic = null;
    });
  }

  open(topic, row) {
    this.#topic = topic;
    this.#row = row;
    this.#write();
    this.#box.showModal();
    this.#ask();
  }

  /** The row has changed; without one, it has left the board, and the box keeps what it showed. */
  update(topic, row) {
    if (topic !== this.#topic || !row) return;
    this.#row = row;
    this.#write();
  }

  #write() {
    const row = this.#row;
    const from = this.#topic.split(".")[1];
    byId("flight-title").textContent = `${flightOf(row)} ${row.airline}`;
    byId("flight-from").textContent = from;
    byId("flight-to").textContent = row.dest;
    byId("flight-airport").textContent = row.airport === row.dest ? row.city : `${row.city}, ${row.airport}`;
    byId("flight-scheduled").textContent = at(row.scheduled);
    byId("flight-left").textContent = row.departed ? at(row.departed) : row.status === "cancelled" ? "–" : "not yet";
    const status = byId("flight-status");
    status.textContent = `${statusOf(row)} ${delayOf(row)}`;
    status.dataset.status = row.status;
    byId("weather-title").textContent = `Weather at ${from}`;
  }

  #show(state, text, how = "") {
    byId("weather").dataset.state = state;
    byId("weather-word").textContent = text;
    byId("weather-how").textContent = how;
    byId("weather-facts").hidden = state !== "answered";
    byId("weather-again").hidden = state !== "failed" && state !== "timeout";
  }

  async #ask() {
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    const topic = `weather.${this.#topic.split(".")[1]}`;
    this.#show("loading", "Asking the weather module");
    const started = performance.now();
    try {
      const question = { kind: "weather_at", hour: this.#row.hour };
      const report = await this.#client.request(topic, question, { timeout: TIMEOUT_MS, signal: asking.signal });
      if (asking.signal.aborted) return;
      const took = Math.max(1, Math.round(performance.now() - started));
      const how = `request on ${topic}, answered in ${took} ms`;
      if (!report.observed) {
        this.#show("none", "Nothing was observed in this hour.", how);
        return;
      }
      byId("weather-wind").textContent = wind(report.wind);
      byId("weather-visibility").textContent = visibility(report.visibility);
      this.#show("answered", "", how);
    } catch (error) {
      if (asking.signal.aborted) return;
      if (error.code === "timeout") this.#show("timeout", "There was no answer in time.");
      else this.#show("failed", `There is no answer: ${error.message}`);
    }
  }
}
