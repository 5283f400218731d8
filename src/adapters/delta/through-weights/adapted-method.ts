import type { Device } from "../../../compute/device/device.ts";
import { addGroupedLinear } from "../../../compute/tensor/add-grouped-linear.ts";
import { addLinear } from "../../../compute/tensor/add-linear.ts";
import { partCols, sliceCols, sliceRows, type Tensor, tensorBytes, tensorIn } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import { type Linears, PLAIN_LINEARS, projectGroups } from "../../../models/blocks/linears.ts";
import type { Addend, Method, Placement } from "../../method/training.ts";
import { fuse, type FusedMatrix, type AdaptedModule } from "./held.ts";
import { dropoutMasks } from "../dropout.ts";
import { chooseProducts, formatProducts } from "./plans.ts";
import { TrainedWeights } from "./trained.ts";

/** ΔW of a module, or of the same module of each expert: (experts · out, in) F32. */
interface HeldDelta {
  readonly delta: Tensor;
  /** Its first column of a product, or of one expert's. */
  readonly column: number;
  readonly out: number;
  readonly parts: readonly { readonly module: AdaptedModule; readonly first: number }[];
}

/**
 * Modules beside weights where ΔW has no factors: it is formed once, and multiplied with apart from W.
 * @throws RandloraError `memory`
 */
function heldDeltas(gpu: Device, modules: readonly AdaptedModule[]): Omit<Addend, "content"> {
  const held = new Map(fuse(modules).map((matrix) => [matrix.weight.buffer, hold(gpu, matrix)]));
  const over = (base: Linears): Linears => ({
    apply(recorder, inputs) {
      const y = base.apply(recorder, inputs);
      for (const { delta, column, out } of held.get(inputs.weight.buffer) ?? []) {
        addLinear(recorder, { x: inputs.x, weight: delta, scale: 1 }, partCols(y, column, out));
      }
      return y;
    },
    applyGrouped(recorder, projection) {
      const y = projectGroups(recorder, base, projection);
      for (const { delta, column, out } of held.get(projection.weight.buffer) ?? []) {
        const { x, begins, rowsAtMost } = projection;
        addGroupedLinear(recorder, { x, weight: delta, begins, rowsAtMost }, sliceCols(y, column, out));
      }
      return y;
    },
  });
  return {
    choices: {},
    prepare(run) {
      for (const { delta, parts } of [...held.values()].flat()) {
        for (const { module, first } of parts) module.form(run, sliceRows(delta, first, module.shape.out), false);
      }
    },
    watched: () => [],
    linears: () => over(PLAIN_LINEARS),
    over: (_, base) => over(base),
    finish() {},
  };
}

function hold(
  gpu: Device,
  { weight, shape: { in: input, experts = 1 }, parts }: FusedMatrix<AdaptedModule>,
): HeldDelta[] {
  const rows = weight.shape[0] / experts;
  return [...Map.groupBy(parts, ({ first }) => first % rows)].map(([column, own]) => {
    const { out } = itemAt(own, 0).module.shape;
    const shape = [experts * out, input] as const;
    const buffer = gpu.memory.allocate(`${weight.buffer.label}: ΔW`, tensorBytes(shape, "F32"));
    gpu.clear([buffer]);
    const delta = tensorIn(buffer, shape, "F32");
    const placed = own.map(({ module, first }) => ({ module, first: Math.floor(first / rows) * out }));
    return { delta, column, out, parts: placed };
  });
}

/**
 * A method at work whose ΔW is formed whole: all but what is written of it.
 * @param rate of dropout
 */
export function adaptedMethod(
  { gpu, place }: Pick<Placement, "gpu" | "place">,
  modules: readonly AdaptedModule[],
  { rate, seed }: { readonly rate: number; readonly seed: number },
): Omit<Method, "content"> {
  if (place.beside === true) return heldDeltas(gpu, modules);
  const dropout = rate > 0;
  const plans = chooseProducts(
    place,
    fuse(modules).map(({ shape }) => shape),
    dropout,
  );
  const weights = new TrainedWeights(gpu, modules, { dropout, plans });
  return {
    choices: { products: plans.map(formatProducts) },
    prepare: (run) => weights.prepare(run),
    watched: () => [],
    linears: (pass) => weights.linears(dropoutMasks(rate, seed, pass)),
    finish: (run) => weights.finish(run),
  };
}
