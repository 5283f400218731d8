import { dirname } from "node:path";
import type { Device } from "../../compute/device/device.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { ReadableTensor, TensorReader } from "../../files/safetensors/checkpoint.ts";
import { dtypeBytes, type OutputDtype } from "../../files/safetensors/dtype.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import { type OpenBase, openBase } from "../base/named-base.ts";
import type { AdapterPlan } from "../method/plan.ts";
import {
  type AdapterChoice,
  type AppliedAdapter,
  loadAdapter,
  type LoadedAdapter,
  type LoadOptions,
  planAdapters,
} from "./loaded-adapter.ts";
import { type MergeDtype, type MergePlan, type OutputTensor, planMerge } from "./plan.ts";
import { type StreamOptions, TensorStream } from "./tensor-stream.ts";

/** A tensor as adapters make it. */
interface MergedTensor extends ReadableTensor {
  /** Undefined: it stays as it is. */
  readonly change: OutputTensor | undefined;
  /** The folder of the adapter that brings it whole. */
  readonly origin: string | undefined;
}

export interface MergedOptions {
  readonly generator?: GeneratorName | undefined;
  /** What `merge --dtype` would be told; by default, that each tensor keeps its own. */
  readonly dtype?: OutputDtype | undefined;
}

/**
 * A checkpoint with adapters added: its tensors are, byte for byte, those that `merge` writes. What adapters say is checked when
 * it is made; values are read and computed as they are asked for, once the adapters are loaded.
 */
export class MergedCheckpoint implements TensorReader, AsyncDisposable {
  readonly base: OpenBase;
  readonly plan: MergePlan;
  /** Of `plan`, those that adapters change or add. */
  readonly changes: readonly OutputTensor[];
  readonly tensors: ReadonlyMap<string, MergedTensor>;
  readonly #applied: readonly AppliedAdapter[];
  readonly #resources = new AsyncDisposableStack();
  #loaded: { readonly gpu: Device; readonly adapters: readonly LoadedAdapter[] } | undefined;
  #computed: { readonly name: string; readonly bytes: Uint8Array } | undefined;

  /** @throws RandloraError as `planMerge` */
  constructor(base: OpenBase, applied: readonly AppliedAdapter[], dtype: MergeDtype) {
    const { checkpoint } = base;
    this.base = base;
    this.#applied = applied;
    const plans = applied.map(({ plan }) => plan);
    this.plan = planMerge(checkpoint, base.base, plans, dtype);
    // Another dtype alone is no change: a model in memory holds what is left alone as it was loaded.
    this.changes = this.plan.tensors.filter(({ name, work }) => {
      if (work.kind === "convert") return work.source.fromAdapter || !checkpoint.tensors.has(name);
      return work.kind === "merge";
    });
    const origins = new Map(
      plans.flatMap(({ adapter, replacements }) => replacements.map(({ tensor }) => [tensor, adapter.file])),
    );
    const stay = [...checkpoint.tensors].map(([name, tensor]) => {
      return [name, { ...tensor, change: undefined, origin: undefined }] as const;
    });
    const changed = this.changes.map((change) => {
      const { name, dtype: own, shape } = change;
      const from = origins.get(name);
      const path = from ?? checkpoint.tensors.get(name)?.file.path ?? checkpoint.folder;
      const info = { dtype: own, shape, bytes: shapeElements(shape) * dtypeBytes(own) };
      return [name, { file: { path }, info, change, origin: from && dirname(from) }] as const;
    });
    this.tensors = new Map<string, MergedTensor>([...stay, ...changed]);
  }

  /**
   * Opens the adapters, and plans what becomes of each tensor: none has been read yet.
   * @param base an open one, or the path of a checkpoint
   * @throws RandloraError `adapter` with the reason why one cannot be applied; `file`, `format`
   */
  static async open(
    base: OpenBase | string,
    choices: readonly AdapterChoice[],
    { generator, dtype = "keep" }: MergedOptions = {},
  ): Promise<MergedCheckpoint> {
    await using resources = new AsyncDisposableStack();
    const opened = typeof base === "string" ? resources.use(await openBase(base)) : base;
    const paths = choices.map(({ path }) => path);
    const plans = await planAdapters(paths, opened.base, generator, resources);
    const applied = plans.map((plan, index) => ({ plan, factor: choices[index]?.scale ?? 1 }));
    const merged = new MergedCheckpoint(opened, applied, dtype);
    merged.#resources.use(resources.move());
    return merged;
  }

  /** What the user should know of the adapters: one line each. */
  get notes(): readonly string[] {
    return this.#applied.flatMap(({ plan }) => plan.notes);
  }

  get folder(): string {
    return this.base.checkpoint.folder;
  }

  /** One an adapter, in order. */
  get plans(): readonly AdapterPlan[] {
    return this.#applied.map(({ plan }) => plan);
  }

  /** Tensors stored in blocks that ΔW is added to. */
  get inBlocks(): ReadonlySet<string> {
    const { tensors } = this.base.checkpoint;
    const isInBlocks = ({ name, work }: OutputTensor) =>
      work.kind === "merge" && tensors.get(name)?.info.blocks !== undefined;
    return new Set(this.changes.filter(isInBlocks).map(({ name }) => name));
  }

  /**
   * Reads or draws what the adapters need, and puts it on the device.
   * @param gpu is opened while bases are drawn
   * @throws RandloraError as `AdapterPlan.load`; `memory`; the signal's reason when it is aborted
   */
  async load(gpu: Device | Promise<Device>, options: LoadOptions = {}): Promise<readonly LoadedAdapter[]> {
    const adapters: LoadedAdapter[] = [];
    for (const one of options.withoutDeltas === true ? [] : this.#applied)
      adapters.push(await loadAdapter(one, gpu, this.#resources, options));
    this.#loaded = { gpu: await gpu, adapters };
    return adapters;
  }

  /** Hands over tensors of `plan`, one after another: as {@link TensorStream.run}. */
  async stream(options: StreamOptions, give: (stream: TensorStream) => Promise<void>): Promise<void> {
    if (this.#loaded === undefined) throw new TypeError("the adapters are not loaded");
    await TensorStream.run({ ...this.#loaded, checkpoint: this.base.checkpoint }, options, give);
  }

  get(name: string): MergedTensor {
    return this.tensors.get(name) ?? { ...this.base.checkpoint.get(name), change: undefined, origin: undefined };
  }

  /**
   * As `Checkpoint.read`; a tensor that changes is computed whole, and kept until another one is read.
   * @throws RandloraError `numeric` naming file and tensor when a merged weight is not finite; `file`, `memory`, `gpu`
   */
  async read(name: string, out: Uint8Array, start = 0): Promise<void> {
    const { change, info } = this.get(name);
    if (change === undefined) return await this.base.checkpoint.read(name, out, start);
    if (this.#computed?.name !== name) {
      const bytes = new Uint8Array(info.bytes);
      let end = 0;
      const append = async (_: string, some: Uint8Array): Promise<void> => {
        bytes.set(some, end);
        end += some.length;
      };
      await this.stream({}, async (stream) => await stream.add(change, { append }));
      this.#computed = { name, bytes };
    }
    out.set(this.#computed.bytes.subarray(start, start + out.length));
  }

  /** Of tensors that stay as they are: one that changes has none. */
  async readBlocks(name: string, out: Uint8Array, start = 0): Promise<void> {
    await this.base.checkpoint.readBlocks(name, out, start);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#computed = undefined;
    await this.#resources.disposeAsync();
  }
}
