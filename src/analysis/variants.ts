import type { Device } from "../device/device.ts";
import { RandloraError } from "../errors.ts";
import { oneLine } from "../files/failure.ts";
import { AdaptedWeights } from "../generate/adapted-weights.ts";
import { planOneAdapter } from "../generate/plan-adapters.ts";
import { loadConfig } from "../models/architectures/index.ts";
import type { DecoderConfig } from "../models/config.ts";
import { Decoder } from "../models/decoder.ts";
import { locateModel, type ModelLocation } from "../models/locate.ts";
import type { GeneratorName } from "../random/names.ts";
import { findKind } from "./find-kind.ts";

/** What a fine-tuning made of a model: an adapter for it, or a whole model of the same shape. */
export type Variant =
  | { readonly kind: "adapter"; readonly path: string }
  | { readonly kind: "model"; readonly location: ModelLocation };

/** Variants that have been found to fit their base, before a device is opened. */
export interface VariantsPlan {
  /** The base. */
  readonly location: ModelLocation;
  readonly variants: readonly Variant[];
  readonly generator: GeneratorName | undefined;
  /** Tensors that adapters change, by the checkpoint's names. */
  readonly changed: ReadonlySet<string>;
  /** An adapter sets a tied output matrix apart from the embedding. */
  readonly unties: boolean;
}

/**
 * Looks at variants of a model: no weight is read.
 * @param paths on this machine: adapters, runs, models
 * @throws RandloraError `adapter` for one that cannot be applied; `model` for a model of another shape; `file`, `format`
 */
export async function planVariants(
  location: ModelLocation,
  paths: readonly string[],
  generator: GeneratorName | undefined,
): Promise<VariantsPlan> {
  const config = await loadConfig(location.folder);
  const variants: Variant[] = [];
  const changed = new Set<string>();
  let unties = false;
  for (const given of paths) {
    const { kind, path } = await findKind(given);
    if (kind === "adapter") {
      const adapter = { path, scale: 1 };
      const { changes, untied } = await planOneAdapter(location.weights ?? location.folder, adapter, generator);
      for (const { name } of changes) changed.add(name);
      unties ||= untied;
      variants.push({ kind, path });
      continue;
    }
    const model = await locateModel(path);
    if (!Bun.deepEquals(shapeOf(await loadConfig(model.folder)), shapeOf(config))) {
      const cause = `its config.json describes another model than that of ${oneLine(location.folder)}`;
      throw new RandloraError("model", `${oneLine(given)}: ${cause}`, "name what was fine-tuned from MODEL");
    }
    variants.push({ kind: "model", location: model });
  }
  return { location, variants, generator, changed, unties };
}

/** What variants of one model have in common: all that its passes go by. */
function shapeOf({ tied: _tied, endTokens: _endTokens, contextLength: _contextLength, ...shape }: DecoderConfig) {
  return shape;
}

export interface VariantsOptions {
  /** Hold every matrix in F32, and not only those that adapters change. */
  readonly allInF32?: boolean;
  /** Told the bytes of the base as they are read; `total` beforehand. */
  readonly onProgress?: (read: number, total: number) => void;
  /** Told what the user should know of an adapter: one line. */
  readonly onNote?: (note: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** A model on a device that becomes one of its variants after the other. Weights that adapters change are W + ΔW in F32. */
export class Variants implements AsyncDisposable {
  /** The base; with an adapter's ΔW once `with` was given one. */
  readonly decoder: Decoder;
  readonly #adapted: AdaptedWeights;
  readonly #plan: VariantsPlan;
  readonly #options: VariantsOptions;

  private constructor(decoder: Decoder, adapted: AdaptedWeights, plan: VariantsPlan, options: VariantsOptions) {
    this.decoder = decoder;
    this.#adapted = adapted;
    this.#plan = plan;
    this.#options = options;
  }

  /** Reads the base. @throws RandloraError as `Decoder.load` */
  static async load(gpu: Device, plan: VariantsPlan, options: VariantsOptions = {}): Promise<Variants> {
    const { folder, weights } = plan.location;
    const { allInF32 = false, onProgress, signal } = options;
    const decoder = await Decoder.load(gpu, folder, {
      weights,
      dtype: (names) => (allInF32 || names.some((name) => plan.changed.has(name)) ? "F32" : undefined),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(signal === undefined ? {} : { signal }),
    });
    try {
      return new Variants(decoder, await AdaptedWeights.open(decoder, weights ?? folder), plan, options);
    } catch (thrown) {
      decoder.release();
      throw thrown;
    }
  }

  /**
   * Lets `use` look at a variant, whose weights are gone (a model's), or may be another's (an adapter's), once it has
   * settled.
   * @throws RandloraError as `AdaptedWeights.apply` and `Decoder.load`
   */
  async with<T>(variant: Variant, use: (decoder: Decoder) => Promise<T>): Promise<T> {
    const { signal, onNote, allInF32 = false } = this.#options;
    if (variant.kind === "adapter") {
      const { generator } = this.#plan;
      const choices = [{ path: variant.path, scale: 1 }];
      for (const note of await this.#adapted.apply(choices, { generator, dtype: "f32", signal })) onNote?.(note);
      return await use(this.decoder);
    }
    const { folder, weights } = variant.location;
    using decoder = await Decoder.load(this.decoder.gpu, folder, {
      weights,
      dtype: allInF32 ? "F32" : undefined,
      ...(signal === undefined ? {} : { signal }),
    });
    return await use(decoder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#adapted[Symbol.asyncDispose]();
    this.decoder.release();
  }
}
