import { dirname, join } from "node:path";
import type { Device } from "../../compute/device/device.ts";
import { BLOCKS_NAMES } from "../../compute/device/dtype.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { oneLine } from "../../files/failure.ts";
import { readOptionalJsonObject } from "../../files/read-text.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";
import type { ReadableTensor, TensorReader } from "../../files/safetensors/checkpoint.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import { type OpenBase, openBase } from "../base/named-base.ts";
import type { AdapterPlan } from "../method/plan.ts";
import { stayingTied } from "../base/replacements.ts";
import { openAdapter } from "../formats/open.ts";
import { planAdapter } from "../methods.ts";
import type { AppliedAdapter, LoadedAdapter } from "./merge-tensor.ts";
import { type MergeDtype, type MergePlan, type OutputTensor, planMerge } from "./plan.ts";
import { type StreamOptions, TensorStream } from "./tensor-stream.ts";

/** An adapter to apply. */
export interface AdapterChoice {
  /** On this machine. */
  readonly path: string;
  /** Multiplies α/r. */
  readonly scale: number;
}

export interface LoadOptions {
  readonly signal?: AbortSignal | undefined;
  /** No tensor will be asked for that ΔW is added to. */
  readonly withoutDeltas?: boolean | undefined;
  readonly keepsSource?: boolean | undefined;
  /** Told when random matrices are drawn, and when they are on the device. */
  readonly onStage?: ((stage: "bases" | "device") => void) | undefined;
}

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
  readonly dtype?: MergeDtype | undefined;
  /** Refuses an adapter for reasons of the caller's. */
  readonly check?: ((plan: AdapterPlan) => void) | undefined;
  /** What is applied of them; by default each, as often as its scale says. */
  readonly apply?: ((plans: readonly AdapterPlan[]) => readonly AppliedAdapter[]) | undefined;
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

  private constructor(base: OpenBase, applied: readonly AppliedAdapter[], dtype: MergeDtype) {
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
    { generator, dtype = "keep", check, apply }: MergedOptions = {},
  ): Promise<MergedCheckpoint> {
    await using resources = new AsyncDisposableStack();
    const opened = typeof base === "string" ? resources.use(await openBase(base)) : base;
    const plans: AdapterPlan[] = [];
    for (const { path } of choices) {
      const adapter = resources.use(await openAdapter(path));
      const plan = planAdapter(adapter, opened.base, { generator, amongOthers: choices.length > 1 });
      check?.(plan);
      plans.push(await stayingTied(plan, opened.base));
    }
    const applied = apply?.(plans) ?? plans.map((plan, index) => ({ plan, factor: choices[index]?.scale ?? 1 }));
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

/**
 * Reads or draws what an adapter's layers share, and puts it on the device.
 * @param gpu is opened while bases are drawn
 * @param owner owns what is uploaded
 * @throws RandloraError as `AdapterPlan.load`; the signal's reason when it is aborted
 */
export async function loadAdapter(
  { plan, factor }: AppliedAdapter,
  gpu: Device | Promise<Device>,
  owner: AsyncDisposableStack,
  { signal, keepsSource = false, onStage }: LoadOptions = {},
): Promise<LoadedAdapter> {
  signal?.throwIfAborted();
  const source = await plan.load(signal);
  onStage?.("bases");
  const deltas = await source.upload(ownedBy(owner, await gpu));
  onStage?.("device");
  return { plan, factor, deltas, source: keepsSource ? source : undefined };
}

/**
 * For the user, where the adapter of a run (its folder, or one in it) was trained beside quantized weights: it is merged
 * into others. None where nothing says so.
 */
export async function noteOfBlocks(path: string): Promise<readonly string[]> {
  for (const folder of [path, dirname(path)]) {
    // A run.json that cannot be read is no reason not to merge: the adapter says for itself what it is.
    const { quantize } = await readOptionalJsonObject(join(folder, SETTINGS_FILE)).catch(() => ({ quantize: null }));
    const name = BLOCKS_NAMES.find((one) => one === quantize);
    if (name === undefined) continue;
    return [`${oneLine(path)}: trained beside weights in ${name} (--quantize), and merged into the weights as stored`];
  }
  return [];
}
