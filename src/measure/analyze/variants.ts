import type { Device } from "../../compute/device/device.ts";
import { checkUnmerged, placeUnmerged, type UnmergedAdapters } from "../../adapters/merge/in-memory/beside.ts";
import type { AdapterChoice } from "../../adapters/merge/merged-checkpoint.ts";
import { AdaptedWeights } from "../../adapters/merge/in-memory/weights.ts";
import { SharedParts } from "../../adapters/method/training.ts";
import { RandloraError } from "../../files/errors.ts";
import { PLAIN_LINEARS } from "../../models/blocks/linears.ts";
import { Decoder } from "../../models/decoder/decoder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { LoadedImageModel, type LoadedImageModelOptions } from "../images/model.ts";
import type { Variant, VariantsPlan } from "./plan-variants.ts";

export interface VariantsOptions {
  /** Hold every matrix in F32, and not only those that adapters change. */
  readonly allInF32?: boolean;
  /** They are looked at one by one: adapters need not fit beside the weights together. */
  readonly apart?: boolean;
  /** Told the bytes of the base as they are read; `total` beforehand. */
  readonly onProgress?: (read: number, total: number) => void;
  /** Told what the user should know of an adapter: one line. */
  readonly onNote?: (note: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A model on a device that becomes one of its variants after the other. Weights that adapters change are W + ΔW in F32; those that are
 * stored in blocks stay in them, with the adapters beside them, where all that change them can be computed so.
 */
export class Variants implements AsyncDisposable {
  /** The base; with an adapter's ΔW once `with` was given one. */
  readonly decoder: Decoder;
  /** Adapters that are computed beside the weights. */
  readonly #beside: ReadonlySet<Variant>;
  readonly #adapted: AdaptedWeights;
  readonly #shared: SharedParts;
  readonly #plan: VariantsPlan;
  readonly #options: VariantsOptions;

  private constructor(
    decoder: Decoder,
    beside: ReadonlySet<Variant>,
    adapted: AdaptedWeights,
    plan: VariantsPlan,
    options: VariantsOptions,
  ) {
    this.decoder = decoder;
    this.#beside = beside;
    this.#adapted = adapted;
    this.#shared = new SharedParts(decoder.gpu);
    this.#plan = plan;
    this.#options = options;
  }

  /** Reads the base. @throws RandloraError as `Decoder.load` */
  static async load(gpu: Device, plan: VariantsPlan, options: VariantsOptions = {}): Promise<Variants> {
    const { folder, weights } = plan.location;
    const { allInF32 = false, onProgress, signal } = options;
    const load = async (inF32: ReadonlySet<string>) =>
      await loadDecoder(gpu, folder, {
        weights,
        dtype: (names) => (allInF32 || names.some((name) => inF32.has(name)) ? "F32" : undefined),
        ...(onProgress === undefined ? {} : { onProgress }),
        ...(signal === undefined ? {} : { signal }),
      });
    const inBlocks = allInF32 ? new Set<string>() : plan.inBlocks;
    using resources = new DisposableStack();
    const decoder = resources.use(await load(plan.changed.difference(inBlocks)));
    const beside = inBlocks.size > 0 ? await fitBeside(decoder, plan, options) : new Set<Variant>();
    const merged = plan.variants.flatMap((one) =>
      one.kind === "adapter" && !beside.has(one) ? [...one.inBlocks] : [],
    );
    const left = inBlocks.difference(new Set(merged));
    if (left.size < inBlocks.size) {
      resources.dispose();
      return await Variants.load(gpu, { ...plan, inBlocks: left }, options);
    }
    const adapted = await AdaptedWeights.open(decoder, weights ?? folder);
    resources.move();
    return new Variants(decoder, beside, adapted, plan, options);
  }

  /** Are all adapters computed beside the weights? */
  get areBeside(): boolean {
    return this.#beside.size > 0 && this.#plan.variants.every((one) => one.kind === "model" || this.#beside.has(one));
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
      const { decoder } = this;
      const choices = [{ path: variant.path, scale: 1 }];
      const isBeside = this.#beside.has(variant);
      const beside = isBeside ? decoder.weights.projected : undefined;
      for (const note of await this.#adapted.apply(choices, { generator, dtype: "f32", signal, beside }))
        onNote?.(note);
      using placed = isBeside ? await this.place([1], [variant]) : undefined;
      decoder.linears = placed?.linears ?? PLAIN_LINEARS;
      return await use(decoder);
    }
    const { folder, weights } = variant.location;
    using decoder = await loadDecoder(this.decoder.gpu, folder, {
      weights,
      dtype: allInF32 ? "F32" : undefined,
      ...(signal === undefined ? {} : { signal }),
    });
    return await use(decoder);
  }

  /**
   * Adapters beside the weights, each times its share; bases that two of them have are the same in memory.
   * @throws RandloraError as `placeUnmerged`
   */
  async place(shares: readonly number[], variants: readonly Variant[]): Promise<UnmergedAdapters> {
    const { generator, location } = this.#plan;
    const options = { generator, signal: this.#options.signal, shared: this.#shared };
    const choices = choicesOf(variants, shares);
    return await placeUnmerged(this.decoder, location.weights ?? location.folder, choices, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#adapted[Symbol.asyncDispose]();
    this.decoder.release();
  }
}

function choicesOf(variants: readonly Variant[], shares: readonly number[]): AdapterChoice[] {
  return variants.flatMap((one, at) => (one.kind === "adapter" ? [{ path: one.path, scale: shares[at] ?? NaN }] : []));
}

/** The adapters that can be computed beside the weights: all together or none, unless they are apart. */
async function fitBeside(
  decoder: Decoder,
  { location, variants, generator }: VariantsPlan,
  { apart = false }: VariantsOptions,
): Promise<ReadonlySet<Variant>> {
  const fitting = new Set<Variant>();
  const adapters = variants.filter(({ kind }) => kind === "adapter");
  for (const some of apart ? adapters.map((one) => [one]) : [adapters]) {
    const choices = choicesOf(
      some,
      some.map(() => 1),
    );
    try {
      await checkUnmerged(decoder, location.weights ?? location.folder, choices, { generator });
      for (const one of some) fitting.add(one);
    } catch (refusal) {
      // `usage`: one is given twice, or two are alike.
      if (!(refusal instanceof RandloraError && (refusal.code === "adapter" || refusal.code === "usage")))
        throw refusal;
    }
  }
  return fitting;
}

export interface ImageVariantOptions extends Pick<
  LoadedImageModelOptions,
  "size" | "withoutText" | "dtype" | "signal"
> {
  /** Told what the user should know of an adapter: one line. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/**
 * Loads a variant of a model of images. What an adapter changes is W + ΔW in F32.
 * @throws RandloraError as `LoadedImageModel.open`
 */
export async function openImageVariant(
  gpu: Device,
  { location, generator }: VariantsPlan,
  variant: Variant,
  { onNote, ...options }: ImageVariantOptions,
): Promise<LoadedImageModel> {
  const adapters = variant.kind === "adapter" ? [{ path: variant.path, scale: 1 }] : [];
  const from = variant.kind === "adapter" ? location : variant.location;
  const opened = await LoadedImageModel.open(gpu, from, { ...options, adapters, generator, exact: true });
  for (const note of opened.notes) onNote?.(note);
  return opened;
}
