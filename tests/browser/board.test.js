// The departures board in a real browser. Each part waits for the thing itself, with a limit; the parts build on each other.
//
// Needs the environment of `scripts/browser`: AIRPORT_WEB, the built program, and CHROMIUM, the browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { chromium } from "playwright-core";

import { contrast } from "./contrast.js";
import { Server } from "./server.js";

const LIMIT_MS = 20_000;
/** As many flights are always still to come. */
const AHEAD = 30;
const SIZES = [
  { width: 1440, height: 900 },
  { width: 390, height: 844 },
];

/** The topics and states of the rows that are on the board. */
const statuses = () =>
  Object.fromEntries([...document.querySelectorAll("#rows li")].map((row) => [row.dataset.topic, row.dataset.status]));

/** Whether one of these rows has another state now. */
const hasChanged = (before) =>
  [...document.querySelectorAll("#rows li")].some(
    ({ dataset }) => before[dataset.topic] && before[dataset.topic] !== dataset.status,
  );

const fits = () => document.documentElement.scrollWidth <= window.innerWidth;

/** The height that a horizontal scroll bar of the rows takes while all rows arrive and all letters flip. */
async function heightOfBarWhileFlipping() {
  const list = document.getElementById("rows");
  for (const cell of list.querySelectorAll(".tiles")) cell.classList.add("flip");
  for (const row of list.querySelectorAll(".row")) row.style.animationName = "none";
  // Asking for a size ends the animations that were on, so that they begin anew.
  void list.offsetWidth;
  for (const row of list.querySelectorAll(".row")) row.style.animationName = "";
  const animations = list.getAnimations({ subtree: true });
  if (animations.length < 30) throw new Error(`only ${animations.length} animations`);
  let most = 0;
  while (animations.some(({ playState }) => playState === "running")) {
    most = Math.max(most, list.offsetHeight - list.clientHeight);
    await new Promise(requestAnimationFrame);
  }
  return most;
}

/** The texts that are cut without an ellipsis, or without a tooltip that has all of them. */
function cutWithoutSign() {
  const cut = [...document.querySelectorAll(".city, .airline[title], .pattern, .of")].filter(
    ({ scrollWidth, clientWidth }) => scrollWidth > clientWidth,
  );
  const hasSign = (cell) => cell.title !== "" && getComputedStyle(cell).textOverflow === "ellipsis";
  return { all: cut.length, unsigned: cut.filter((cell) => !hasSign(cell)).map(({ textContent }) => textContent) };
}

/** All visible texts, with the colours of letters and ground. */
function texts() {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest(".sr") || !element.checkVisibility()) continue;
    let ground = element;
    while (ground && getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
    const { backgroundColor } = getComputedStyle(ground ?? document.documentElement);
    found.push({ text: node.data.trim(), letters: getComputedStyle(element).color, ground: backgroundColor });
  }
  return found;
}

/** Waits until the board is that of an airport, and full. */
async function rowsOf(page, airport) {
  const isFull = ({ airport, least }) => {
    const rows = [...document.querySelectorAll("#rows li")];
    return rows.length >= least && rows.every(({ dataset }) => dataset.topic.startsWith(`departures.${airport}.`));
  };
  await page.waitForFunction(isFull, { airport, least: AHEAD });
}

const speed = (page, times) => page.locator(`input[name="speed"][value="${times}"]`);

/** Waits until the server tells that the clock goes at this speed. */
async function speedIs(page, times) {
  await page.locator(`html[data-speed="${times}"]`).waitFor({ state: "attached" });
  await page.locator(`input[name="speed"][value="${times}"]:checked`).waitFor({ state: "attached" });
}

/** A page that tells what it has asked other hosts for and what has gone wrong in it. */
async function open(browser, server, options, prepare = async () => {}) {
  const page = await browser.newPage(options);
  page.setDefaultTimeout(LIMIT_MS);
  const troubles = [];
  const host = new URL(server.url).host;
  const look = (url) => new URL(url).host === host || troubles.push(`asked for ${url}`);
  page.on("request", (request) => look(request.url()));
  page.on("websocket", (socket) => look(socket.url()));
  page.on("requestfailed", (request) => troubles.push(`failed: ${request.url()}`));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && troubles.push(message.text()));
  page.on("pageerror", (error) => troubles.push(error.message));
  await prepare(page);
  await page.goto(server.url);
  return { page, troubles };
}

test("the departures board in a browser", { timeout: 240_000 }, async (t) => {
  const server = new Server(process.env.AIRPORT_WEB);
  await server.start();
  t.after(() => server.stop());
  const sandbox = process.getuid() === 0 ? ["--no-sandbox"] : [];
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: [...sandbox, "--disable-dev-shm-usage"],
    // Scroll bars take room, as they do on most desktops.
    ignoreDefaultArgs: ["--hide-scrollbars"],
    timeout: 60_000,
  });
  t.after(() => browser.close());
  const { page, troubles } = await open(browser, server, { viewport: SIZES[0], colorScheme: "dark" });

  let morning;
  await t.test("has rows, which change", async () => {
    await rowsOf(page, "JFK");
    const before = await page.evaluate(statuses);
    morning = before;
    await page.waitForFunction(hasChanged, before);
  });

  await t.test("shows what the bus is doing", async () => {
    await page.waitForFunction(() => document.getElementById("rate-line").points.length > 2);
    await page.waitForFunction(() => Number(document.getElementById("events").textContent.replace(",", "")) > 0);
    await page.locator("#mailboxes tr", { hasText: "departures.JFK.*.*" }).waitFor();
    assert.equal(await page.locator("#state-word").textContent(), "connected");
    assert.equal(await page.locator("#dropped").textContent(), "0");
  });

  await t.test("says what is replayed, and on what", async () => {
    const what = await page.locator("#what").textContent();
    assert.match(what, /New York.*, 1 to 7 January 2013, on tramline/);
  });

  await t.test("tells the subscriptions apart, and says what they have in common", async () => {
    const rows = await page.locator("#mailboxes th").allInnerTexts();
    assert.ok(rows.length > 8, `only ${rows.length} rows`);
    assert.equal(new Set(rows).size, rows.length, `twice the same: ${rows}`);
    assert.equal(await page.locator(".mailboxes caption").innerText(), "Subscriptions, one row per mailbox");
    await page.locator("dt", { hasText: "Topics in use" }).waitFor();
  });

  await t.test("has no horizontal scroll bar while rows arrive and letters flip", async () => {
    assert.equal(await page.evaluate(heightOfBarWhileFlipping), 0);
  });

  await t.test("cuts no text without a sign, and the longest city not at all", async () => {
    const city = page.locator("#rows .city").first();
    const write = (text) => city.evaluate((cell, text) => (cell.textContent = text), text);
    await speed(page, 0).check();
    await speedIs(page, 0);
    const before = await city.textContent();
    assert.equal(await city.getAttribute("title"), before);
    await write("Steamboat Springs");
    assert.ok(await city.evaluate(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth), "the city is cut");
    await write("Dallas/Fort Worth International");
    const { all, unsigned } = await page.evaluate(cutWithoutSign);
    assert.ok(all >= 2, "a city and a pattern are too long");
    assert.deepEqual(unsigned, []);
    await write(before);
    await speed(page, 300).check();
    await speedIs(page, 300);
  });

  await t.test("shows no rate before there is one", async () => {
    const still = new Server(process.env.AIRPORT_WEB);
    await still.start(0, 0);
    const other = await open(browser, still, { viewport: SIZES[1] });
    await other.page.locator("#events", { hasText: /^0$/ }).waitFor();
    assert.equal(await other.page.locator("#rate").textContent(), "–");
    assert.equal(await other.page.locator("#rate-most").textContent(), "");
    await other.page.close();
    await still.stop();
  });

  await t.test("goes to another airport", async () => {
    await page.locator('input[name="airport"][value="EWR"]').check();
    await rowsOf(page, "EWR");
    assert.equal(await page.title(), "EWR departures");
  });

  await t.test("shows a flight and its weather when it is clicked", async () => {
    await page.locator("#rows li button").nth(4).click();
    await page.locator('#weather[data-state="answered"]').waitFor();
    assert.match(await page.locator("#weather-wind").textContent(), /\d+ mph|not measured/);
    assert.match(await page.locator("#weather-how").textContent(), /weather\.EWR/);
    await page.locator("#flight-close").click();
    await page.locator("#flight").waitFor({ state: "hidden" });
  });

  await t.test("changes the speed for all who watch", async () => {
    const other = await open(browser, server, { viewport: SIZES[1], colorScheme: "light" });
    await speedIs(other.page, 300);
    await speed(page, 60).check();
    await speedIs(other.page, 60);
    assert.deepEqual(other.troubles, []);
    await other.page.close();
  });

  await t.test("works by keyboard alone", async () => {
    // A row that leaves would take its place with it.
    await speed(page, 0).check();
    await speedIs(page, 0);
    await page.locator('input[name="airport"]:checked').focus();
    await page.keyboard.press("ArrowRight");
    await rowsOf(page, "JFK");
    await page.keyboard.press("Tab");
    const focused = () => page.evaluate(() => document.activeElement.name ?? "");
    assert.equal(await focused(), "speed");
    await page.keyboard.press("Tab");
    const row = () => page.evaluate(() => document.activeElement.closest("li")?.dataset.topic);
    const topics = Object.keys(await page.evaluate(statuses));
    assert.equal(await row(), topics[0]);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    assert.equal(await row(), topics[2]);
    await page.keyboard.press("End");
    assert.equal(await row(), topics.at(-1));
    await page.keyboard.press("Enter");
    await page.locator('#weather[data-state="answered"]').waitFor();
    assert.ok(await page.evaluate(() => document.getElementById("flight").contains(document.activeElement)));
    await page.keyboard.press("Escape");
    await page.locator("#flight").waitFor({ state: "hidden" });
    assert.equal(await row(), topics.at(-1), "the focus is where it was");
    await speed(page, 300).check();
  });

  await t.test("tells when the weather fails and when it does not come", async () => {
    let mode = "fail";
    const other = await open(browser, server, { viewport: SIZES[1] }, (page) =>
      page.routeWebSocket(/\/bus$/, (socket) => {
        const bus = socket.connectToServer();
        socket.onMessage((frame) => {
          const { type, id } = JSON.parse(frame);
          if (type !== "req" || mode === "pass") bus.send(frame);
          else if (mode === "fail") {
            const error = { type: "err", id, code: "failed", message: "the mast is broken", temporary: false };
            socket.send(JSON.stringify(error));
          }
        });
      }),
    );
    await rowsOf(other.page, "JFK");
    await other.page.locator("#rows li button").nth(8).click();
    await other.page.locator('#weather[data-state="failed"]', { hasText: "the mast is broken" }).waitFor();
    mode = "silence";
    await other.page.locator("#weather-again").click();
    await other.page.locator('#weather[data-state="loading"]').waitFor();
    await other.page.locator('#weather[data-state="timeout"]').waitFor();
    mode = "pass";
    await other.page.locator("#weather-again").click();
    await other.page.locator('#weather[data-state="answered"]').waitFor();
    assert.deepEqual(other.troubles, []);
    await other.page.close();
  });

  for (const viewport of SIZES) {
    for (const colorScheme of ["dark", "light"]) {
      await t.test(`fits and can be read: ${viewport.width}x${viewport.height}, ${colorScheme}`, async () => {
        const other = await open(browser, server, { viewport, colorScheme, reducedMotion: "reduce" });
        await rowsOf(other.page, "JFK");
        assert.ok(await other.page.evaluate(fits), "the board has a horizontal scroll bar");
        await other.page.locator("#rows li button").nth(2).click();
        await other.page.locator('#weather[data-state="answered"]').waitFor();
        assert.ok(await other.page.evaluate(fits), "the box of the flight makes a horizontal scroll bar");
        const found = await other.page.evaluate(texts);
        assert.ok(found.length > 100, `only ${found.length} texts`);
        for (const { text, letters, ground } of found) {
          const ratio = contrast(letters, ground);
          assert.ok(ratio >= 4.5, `${text}: ${letters} on ${ground} is ${ratio.toFixed(2)} to 1`);
        }
        await other.page.close();
      });
    }
  }

  await t.test("has asked no other host for anything, and nothing has gone wrong", () => {
    assert.deepEqual(troubles, []);
  });

  await t.test("survives a restart of the server", async () => {
    const { port } = server;
    // It begins again in the morning, so this one is on no board for hours.
    const topic = Object.keys(await page.evaluate(statuses)).findLast((topic) => !(topic in morning));
    assert.ok(topic, "it is not the morning any more");
    const late = page.locator(`#rows li[data-topic="${topic}"]`);
    await server.stop();
    await page.locator('html[data-state="waiting"]').waitFor({ state: "attached" });
    await page.locator("#notice", { hasText: "connection is lost" }).waitFor();
    await server.start(port);
    await page.locator('html[data-state="connected"]').waitFor({ state: "attached" });
    await rowsOf(page, "JFK");
    assert.equal(await late.count(), 0, "rows that have gone meanwhile are still there");
    await page.locator("#notice").waitFor({ state: "hidden" });
    const before = await page.evaluate(statuses);
    await page.waitForFunction(hasChanged, before);
  });
});
