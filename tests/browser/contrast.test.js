// The colours of the board: whatever text and ground it puts together has to differ enough to be read, by the measure of
// WCAG 2, level AA. Needs no browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { contrast } from "./contrast.js";

const AA = 4.5;
/** For what is no text: lines of controls, lamps, the line of the rate. */
const SHAPES = 3;

const css = readFileSync(new URL("../../examples/airport_web/page/board.css", import.meta.url), "utf8");

function colours(block) {
  return Object.fromEntries([...block.matchAll(/--([a-z-]+): (#[0-9a-f]{6});/g)].map(([, name, hex]) => [name, hex]));
}

const [dark, light] = [...css.matchAll(/:root \{([^}]*)\}/g)].map(([, block]) => colours(block));
const themes = { dark, light: { ...dark, ...light } };

/** Each text, and the grounds that it is put on. */
const TEXTS = {
  text: ["ground", "panel", "tile"],
  dim: ["ground", "panel", "tile"],
  accent: ["ground", "tile"],
  "on-accent": ["accent"],
  good: ["ground", "panel", "tile"],
  late: ["ground", "panel", "tile"],
  bad: ["ground", "panel", "tile"],
};
const LINES = { control: ["ground", "panel"], rate: ["panel", "tile"], accent: ["panel"], dim: ["tile"] };

for (const [theme, colour] of Object.entries(themes)) {
  for (const [pairs, least] of [[TEXTS, AA], [LINES, SHAPES]]) {
    test(`${theme}: at least ${least} to 1 for ${Object.keys(pairs).join(", ")}`, () => {
      for (const [name, grounds] of Object.entries(pairs)) {
        for (const ground of grounds) {
          const ratio = contrast(colour[name], colour[ground]);
          assert.ok(ratio >= least, `--${name} on --${ground}: ${ratio.toFixed(2)}`);
        }
      }
    });
  }
}

test("the measure itself", () => {
  assert.equal(contrast("#000000", "#ffffff"), 21);
  assert.equal(contrast("#777777", "#ffffff").toFixed(2), "4.48");
});
