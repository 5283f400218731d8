import { compareCase, type Comparison, isRight } from "../../../compute/tensor/cases/compare.ts";
import { compareFamily, FAMILY_CASES } from "../../../compute/tensor/cases/families/index.ts";
import type { OpCase, Operand } from "../../../compute/tensor/cases/case.ts";
import { visitOps } from "../../../compute/tensor/cases/every-op.ts";
import { visitLargeOps } from "../../../compute/tensor/cases/large.ts";
import { entries } from "../../../compute/tensor/cases/placed.ts";
import type { Device } from "../../../compute/device/device.ts";
import type { Op, Roles } from "../../../compute/tensor/op.ts";
import { showShape } from "../../../compute/tensor/tensor.ts";
import { formatMeasure } from "../../../terminal/format.ts";
import type { Check, CheckedDevice } from "./check.ts";

/** Bytes of a binding at most, where matrices are to be taken in blocks of rows. */
const SMALL_BINDING = 2 ** 20;

/** Every op of the registry on its cases, results and gradients; families that are no op; then matrices above a row block. */
export function opChecks(): Check[] {
  const checks: Check[] = [];
  visitOps((op, cases) => {
    for (const one of cases) checks.push(checkOf(op, one, (devices) => devices.get()));
  });
  for (const one of FAMILY_CASES) {
    const { family: op, format, name: size } = one;
    checks.push({
      op,
      format,
      size,
      run: async (devices) => ({ wrong: wordsOf(await compareFamily(one, await devices.get())) }),
    });
  }
  visitLargeOps(SMALL_BINDING, (op, cases) => {
    for (const one of cases) checks.push(checkOf(op, one, (devices) => devices.binding(SMALL_BINDING)));
  });
  return checks;
}

function checkOf<I extends Roles, A, O extends Roles>(
  op: Op<I, A, O>,
  one: OpCase<I, A>,
  open: (devices: CheckedDevice) => Promise<Device>,
): Check {
  const operands = entries<I, Operand>(one.inputs);
  const formats = new Set(operands.map(([, { dtype }]) => dtype).filter((dtype) => dtype !== "U32"));
  return {
    op: op.name,
    // Activations are F32 beside any stored matrix.
    format: [...formats].findLast((dtype) => dtype !== "F32") ?? "F32",
    size: operands.map(([name, { matrix }]) => `${name} ${showShape(matrix.shape)}`).join(", "),
    run: async (devices) => ({ wrong: wordsOf(await compareCase(op, one, await open(devices))) }),
  };
}

/** What is wrong, in one line. */
function wordsOf(found: readonly Comparison[]): string | undefined {
  const words = found
    .filter((one) => !isRight(one))
    .map(({ of, error, tolerance, isPadded }) => {
      if (error <= tolerance) return isPadded ? of : `${of}: its rows do not end with zeros`;
      const off = Number.isFinite(error) ? `differs by ${formatMeasure(error)} of the largest` : "has no number";
      return `${of} ${off} (allowed: ${formatMeasure(tolerance)})`;
    });
  return words.length === 0 ? undefined : words.join("; ");
}
