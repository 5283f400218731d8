import type { DeviceLimits } from "../device/buffer.ts";

/** The limits that the program goes by, and those that kernels' dispatches go by. */
export type GpuLimits = DeviceLimits &
  Readonly<
    Pick<
      GPUSupportedLimits,
      | "maxStorageBufferBindingSize"
      | "maxComputeWorkgroupsPerDimension"
      | "minStorageBufferOffsetAlignment"
      | "minUniformBufferOffsetAlignment"
    >
  >;

/** A device's limits as plain numbers: to ask the device itself, many times a dispatch, takes longer than the rest of it. */
export function limitsOf({ limits }: GPUDevice): GpuLimits {
  return {
    maxBufferSize: limits.maxBufferSize,
    maxBindingSize: limits.maxStorageBufferBindingSize,
    maxTogether: Infinity,
    maxRows: limits.maxComputeWorkgroupsPerDimension,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    minStorageBufferOffsetAlignment: limits.minStorageBufferOffsetAlignment,
    minUniformBufferOffsetAlignment: limits.minUniformBufferOffsetAlignment,
  };
}
