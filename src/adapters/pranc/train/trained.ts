import { memoryTensor } from "../../files/tensors.ts";
import { dropoutMask } from "../../delta/dropout.ts";
import { fuse } from "../../delta/through-weights/fused.ts";
import type { Method, PassKind, Placement, PlaceOptions, Trainable } from "../../training/method.ts";
import type { AdapterSettings } from "../../training/settings.ts";
import { COEFFICIENTS } from "../plan.ts";
import { formatPrancRecord } from "../record.ts";
import { philoxKey } from "../../../compute/random/philox.ts";
import { formatProducts, parseProducts, planProducts, type ProductsPlan } from "./products.ts";
import type { PrancSource } from "./source.ts";
import { type TrainedModule, TrainedTheta } from "./trained-theta.ts";

/** PRANC (Nooralinejad et al., arXiv:2206.08464): K coefficients are trained for all modules together. */
export function trainablePranc(
  source: PrancSource,
  settings: Pick<AdapterSettings, "dropout">,
  seed: number,
): Trainable {
  const { modules, values } = source;
  return {
    parameters: [{ name: COEFFICIENTS, shape: [1, values.length] }],
    // No module has a coefficient for itself.
    modules: modules.map(({ name, out, in: input }) => ({ name, shape: [out, input], parameters: 0 })),
    notes: [],
    place: async (on) => place(on, source, settings, seed),
  };
}

function place(
  { gpu, parameters, tensors, place: options, factor = 1 }: Placement,
  source: PrancSource,
  settings: Pick<AdapterSettings, "dropout">,
  seed: number,
): Method {
  const { modules, record, values, config } = source;
  parameters.write(COEFFICIENTS, "value", values);
  const { value: coefficients, gradient } = parameters.get(COEFFICIENTS);
  const trained = modules.map(({ name, tensor, ...shape }, index): TrainedModule => {
    const weight = tensors.get(tensor);
    if (weight === undefined) throw new RangeError(`${tensor} is no tensor of the decoder`);
    return { name, weight, shape: { ...shape, scale: shape.scale * factor }, index };
  });
  const dropout = settings.dropout > 0;
  const plans = choosePlans(options, trained, dropout);
  const adapter = new TrainedTheta(gpu, {
    modules: trained,
    coefficients,
    gradient,
    key: philoxKey(record.seed),
    dropout,
    plans,
    staging: options.staging,
  });
  const masks = (pass: PassKind) =>
    dropout && pass.kind === "train"
      ? (module: number) => dropoutMask(settings.dropout, seed, pass, module)
      : undefined;
  return {
    choices: { products: plans.map(formatProducts) },
    prepare: (run) => adapter.prepare(run),
    watched: () => [],
    linears: (pass) => adapter.linears(masks(pass)),
    finish: (run) => adapter.finish(run),
    content: async () => {
      const numbers = await parameters.read(COEFFICIENTS);
      const bytes = new Uint8Array(numbers.buffer);
      return {
        config,
        bases: formatPrancRecord(record),
        tensors: [memoryTensor(COEFFICIENTS, "F32", [numbers.length], bytes)],
        metadata: new Map(),
      };
    },
  };
}

function choosePlans(
  { choices, choicesFile, microBatches, budget }: PlaceOptions,
  modules: readonly TrainedModule[],
  dropout: boolean,
): readonly ProductsPlan[] {
  const matrices = fuse(modules).map(({ shape }) => shape);
  if (choices !== undefined) return parseProducts(choices, matrices.length, choicesFile);
  return planProducts({ matrices, microBatches, dropout, budget });
}
