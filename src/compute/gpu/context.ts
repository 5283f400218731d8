import type { Binding } from "../device/buffer.ts";
import type { Tensor } from "../device/tensor.ts";
import type { RunMemory } from "../device/run-memory.ts";
import type { GpuStaging } from "../device/staging.ts";
import type { BindGroups } from "./bind-groups.ts";
import type { GpuKernel, UniformMembers, UniformValues } from "./kernels/parameters.ts";
import type { GpuLimits } from "./limits.ts";
import type { GpuMemory } from "./memory.ts";
import type { PipelineCache } from "./pipelines.ts";
import type { Profiler } from "./profiler.ts";

/** What work on an opened GPU is made with. */
export interface GpuContext {
  readonly device: GPUDevice;
  readonly limits: GpuLimits;
  readonly memory: GpuMemory;
  readonly pipelines: PipelineCache;
  readonly bindGroups: BindGroups;
  readonly profiler: Profiler | undefined;
  /** Waits for GPU work: the promise's value, or the first failure of the device. */
  settle<T>(promise: Promise<T>): Promise<T>;
}

/** What a kernel is bound to. */
export type Operand = Tensor | { readonly binding: Binding } | Binding | undefined;

/** Workgroups along x, y and z. */
export type Workgroups = readonly [number, number?, number?];

/** What a family's implementation records with. */
export interface Dispatcher {
  readonly gpu: GpuContext;
  readonly staging: GpuStaging;
  /** Scratch; what is released serves later commands of the same recording. */
  readonly memory: RunMemory;
  /**
   * Records one dispatch. Operands are the bindings 1, 2, …: of a tensor its whole buffer, of a block its own, and of what was
   * left out something that the kernel does not read.
   * @param work operations, roughly, where they are many; by default 256 an invocation of a small workgroup
   */
  dispatch<M extends UniformMembers>(
    kernel: GpuKernel<M>,
    values: UniformValues<M>,
    operands: readonly Operand[],
    workgroups: Workgroups,
    work?: number,
  ): void;
}
