import { Gpu } from "../../src/compute/gpu/gpu.ts";
import type { Suite } from "../suite.ts";
import code from "./peak.wgsl" with { type: "text" };

/** Operations of a thread of peak.wgsl: 4 chains of vectors of 4, a multiplication and an addition each. */
const FLOPS = 4096 * 4 * 4 * 2;
const THREADS = 256;
/** Seconds that a dispatch takes at least, and not twice as long: drivers reset a GPU that works for too long. */
const LEAST = 0.05;

/** What a GPU makes at most, which no driver reports. */
export const peakSuite: Suite = {
  name: "peak",
  title: "multiply-adds in registers",
  unit: "GFLOP/s",
  async *cases(_, open) {
    using gpu = await open();
    if (!(gpu instanceof Gpu)) return;
    const { device, limits } = gpu;
    const module = device.createShaderModule({ label: "peak", code });
    const pipeline = await gpu.settle(
      device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } }),
    );
    const bytes = THREADS * 16;
    const most = Math.min(limits.maxComputeWorkgroupsPerDimension, Math.floor(limits.maxBindingSize / bytes), 2 ** 15);
    const y = gpu.memory.allocate("peak", most * bytes);
    const entries = [{ binding: 0, resource: { buffer: y.buffer } }];
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    const run = async (workgroups: number): Promise<number> => {
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
    await run(workgroups);
    while (workgroups < most && (await run(workgroups)) < LEAST) workgroups = Math.min(most, 2 * workgroups);
    yield {
      name: "peak",
      amount: (workgroups * THREADS * FLOPS) / 1e9,
      run: async () => void (await run(workgroups)),
    };
    gpu.memory.release(y);
  },
};
