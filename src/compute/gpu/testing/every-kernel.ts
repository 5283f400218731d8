import type { Staging } from "../../device/staging.ts";
import type { Of, Op, Roles, Some } from "../../tensor/op.ts";
import { Run } from "../../tensor/run.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { OpCase, Operand } from "../../tensor/cases/case.ts";
import { visitOps } from "../../tensor/cases/every-op.ts";
import { FAMILY_CASES } from "../../tensor/cases/families/index.ts";
import { entries, mapped, place } from "../../tensor/cases/placed.ts";
import type { Gpu } from "../gpu.ts";
import type { Kernel, KernelSource } from "../pipelines.ts";
import { openInterpreted } from "./interpreted.ts";

const STAGINGS: readonly Staging[] = [{ kind: "workgroup" }, { kind: "workgroup", integerDots: true }];

/** Every variant of every kernel that cases of ops, forwards and backwards, and of families ask for; nothing is compiled or computed. */
export function everyKernel(): KernelSource[] {
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
  { inputs, attributes, forwardOnly }: OpCase<I, A>,
): void {
  using run = new Run(gpu, staging);
  const placed: Of<I, Tensor> = mapped<I, Operand, Tensor>(inputs, (operand) => place(gpu, operand));
  const outputs = run.apply(op, placed, attributes);
  const { derivative } = op;
  if (derivative === "constant" || forwardOnly === true) return;
  const like = ({ shape: [rows, cols] }: Tensor): Tensor => run.allocate("gradient", [rows, cols]);
  const gradients = mapped<O, Tensor, Tensor>(outputs, like);
  const trained = entries<I, Tensor>(placed).filter(([, { dtype }]) => dtype === "F32");
  const into = Object.fromEntries(trained.map(([name, tensor]) => [name, like(tensor)])) as Some<I, Tensor>; // the same keys
  derivative.backward(run, { inputs: placed, outputs, gradients, into }, attributes);
}
