import { describe, expect, test } from "bun:test";
import type { Metrics } from "../../train/types.ts";
import { comparePage, curvesPlot } from "./show.ts";
import { createStyle } from "../../terminal/style.ts";
import { RecordingStream } from "../../terminal/testing/terminal.ts";
import { methodCurves, sizeAxes, sizeFigure, tradeFigure } from "./curves.ts";
import { compareText } from "./result.ts";
import { curvesSvg, sizesSvg, tradeSvg } from "./svg.ts";
import { COMPARED, contender, RECORD, result } from "./testing/comparison.ts";

const PLAIN = createStyle(new RecordingStream(), {});

/** Losses of 1.0, 1.1, … from the given one on, and an evaluation. */
function metrics(first: number): Metrics[] {
  const steps = [1, 2, 3].map((step) => {
    return { step, loss: first - step / 10, learning_rate: 0, grad_norm: 0, tokens: 1, seconds: 1 };
  });
  return [{ step: 0, valid_loss: first }, ...steps];
}

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
