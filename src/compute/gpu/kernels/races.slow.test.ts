import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type InterpretedGpu, openInterpreted } from "../testing/interpreted.ts";
import { testInterpreted } from "../testing/interpreted-ops.ts";
import { compileShader } from "../testing/wgsl/compile.ts";
import { type Finding, type InterpretedDispatch, reporter } from "../testing/wgsl/device.ts";
import { runDispatch } from "../testing/wgsl/dispatch.ts";

/** Dispatches of a kernel that are kept, to be run again with the kernel changed. */
const KEPT = 3;

const kept = new Map<string, InterpretedDispatch[]>();
let interpreted: InterpretedGpu;
beforeAll(() => {
  interpreted = openInterpreted(keep);
});
afterAll(() => interpreted.gpu.close());

/** Keeps the first dispatches of a kernel. */
function keep(dispatch: InterpretedDispatch): void {
  const all = kept.get(dispatch.kernel) ?? [];
  kept.set(dispatch.kernel, all);
  if (all.length < KEPT) all.push(copied(dispatch));
}

/** The same dispatch on bytes of its own. */
function copied(dispatch: InterpretedDispatch): InterpretedDispatch {
  const bindings = dispatch.bindings.map(({ buffer, offset, size }) => {
    return { buffer: buffer.slice(offset, offset + size), offset: 0, size };
  });
  return { ...dispatch, bindings };
}

/** What is found first in a dispatch with the kernel's code changed, or without one of its barriers. */
function firstFinding(dispatch: InterpretedDispatch, code = dispatch.code, without?: number): Finding | undefined {
  const found: Finding[] = [];
  const report = reporter(dispatch.kernel, code, (finding) => {
    found.push(finding);
    throw new Error("enough");
  });
  try {
    runDispatch(compileShader(code, without), copied(dispatch).bindings, dispatch.workgroups, report);
  } catch (thrown) {
    if (found.length === 0) throw thrown;
  }
  return found[0];
}

describe("no kernel races, reads beyond an end or what was never written, or waits where others do not", () => {
  testInterpreted(() => interpreted, 40_000);

  test("every kernel was tried", () => {
    const tried = new Set([...kept.keys()].map((key) => key.split("/")[0]));
    const files = [...new Bun.Glob("*.wgsl").scanSync(import.meta.dir)];
    const kernels = files.filter((path) => readFileSync(join(import.meta.dir, path), "utf8").includes("@compute"));
    expect(kernels.map((path) => path.replace(/\.wgsl$/, "")).filter((name) => !tried.has(name))).toEqual([]);
  });
});

/** With longer sums than small cases have, so that blocks of sums follow each other: `rounds` of theta-gradient.wgsl. */
function lengthened(dispatch: InterpretedDispatch): InterpretedDispatch {
  const { kernel, code, bindings } = copied(dispatch);
  const [parameters] = bindings;
  if (!kernel.startsWith("theta-gradient") || parameters === undefined) return dispatch;
  new Uint32Array(parameters.buffer)[7] = 3;
  return { kernel, code: code.replace("SUM_BLOCK = 256u", "SUM_BLOCK = 1u"), bindings, workgroups: [1, 1, 1] };
}

test("each barrier of each kernel is missed when it is taken out", () => {
  /** By function, or by kernel and the number of its barriers: does any dispatch show that the barrier is needed? */
  const missed = new Map<string, boolean>();
  for (const [kernel, all] of kept) {
    const dispatches = all.map(lengthened);
    const { barriers } = compileShader(dispatches[0]?.code ?? "");
    for (const [index, barrier] of barriers.entries()) {
      const within = barriers.filter((other) => other.in === barrier.in);
      const owner = barrier.in === "main" ? `${kernel.split("/")[0]}, ${within.length} barriers` : barrier.in;
      const key = `${owner}: ${within.indexOf(barrier)}, ${barrier.name}`;
      if (missed.get(key) === true) continue;
      missed.set(
        key,
        dispatches.some((dispatch) => firstFinding(dispatch, dispatch.code, index) !== undefined),
      );
    }
  }
  expect(missed.size).toBeGreaterThan(20);
  expect([...missed].filter(([, is]) => !is).map(([key]) => key)).toEqual([]);
}, 120_000);

/** Kernels broken on purpose, and what that is found as. */
const BROKEN: readonly (readonly [what: string, kernel: string, from: string | RegExp, to: string, found: RegExp])[] = [
  ["an index off by one", "gemm", /slab_right\[3u \* LINES/, "slab_right[4u * LINES", /beyond the end/],
  [
    "components of one vector written by several threads",
    "attention-backward",
    /slab0\[unit\] = (.*);/,
    "slab0[unit / 4u][unit % 4u] = ($1).x;",
    /race: .* writes .* another wrote/,
  ],
  ["a row's end not seen", "convert/TERNARY", / \|\| id\.x \* 4u >= p\.width/, "", /beyond the end/],
  ["the last rows not seen", "gemm", /min\(row \+ line, p\.rows - 1u\)/, "(row + line)", /beyond the end/],
  ["sums that are not cleared", "theta-gradient", /dots\[b \* ROW \+ thread\] = 0\.0;/, "", /never written/],
  ["a bound that is missing", "column-sums", /if \(id\.x >= p\.width\) \{\s*return;\s*\}/, "", /race|beyond the end/],
  ["a result that all threads store", "finish", "thread == 0u && begin", "begin", /race: .* another wrote/],
  ["workgroups that store to one place", "column-sums", "+ id.y * p.y_pitch", "", /race: .* another wrote/],
  ["a reduction that begins too far", "rms-norm", /var half = 64u/, "var half = 128u", /beyond the end/],
  [
    "a barrier that some threads come to",
    "layer-norm",
    "let sum_1_0_of_all =",
    "if (thread < 64u) { workgroupBarrier(); }\n  let sum_1_0_of_all =",
    /divergent/,
  ],
];

test.each(BROKEN)("%s is found: %s", (_, kernel, from, to, found) => {
  const dispatches = [...kept.entries()]
    .filter(([key]) => key === kernel || key.startsWith(`${kernel}/`))
    .flatMap(([, all]) => all);
  const broken = dispatches.map((dispatch) => ({ dispatch, code: dispatch.code.replace(from, to) }));
  const changed = broken.filter(({ dispatch, code }) => code !== dispatch.code);
  const findingsOf = changed.map(({ dispatch, code }) => firstFinding(dispatch, code)?.what ?? "");
  expect(findingsOf.some((what) => found.test(what))).toBe(true);
});
