import type { Bases } from "../../frozen/drawing/bases.ts";
import type { Pairing } from "../../../compute/device/pairing.ts";
import type { DeltasOnGpu, DeltaSource, LayerDelta } from "../../plan.ts";
import { DeltaBases } from "./delta.ts";
import { deltaReference } from "./delta-reference.ts";
import type { BilinearShape } from "./shape.ts";

/** One adapted weight: ΔW = scale · B̂Ŝ(λ, γ), or the transpose of that. */
export interface BilinearLayer {
  readonly shape: BilinearShape;
  /** The weight is stored (in, out). */
  readonly conv1d: boolean;
  readonly scale: number;
  /** λ (r, n) and γ (n, cols), row-major. @throws RandloraError `numeric` where they are not finite, `file` */
  read(): Promise<{ readonly lambda: Float32Array; readonly gamma: Float32Array }>;
}

/** ΔW of layers that share a pair of bases. */
export function bilinearDeltas(bases: Bases, pairing: Pairing, layers: readonly BilinearLayer[]): DeltaSource {
  return {
    upload: async (gpu) => onGpu(await DeltaBases.create(gpu, bases, pairing), layers),
    async reference(index, factor, sample) {
      const { shape, scale, read } = layerAt(layers, index);
      return deltaReference(bases, { shape, ...(await read()), scale: scale * factor, pairing }, sample);
    },
  };
}

function onGpu(bases: DeltaBases, layers: readonly BilinearLayer[]): DeltasOnGpu {
  return {
    async layer(index, factor): Promise<LayerDelta> {
      const { shape, conv1d, scale, read } = layerAt(layers, index);
      const parameters = await read();
      const layer = bases.layer({ shape, weightIsTransposed: conv1d, scale: scale * factor, ...parameters });
      return {
        form: (run, block) => bases.form(run, layer, block),
        release: () => bases.releaseLayer(layer),
      };
    },
  };
}

function layerAt(layers: readonly BilinearLayer[], index: number): BilinearLayer {
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
  return layer;
}
