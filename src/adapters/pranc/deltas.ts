import type { Gpu } from "../../gpu/gpu.ts";
import type { GpuBuffer } from "../../gpu/memory.ts";
import type { Kernel } from "../../gpu/pipelines.ts";
import { uploaded } from "../../gpu/transfer.ts";
import { THETA_DELTA_KERNEL } from "../../kernels/theta.ts";
import type { AdapterPlan, DeltasOnGpu, DeltaSource, LayerDelta } from "../plan.ts";
import { readValues } from "../values.ts";
import { thetaDispatches } from "./delta-dispatch.ts";
import type { PrancLayer, PrancPlan } from "./plan.ts";
import { PRANC_GENERATOR } from "./record.ts";
import { thetaReference } from "./reference.ts";
import { type ThetaKey, thetaKey } from "./stream.ts";

/** A PRANC adapter among those of other methods. */
export function prancAdapterPlan(plan: PrancPlan): AdapterPlan {
  const { adapter, layers, replacements, record, coefficients } = plan;
  return {
    adapter,
    layers,
    replacements,
    notes: [],
    bases: PRANC_GENERATOR,
    // PEFT has no such method.
    roundsDelta: false,
    load: async () => prancDeltas(layers, await readValues(adapter, coefficients), thetaKey(record.seed)),
  };
}

/** ΔW of layers that share coefficients. */
export function prancDeltas(
  layers: readonly PrancLayer[],
  coefficients: Float32Array<ArrayBuffer>,
  key: ThetaKey,
): DeltaSource {
  return {
    upload: (gpu) => PrancDeltas.create(gpu, layers, coefficients, key),
    async reference(index, factor, sample) {
      const layer = layerAt(layers, index);
      return thetaReference({ ...layer, scale: layer.scale * factor }, coefficients, key, sample);
    },
  };
}

class PrancDeltas implements DeltasOnGpu {
  readonly #gpu: Gpu;
  readonly #layers: readonly PrancLayer[];
  readonly #kernel: Kernel;
  readonly #coefficients: GpuBuffer;
  readonly #count: number;
  readonly #key: ThetaKey;

  private constructor(
    gpu: Gpu,
    layers: readonly PrancLayer[],
    kernel: Kernel,
    coefficients: Float32Array<ArrayBuffer>,
    key: ThetaKey,
  ) {
    this.#gpu = gpu;
    this.#layers = layers;
    this.#kernel = kernel;
    this.#coefficients = uploaded(gpu, "α", coefficients);
    this.#count = coefficients.length;
    this.#key = key;
  }

  /** Compiles the kernel and uploads the coefficients. */
  static async create(
    gpu: Gpu,
    layers: readonly PrancLayer[],
    coefficients: Float32Array<ArrayBuffer>,
    key: ThetaKey,
  ): Promise<PrancDeltas> {
    return new PrancDeltas(gpu, layers, await gpu.pipelines.get(THETA_DELTA_KERNEL), coefficients, key);
  }

  async layer(index: number, factor: number): Promise<LayerDelta> {
    const layer = layerAt(this.#layers, index);
    const scaled = { ...layer, scale: layer.scale * factor };
    const coefficients = { binding: this.#coefficients, at: 0, count: this.#count, key: this.#key };
    return {
      form: (stream, block) => {
        for (const one of thetaDispatches(this.#gpu, coefficients, scaled, layer.conv1d, block)) {
          stream.dispatch(this.#kernel, one.parameters, one.buffers, one.workgroups);
        }
      },
      release() {},
    };
  }

  release(): void {
    this.#gpu.memory.release(this.#coefficients);
  }
}

function layerAt(layers: readonly PrancLayer[], index: number): PrancLayer {
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
  return layer;
}
