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

/**
 * A device's limits as plain numbers: to ask the device itself, many times a dispatch, takes longer than the rest of it.
 * @param mostBytes that a binding may have, if less than the device allows
 */
export function limitsOf({ limits }: GPUDevice, mostBytes = Infinity): GpuLimits {
  const maxBindingSize = Math.min(limits.maxStorageBufferBindingSize, mostBytes);
  return {
    maxBufferSize: limits.maxBufferSize,
    maxBindingSize,
    maxTogether: Infinity,
    maxRows: limits.maxComputeWorkgroupsPerDimension,
    maxStorageBufferBindingSize: maxBindingSize,
    maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    minStorageBufferOffsetAlignment: limits.minStorageBufferOffsetAlignment,
    minUniformBufferOffsetAlignment: limits.minUniformBufferOffsetAlignment,
  };
}
