import { describe, expect, test } from "bun:test";
import { createStyle } from "../../terminal/style.ts";
import { ckaJson, type CkaReport, ckaSvg, ckaText } from "./cka/cka-command.ts";
import { commonsenseJson, commonsenseText } from "../eval/commonsense-command.ts";
import { clipped, planeJson, type PlaneReport, planeText } from "./plane/report.ts";
import { planeSvg } from "./plane/svg.ts";

const PAGE = { columns: 80, style: createStyle({ isTTY: false, write: () => {} }, {}) };

const CKA: CkaReport = {
  reference: "full",
  adapters: ["a", "<b>"],
  layers: [
    { name: "model.layers.0.self_attn.o_proj", values: [1, NaN] },
    { name: "model.layers.0.mlp.down_proj", values: [0.5, 0.25] },
  ],
  samples: 8,
  estimator: "minibatch",
};

describe("CKA", () => {
  test("has no value where it is not defined", () => {
    expect(ckaJson(CKA)).toMatchObject({
      layers: [{ cka: { a: 1, "<b>": null } }, { cka: { a: 0.5, "<b>": 0.25 } }],
    });
    expect(ckaText(CKA, PAGE).split("\n").slice(1)).toEqual([
      "output of                             a     <b>",
      "model.layers.0.self_attn.o_proj  1.0000",
      "model.layers.0.mlp.down_proj     0.5000  0.2500",
      "mean                             0.7500  0.2500",
      "",
    ]);
  });

  test("is drawn as far as it is known", () => {
    const figure = ckaSvg(CKA);
    expect(figure.match(/<circle /g)).toHaveLength(3);
    expect(figure).not.toMatch(/NaN|<b>/);
    expect(ckaSvg({ ...CKA, layers: [] })).not.toContain("NaN");
  });
});

const PLANE: PlaneReport = {
  at: ["a", "b", "c"],
  x: [0, 0.5, 1],
  y: [0, 1],
  loss: [
    [1, 2, 10],
    [3, 2, Infinity],
  ],
  corners: [1, 2, 10],
  samples: 2,
  tokens: 20,
};

describe("a plane", () => {
  test("is cut at 1.2 times the largest corner, and where it overflowed", () => {
    expect(clipped({ loss: [[1, 99, NaN]], corners: [1, 2, 5] })).toEqual({ rows: [[1, 6, 6]], lowest: 1, highest: 6 });
    expect(clipped({ loss: [[1]], corners: [NaN, Infinity, 1] }).highest).toBe(1.2);
    expect(planeJson(PLANE)).toMatchObject({
      loss: [
        [1, 2, 10],
        [3, 2, null],
      ],
      corners: { A: 1, B: 2, C: 10 },
    });
  });

  test("is a map with its corners, y upwards", () => {
    const lines = planeText(PLANE, PAGE).split("\n");
    expect(lines.slice(1, 5)).toEqual([
      "A  a                   (0, 0)       1",
      "B  b                   (0.5, 1)     2",
      "C  c                   (1, 0)      10",
      "   lowest on the grid  (0, 0)       1",
    ]);
    // Shades stand for fifths of 1 to 12.
    expect(lines.slice(6, 8)).toEqual(["    B ██", "0 A   C█"]);
  });

  test("is drawn without numbers that are none", () => {
    const figure = planeSvg(PLANE);
    expect(figure.match(/<rect /g)).toHaveLength(6);
    expect(figure.match(/<circle /g)).toHaveLength(3);
    expect(figure.replaceAll(/<title>.*?<\/title>/g, "")).not.toMatch(/NaN|Infinity/);
    const alone = planeSvg({ ...PLANE, x: [3], y: [3], loss: [[1]] });
    expect(alone).not.toMatch(/NaN|<circle /);
  });
});

test("commonsense scores are percent for people, and shares in JSON", () => {
  const tasks = new Map([["boolq", { correct: 1, total: 3, accuracy: 1 / 3 }]]);
  const report = { tasks, mean: 1 / 3, seconds: 2, tokens: 10 };
  expect(commonsenseJson(report)).toEqual({
    tasks: { boolq: { correct: 1, total: 3, accuracy: 1 / 3 } },
    mean: 1 / 3,
    seconds: 2,
    tokens_per_s: 5,
  });
  expect(commonsenseText(report, PAGE)).toBe(
    "task   right  of  accuracy\nboolq      1   3   33.33 %\nmean               33.33 %\n10 tokens written, 5.0 a second\n",
  );
});
