import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { STORIES } from "../../fixtures/stories/storyteller.ts";
import { read } from "../device/transfer.ts";
import { TemporaryFolder } from "../files/testing/folder.ts";
import { ADAPTER, mergeIn, modelOf } from "../merge/testing/merge.ts";
import type { Matrix, Of, Op, Roles, Some } from "../tensor/op.ts";
import { Run } from "../tensor/run.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type OpCase, type Operand, random } from "../tensor/testing/case.ts";
import { visitOps } from "../tensor/testing/every-op.ts";
import { entries, mapped, place } from "../tensor/testing/placed.ts";
import { outcomeOf, settingsFor, trainInto, writeTexts } from "../train/testing/runs.ts";
import { CpuDevice } from "./cpu.ts";

const THREADS = [1, 2, 3];
let devices: CpuDevice[];
beforeAll(async () => {
  devices = await Promise.all(THREADS.map((threads) => CpuDevice.open({ threads })));
});
afterAll(() => {
  for (const device of devices) device.close();
});

/** The bytes of an op's results and gradients. */
async function bytesOf<I extends Roles, A, O extends Roles>(
  device: CpuDevice,
  op: Op<I, A, O>,
  { inputs, attributes }: OpCase<I, A>,
  weights: Of<O, Operand>,
): Promise<Uint8Array[]> {
  const { derivative } = op;
  const placed = mapped<I, Operand, Tensor>(inputs, (operand) => place(device, operand));
  const gradients = mapped<O, Operand, Tensor>(weights, (operand) => place(device, operand));
  using run = new Run(device);
  const outputs = run.apply(op, placed, attributes);
  const kept = entries<O, Tensor>(outputs).map(([, output]) => run.keep(output));
  if (derivative !== "constant") {
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
  const bytes = await Promise.all(kept.map(({ buffer }) => read(device, buffer)));
  for (const { buffer } of kept) device.memory.release(buffer);
  for (const [, { buffer }] of [...entries<I, Tensor>(placed), ...entries<O, Tensor>(gradients)]) {
    device.memory.release(buffer);
  }
  return bytes;
}

/** An op's cases as one test each. */
function tryAll<I extends Roles, A, O extends Roles>(op: Op<I, A, O>, cases: readonly OpCase<I, A>[]): void {
  describe(op.name, () => {
    for (const trial of cases) {
      test(`${trial.name}: the same bytes with ${THREADS.join(", ")} threads`, async () => {
        const values = mapped<I, Operand, Matrix>(trial.inputs, ({ matrix }) => matrix);
        const shapes = op.reference(values, trial.attributes);
        const weights = mapped<O, Matrix, Operand>(shapes, ({ shape }) => random(...shape));
        const [first, ...others] = await Promise.all(devices.map((device) => bytesOf(device, op, trial, weights)));
        expect(first?.length).toBeGreaterThan(0);
        for (const other of others) expect(other).toEqual(first ?? []);
      });
    }
  });
}

visitOps(tryAll);

test("a merge gives the same bytes with any number of threads", async () => {
  const outcomes = [];
  for (const threads of THREADS) {
    await using folder = await TemporaryFolder.create();
    const device = { choice: "cpu", threads };
    outcomes.push((await mergeIn(folder, { tensors: modelOf("BF16") }, [ADAPTER], { device })).tensors);
  }
  expect(Object.keys(outcomes[0] ?? {}).length).toBeGreaterThan(3);
  for (const other of outcomes.slice(1)) expect(other).toEqual(outcomes[0] ?? {});
});

test("so does training", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 8);
  const asked = { data, model: STORIES, rank: 8, steps: 2, batchSize: 4, learningRate: 5e-3, dropout: 0.1 };
  const settings = await settingsFor(asked);
  const outcomes = [];
  for (const [index, device] of devices.entries()) {
    const run = folder.at(`run-${index}`);
    await trainInto(run, settings, undefined, undefined, device);
    outcomes.push(await outcomeOf(run));
  }
  expect(Object.keys(outcomes[0] ?? {})).toContain("adapter/adapter_model.safetensors");
  for (const other of outcomes.slice(1)) expect(other).toEqual(outcomes[0] ?? {});
});
