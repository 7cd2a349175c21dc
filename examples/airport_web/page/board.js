// The page: connects to the bus, and hands what comes to those who show it.

import { Client } from "/tramline.js";
import { Bus } from "/bus.js";
import { FlightBox } from "/flight.js";
import { Rows } from "/rows.js";

/** The clock may still tell the old speed for so long after the server has taken a new one. */
const SETTLE_MS = 600;

const page = document.documentElement;
const byId = (id) => document.getElementById(id);
const radios = (name) => [...document.querySelectorAll(`input[name="${name}"]`)];

const client = new Client("/bus", { reconnect: { min: 300, max: 5000 } });
const bus = new Bus();
const flightBox = new FlightBox(client);
const rows = new Rows(byId("rows"), byId("empty"), (topic, row) => flightBox.open(topic, row));
rows.onChange = (topic, row) => flightBox.update(topic, row);

function notice(text) {
  const box = byId("notice");
  box.hidden = text === "";
  if (box.textContent !== text) box.textContent = text;
}

// The connection

client.addEventListener("state", ({ detail }) => {
  page.dataset.state = detail.state;
  bus.showState(detail.state);
  if (detail.state === "connected") {
    // The rows come again; those that do not have gone meanwhile.
    rows.clear();
    notice("");
  } else if (detail.state === "waiting") {
    // The same at each attempt, so that it is read out once.
    notice("The connection is lost, and is tried again. The board shows what was known.");
  } else if (detail.state === "closed") {
    notice("The server has ended the connection. Load the page again.");
  }
});

client.subscribe("bus.stats", { retained: true }, ({ payload }) => bus.show(payload));

// The airport

let departures = null;
let changing = Promise.resolve();

function showAirport(code) {
  const radio = radios("airport").find(({ value }) => value === code);
  radio.checked = true;
  byId("airport-name").textContent = radio.dataset.name;
  document.title = `${code} departures`;
  rows.clear();
  // One after the other: the same airport may be chosen again before it has been left.
  changing = changing.then(() => subscribe(code));
}

async function subscribe(code) {
  await departures?.unsubscribe().catch(() => {});
  departures = client.subscribe(`departures.${code}.*.*`, { retained: true }, ({ topic, payload, lostBefore }) => {
    if (chosen() !== code) return;
    // It may have been the end of a row that was lost.
    if (lostBefore > 0) showAirport(code);
    if (payload.kind === "row") rows.set(topic, payload);
    else rows.remove(topic);
  });
}

const chosen = () => radios("airport").find(({ checked }) => checked)?.value;
const airports = radios("airport").map(({ value }) => value);
const linked = location.hash.slice(1);

for (const radio of radios("airport")) {
  radio.addEventListener("change", () => {
    history.replaceState(null, "", `#${radio.value}`);
    showAirport(radio.value);
  });
}
showAirport(airports.includes(linked) ? linked : page.dataset.first);

// The clock and its speed

const day = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long", timeZone: "UTC" });
let deaf = 0;

client.subscribe("clock", { retained: true }, ({ payload: { time, speed } }) => {
  byId("time").textContent = time.slice(11, 16);
  byId("time").dateTime = time;
  // The clock has no zone, and is not to get that of whoever reads it.
  byId("date").textContent = day.format(new Date(`${time}Z`));
  page.dataset.speed = speed;
  if (performance.now() < deaf) return;
  for (const radio of radios("speed")) radio.checked = Number(radio.value) === speed;
});

for (const radio of radios("speed")) {
  radio.addEventListener("change", async () => {
    deaf = Infinity;
    try {
      await client.publish("control.speed", { kind: "speed", times: Number(radio.value) });
      deaf = performance.now() + SETTLE_MS;
    } catch (error) {
      deaf = 0;
      notice(`The speed could not be changed: ${error.message}`);
    }
  });
}
