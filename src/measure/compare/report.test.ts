import { describe, expect, test } from "bun:test";
import type { ComparisonRecord } from "./record.ts";
import type { RunResult } from "./options.ts";
import type { Contender } from "./types.ts";
import { createStyle } from "../../terminal/style.ts";
import { RecordingStream } from "../../terminal/testing/terminal.ts";
import { resolveImages } from "../../train/settings/images.ts";
import { resolveSettings } from "../../train/settings/resolve-settings.ts";
import type { Metrics } from "../../train/types.ts";
import { methodCurves, sizeAxes, sizeFigure, tradeFigure } from "./curves.ts";
import { comparePage } from "./page.ts";
import { type Compared, compareJson, compareText } from "./result.ts";
import { curvesSvg, sizesSvg, tradeSvg } from "./svg.ts";
import { curvesPlot } from "./terminal.ts";

const PLAIN = createStyle(new RecordingStream(), {});

function contender(label: string, method: string, budget: number | null, rank = 4): Contender {
  const asked = { model: "models/tiny", data: "d.jsonl", method, ...(budget === null ? {} : { rank }) };
  return { label, budget, settings: resolveSettings(asked, { modelType: "llama", contextLength: 64 }) };
}

function result(method: string, budget: number | null, seed: number, loss: number | null): RunResult {
  return {
    method,
    budget,
    seed,
    parameters: budget === null ? 1e6 : budget + 10,
    steps: 2,
    loss,
    valid_loss: loss,
    best_valid_loss: loss,
    accuracy: null,
    seconds: 1.5,
    peak_bytes: 2e6,
    error: loss === null ? "diverged" : null,
  };
}

const RECORD: ComparisonRecord = {
  comparison: {
    budgets: [1e3],
    like: null,
    seed: 0,
    seeds: 2,
    looks: [],
    forgetting: 0,
    dropped: [],
    contenders: [
      contender("lora", "lora", 1e3),
      contender("randlora+sparse", "randlora", 1e3, 32),
      contender("full", "full", null),
    ],
  },
  results: [0, 1].flatMap((seed) => [
    result("lora", 1000, seed, 2 + seed / 10),
    result("randlora+sparse", 1000, seed, 1 + seed / 10),
    result("full", null, seed, 0.5),
  ]),
};
const COMPARED: Compared = { ...RECORD, out: "/tmp/c", ending: "finished" };

/** Losses of 1.0, 1.1, … from the given one on, and an evaluation. */
function metrics(first: number): Metrics[] {
  const steps = [1, 2, 3].map((step) => {
    return { step, loss: first - step / 10, learning_rate: 0, grad_norm: 0, tokens: 1, seconds: 1 };
  });
  return [{ step: 0, valid_loss: first }, ...steps];
}

describe("the table", () => {
  test("has means with deviations, sizes, distances; the winner below", () => {
    expect(compareText(COMPARED, "", Infinity, PLAIN).split("\n")).toEqual([
      "method           size       rate  parameters     off             loss       validation    time   memory",
      "lora             rank 4   0.0001      1.01 K  +1.0 %  2.0500 ± 0.0707  2.0500 ± 0.0707  1.50 s  2.00 MB",
      "randlora+sparse  rank 32  0.0001      1.01 K  +1.0 %  1.0500 ± 0.0707  1.0500 ± 0.0707  1.50 s  2.00 MB",
      "full                      0.0001      1.00 M          0.5000 ± 0.0000  0.5000 ± 0.0000  1.50 s  2.00 MB",
      "",
      "winner: randlora+sparse, by the validation loss, among randlora+sparse (1.01 K parameters), lora (as many): " +
        "1.00 lower than lora; lower than each other one with p < 0.04",
      "the reference, not in the contest: full (1.00 M parameters)",
      `page: ${COMPARED.out}/README.md`,
      "",
    ]);
  });

  test("says how many parameters more or fewer than the winner's each method of the contest has", () => {
    const { comparison } = RECORD;
    const [lora, randlora] = comparison.contenders;
    if (lora === undefined || randlora === undefined) throw new Error("no contenders");
    const contenders = [lora, randlora, contender("vera", "vera", 1e3), contender("nola", "nola", 1e3)];
    const sizes: Readonly<Record<string, number>> = { lora: 1200, "randlora+sparse": 1000, vera: 990, nola: 700 };
    const results = [0, 1].flatMap((seed) =>
      contenders.map(({ label }, at) => {
        return {
          ...result(label, 1000, seed, (label === "lora" ? 1 : 2 + at) + seed / 10),
          parameters: sizes[label] ?? 0,
        };
      }),
    );
    const text = compareText({ ...COMPARED, comparison: { ...comparison, contenders }, results }, "", Infinity, PLAIN);
    expect(text.split("\n").slice(-4)).toEqual([
      "winner: lora, by the validation loss, among lora (1.20 K parameters), randlora+sparse (17 % fewer), vera (18 % fewer): " +
        "2.00 lower than randlora+sparse; lower than each other one with p < 0.027",
      "not in the contest, far from 1.00 K, diverged or failed: nola",
      `page: ${COMPARED.out}/README.md`,
      "",
    ]);
  });

  test("gives up columns where the terminal is narrow, the losses last", () => {
    for (const columns of [60, 80, 95]) {
      const [head = "", ...lines] = compareText(COMPARED, "", columns, PLAIN).split("\n");
      for (const line of [head, ...lines.slice(0, 3)]) expect(line.length).toBeLessThanOrEqual(columns);
      expect(head.split(/ +/)).toEqual(expect.arrayContaining(["method", "parameters", "off", "loss", "validation"]));
      expect([head.includes("rate"), head.includes("size")]).toEqual([false, columns === 95]);
    }
  });

  test("says which method hardly learned", () => {
    const results = RECORD.results.map((one) => ({ ...one, valid_loss_before: one.method === "lora" ? 2.06 : 3 }));
    expect(compareText({ ...COMPARED, results }, "", Infinity, PLAIN)).toContain(
      "\nlora hardly learned: its validation loss was 2.0600 before; give more --steps or another --learning-rate\n",
    );
  });

  test("says what is left, and what diverged", () => {
    const results = [result("lora", 1000, 0, null), ...RECORD.results.slice(1, 3)];
    const text = compareText({ ...COMPARED, ending: "interrupted", results }, "", Infinity, PLAIN);
    expect(text).toMatch(/\nlora +rank 4 +0\.0001 +– +– +– +–/);
    expect(text.split("\n").slice(-6)).toEqual([
      "no winner: not all runs are done",
      "not in the contest, far from 1.00 K, diverged or failed: lora",
      "the reference, not in the contest: full (1.00 M parameters)",
      `3 of 6 runs are left: randlora compare --resume ${COMPARED.out}`,
      `page: ${COMPARED.out}/README.md`,
      "",
    ]);
  });

  test("as JSON has the fixed keys, and a winner at a single budget", () => {
    const json = JSON.parse(JSON.stringify(compareJson(COMPARED)));
    expect(Object.keys(json.results[0])).toEqual(
      expect.arrayContaining([
        "method",
        "seed",
        "parameters",
        "loss",
        "valid_loss",
        "accuracy",
        "seconds",
        "peak_bytes",
      ]),
    );
    expect(json).toMatchObject({
      out: "/tmp/c",
      ending: "finished",
      budgets: [1e3],
      seeds: 2,
      winner: "randlora+sparse",
      methods: [
        {
          method: "lora",
          rank: 4,
          learning_rate: 1e-4,
        },
        { rank: 32 },
        {
          method: "full",
          budget: null,
        },
      ],
    });
    expect(json.results).toHaveLength(6);
    expect(json.methods[2].rank).toBeUndefined();
  });
});

test("README.md has the same table; names from outside stay in their cells", () => {
  const [first, ...others] = RECORD.comparison.contenders;
  const settings = { ...first?.settings, model: "a|b\n`c`\u001b[2J" } as Contender["settings"];
  const contenders = [{ ...contender("lora", "lora", 1000), settings }, ...others];
  const page = comparePage({ ...COMPARED, comparison: { ...RECORD.comparison, contenders } });
  const lines = page.split("\n");
  expect(lines[0]).toMatch(/^# a b.*c.*: methods at equal parameters$/);
  expect(page).not.toContain("\u001b");
  expect(lines).toContain("| method | size | rate | parameters | off | loss | validation | time | memory |");
  expect(lines).toContain("| full |  | 0.0001 | 1.00 M |  | 0.5000 ± 0.0000 | 0.5000 ± 0.0000 | 1.50 s | 2.00 MB |");
  expect(lines).toContain("randlora compare --resume . --seeds 4     # more runs of each method");
  const images = resolveImages({ dataset: "MNIST" }, { texts: false, learningRate: 1, gradAccum: 1 });
  const ofImages = contenders.map((one) => ({ ...one, settings: { ...one.settings, data: "sets", images } }));
  const shown = comparePage({ ...COMPARED, comparison: { ...RECORD.comparison, contenders: ofImages } }, "valid");
  expect(shown.split("\n")).toContain(
    "randlora eval images runs/lora-seed-0 --data sets --dataset MNIST --split valid     # measure one",
  );
});

describe("plots", () => {
  // In the order of runs: seed 0 of lora, randlora, full; seed 1 of them.
  const curves = methodCurves(RECORD, [metrics(2), metrics(1), [], metrics(3), metrics(1.2), []]);

  test("curves are means over the seeds, bands reach from the lowest to the highest", () => {
    expect(curves.map(({ name }) => name)).toEqual(["lora", "randlora+sparse"]);
    expect(curves[0]?.mean.map(({ step }) => step)).toEqual([1, 2, 3]);
    expect(curves[0]?.mean[1]?.loss).toBeCloseTo(2.3, 12);
    expect(curves[0]?.band[1]).toEqual({ step: 2, low: 1.8, high: 2.8 });
    expect(curves[1]?.valid).toEqual([{ step: 0, loss: 1.1 }]);
  });

  test("in the terminal each curve has a letter at its end", () => {
    const lines = curvesPlot(curves, 60, PLAIN).split("\n");
    expect(lines[0]).toBe("loss by step, mean over the seeds");
    expect(lines.filter((line) => line.endsWith("A") || line.endsWith("B"))).toHaveLength(2);
    expect(lines.at(-2)).toBe("A lora   B randlora+sparse");
    expect(curvesPlot([], 60, PLAIN)).toBe("");
    // Those that end at one place stand side by side.
    const [first] = curves;
    const same = curvesPlot(first === undefined ? [] : [first, { ...first, name: "other" }], 60, PLAIN).split("\n");
    expect(same.filter((line) => line.endsWith("BA"))).toHaveLength(1);
  });

  test("the images are XML, with a band and a curve a method, and a point with its deviation", () => {
    const named = methodCurves(
      { ...RECORD, comparison: { ...RECORD.comparison, contenders: [contender("<&>", "lora", 1000)] } },
      [metrics(2), metrics(3)],
    );
    const losses = curvesSvg([...curves, ...named], "a & b");
    expect(losses.match(/<path /g)).toHaveLength(6);
    expect(losses.match(/<circle /g)).toHaveLength(3);
    const sizes = sizesSvg(sizeFigure(RECORD), "sizes");
    expect(sizes.match(/<circle /g)).toHaveLength(2);
    expect(sizes.match(/stroke-dasharray/g)).toHaveLength(1);
    for (const svg of [
      losses,
      sizes,
      curvesSvg([], "nothing"),
      curvesSvg(
        curves.map((one) => ({ ...one, mean: one.mean.slice(0, 1) })),
        "one",
      ),
    ]) {
      expect(svg).not.toMatch(/NaN|undefined|Infinity|<&>/);
      const open: string[] = [];
      for (const [, closing, name = "", empty] of svg.matchAll(/<(\/)?([a-z]+)[^<>]*?(\/)?>/g)) {
        if (closing !== undefined) expect(open.pop()).toBe(name);
        else if (empty === undefined) open.push(name);
      }
      expect(open).toEqual([]);
    }
  });

  test("loss against forgetting: the Pareto front is what nobody beats in both", () => {
    expect(tradeFigure(RECORD)).toBeUndefined();
    const forgotten: Readonly<Record<string, number>> = { lora: 0.1, "randlora+sparse": 0.2, full: 0.3 };
    const measured = RECORD.results.map((one) => {
      const forgetting = (forgotten[one.method] ?? 0) + one.seed / 100;
      return { ...one, loss: one.loss && Math.max(one.loss, 1), forgetting, forgetting_error: 0.01 };
    });
    const results = measured.map((one) => ({ ...one, best_valid_loss: one.method === "full" ? 1.5 : one.loss }));
    const figure = tradeFigure({ ...RECORD, results });
    if (figure === undefined) throw new Error("no figure");
    const points = figure.methods.flatMap((method) => method.points);
    expect(points.map(({ name, isOnFront }) => [name, isOnFront])).toEqual([
      ["lora", true],
      ["randlora+sparse", true],
      ["full", false],
    ]);
    expect(points[0]?.forgetting.mean).toBeCloseTo(0.105, 12);
    expect(figure.axes.x.from).toBe(0);
    expect(tradeSvg(figure, "t").match(/ r="8"/g)).toHaveLength(2);
    expect(tradeSvg(figure, "t").match(/<path /g)).toHaveLength(1);
    // A sweep is one curve, of two values one for each α.
    const labels = ["lora@1e-4@alpha=8", "lora@1e-4@alpha=16", "lora@3e-4@alpha=8", "full@3e-4", "full@1e-4"];
    const contenders = labels.map((label) => contender(label, "lora", 1e3));
    const swept = tradeFigure({
      comparison: { ...RECORD.comparison, contenders },
      results: labels.map((label, at) => ({ ...result(label, 1e3, 0, at), forgetting: at })),
    });
    expect(swept?.methods.map(({ name, points: { length } }) => [name, length])).toEqual([
      ["lora@alpha=8", 2],
      ["lora@alpha=16", 1],
      ["full", 2],
    ]);
    // Its line goes from value to value, however they were listed.
    expect(swept?.methods.at(-1)?.points.map(({ name }) => name)).toEqual(["full@1e-4", "full@3e-4"]);
    const text = compareText({ ...COMPARED, results }, "", Infinity, PLAIN);
    expect(text).toMatch(/validation +forgetting +s\.e\. /);
    expect(text).toMatch(/\nlora .* 0\.1050 ± 0\.0071 +0\.0100 /);
    const page = comparePage({ ...COMPARED, results });
    expect(page).toContain("![loss against forgetting](forgetting.svg)");
    expect(page).toContain("of swept values the best one on the validation data\nis named");
    expect(page).not.toContain("quantized runs");
    const [one, ...others] = COMPARED.comparison.contenders;
    if (one === undefined) throw new Error("no contender");
    const quantized = { ...one, settings: { ...one.settings, quantize: "q8" as const } };
    const comparison = { ...COMPARED.comparison, contenders: [quantized, ...others] };
    expect(comparePage({ ...COMPARED, comparison, results })).toContain("That of quantized runs counts");
  });

  test("loss against parameters: one line a method over its budgets, parameters by factors", () => {
    const budgets = [1000, 10_000];
    const contenders = budgets.flatMap((budget) => [
      contender("lora", "lora", budget),
      contender("randlora", "randlora", budget),
    ]);
    const results = contenders.map(({ label, budget }) => result(label, budget, 0, 1000 / (budget ?? 1)));
    const record = {
      comparison: { budgets, like: null, seed: 0, looks: [], forgetting: 0, dropped: [], seeds: 1, contenders },
      results,
    };
    const figure = sizeFigure(record);
    expect(figure.methods.map(({ name, points }) => [name, points.map(({ parameters }) => parameters)])).toEqual([
      ["lora", [1010, 10_010]],
      ["randlora", [1010, 10_010]],
    ]);
    expect(figure.references).toEqual([]);
    // Counts that are near each other fill the axis.
    const near = { ...figure, methods: figure.methods.map((one) => ({ ...one, points: one.points.slice(0, 1) })) };
    const { from, to } = sizeAxes(near).x;
    expect([from > 980, to < 1040]).toEqual([true, true]);
    const { x } = sizeAxes(figure);
    expect([x.isLog, x.from < 1010, x.to > 10_010]).toEqual([true, true, true]);
    expect(sizesSvg(figure, "t").match(/<path /g)).toHaveLength(2);
    // Many curves have more than one row of names.
    const names = methodCurves(
      record,
      contenders.map(() => metrics(1)),
    ).map(({ name }) => name);
    expect(names).toEqual(["lora 1.00 K", "randlora 1.00 K", "lora 10.0 K", "randlora 10.0 K"]);
  });
});
