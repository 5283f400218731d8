import type { Sinks, SinksGradient } from "../../device/families/attention.ts";
import type { Dispatcher } from "../context.ts";
import { SINKS_HEADS, SINKS_KERNELS } from "../kernels/sinks.ts";
import { sameRows } from "./elementwise.ts";

/** Matrices above the binding limit take several dispatches. */
export function sinks(on: Dispatcher, { sinks: given, y, lse }: Sinks): void {
  const [, heads] = given.shape;
  for (const { rows, bound } of sameRows(on, [y, lse])) {
    const [ofY, ofLse] = bound;
    on.dispatch(
      SINKS_KERNELS.attend,
      {
        heads,
        head: y.shape[1] / heads,
        hasDlse: false,
        sinksAt: given.offset,
        y: ofY,
        lse: ofLse,
        dy: undefined,
        dlse: undefined,
        parts: undefined,
      },
      [given, ofY, ofLse],
      [Math.ceil(heads / SINKS_HEADS), rows],
    );
  }
}

export function sinksGradient(on: Dispatcher, { sinks: given, y, lse, dy, dlse, parts }: SinksGradient): void {
  const [, heads] = given.shape;
  for (const { rows, bound } of sameRows(on, [y, lse, dy, dlse, parts])) {
    const [ofY, ofLse, ofDy, ofDlse, ofParts] = bound;
    on.dispatch(
      SINKS_KERNELS.gradient,
      {
        heads,
        head: y.shape[1] / heads,
        hasDlse: dlse !== undefined,
        sinksAt: given.offset,
        y: ofY,
        lse: ofLse,
        dy: ofDy,
        dlse: ofDlse,
        parts: ofParts,
      },
      [given, ...bound],
      [Math.ceil(heads / SINKS_HEADS), rows],
    );
  }
}
