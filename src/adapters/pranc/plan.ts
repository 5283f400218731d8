import * as v from "valibot";
import {
  dropoutShare,
  finiteNumber,
  LAYER_KEYS,
  layerSettings,
  type LayerSettings,
  parseSettings,
  positiveInteger,
} from "../base/config-keys.ts";
import type { Adapter, AdapterTensor, WrittenSettings } from "../files/adapter.ts";
import { uploaded } from "../../compute/device/transfer.ts";
import { philoxKey } from "../../compute/random/philox.ts";
import { tensorIn } from "../../compute/tensor/tensor.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import type { BaseModel } from "../base/base.ts";
import type { AdaptedLayer } from "../base/targets.ts";
import { deltaSource } from "../delta/on-device.ts";
import { readValues, requireFloats } from "../files/tensors.ts";
import { fitAdapter, type TrainedTensors } from "../method/fit.ts";
import { requireSameGenerator } from "../frozen/origin.ts";
import type { AdapterPlan, DeltaSource, PlanOptions } from "../method/plan.ts";
import {
  PRANC_GENERATOR,
  type PrancRecord,
  prancRecord,
  type ThetaKey,
  thetaOffsets,
  thetaReference,
  thetaScale,
} from "./stream.ts";

/** A PRANC adapter's settings, understood. PEFT has no such method: the keys are ours, those of layers PEFT's. */
interface PrancConfig extends LayerSettings {
  /** K. */
  readonly bases: number;
  /** ΔW = alpha/√K · Σ_i α_i θ_i. */
  readonly alpha: number;
}

/** More are never of use, and no GPU takes the workgroups for them. */
export const MOST_BASES = 2 ** 20;

const SCHEMA = v.object({
  num_bases: v.pipe(positiveInteger, v.maxValue(MOST_BASES, `it must be at most ${MOST_BASES}`)),
  pranc_alpha: v.optional(finiteNumber, 1),
  pranc_dropout: dropoutShare,
  ...LAYER_KEYS,
});

/** Reads the settings. Throws `RandloraError` "format" for a value that makes no sense. */
export function prancConfig({ settings, configFile: file }: WrittenSettings): PrancConfig {
  const read = parseSettings(SCHEMA, settings, file);
  return {
    bases: read.num_bases,
    alpha: read.pranc_alpha,
    ...layerSettings(read, file),
  };
}

/** The one trained tensor: α (K), which all layers share. */
export const COEFFICIENTS = "pranc_coefficients";

/** A module has none of its own. */
const PRANC_TENSORS: TrainedTensors<PrancConfig, never> = { names: {}, shapes: () => ({}), meaning: "" };

/** One adapted weight: ΔW = scale · Σ_i α_i θ_i. */
export interface PrancLayer extends AdaptedLayer {
  /** Its first element in the bases, a multiple of 16. */
  readonly offset: number;
  /** See `thetaScale`. */
  readonly scale: number;
}

/** Everything that applying a PRANC adapter to a base takes, checked; no tensor has been read yet. */
export interface PrancPlan extends AdapterPlan {
  readonly config: PrancConfig;
  readonly record: PrancRecord;
  /** α (K). */
  readonly coefficients: AdapterTensor;
  /** In the order of the record. */
  readonly layers: readonly PrancLayer[];
}

/**
 * Fits a PRANC adapter to a base. Layers share one vector, and where each lies in the bases follows from the shapes before
 * it: so every one that the record names must be there, in its shape.
 * @throws RandloraError `adapter` or `format` with the reason when it cannot be applied, `usage` for another `--generator`
 */
export function planPranc(adapter: Adapter, base: BaseModel, options: PlanOptions = {}): PrancPlan {
  requireSameGenerator(adapter, PRANC_GENERATOR, options);
  const config = prancConfig(adapter);
  const record = prancRecord(adapter);
  const coefficients = findCoefficients(adapter, config);
  const isOwn = (name: string) => name === COEFFICIENTS;
  const modules = record.modules.map(({ module }) => ({ module, tensors: {} }));
  const fit = fitAdapter(adapter, base, config, PRANC_TENSORS, { isOwn, modules });
  const offsets = thetaOffsets(record.modules);
  const layers = fit.layers.map((layer, index): PrancLayer => {
    const { module, out, in: input } = itemAt(record.modules, index);
    const scale = thetaScale(config.alpha, config.bases, input);
    if (layer.out === out && layer.in === input) return { ...layer, offset: itemAt(offsets, index), scale };
    const ours = `its bases are drawn for ${quote(module)} as (${out}, ${input})`;
    const theirs = `${quote(layer.source)} of ${oneLine(base.path)} is (${layer.out}, ${layer.in})`;
    const hint = "the adapter was made for another model";
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${ours}, but ${theirs}`, hint);
  });
  return {
    ...fit,
    record,
    coefficients,
    layers,
    notes: [],
    bases: PRANC_GENERATOR,
    // PEFT has no such method.
    roundsDelta: false,
    load: async () => prancDeltas(layers, await readValues(adapter, coefficients), philoxKey(record.seed)),
  };
}

function findCoefficients(adapter: Adapter, { bases }: PrancConfig): AdapterTensor {
  const tensor = adapter.tensors.get(COEFFICIENTS);
  if (tensor === undefined) {
    const cause = `it has no ${quote(COEFFICIENTS)}`;
    throw new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "the file is incomplete: save it again");
  }
  requireFloats(adapter, tensor);
  if (tensor.shape.length === 1 && tensor.shape[0] === bases) return tensor;
  const found = `tensor ${quote(tensor.name)} has shape [${tensor.shape.join(", ")}]`;
  const cause = `${found}, but num_bases is ${bases} in ${oneLine(adapter.configFile)}`;
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "there is one coefficient for each basis");
}

/** ΔW of layers that share coefficients. */
export function prancDeltas(
  layers: readonly PrancLayer[],
  coefficients: Float32Array<ArrayBuffer>,
  key: ThetaKey,
): DeltaSource {
  return deltaSource(layers, {
    async share(gpu) {
      await gpu.prepare("thetaDelta", {});
      return tensorIn(uploaded(gpu, "α", coefficients), [1, coefficients.length], "F32");
    },
    async place(layer, shared, { factor }) {
      const scaled = { ...layer, scale: layer.scale * factor };
      const operands = { layer: scaled, key, coefficients: shared, transposed: layer.conv1d };
      return (run, block) => run.compute("thetaDelta", { ...operands, block });
    },
    async reference(layer, { factor, sample }) {
      return thetaReference({ ...layer, scale: layer.scale * factor }, coefficients, key, sample);
    },
  });
}
