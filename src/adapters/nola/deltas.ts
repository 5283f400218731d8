import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import { uploaded } from "../../compute/device/transfer.ts";
import { ELEMENTWISE } from "../../compute/device/families/elementwise.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { recordElementwise } from "../../compute/tensor/elementwise.ts";
import { Run } from "../../compute/tensor/run.ts";
import { pitchOf, type Tensor, tensorIn } from "../../compute/tensor/tensor.ts";
import type { DeltaSample } from "../delta/sample.ts";
import { type FactorsOnGpu, LowRankDeltas, type LowRankSource } from "../delta/low-rank/deltas.ts";
import { allocateStacks, factorsOf, type FactorStack } from "../delta/low-rank/stacks.ts";
import { Transposition } from "../delta/low-rank/transpose.ts";
import type { AdapterPlan } from "../plan.ts";
import { readValues } from "../files/values.ts";
import { initialFactor } from "./draws.ts";
import type { NolaPlan } from "./plan.ts";
import { type FormedStack, NolaBases } from "./products.ts";
import { GENERATOR } from "./record.ts";
import { nolaReference } from "./reference.ts";

/** A NoLA adapter among those of other methods. */
export function nolaAdapterPlan(plan: NolaPlan, notes: readonly string[]): AdapterPlan {
  const { adapter, layers, replacements } = plan;
  return {
    adapter,
    layers,
    replacements,
    notes,
    bases: GENERATOR,
    // As PEFT merges a LoRA.
    roundsDelta: false,
    load: async () => nolaDeltas(plan),
  };
}

/** ΔW of its layers. All factors are formed at once, since their bases are the same: as large as a LoRA of this rank. */
export function nolaDeltas(plan: NolaPlan): LowRankSource {
  return {
    upload: (gpu) => uploadNola(gpu, plan),
    reference: (index: number, factor: number, sample: DeltaSample) => nolaReference(plan, index, factor, sample),
  };
}

/** Forms every factor. @throws RandloraError `numeric`, `file`, `memory` */
export async function uploadNola(gpu: Device, plan: NolaPlan, staging: Staging = gpu.staging): Promise<LowRankDeltas> {
  const { layers, scale } = plan;
  const rank = plan.draws.rank;
  const shapes = layers.map(({ out, in: input, conv1d }) => ({ out, in: input, conv1d, rank, scale }));
  return await LowRankDeltas.derived(gpu, shapes, await formFactors(gpu, plan, staging), staging);
}

async function formFactors(gpu: Device, plan: NolaPlan, staging: Staging): Promise<FactorsOnGpu> {
  const { layers, draws } = plan;
  const { rank } = draws;
  // What is needed until the factors are formed.
  using owner = new DisposableStack();
  const brief = ownedBy(owner, gpu);
  const stacksOf = (on: Device, label: string, lengths: readonly number[]) =>
    allocateStacks(
      on,
      label,
      lengths.map((cols) => ({ rows: rank, cols })),
    );
  const [ins, outs] = [layers.map((layer) => layer.in), layers.map(({ out }) => out)];
  const [a, bt] = [stacksOf(gpu, "factors A", ins), stacksOf(gpu, "factors B, turned", outs)];
  const initial = stacksOf(brief, "A before training", ins);
  writeFactors(gpu, initial, (index) => {
    const { module = "", in: input = 0 } = layers[index] ?? {};
    return initialFactor(draws, module, input);
  });
  using run = new Run(gpu, staging);
  for (const [side, stacks] of [["a", a] as const, ["b", bt] as const]) {
    const formed: FormedStack[] = [];
    for (const [at, stack] of stacks.entries()) {
      const values = new Float32Array(stack.modules.length * pitchOf(draws.bases, "F32"));
      for (const [row, module] of stack.modules.entries()) {
        const tensor = layers[module]?.tensors[side];
        if (tensor !== undefined) values.set(await readValues(plan.adapter, tensor), row * pitchOf(draws.bases, "F32"));
      }
      const buffer = uploaded(brief, "coefficients", values);
      const value = tensorIn(buffer, [stack.modules.length, draws.bases], "F32");
      const coefficients = [{ at: 0, value, gradient: undefined }];
      formed.push({ stack, initial: side === "a" ? initial[at] : undefined, coefficients });
    }
    using panel = new DisposableStack();
    new NolaBases(ownedBy(panel, gpu), draws, side).form(run, formed);
    await run.submit();
  }
  return placedFactors(gpu, a, bt, rank);
}

/** Writes factors (rows, cols) without gaps into their places. */
export function writeFactors(
  gpu: Device,
  stacks: readonly FactorStack[],
  valuesOf: (module: number) => Float32Array<ArrayBuffer>,
): void {
  for (const { rows, cols, modules, tensor } of stacks) {
    const pitch = pitchOf(cols, "F32");
    for (const [at, module] of modules.entries()) {
      const values = valuesOf(module);
      const padded = new Float32Array(rows * pitch);
      for (let row = 0; row < rows; row++) padded.set(values.subarray(row * cols, (row + 1) * cols), row * pitch);
      gpu.write(tensor.buffer, padded, at * tensor.pitch * 4);
    }
  }
}

function placedFactors(gpu: Device, a: readonly FactorStack[], bt: readonly FactorStack[], rank: number): FactorsOnGpu {
  const transposition = new Transposition(gpu, rank);
  const [factorsA, factorsBt] = [factorsOf(a), factorsOf(bt)];
  return {
    form(run: Run, layer: number, toA: Tensor, toB: Tensor) {
      const [fromA, fromBt] = [factorsA[layer], factorsBt[layer]];
      if (fromA === undefined || fromBt === undefined) throw new RangeError(`layer ${layer}`);
      recordElementwise(run, ELEMENTWISE.copy, fromA, undefined, toA);
      transposition.narrow(run, fromBt, toB);
    },
  };
}
