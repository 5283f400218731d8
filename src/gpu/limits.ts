/** The limits that the program goes by. */
export type GpuLimits = Readonly<
  Pick<
    GPUSupportedLimits,
    | "maxBufferSize"
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
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    minStorageBufferOffsetAlignment: limits.minStorageBufferOffsetAlignment,
    minUniformBufferOffsetAlignment: limits.minUniformBufferOffsetAlignment,
  };
}
