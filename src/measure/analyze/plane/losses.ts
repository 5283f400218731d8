import { readPreprocessing } from "../../../data/images/preprocessing.ts";
import { ImagePlane } from "./image-plane.ts";
import { KeptBatches } from "../../images/batches.ts";
import { Variants } from "../variants.ts";
import { filesToMeasure, openSamples, readSamples, type SamplePass, samplePasses } from "../samples.ts";
import { needsAllInF32, type Variant, type VariantsPlan } from "../plan-variants.ts";
import { type Plane, type LossOptions, Mixture, type Shares } from "./plane.ts";
import type { Device } from "../../../compute/device/device.ts";
import type { Context } from "../../../terminal/options/command.ts";
import { IMAGES_AT_ONCE, type SampleFlags } from "../cka/activations.ts";
import type { HeadChoice } from "../../images/model-options.ts";
import type { UnmergedAdapters } from "../../../adapters/merge/in-memory/beside.ts";
import { PLAIN_LINEARS } from "../../../models/blocks/linears.ts";
import { recordTraining } from "../../../models/decoder/training.ts";
import type { DecoderWeights } from "../../../models/decoder/weights.ts";
import { readRows } from "../../../compute/tensor/read-rows.ts";
import { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import type { DataSet } from "../../../data/text/samples/types.ts";
import { tensorsIn } from "../../../models/description.ts";

/** The plane of three variants of a language model; its loss is the mean over all supervised tokens. */
export class LossPlane implements Plane {
  readonly #model: Variants;
  readonly #variants: readonly Variant[];
  readonly #corners: Mixture;
  readonly #passes: readonly SamplePass[];
  readonly #run: Run;
  /** The corners' adapters as they are at the last point, where they are beside the weights. */
  #placed: UnmergedAdapters | undefined;

  private constructor(model: Variants, variants: readonly Variant[], corners: Mixture, data: DataSet) {
    const { decoder } = model;
    this.#model = model;
    this.#variants = variants;
    this.#corners = corners;
    this.#passes = samplePasses(data, decoder.config);
    this.#run = new Run(decoder.gpu);
  }

  /**
   * Keeps the weights of the three corners. `model` is this plane's until it is disposed of.
   * @throws RandloraError as `Variants.with`; `memory`
   */
  static async load(
    model: Variants,
    plan: VariantsPlan,
    variants: readonly [Variant, Variant, Variant],
    data: DataSet,
  ): Promise<LossPlane> {
    const { decoder } = model;
    using resources = new DisposableStack();
    const corners = resources.use(new Mixture(decoder.gpu));
    for (const variant of variants) {
      await model.with(variant, ({ weights }) => corners.add(matricesOf(weights), changedIn(model, plan)));
    }
    // An output matrix of its own where a corner has one, so that all can be mixed in it.
    const { weights, config } = decoder;
    weights.restoreTables();
    if (config.head === undefined && corners.separates(EMBEDDING, HEAD)) weights.changeHead("F32");
    resources.move();
    return new LossPlane(model, variants, corners, data);
  }

  async loss(shares: Shares, { onItems, signal }: LossOptions = {}): Promise<number> {
    const { gpu, config, weights } = this.#model.decoder;
    const run = this.#run;
    this.#corners.mix(run, matricesOf(weights), shares);
    if (this.#model.areBeside) {
      // The last ones stay until then: what all have in common, such as bases, is not made again.
      const last = this.#placed;
      this.#placed = await this.#model.place(shares, this.#variants);
      last?.[Symbol.dispose]();
    }
    const linears = this.#placed?.linears ?? PLAIN_LINEARS;
    const losses: { readonly nll: Tensor; readonly terms: number }[] = [];
    try {
      // All passes are sent before the first is read, so that the device does not wait for us.
      for (const { batch } of this.#passes) {
        signal?.throwIfAborted();
        const nll = run.keep(recordTraining(run, config, weights, linears, batch));
        losses.push({ nll, terms: batch.targets.length });
        await run.submit();
      }
      let sum = 0;
      let count = 0;
      for (const [at, { nll, terms }] of losses.entries()) {
        for (const value of await readRows(gpu, nll, 0, terms)) sum += value;
        count += terms;
        onItems?.(this.#passes[at]?.batch.ids.length ?? 0);
      }
      return sum / count;
    } finally {
      for (const { nll } of losses) gpu.memory.release(nll.buffer);
    }
  }

  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
    this.#placed?.[Symbol.dispose]();
    this.#corners[Symbol.dispose]();
  }
}

/** By place of a matrix: may variants differ in it? */
function changedIn({ decoder: { weights }, areBeside }: Variants, plan: VariantsPlan): boolean[] {
  const all = needsAllInF32(plan);
  const mixed = areBeside ? plan.changed.difference(weights.projected) : plan.changed;
  const buffers = new Set([...mixed].map((name) => weights.tensors.get(name)?.buffer));
  return matricesOf(weights).map(({ buffer }) => all || buffers.has(buffer));
}

/** Where the embedding and the output matrix stand in {@link matricesOf}, be they one or two. */
const [EMBEDDING, HEAD] = [0, 1];

/** All matrices in one order. */
function matricesOf({ embedding, positions, head, norm, layers }: DecoderWeights): Tensor[] {
  return [embedding, head, ...tensorsIn([norm, positions, layers])];
}

/** Samples, and a model's loss of them. */
interface Losses {
  readonly samples: number;
  /** Supervised ones; undefined of images. */
  readonly tokens: number | undefined;
  /** What a point costs, in what `Plane.loss` tells. */
  readonly items: number;
  readonly unit: "tokens" | "images";
  /** Loads three corners, for as long as `resources`. @throws RandloraError as `LossPlane.load` or `ImagePlane.load` */
  begin(gpu: Device, resources: AsyncDisposableStack, corners: readonly [Variant, Variant, Variant]): Promise<Plane>;
}

/** Of a language model. @throws RandloraError as `readSamples` */
export async function lossesOfTexts(plan: VariantsPlan, flags: SampleFlags, context: Context): Promise<Losses> {
  const { signal, log } = context;
  const { data, samples: most, maxLength } = flags;
  const set = await readSamples(plan.location.folder, await filesToMeasure(data), { most, maxLength, signal });
  const { samples, supervisedTokens, tokens } = set.totals;
  return {
    samples,
    tokens: supervisedTokens,
    items: tokens,
    unit: "tokens",
    async begin(gpu, resources, corners) {
      const onNote = (note: string) => log.warn(note);
      const options = { allInF32: needsAllInF32(plan), signal, onNote };
      const variants = resources.use(await Variants.load(gpu, plan, options));
      return resources.use(await LossPlane.load(variants, plan, corners, set));
    },
  };
}

/** Of a model of images with a head. @throws RandloraError as `openSamples` and `readPreprocessing` */
export async function lossesOfImages(
  plan: VariantsPlan,
  flags: SampleFlags,
  head: HeadChoice,
  context: Context,
): Promise<Losses> {
  const { signal, log } = context;
  const { data, dataset, split, samples: most } = flags;
  const { folder } = plan.location;
  // What cannot be read is found out before a model is loaded.
  const set = await openSamples({ data, dataset, split, most });
  const preprocessing = await readPreprocessing(folder);
  const samples = set.labels.length;
  return {
    samples,
    tokens: undefined,
    items: samples,
    unit: "images",
    async begin(gpu, resources, corners) {
      const plane = await ImagePlane.load(gpu, plan, corners, {
        size: [preprocessing.height, preprocessing.width],
        withoutText: head.withoutText,
        signal,
        onNote: (note) => log.warn(note),
        classifierOf: (opened) => head.classifierOf(opened, set, folder),
        async batchesOf({ kind, classes }) {
          // A trained head has its own order of the classes, and may know more of them.
          const labeled = kind === "zero-shot" ? set : await openSamples({ data, dataset, split, most, classes });
          return new KeptBatches(labeled, { preprocessing, batchSize: IMAGES_AT_ONCE, signal });
        },
      });
      return resources.use(plane);
    },
  };
}
