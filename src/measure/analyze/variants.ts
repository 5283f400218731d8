import type { Device } from "../../compute/device/device.ts";
import { AdaptedWeights } from "../../adapters/merge/in-memory/weights.ts";
import { Decoder } from "../../models/decoder/decoder.ts";
import type { Variant, VariantsPlan } from "./plan-variants.ts";

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
