import { describe, expect, test } from "bun:test";
import { createStyle } from "../../terminal/style.ts";
import { RecordingStream } from "../../terminal/testing/terminal.ts";
import type { Metrics } from "../types.ts";
import { axesOf, lossCurve, lossPlot, lossSvg } from "./loss-curve.ts";
import { parseMetrics } from "../run/metrics.ts";

const PLAIN = createStyle(new RecordingStream(), {});

function step(number: number, loss: number): Metrics {
  return { step: number, loss, learning_rate: 1e-4, grad_norm: 1, tokens: 10, seconds: 0.1 };
}

const FALLING = [
  { step: 0, valid_loss: 4 },
  ...Array.from({ length: 100 }, (_, i) => step(i + 1, 4 - 0.03 * i)),
  { step: 50, valid_loss: 2.5 },
  { step: 100, valid_loss: 3 },
];

describe("curves", () => {
  test("training and validation apart; the smoothed curve looks back a fiftieth of the run", () => {
    const curve = lossCurve(FALLING);
    expect(curve.valid).toEqual([
      { step: 0, loss: 4 },
      { step: 50, loss: 2.5 },
      { step: 100, loss: 3 },
    ]);
    expect(curve.train).toHaveLength(100);
    expect(curve.smooth[0]).toEqual({ step: 1, loss: 4 });
    expect(curve.smooth[9]?.loss).toBeCloseTo(4 - 0.03 * 8.5, 12);
  });

  test("axes span what is smoothed, in round numbers, whatever single steps do", () => {
    const wild = lossCurve([
      ...Array.from({ length: 500 }, (_, i) => step(i + 1, i === 250 ? 50 : 2)),
      step(501, Number.NaN),
    ]);
    const { x, y } = axesOf(wild, { x: 5, y: 4 });
    expect(y.to).toBeLessThan(10);
    expect([x.from, x.to]).toEqual([1, 500]);
    expect(x.ticks.map((tick) => x.format(tick))).toEqual(["100", "200", "300", "400", "500"]);
  });

  test("metrics.jsonl is read past broken and foreign lines", () => {
    const lines = [step(1, 2), { step: 1, valid_loss: 3 }].map((one) => JSON.stringify(one));
    expect(parseMetrics(`${lines.join("\n")}\n{"other": 1}\n\n{"step": 2, "lo`)).toEqual([
      step(1, 2),
      { step: 1, valid_loss: 3 },
    ]);
  });
});

describe("in the terminal", () => {
  test("a falling curve falls from left to right, with ticks on both axes", () => {
    const plot = lossPlot(lossCurve(FALLING), 60, PLAIN);
    expect(plot.split("\n")).toEqual([
      "loss by step, ● validation",
      "4 ┤●⠑⠢⠤⣀",
      "  │     ⠉⠑⠢⠤⣀",
      "  │          ⠉⠒⠤⢄⡀",
      "  │              ⠈⠉⠒⠤⢄⡀",
      "3 ┤                   ⠈⠑⠢⢄⣀                               ●",
      "  │                        ⠉⠑⠢⢄⣀",
      "  │                            ●⠉⠒⠤⣀⣀",
      "2 ┤                                  ⠉⠒⠤⣀",
      "  │                                      ⠉⠑⠢⢄⣀",
      "  │                                           ⠉⠑⠢⢄⡀",
      "  │                                               ⠈⠉⠒⠤⣀⡀",
      "1 ┤                                                    ⠈⠉⠒⠤",
      "  └────────────────────────────────────────────────────────",
      "   0         20         40         60         80        100",
      "",
    ]);
    for (const line of plot.split("\n")) expect(Bun.stringWidth(line)).toBeLessThan(60);
  });

  test("one step, no steps, a narrow terminal, a pipe", () => {
    expect(lossPlot(lossCurve([step(1, 2)]), 80, PLAIN)).toContain("⠁");
    expect(lossPlot(lossCurve([]), 80, PLAIN)).toBe("");
    for (const [columns, most] of [
      [20, 19],
      [Infinity, 80],
    ] as const) {
      const widths = lossPlot(lossCurve(FALLING), columns, PLAIN)
        .split("\n")
        .slice(1)
        .map((line) => Bun.stringWidth(line));
      expect(Math.max(...widths)).toBeLessThanOrEqual(most);
    }
  });
});

describe("as SVG", () => {
  test("is XML with a title, axes, both curves and the lowest validation loss", async () => {
    const svg = lossSvg(lossCurve(FALLING), 'a <run> & "such"\u0001');
    expect(svg).toStartWith('<svg xmlns="http://www.w3.org/2000/svg"');
    expect(svg).toContain("<title>a &lt;run&gt; &amp; &quot;such&quot;</title>");
    expect(svg).toContain("validation (lowest: 2.5000 at step 50)");
    expect(svg.match(/<path /g)).toHaveLength(3);
    expect(svg.match(/<circle /g)).toHaveLength(3);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    // Every element is closed, and nothing stands outside of the root.
    const open: string[] = [];
    for (const [, closing, name = "", empty] of svg.matchAll(/<(\/)?([a-z]+)[^<>]*?(\/)?>/g)) {
      if (closing !== undefined) expect(open.pop()).toBe(name);
      else if (empty === undefined) open.push(name);
    }
    expect(open).toEqual([]);
  });

  test("stands for a run without steps, and with a single one", () => {
    for (const metrics of [[], [step(1, 2)]]) {
      expect(lossSvg(lossCurve(metrics), "run")).not.toMatch(/NaN|undefined|Infinity/);
    }
  });
});

test("a figure holds every step once: the smoothed curve of a long run has few points, its ends among them", () => {
  const svg = lossSvg(lossCurve(Array.from({ length: 5000 }, (_, i) => step(i + 1, 4 - i / 5000))), "run");
  const [all = "", smooth = ""] = [...svg.matchAll(/<path d="(M[^"]*)"[^>]*stroke-linejoin/g)].map(([, d = ""]) => d);
  const points = (d: string) => d.match(/-?[\d.]+[ ,]-?[\d.]+/g) ?? [];
  expect(points(all).length).toBe(5000);
  expect(points(smooth).length).toBe(201);
  expect(points(smooth).at(-1)?.split(/[ ,]/)[0]).toBe(points(all).at(-1)?.split(/[ ,]/)[0]);
});
