import type { Device } from "../../../compute/device/device.ts";
import { ownedBy } from "../../../compute/device/owned.ts";
import type { BaseModel } from "../../base/base.ts";
import { openBase } from "../../base/open-base.ts";
import { RandloraError } from "../../../files/errors.ts";
import { isBlockDtype, isKernelDtype } from "../../../compute/device/dtype.ts";
import { adaptTensor } from "../adapted-tensor.ts";
import type { LoadedAdapter } from "../to-files/write.ts";
import type { MergePlan, OutputTensor } from "../plan.ts";
import type { Decoder } from "../../../models/decoder/decoder.ts";
import { isOfOtherPart } from "../../../models/decoder/config.ts";
import { UNTIED_HEAD } from "../../../models/decoder/weights.ts";
import type { GeneratorName } from "../../../compute/random/names.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { isFloat, type OutputDtype } from "../../../files/safetensors/dtype.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { type AdapterChoice, type AdaptersPlan, planAdapters } from "./plan.ts";
import { TensorWriter } from "./tensor-writer.ts";

export type { AdapterChoice } from "./plan.ts";

export interface ApplyOptions {
  readonly generator?: GeneratorName | undefined;
  /** What `merge --dtype` would be told; the decoder must hold what changes in this dtype, or in F32. */
  readonly dtype?: OutputDtype | undefined;
  /** Leaves out ΔW of these weights, which something else computes with. */
  readonly beside?: ReadonlySet<string> | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told how many of the changed tensors are done; beforehand, 0. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * The weights of a decoder with adapters added: each tensor in GPU memory becomes, byte for byte, what `merge` would
 * write. Adapters are never subtracted: whatever changes is read from the checkpoint again.
 */
export class AdaptedWeights implements AsyncDisposable {
  readonly #gpu: Device;
  readonly #decoder: Decoder;
  readonly #checkpoint: Checkpoint;
  readonly #base: BaseModel;
  /** Tensors that do not hold what the checkpoint does. */
  #changed: ReadonlySet<string> = new Set();
  #isMixture = false;

  private constructor(decoder: Decoder, checkpoint: Checkpoint, base: BaseModel) {
    this.#gpu = decoder.gpu;
    this.#decoder = decoder;
    this.#checkpoint = checkpoint;
    this.#base = base;
  }

  /** @param path of the checkpoint that the decoder was loaded from. @throws RandloraError `file`, `format` */
  static async open(decoder: Decoder, path: string): Promise<AdaptedWeights> {
    const { checkpoint, base } = await openBase(path);
    return new AdaptedWeights(decoder, checkpoint, base);
  }

  /** Did the last `apply` fail half-way? One that failed earlier has changed nothing. */
  get isMixture(): boolean {
    return this.#isMixture;
  }

  /**
   * Makes the weights those of the base with exactly these adapters. What the adapters say is checked before anything
   * changes; after a later failure, or when the signal is aborted, the weights are a mixture until the next call.
   * @returns notes for the user
   * @throws RandloraError `adapter` with the reason why one cannot be applied; `numeric`, `file`, `memory`
   */
  async apply(choices: readonly AdapterChoice[], options: ApplyOptions = {}): Promise<readonly string[]> {
    const { signal, onProgress } = options;
    await using resources = new AsyncDisposableStack();
    const { plans, plan, changes } = await this.#plan(choices, options, resources);

    const loaded: LoadedAdapter[] = [];
    const hasDelta = changes.some(({ work }) => work.kind === "merge");
    for (const [index, one] of hasDelta ? plans.entries() : []) {
      signal?.throwIfAborted();
      const deltas = await (await one.load(signal)).upload(ownedBy(resources, this.#gpu));
      loaded.push({ plan: one, factor: choices[index]?.scale ?? 1, deltas });
    }
    this.#isMixture = true;
    const filled = [...this.#changeTables(plan, changes), ...changes];
    const names = new Set(filled.map(({ name }) => name));
    const restored = plan.tensors.filter(({ name }) => this.#changed.has(name) && !names.has(name));
    const { tensors } = this.#decoder.weights;
    // What is quantized was never changed.
    const work = [...restored.filter(({ name }) => isKernelDtype(tensors.get(name)?.dtype ?? "")), ...filled];
    this.#changed = new Set([...this.#changed, ...names]);
    for (const [index, tensor] of work.entries()) {
      signal?.throwIfAborted();
      onProgress?.(index, work.length);
      await this.#fill(tensor, loaded, signal);
    }
    onProgress?.(work.length, work.length);
    await this.#gpu.idle();
    this.#changed = names;
    this.#isMixture = false;
    return plans.flatMap(({ notes }) => notes);
  }

  /**
   * Finds out whether `apply` would take these adapters; nothing changes.
   * @returns notes for the user
   * @throws RandloraError as `apply` does before anything changes
   */
  async check(choices: readonly AdapterChoice[], generator?: GeneratorName): Promise<readonly string[]> {
    await using resources = new AsyncDisposableStack();
    const { plans } = await this.#plan(choices, { generator }, resources);
    return plans.flatMap(({ notes }) => notes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#checkpoint.close();
  }

  /** Decides what happens to each tensor, and refuses what has no place in the decoder. */
  async #plan(
    choices: readonly AdapterChoice[],
    options: ApplyOptions,
    resources: AsyncDisposableStack,
  ): Promise<AdaptersPlan> {
    const planned = await planAdapters(this.#checkpoint, this.#base, choices, options, resources);
    const { config, weights } = this.#decoder;
    const isForeign = (name: string) => !weights.tensors.has(name) && !(planned.plan.untied && name === UNTIED_HEAD);
    const used = planned.changes.filter(({ name }) => !isOfOtherPart(config, name));
    const foreign = used.find(({ name }) => isForeign(name));
    if (foreign !== undefined) {
      const paths = choices.map(({ path }) => oneLine(path)).join(", ");
      const isInFile = this.#checkpoint.tensors.has(foreign.name);
      const [why, hint] = isInFile
        ? ["which no adapter changes in memory", "merge it (randlora merge), and name the merged model"]
        : ["which this model does not use", "the adapter was made for another model"];
      throw new RandloraError("adapter", `${paths}: it has a tensor ${quote(foreign.name)}, ${why}`, hint);
    }
    const { beside } = options;
    const changes = used.filter(({ name, work }) => work.kind !== "merge" || beside?.has(name) !== true);
    return { ...planned, changes };
  }

  /**
   * Gives the decoder an embedding of its own where these adapters replace one that is quantized, and an output matrix where they
   * set it apart from the embedding, or replace one that is quantized; and takes them away where they do not.
   * @returns the output matrix, where it is still to be filled with what the checkpoint has
   */
  #changeTables({ tensors, untied }: MergePlan, changes: readonly OutputTensor[]): OutputTensor[] {
    const { weights } = this.#decoder;
    weights.restoreTables();
    const head = tensors.find(({ name }) => name === UNTIED_HEAD);
    const isChanged = head !== undefined && changes.includes(head);
    const embedding = changes.find(({ name }) => weights.tensors.get(name)?.buffer === weights.embedding.buffer);
    if (embedding !== undefined && isBlockDtype(weights.embedding.dtype)) {
      weights.changeEmbedding(isKernelDtype(embedding.dtype) ? embedding.dtype : "F32", untied);
      if (untied && !isChanged) return [];
    }
    if (!untied && !(isChanged && isBlockDtype(weights.head.dtype))) return [];
    if (head === undefined) throw new Error("untied without an output matrix");
    weights.changeHead(isKernelDtype(head.dtype) ? head.dtype : "F32");
    return isChanged ? [] : [head];
  }

  /** Makes one tensor what the plan says. */
  async #fill(
    tensor: OutputTensor,
    adapters: readonly LoadedAdapter[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { name, dtype } = tensor;
    const { tensors, transposed } = this.#decoder.weights;
    const place = tensors.get(name);
    if (place === undefined || !isFloat(dtype)) throw new TypeError(`${name}: ${dtype}`);
    const writer = new TensorWriter(this.#gpu, place, dtype, transposed.get(name));
    const write = async (bytes: Uint8Array): Promise<void> => {
      signal?.throwIfAborted();
      writer.append(bytes);
    };
    await adaptTensor(this.#gpu, this.#checkpoint, tensor, adapters, write);
    writer.finish();
  }
}
