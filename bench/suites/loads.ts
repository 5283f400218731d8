import { Gpu } from "../../src/compute/gpu/gpu.ts";
import { expandTemplate } from "../../src/compute/gpu/kernels/template.ts";
import type { Suite } from "../suite.ts";
import loadsText from "./loads.wgsl" with { type: "text" };

const SOURCES = ["storage", "same", "uniform", "texture", "workgroup"] as const;
const ROWS = 8192;
/** Vectors of 4 that a thread loads. */
const VECTORS = 512;
const UNIFORM_BYTES = 65536;

/** What kernels on a software GPU are bound by: see docs/decisions/gpu-drivers.md. */
export const loadSuite: Suite = {
  name: "loads",
  title: "f32 numbers loaded, by where they lie",
  unit: "G numbers/s",
  async *cases(wanted) {
    using gpu = await Gpu.open();
    const { device } = gpu;
    // A subgroup a workgroup.
    const threads = gpu.info.subgroupMinSize || 64;
    const { STORAGE, UNIFORM, COPY_SRC } = GPUBufferUsage;
    const matrix = device.createBuffer({ size: ROWS * VECTORS * 16, usage: STORAGE | COPY_SRC });
    const uniforms = device.createBuffer({ size: UNIFORM_BYTES, usage: UNIFORM });
    const sums = device.createBuffer({ size: ROWS * 16, usage: STORAGE });
    const texture = device.createTexture({
      size: [VECTORS, ROWS],
      format: "rgba32float",
      usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST,
    });
    const resources: Readonly<Record<(typeof SOURCES)[number], GPUBindingResource>> = {
      storage: { buffer: matrix },
      same: { buffer: matrix },
      uniform: { buffer: uniforms },
      texture: texture.createView(),
      workgroup: { buffer: matrix },
    };
    for (const source of SOURCES) {
      if (!wanted(source)) continue;
      const code = expandTemplate(loadsText, { SOURCE: source, VECTORS, THREADS: threads }, {});
      const module = device.createShaderModule({ label: source, code });
      const pipeline = await device.createComputePipelineAsync({
        layout: "auto",
        compute: { module, entryPoint: "main" },
      });
      const group = device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [
          { binding: 0, resource: resources[source] },
          { binding: 1, resource: { buffer: sums } },
        ],
      });
      yield {
        name: source,
        amount: (ROWS * VECTORS * 4) / 1e9,
        async run() {
          const encoder = device.createCommandEncoder();
          const pass = encoder.beginComputePass();
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, group);
          pass.dispatchWorkgroups(ROWS / threads);
          pass.end();
          device.queue.submit([encoder.finish()]);
          await gpu.idle();
        },
      };
    }
    for (const resource of [matrix, uniforms, sums, texture]) resource.destroy();
  },
};
