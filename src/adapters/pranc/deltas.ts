import type { Device } from "../../compute/device/device.ts";
import { uploaded } from "../../compute/device/transfer.ts";
import type { AdapterPlan, DeltasOnGpu, DeltaSource, LayerDelta } from "../plan.ts";
import { type Tensor, tensorIn } from "../../compute/tensor/tensor.ts";
import { readValues } from "../files/values.ts";
import type { PrancLayer, PrancPlan } from "./plan.ts";
import { PRANC_GENERATOR } from "./record.ts";
import { thetaReference } from "./reference.ts";
import { type ThetaKey } from "./stream.ts";
import { philoxKey } from "../../compute/random/philox.ts";

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
    load: async () => prancDeltas(layers, await readValues(adapter, coefficients), philoxKey(record.seed)),
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
  readonly #layers: readonly PrancLayer[];
  readonly #coefficients: Tensor;
  readonly #key: ThetaKey;

  private constructor(
    gpu: Device,
    layers: readonly PrancLayer[],
    coefficients: Float32Array<ArrayBuffer>,
    key: ThetaKey,
  ) {
    this.#layers = layers;
    this.#coefficients = tensorIn(uploaded(gpu, "α", coefficients), [1, coefficients.length], "F32");
    this.#key = key;
  }

  /** Compiles the kernel and uploads the coefficients. */
  static async create(
    gpu: Device,
    layers: readonly PrancLayer[],
    coefficients: Float32Array<ArrayBuffer>,
    key: ThetaKey,
  ): Promise<PrancDeltas> {
    await gpu.prepare("thetaDelta", {});
    return new PrancDeltas(gpu, layers, coefficients, key);
  }

  async layer(index: number, factor: number): Promise<LayerDelta> {
    const layer = layerAt(this.#layers, index);
    const scaled = { ...layer, scale: layer.scale * factor };
    const operands = { layer: scaled, key: this.#key, coefficients: this.#coefficients, transposed: layer.conv1d };
    return {
      form: (run, block) => run.compute("thetaDelta", { ...operands, block }),
      release() {},
    };
  }
}

function layerAt(layers: readonly PrancLayer[], index: number): PrancLayer {
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
  return layer;
}
