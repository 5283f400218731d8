import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { sliceRows } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import { withMagnitude } from "../delta/magnitude/trainable.ts";
import { deltaReference } from "../delta/scaled-bases/delta.ts";
import { memoryTensor } from "../files/tensors.ts";
import { trainableLora } from "../lora/method.ts";
import { randloraShape } from "../randlora/plan.ts";
import { trainableRandlora } from "../randlora/method.ts";
import { untrainedAdapter } from "../method/train.ts";
import type { MethodChoices, Trainable } from "../method/training.ts";
import { Parameters } from "../method/parameters.ts";
import { basesFor, numbers } from "./bases.ts";
import { type Batch, frozen, IN, OUT, RANK, ROWS, SCALE } from "./trained-bilinear.ts";

export const SEED = 7;
export const MAGNITUDE = "x_magnitude_vector";

/** The adapted modules among the rows of one matrix: q, k and z, while v is not. */
export const MODULES = (() => {
  let first = 0;
  return ROWS.flatMap(({ name, out, adapted }) => {
    const module = { module: name, tensor: `${name}.weight`, out, in: IN, first };
    first += out;
    return adapted ? [module] : [];
  });
})();

/** Trained parameters by name. */
export type Values = Map<string, Float64Array>;

/** A module of the base as an adapter is fitted to it. */
function layerOf({ module, tensor, out, in: input }: (typeof MODULES)[number]) {
  return { module, tensor, source: tensor, dtype: "F32", shape: [out, input], out, in: input, conv1d: false } as const;
}

function trained(name: string, shape: readonly number[], values: Float32Array<ArrayBuffer>) {
  return memoryTensor(name, "F32", shape, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}

/** Another method, with its ΔW of a module in f64 from any values of its parameters. */
export interface Inner {
  readonly trainable: Trainable;
  readonly choices: MethodChoices | undefined;
  delta(module: number, values: Values): Float64Array;
}

export function loraInner(dropout: number): Inner {
  const layers = MODULES.map((module) => {
    const tensors = {
      a: trained(`${module.module}.lora_A.weight`, [RANK, IN], numbers(RANK * IN)),
      b: trained(`${module.module}.lora_B.weight`, [module.out, RANK], numbers(module.out * RANK, 0.3)),
    };
    return { ...layerOf(module), rank: RANK, scale: SCALE, tensors };
  });
  return {
    trainable: trainableLora({ adapter: untrainedAdapter({}, []), layers }, { dropout, seed: SEED }),
    choices: undefined,
    delta(index, values) {
      const { module: name, out } = MODULES[index] ?? { module: "", out: 0 };
      const [a, b] = [values.get(`${name}.lora_A.weight`), values.get(`${name}.lora_B.weight`)];
      return Float64Array.from({ length: out * IN }, (_, at) => {
        let sum = 0;
        for (let k = 0; k < RANK; k++) {
          sum += (b?.[Math.floor(at / IN) * RANK + k] ?? NaN) * (a?.[k * IN + (at % IN)] ?? NaN);
        }
        return SCALE * sum;
      });
    },
  };
}

export function randloraInner(dropout: number, order: string): Inner {
  const shapes = MODULES.map(({ out }) => randloraShape(out, IN, RANK));
  const bases = basesFor("ternary", shapes);
  const layers = MODULES.map((module, index) => {
    const sizes = shapes[index] ?? randloraShape(1, 1, 1);
    const { r, bases: n, cols } = sizes;
    const tensors = {
      lambda: trained(`${module.module}.randlora_lambda`, [r, n], numbers(r * n)),
      gamma: trained(`${module.module}.randlora_gamma`, [n, cols], numbers(n * cols, 0.3)),
    };
    return { ...layerOf(module), sizes, tensors };
  });
  const adapter = { rank: RANK, alpha: SCALE * RANK, dropout, targets: [], layers: [] };
  const none = { initAdapter: null, initCommit: null, initSha256: null };
  const own = { variant: "paper", sparsity: "sparse", basisSeed: "0", generator: null } as const;
  const settings = {
    ...adapter,
    ...none,
    ...own,
    projections: false,
    compute: "auto",
    dora: true,
    gammaRate: 1,
  } as const;
  const source = {
    adapter: untrainedAdapter({}, []),
    scale: SCALE,
    pairing: "paper",
    layers,
    firstRowOfA: undefined,
    bases,
    basesFrom: "saved",
    record: undefined,
    projections: () => Promise.reject(new Error("not saved here")),
    needsProjections: false,
    notes: [],
  } as const;
  return {
    trainable: trainableRandlora(source, settings, SEED),
    choices: { orders: [order] },
    delta(index, values) {
      const { module: name = "" } = MODULES[index] ?? {};
      const [lambda, gamma] = ["lambda", "gamma"].map((of) => values.get(`${name}.randlora_${of}`) ?? []);
      const shape = shapes[index] ?? randloraShape(1, 1, 1);
      return deltaReference(bases, {
        shape,
        lambda: Float64Array.from(lambda ?? []),
        gamma: Float64Array.from(gamma ?? []),
        scale: SCALE,
        pairing: "paper",
      });
    },
  };
}

/** y of a micro-batch by the definition, the norms being given. */
export function outputs(
  { tokens, bias, residual }: Batch,
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  model: { deltas: readonly Float64Array[]; values: Values; norms: readonly Float64Array[] },
  masks: readonly Float64Array[],
): Float64Array {
  const y = new Float64Array(tokens * OUT);
  for (let t = 0; t < tokens; t++) {
    for (let o = 0; o < OUT; o++) {
      const index = MODULES.findIndex(({ first, out }) => o >= first && o < first + out);
      const module = MODULES[index];
      const row = o - (module?.first ?? 0);
      let z = 0;
      for (let i = 0; i < IN; i++) {
        z += itemAt(x, t * IN + i) * itemAt(w, o * IN + i);
        if (module === undefined) continue;
        z += itemAt(x, t * IN + i) * (masks[index]?.[t * IN + i] ?? NaN) * (model.deltas[index]?.[row * IN + i] ?? NaN);
      }
      const m = module && model.values.get(`${module.module}.${MAGNITUDE}`)?.[row];
      const c = module === undefined ? 1 : (m ?? NaN) / (model.norms[index]?.[row] ?? NaN);
      y[t * OUT + o] = c * z + itemAt(bias, o) + itemAt(residual, t * OUT + o);
    }
  }
  return y;
}

/** ‖W + ΔW‖ of the rows of each module. */
export function normsOf(w: ArrayLike<number>, deltas: readonly Float64Array[]): Float64Array[] {
  return MODULES.map(({ first, out }, index) =>
    Float64Array.from({ length: out }, (_, row) => {
      let sum = 0;
      for (let i = 0; i < IN; i++) {
        sum += (itemAt(w, (first + row) * IN + i) + (deltas[index]?.[row * IN + i] ?? NaN)) ** 2;
      }
      return Math.sqrt(sum);
    }),
  );
}

export interface MagnitudeCase {
  readonly inner: Inner;
  readonly dropout?: number;
  readonly staging?: Staging;
  readonly dtype?: "F32" | "BF16";
}

/** Places the method, and says what is trained in f64. */
export async function placedMethod(
  gpu: Device,
  { inner, staging = gpu.staging, dtype = "BF16" }: MagnitudeCase,
  begins = false,
) {
  const weight = frozen(gpu, dtype);
  const magnitudes = MODULES.map(({ out }) => numbers(out).map((value) => 1.5 + value));
  const trainable = withMagnitude(inner.trainable, MODULES, MAGNITUDE, begins ? undefined : magnitudes);
  const parameters = new Parameters(gpu, trainable.parameters);
  let first = 0;
  const tensors = new Map(
    ROWS.map(({ name, out }) => {
      const rows = sliceRows(weight.tensor, first, out);
      first += out;
      return [`${name}.weight`, rows] as const;
    }),
  );
  const place = { staging, tokens: 9, microBatches: 2, budget: 0, choices: inner.choices };
  const owner = new DisposableStack();
  const method = await trainable.place({ gpu: ownedBy(owner, gpu), parameters, tensors, place });
  const release = () => {
    owner.dispose();
    parameters.release();
    gpu.memory.release(weight.tensor.buffer);
  };
  return { weight, trainable, parameters, method, staging, release };
}

export async function valuesOf(parameters: Parameters): Promise<Values> {
  const all = parameters.all.map(async ({ name }) => [name, Float64Array.from(await parameters.read(name))] as const);
  return new Map(await Promise.all(all));
}
