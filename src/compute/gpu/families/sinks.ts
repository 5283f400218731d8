import type { Sinks, SinksGradient } from "../../device/families/attention.ts";
import type { Dispatcher } from "../context.ts";
import { gpuKernels } from "../kernels/family.ts";
import sinksText from "../kernels/sinks.wgsl" with { type: "text" };
import { sameRows } from "./elementwise.ts";

/** Heads that one workgroup handles. */
const HEADS = 64;

const KERNELS = gpuKernels("sinks", sinksText, {
  parameters: {
    heads: "u32",
    head: "inVectors",
    hasDlse: "flag",
    sinks: "elementsAt",
    y: "vectors",
    lse: "elements",
    dy: "vectors",
    dlse: "elements",
    parts: "elements",
  },
  bindings: ["sinks", "y?", "lse?", "dy?", "dlse?", "parts?"],
});

export function sinks(on: Dispatcher, operands: Sinks): void {
  run(on, "attend", operands);
}

export function sinksGradient(on: Dispatcher, operands: SinksGradient): void {
  run(on, "gradient", operands);
}

/** Matrices above the binding limit take several dispatches. */
function run(
  on: Dispatcher,
  PASS: string,
  operands: Sinks & Partial<Pick<SinksGradient, "dy" | "dlse" | "parts">>,
): void {
  const { sinks, y: all, ...others } = operands;
  const [, heads] = sinks.shape;
  const head = all.shape[1] / heads;
  const hasDlse = others.dlse !== undefined;
  for (const { rows, bound } of sameRows(on, [all, others.lse, others.dy, others.dlse, others.parts])) {
    const [y, lse, dy, dlse, parts] = bound;
    const values = { heads, head, hasDlse, sinks, y, lse, dy, dlse, parts };
    on.run(KERNELS({ PASS }), values, [Math.ceil(heads / HEADS), rows]);
  }
}
