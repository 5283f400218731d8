import type { Commands, Recording } from "../device/device.ts";
import type { Families } from "../device/families.ts";
import type { RunMemory } from "../device/run-memory.ts";
import type { GpuStaging } from "../device/staging.ts";
import { whole } from "./bindings.ts";
import type { Dispatcher, GpuContext, Workgroups } from "./context.ts";
import { FAMILIES } from "./families/index.ts";
import type { GpuKernel, KernelValues, Operand, UniformMembers, UniformValues } from "./kernels/parameters.ts";
import type { GpuBuffer } from "./memory.ts";
import type { Kernel } from "./pipelines.ts";
import { type Dispatch, Sender } from "./sender.ts";
import { Stream } from "./stream.ts";

/** A recording on a GPU: families become dispatches, whose kernels are compiled side by side meanwhile. */
export class GpuRecording implements Recording, Dispatcher {
  readonly gpu: GpuContext;
  readonly memory: RunMemory;
  readonly staging: GpuStaging;
  readonly #sender: Sender;
  readonly #nothing: GpuBuffer;
  readonly #dispatches: Dispatch[] = [];

  constructor(gpu: GpuContext, memory: RunMemory, staging: GpuStaging) {
    this.gpu = gpu;
    this.memory = memory;
    this.staging = staging;
    this.#sender = new Sender(gpu);
    this.#nothing = gpu.memory.allocate("nothing", 16);
  }

  compute<F extends keyof Families>(family: F, operands: Families[F]): void {
    FAMILIES[family](this, operands);
  }

  run<M extends UniformMembers, B extends string>(
    kernel: GpuKernel<M, B>,
    values: KernelValues<M, B>,
    workgroups: Workgroups,
    work?: number,
  ): void {
    const given = values as Readonly<Record<string, Operand>>; // what bindings name
    const operands = kernel.bindings.map((name) => given[name.endsWith("?") ? name.slice(0, -1) : name]);
    this.dispatch(kernel, values as unknown as UniformValues<M>, operands, workgroups, work);
  }

  dispatch<M extends UniformMembers>(
    source: GpuKernel<M>,
    values: UniformValues<M>,
    operands: readonly Operand[],
    workgroups: Workgroups,
    work = workgroups.reduce<number>((product, count = 1) => product * count, 64 * 256),
  ): void {
    const kernel = this.gpu.pipelines.get(source);
    kernel.catch(() => {}); // awaited when it is sent
    const buffers = operands.map((operand = this.#nothing) => {
      if ("dtype" in operand) return whole(this, operand);
      return "binding" in operand ? (operand.binding ?? this.#nothing) : operand;
    });
    this.#dispatches.push({ kernel, parameters: source.parameters(values), buffers, workgroups, work, last: {} });
  }

  take(): Commands {
    return new Dispatches(this.#dispatches.splice(0), this.#sender);
  }

  /** Runs one workgroup of each kernel: some drivers compile at the first use only. */
  async rehearse(): Promise<void> {
    const stream = new Stream(this.gpu);
    const seen = new Set<Kernel>();
    await this.gpu.memory.pending;
    for (const { kernel, parameters, buffers } of this.#dispatches.splice(0)) {
      const compiled = await kernel;
      if (!seen.has(compiled)) stream.dispatch(compiled, parameters, buffers, [1]);
      seen.add(compiled);
    }
    stream.submit();
  }

  [Symbol.dispose](): void {
    this.#dispatches.length = 0;
    this.gpu.memory.release(this.#nothing);
  }
}

/** Dispatches in their order. */
class Dispatches implements Commands {
  readonly #list: readonly Dispatch[];
  readonly #sender: Sender;

  constructor(list: readonly Dispatch[], sender: Sender) {
    this.#list = list;
    this.#sender = sender;
  }

  get count(): number {
    return this.#list.length;
  }

  async send(): Promise<void> {
    await this.#sender.send(this.#list);
  }
}
