import type { Staging } from "../../device/staging.ts";
import type { Matrix, Op, Roles, Some } from "../../tensor/op.ts";
import { Run } from "../../tensor/run.ts";
import type { OpCase, Operand } from "../../tensor/cases/case.ts";
import { recordCase } from "../../tensor/cases/compare.ts";
import { visitOps } from "../../tensor/cases/every-op.ts";
import { FAMILY_CASES } from "../../tensor/cases/families/index.ts";
import { entries } from "../../tensor/cases/placed.ts";
import type { Gpu } from "../gpu.ts";
import type { Kernel, KernelSource } from "../pipelines.ts";
import { openInterpreted } from "./interpreted.ts";

const STAGINGS: readonly Staging[] = [{ kind: "workgroup" }, { kind: "workgroup", integerDots: true }];

/** Every variant of every kernel that cases of ops, forwards and backwards, and of families ask for; nothing is compiled or computed. */
export function everyKernel(): readonly KernelSource[] {
  return (all ??= recordAll());
}

let all: readonly KernelSource[] | undefined;

function recordAll(): readonly KernelSource[] {
  const { gpu } = openInterpreted();
  const sources = new Map<string, KernelSource>();
  gpu.pipelines.get = (source) => {
    sources.set(source.key, source);
    return new Promise<Kernel>(() => {});
  };
  for (const staging of STAGINGS) {
    visitOps((op, cases) => cases.forEach((trial) => recordOp(gpu, staging, op, trial)));
    for (const { record } of FAMILY_CASES) {
      using run = new Run(gpu, staging);
      record(run);
    }
  }
  gpu.close();
  return [...sources.values()];
}

function recordOp<I extends Roles, A, O extends Roles>(
  gpu: Gpu,
  staging: Staging,
  op: Op<I, A, O>,
  trial: OpCase<I, A>,
): void {
  using run = new Run(gpu, staging);
  const isDifferentiated = op.derivative !== "constant" && trial.forwardOnly !== true;
  const trained = entries<I, Operand>(trial.inputs).filter(([, { dtype }]) => isDifferentiated && dtype === "F32");
  const gradients = Object.fromEntries(trained.map(([name, { matrix }]) => [name, matrix])) as Some<I, Matrix>; // the same keys
  recordCase(run, op, trial, { gradients });
}
