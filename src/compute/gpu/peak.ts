import type { Gpu } from "./gpu.ts";
import code from "./peak.wgsl" with { type: "text" };

/** Operations of a thread of peak.wgsl: 4 chains of vectors of 4, a multiplication and an addition each. */
const FLOPS = 4096 * 4 * 4 * 2;
const THREADS = 256;
/** Seconds that a dispatch takes at least, and not twice as long: drivers reset a GPU that works for too long. */
const LEAST = 0.05;
const TIMES = 5;

/** 10⁹ operations in f32 a second that a GPU makes at most, as measured. @throws RandloraError `gpu` */
export async function measurePeak(gpu: Gpu): Promise<number> {
  const { device, limits } = gpu;
  const module = device.createShaderModule({ label: "peak", code });
  const pipeline = await gpu.settle(
    device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } }),
  );
  const bytes = THREADS * 16;
  const most = Math.min(limits.maxComputeWorkgroupsPerDimension, Math.floor(limits.maxBindingSize / bytes), 2 ** 15);
  const y = gpu.memory.allocate("peak", most * bytes);
  const resource = { buffer: y.buffer };
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource }] });
  const seconds = async (workgroups: number): Promise<number> => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(workgroups);
    pass.end();
    const begun = performance.now();
    device.queue.submit([encoder.finish()]);
    await gpu.idle();
    return (performance.now() - begun) / 1000;
  };
  let workgroups = 1;
  await seconds(workgroups);
  while (workgroups < most && (await seconds(workgroups)) < LEAST) workgroups = Math.min(most, 2 * workgroups);
  let best = Infinity;
  for (let time = 0; time < TIMES; time++) best = Math.min(best, await seconds(workgroups));
  gpu.memory.release(y);
  return (workgroups * THREADS * FLOPS) / best / 1e9;
}
