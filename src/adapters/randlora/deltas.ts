import type { Gpu } from "../../gpu/gpu.ts";
import type { DeltaSample } from "../bilinear/delta-block.ts";
import type { AdapterPlan, DeltasOnGpu, DeltaSource, LayerDelta } from "../plan.ts";
import type { Bases } from "../../bases/bases.ts";
import { DeltaBases } from "../bilinear/delta.ts";
import { deltaReference } from "../bilinear/delta-reference.ts";
import { type RandloraLayer, readParameters } from "./layers.ts";
import { randloraShape } from "./shape.ts";
import { loadBases } from "./load-bases.ts";
import type { RandloraPlan } from "./plan.ts";

/** A RandLoRA adapter among those of other methods. */
export function randloraAdapterPlan(plan: RandloraPlan): AdapterPlan {
  const { adapter, layers, replacements, notes, bases } = plan;
  return {
    adapter,
    layers,
    replacements,
    notes,
    bases: bases.kind === "drawn" ? bases.spec.generator : "saved",
    // PEFT's randlora/layer.py, merge: ΔW is cast to the weight's dtype.
    roundsDelta: true,
    load: async (signal) =>
      new RandloraDeltas(plan, await loadBases(adapter, bases, plan.config.r, plan.extent, { signal })),
  };
}

class RandloraDeltas implements DeltaSource {
  readonly #plan: RandloraPlan;
  readonly #bases: Bases;

  constructor(plan: RandloraPlan, bases: Bases) {
    this.#plan = plan;
    this.#bases = bases;
  }

  async upload(gpu: Gpu): Promise<DeltasOnGpu> {
    return new RandloraOnGpu(this.#plan, await DeltaBases.create(gpu, this.#bases, this.#plan.pairing));
  }

  async reference(index: number, factor: number, sample: DeltaSample): Promise<Float64Array> {
    const { adapter, config, scale, pairing, layers } = this.#plan;
    const layer = layerAt(layers, index);
    const parameters = await readParameters(adapter, layer);
    const shape = randloraShape(layer.out, layer.in, config.r);
    return deltaReference(this.#bases, { shape, ...parameters, scale: scale * factor, pairing }, sample);
  }
}

class RandloraOnGpu implements DeltasOnGpu {
  readonly #plan: RandloraPlan;
  readonly #bases: DeltaBases;

  constructor(plan: RandloraPlan, bases: DeltaBases) {
    this.#plan = plan;
    this.#bases = bases;
  }

  async layer(index: number, factor: number): Promise<LayerDelta> {
    const { adapter, config, scale, layers } = this.#plan;
    const bases = this.#bases;
    const { out, in: input, conv1d, ...tensors } = layerAt(layers, index);
    const parameters = await readParameters(adapter, tensors);
    const shape = randloraShape(out, input, config.r);
    const onGpu = bases.layer({ shape, weightIsTransposed: conv1d, scale: scale * factor, ...parameters });
    return {
      form: (stream, block) => bases.form(stream, onGpu, block),
      release: () => bases.releaseLayer(onGpu),
    };
  }

  release(): void {
    this.#bases.release();
  }
}

function layerAt(layers: readonly RandloraLayer[], index: number): RandloraLayer {
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
  return layer;
}
