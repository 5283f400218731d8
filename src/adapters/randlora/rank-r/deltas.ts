import type { Device } from "../../../compute/device/device.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { Bases } from "../../frozen/drawing/bases.ts";
import { readElement } from "../../../compute/device/matrix-storage.ts";
import type { Staging } from "../../../compute/device/staging.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import type { DeltaSample } from "../../delta/sample.ts";
import { TrainingBases } from "../../delta/scaled-bases/training-bases.ts";
import { type FactorsOnGpu, LowRankDeltas, type LowRankSource } from "../../delta/low-rank/deltas.ts";
import { Transposition } from "../../delta/low-rank/transpose.ts";
import { readAllValues } from "../../files/values.ts";
import type { RandloraPlan } from "../plan.ts";
import { RankRBases } from "./factors.ts";
import { sizesOf } from "../../frozen/origin.ts";
import { firstRowOfA } from "./stacked.ts";

/** ΔW of RandLoRA-a: products of two factors, each worked out when it is needed. */
export function rankRDeltas(plan: RandloraPlan, bases: Bases): LowRankSource {
  return {
    upload: (gpu) => uploadRankR(gpu, plan, bases),
    reference: (index, factor, sample) => rankRReference(plan, bases, index, factor, sample),
  };
}

/** The same on the GPU. @throws RandloraError `memory` */
export async function uploadRankR(
  gpu: Device,
  plan: RandloraPlan,
  bases: Bases,
  staging: Staging = gpu.staging,
): Promise<LowRankDeltas> {
  const { layers, scale, config } = plan;
  const rank = config.r;
  const shapes = layers.map(({ out, in: input, conv1d }) => ({ out, in: input, conv1d, rank, scale }));
  return await LowRankDeltas.derived(gpu, shapes, await factorsOnGpu(gpu, plan, bases, staging), staging);
}

async function factorsOnGpu(gpu: Device, plan: RandloraPlan, bases: Bases, staging: Staging): Promise<FactorsOnGpu> {
  const { adapter, layers, config } = plan;
  const shapes = layers.map(({ sizes }) => sizes);
  const training = await TrainingBases.create(gpu, bases, "paper", staging);
  const shared = new RankRBases(gpu, training, firstRow(plan), shapes);
  const transposition = new Transposition(gpu, config.r);
  return {
    async form(run: Run, index: number, a: Tensor, b: Tensor) {
      const [layer, shape] = [layers[index], shapes[index]];
      if (layer === undefined || shape === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
      const { r, bases: n, cols, out, tall } = shape;
      const { lambda, gamma } = await readAllValues(adapter, layer.tensors);
      const parameters = { lambda: run.upload("λ", [r, n], lambda), gamma: run.upload("γ", [n, cols], gamma) };
      const turned = run.allocate("factor B, turned", [r, out]);
      const factors = tall ? { long: turned, short: a } : { long: a, short: turned };
      shared.form(run, shape, parameters, factors);
      transposition.narrow(run, turned, b);
    },
  };
}

/** factor · ΔW (out, in) of a layer in f64 at a sample of its elements, each factor by its definition. */
async function rankRReference(
  plan: RandloraPlan,
  bases: Bases,
  index: number,
  factor: number,
  { rows, cols }: DeltaSample,
): Promise<Float64Array> {
  const { adapter, layers, config, scale } = plan;
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
  const { lambda, gamma } = await readAllValues(adapter, layer.tensors);
  const { r } = config;
  const { bases: n, tall, cols: m } = layer.sizes;
  const sum = (row: number, k: number, weight: (j: number) => number) => {
    let total = 0;
    for (let j = 0; j < n; j++) total += readElement(bases.b, row, j * r + k) * weight(j);
    return total;
  };
  const ranks = Array.from({ length: r }, (_, k) => k);
  const long = (i: number) => ranks.map((k) => sum(i, k, (j) => itemAt(lambda, k * n + j)));
  const short = (c: number) => ranks.map((k) => sum(firstRow(plan) + c, k, (j) => itemAt(gamma, j * m + c)));
  const [left, right] = [rows.map(tall ? long : short), cols.map(tall ? short : long)];
  return Float64Array.from({ length: rows.length * cols.length }, (_, at) => {
    const [one, other] = [itemAt(left, Math.floor(at / cols.length)), itemAt(right, at % cols.length)];
    return scale * factor * ranks.reduce((total, k) => total + itemAt(one, k) * itemAt(other, k), 0);
  });
}

function firstRow({ bases }: Pick<RandloraPlan, "bases">): number {
  return firstRowOfA(sizesOf(bases));
}
