// What the tests of this folder do with every op of the registry.
import type { Matrix, Of, Op, Roles, Some } from "../../tensor/op.ts";
import { Run } from "../../tensor/run.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { type OpCase, type Operand, random } from "../../tensor/cases/case.ts";
import { entries, mapped, place, take } from "../../tensor/cases/placed.ts";
import type { CpuDevice } from "../cpu.ts";

/** Weights of a loss: a matrix for each result of an op. */
export function slopesOf<I extends Roles, A, O extends Roles>(
  op: Op<I, A, O>,
  { inputs, attributes }: OpCase<I, A>,
): Of<O, Operand> {
  const values = mapped<I, Operand, Matrix>(inputs, ({ matrix }) => matrix);
  return mapped<O, Matrix, Operand>(op.reference(values, attributes), ({ shape }) => random(...shape));
}

/** An op's results and gradients: numbers of 32 bits, exactly. */
export async function resultsOf<I extends Roles, A, O extends Roles>(
  device: CpuDevice,
  op: Op<I, A, O>,
  { inputs, attributes, forwardOnly }: OpCase<I, A>,
  weights: Of<O, Operand>,
): Promise<Float64Array[]> {
  const { derivative } = op;
  const placed = mapped<I, Operand, Tensor>(inputs, (operand) => place(device, operand));
  const gradients = mapped<O, Operand, Tensor>(weights, (operand) => place(device, operand));
  using run = new Run(device);
  const outputs = run.apply(op, placed, attributes);
  const kept = entries<O, Tensor>(outputs).map(([, output]) => run.keep(output));
  if (derivative !== "constant" && forwardOnly !== true) {
    const values = mapped<I, Operand, Matrix>(inputs, ({ matrix }) => matrix);
    const slopes = mapped<O, Operand, Matrix>(weights, ({ matrix }) => matrix);
    const wanted = derivative.gradient(values, attributes, slopes);
    const into = Object.fromEntries(
      entries<I, Matrix>(wanted).map(
        ([
          name,
          {
            shape: [rows, cols],
          },
        ]) => {
          const data = new Float64Array(rows * cols).fill(0.25);
          return [name, place(device, { matrix: { shape: [rows, cols], data }, dtype: "F32" })];
        },
      ),
    ) as Some<I, Tensor>; // the keys of `wanted`
    derivative.backward(run, { inputs: placed, outputs, gradients, into }, attributes);
    kept.push(...entries<I, Tensor>(into).map(([, target]) => target));
  }
  await run.submit();
  const results = await Promise.all(kept.map(async (tensor) => (await take(device, tensor)).values));
  for (const { buffer } of kept) device.memory.release(buffer);
  for (const [, { buffer }] of [...entries<I, Tensor>(placed), ...entries<O, Tensor>(gradients)]) {
    device.memory.release(buffer);
  }
  return results;
}
