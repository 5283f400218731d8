/**
 * A device that computes nothing and whose buffers have no memory: what is recorded on it, as on `real`, shows which
 * buffers that takes. Buffers are read as zeros.
 */
export function countingDevice(real: GPUDevice): GPUDevice {
  const { limits, features } = real;
  const nothing = (): undefined => undefined;
  const done = async (): Promise<undefined> => undefined;
  const pass = { setPipeline: nothing, setBindGroup: nothing, dispatchWorkgroups: nothing, end: nothing };
  const encoder = {
    beginComputePass: () => pass as Partial<GPUComputePassEncoder>,
    copyBufferToBuffer: nothing,
    clearBuffer: nothing,
    finish: () => ({}) as GPUCommandBuffer,
  };
  const queue: Partial<GPUQueue> = { writeBuffer: nothing, submit: nothing, onSubmittedWorkDone: done };
  const buffer = ({ label = "", size }: GPUBufferDescriptor): Partial<GPUBuffer> => ({
    label,
    size,
    destroy: nothing,
    mapAsync: done,
    getMappedRange: () => new ArrayBuffer(size),
    unmap: nothing,
  });
  return {
    limits,
    features,
    queue: queue as GPUQueue,
    lost: new Promise<GPUDeviceLostInfo>(() => {}),
    addEventListener: nothing,
    pushErrorScope: nothing,
    popErrorScope: async () => null,
    createBuffer: (descriptor: GPUBufferDescriptor) => buffer(descriptor) as GPUBuffer,
    createShaderModule: () => ({}) as GPUShaderModule,
    createBindGroupLayout: () => ({}) as GPUBindGroupLayout,
    createPipelineLayout: () => ({}) as GPUPipelineLayout,
    createBindGroup: () => ({}) as GPUBindGroup,
    createComputePipelineAsync: async () => ({}) as GPUComputePipeline,
    createCommandEncoder: () => encoder as Partial<GPUCommandEncoder> as GPUCommandEncoder,
    destroy: nothing,
  } as Partial<GPUDevice> as GPUDevice;
}
