import { dirname } from "node:path";
import { openBase } from "../../base/open-base.ts";
import type { Device } from "../../../compute/device/device.ts";
import { ownedBy } from "../../../compute/device/owned.ts";
import { adaptTensor } from "../adapted-tensor.ts";
import type { LoadedAdapter } from "../to-files/write.ts";
import type { OutputTensor } from "../plan.ts";
import type { GeneratorName } from "../../../compute/random/names.ts";
import type { Checkpoint, ReadableTensor, TensorReader } from "../../../files/safetensors/checkpoint.ts";
import { dtypeBytes, type OutputDtype } from "../../../files/safetensors/dtype.ts";
import { type AdapterChoice, planAdapters } from "./plan.ts";

interface AdaptOptions {
  readonly generator?: GeneratorName | undefined;
  /** What `merge --dtype` would be told; by default, that each tensor keeps its own. */
  readonly dtype?: OutputDtype | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A tensor as adapters make it; undefined: it stays as it is. */
interface AdaptedTensor extends ReadableTensor {
  readonly change: OutputTensor | undefined;
}

/**
 * A checkpoint with adapters added: its tensors are, byte for byte, those that `merge` would write. Each that changes is
 * computed when the reading of it begins, and is kept until another one is read. What adapters replace needs no place in the
 * checkpoint, so a model that is filled from here has a new head like any other tensor.
 */
export class AdaptedCheckpoint implements TensorReader, AsyncDisposable {
  readonly tensors: ReadonlyMap<string, AdaptedTensor>;
  /** What the user should know: one line each. */
  readonly notes: readonly string[];
  readonly #gpu: Device;
  readonly #checkpoint: Checkpoint;
  readonly #adapters: readonly LoadedAdapter[];
  /** By the name of the tensor: the folder of the adapter that brings it. */
  readonly #origins: ReadonlyMap<string, string>;
  readonly #resources: AsyncDisposableStack;
  #computed: { readonly name: string; readonly bytes: Uint8Array } | undefined;

  private constructor(
    gpu: Device,
    checkpoint: Checkpoint,
    changes: readonly OutputTensor[],
    adapters: readonly LoadedAdapter[],
    resources: AsyncDisposableStack,
  ) {
    this.#gpu = gpu;
    this.#checkpoint = checkpoint;
    this.#adapters = adapters;
    this.#resources = resources;
    this.notes = adapters.flatMap(({ plan }) => plan.notes);
    const origins = adapters.flatMap(({ plan: { adapter, replacements } }) =>
      replacements.map(({ tensor }) => [tensor, adapter.file] as const),
    );
    this.#origins = new Map(origins.map(([tensor, file]) => [tensor, dirname(file)]));
    const files = new Map(origins);
    const tensors = new Map<string, AdaptedTensor>();
    for (const [name, { file, info }] of checkpoint.tensors) tensors.set(name, { file, info, change: undefined });
    for (const change of changes) {
      const { name, dtype, shape } = change;
      const bytes = shape.reduce((product, size) => product * size, dtypeBytes(dtype));
      const path = files.get(name) ?? checkpoint.tensors.get(name)?.file.path ?? checkpoint.folder;
      tensors.set(name, { file: { path }, info: { dtype, shape, bytes }, change });
    }
    this.tensors = tensors;
  }

  /**
   * @param path of the checkpoint
   * @throws RandloraError `adapter` with the reason why one cannot be applied; `file`, `format`, `memory`; the signal's
   *   reason when it is aborted
   */
  static async open(
    gpu: Device,
    path: string,
    choices: readonly AdapterChoice[],
    { generator, dtype, signal }: AdaptOptions = {},
  ): Promise<AdaptedCheckpoint> {
    await using resources = new AsyncDisposableStack();
    const { checkpoint, base } = resources.use(await openBase(path));
    const { plans, changes } = await planAdapters(checkpoint, base, choices, { generator, dtype }, resources);
    const adapters: LoadedAdapter[] = [];
    for (const [index, plan] of plans.entries()) {
      signal?.throwIfAborted();
      const deltas = await (await plan.load(signal)).upload(ownedBy(resources, gpu));
      adapters.push({ plan, factor: choices[index]?.scale ?? 1, deltas });
    }
    return new AdaptedCheckpoint(gpu, checkpoint, changes, adapters, resources.move());
  }

  get folder(): string {
    return this.#checkpoint.folder;
  }

  /** The folder of the adapter that a tensor comes from as it is; undefined where none replaces it. */
  originOf(name: string): string | undefined {
    return this.#origins.get(name);
  }

  get(name: string): AdaptedTensor {
    return this.tensors.get(name) ?? { ...this.#checkpoint.get(name), change: undefined };
  }

  /**
   * As `Checkpoint.read`.
   * @throws RandloraError `numeric` naming file and tensor when a merged weight is not finite; `file`, `memory`, `gpu`
   */
  async read(name: string, out: Uint8Array, start = 0): Promise<void> {
    const { change, info } = this.get(name);
    if (change === undefined) {
      await this.#checkpoint.read(name, out, start);
      return;
    }
    if (this.#computed?.name !== name) {
      const bytes = new Uint8Array(info.bytes);
      let end = 0;
      await adaptTensor(this.#gpu, this.#checkpoint, change, this.#adapters, async (some) => {
        bytes.set(some, end);
        end += some.length;
      });
      this.#computed = { name, bytes };
    }
    out.set(this.#computed.bytes.subarray(start, start + out.length));
  }

  /** Of tensors that stay as they are: one that changes has none. */
  async readBlocks(name: string, out: Uint8Array, start = 0): Promise<void> {
    await this.#checkpoint.readBlocks(name, out, start);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#computed = undefined;
    await this.#resources.disposeAsync();
  }
}
