import type { RunMemory } from "../device/run-memory.ts";
import type { GpuStaging } from "../device/staging.ts";
import type { BindGroups } from "./bind-groups.ts";
import type { GpuKernel, KernelValues, Operand, UniformMembers, UniformValues } from "./kernels/parameters.ts";
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

/** Workgroups along x, y and z. */
export type Workgroups = readonly [number, number?, number?];

/** What a family's implementation records with. */
export interface Dispatcher {
  readonly gpu: GpuContext;
  readonly staging: GpuStaging;
  /** Scratch; what is released serves later commands of the same recording. */
  readonly memory: RunMemory;
  /**
   * Records one dispatch of a kernel on parameters and operands by name.
   * @param work operations, roughly, where they are many; by default 256 an invocation of a small workgroup
   */
  run<M extends UniformMembers, B extends string>(
    kernel: GpuKernel<M, B>,
    values: KernelValues<M, B>,
    workgroups: Workgroups,
    work?: number,
  ): void;
  /** The same with the operands of bindings 1, 2, … in a list. */
  dispatch<M extends UniformMembers>(
    kernel: GpuKernel<M>,
    values: UniformValues<M>,
    operands: readonly Operand[],
    workgroups: Workgroups,
    work?: number,
  ): void;
}
