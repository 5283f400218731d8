import { describe, expect, test } from "bun:test";
import type { ModuleSpectrum } from "./spectrum.ts";
import { createStyle } from "../../terminal/style.ts";
import { RecordingStream } from "../../terminal/testing/terminal.ts";
import {
  distanceText,
  spectrumAxes,
  spectrumJson,
  spectrumKinds,
  spectrumPlot,
  spectrumSvg,
  spectrumText,
} from "./spectrum-report.ts";

const PLAIN = createStyle(new RecordingStream(), {});

function spectrum(module: string, values: readonly number[]): ModuleSpectrum {
  const ranks = { effectiveRank: values.length, numericalRank: values.length };
  return { module, out: 100, in: 80, values: Float64Array.from(values), norm: 1, ...ranks, intruders: undefined };
}

const FALLING = spectrum(
  "model.layers.0.q_proj",
  Array.from({ length: 41 }, (_, k) => 10 ** (-k / 10)),
);
const FLAT = spectrum("model.layers.1.up_proj", [0.1, 0.1, 0.1, 0]);

test("curves by kind, without zeros; axes in powers of ten", () => {
  const kinds = spectrumKinds([FALLING, FLAT, { ...FALLING, module: "model.layers.1.q_proj" }]);
  expect(kinds.map(({ name, curves }) => [name, curves.map((points) => points.length)])).toEqual([
    ["q_proj", [41, 41]],
    ["up_proj", [3]],
  ]);
  const { x, y } = spectrumAxes(kinds, { x: 5, y: 5 });
  expect([x.from, x.to, y.from, y.to]).toEqual([1, 41, 1e-4, 1]);
  expect(y.ticks.map((tick) => y.format(tick))).toEqual(["1e-4", "1e-3", "1e-2", "1e-1", "1e0"]);
});

describe("in the terminal", () => {
  test("what falls by a constant factor is a straight line", () => {
    expect(spectrumPlot([FALLING], 40, PLAIN).split("\n")).toEqual([
      "singular values of ΔW by their place: q_proj",
      " 1e0 ┤⠑⠢⡀",
      "     │  ⠈⠒⢄⡀",
      "     │     ⠈⠒⢄",
      "1e-1 ┤        ⠑⠢⢄",
      "     │           ⠉⢆⡀",
      "     │             ⠈⠑⠤⡀",
      "1e-2 ┤                ⠈⠢⢄",
      "     │                   ⠉⠒⡄",
      "1e-3 ┤                     ⠈⠑⠢⣀",
      "     │                         ⠑⢄⡀",
      "     │                           ⠈⠒⠤⡀",
      "1e-4 ┤                              ⠈⠢⣀",
      "     └─────────────────────────────────",
      "            10      20      30      40",
      "",
    ]);
  });

  test("a narrow terminal, a pipe, nothing to show", () => {
    for (const [columns, most] of [
      [20, 19],
      [Infinity, 80],
    ] as const) {
      const lines = spectrumPlot([FALLING, FLAT], columns, PLAIN).split("\n").slice(1);
      expect(Math.max(...lines.map((line) => Bun.stringWidth(line)))).toBeLessThanOrEqual(most);
    }
    expect(spectrumPlot([spectrum("a.b", [])], 80, PLAIN)).toBe("");
    expect(spectrumText([spectrum("a.b", [])], { columns: 80, style: PLAIN })).toContain("a.b");
    expect(spectrumPlot([spectrum("a.b", [1])], 80, PLAIN)).toContain("⡀");
  });

  test("names from a file do not steer it", () => {
    const text = spectrumText([spectrum("a.\u001b[31mb", [1])], { columns: 80, style: PLAIN });
    expect(text).not.toContain("\u001b");
    const figures = { norm: 1, otherNorm: 0, relative: 1, cosine: null };
    const modules = [{ module: "a\u001b[31m", ...figures }];
    expect(distanceText({ all: figures, modules }, "x\u001b[0m", { columns: 80, style: PLAIN })).not.toContain(
      "\u001b",
    );
  });
});

describe("as SVG", () => {
  test("is XML with a title, axes, a curve for each ΔW and a name for each kind", () => {
    const svg = spectrumSvg([FALLING, FLAT, spectrum("a.<b>", [])], 'an <adapter> & "such"');
    expect(svg).toContain("<title>an &lt;adapter&gt; &amp; &quot;such&quot;</title>");
    expect(svg.match(/<path /g)).toHaveLength(2);
    expect(svg).toContain(">q_proj</text>");
    expect(svg).toContain(">1e-4</text>");
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    const open: string[] = [];
    for (const [, closing, name = "", empty] of svg.matchAll(/<(\/)?([a-z]+)[^<>]*?(\/)?>/g)) {
      if (closing !== undefined) expect(open.pop()).toBe(name);
      else if (empty === undefined) open.push(name);
    }
    expect(open).toEqual([]);
  });

  test("stands where every ΔW is zero, and keeps long curves short", () => {
    expect(spectrumSvg([spectrum("a.b", [])], "none")).not.toMatch(/NaN|undefined|Infinity/);
    const long = spectrum(
      "a.b",
      Array.from({ length: 20_000 }, (_, k) => 1 / (k + 1)),
    );
    expect(spectrumSvg([long], "long").length).toBeLessThan(12_000);
  });
});

test("JSON has all of it", () => {
  expect(spectrumJson([FLAT])).toEqual([
    {
      module: "model.layers.1.up_proj",
      shape: [100, 80],
      frobenius_norm: 1,
      effective_rank: 4,
      numerical_rank: 4,
      singular_values: [0.1, 0.1, 0.1, 0],
    },
  ]);
});
