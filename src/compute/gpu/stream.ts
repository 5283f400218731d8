import { RandloraError } from "../../files/errors.ts";
import type { Bound } from "./bind-groups.ts";
import type { Binding, DeviceBuffer } from "../device/buffer.ts";
import type { GpuContext, Workgroups } from "./context.ts";
import { type GpuBuffer, nativeBuffer } from "./memory.ts";
import type { Kernel } from "./pipelines.ts";
import { resetPace } from "./pacing.ts";
import { bytes as showBytes } from "./show.ts";

/** What helps where a GPU takes no more at once. */
export const FEWER_TOKENS_HINT =
  "put fewer tokens through at once (--batch-size, --max-length, --context), or choose another GPU with --device";

/** The group of a dispatch that is recorded many times, and the page of parameters that it binds. */
export interface LastGroup {
  page?: GPUBuffer;
  group?: GPUBindGroup;
}

/**
 * Records GPU work and submits it in one go: many dispatches share one pass, and their parameters one uniform buffer.
 * By convention binding 0 of a kernel is its uniform parameters and bindings 1, 2, … are the storage buffers.
 */
export class Stream {
  readonly #gpu: GpuContext;
  #encoder: GPUCommandEncoder;
  #pass: GPUComputePassEncoder | undefined;
  readonly #uniforms: { held: GpuBuffer; used: number; bytes: Uint8Array<ArrayBuffer> }[] = [];

  constructor(gpu: GpuContext) {
    this.#gpu = gpu;
    this.#encoder = gpu.device.createCommandEncoder();
  }

  /**
   * Records one dispatch.
   * @param parameters the uniform struct's bytes
   * @param last what the same dispatch was recorded with last, where it is recorded many times
   * @throws RandloraError `gpu` when more workgroups are asked for than the GPU allows along one axis; `memory` when a
   *   buffer is more than it binds at once
   */
  dispatch(
    kernel: Kernel,
    parameters: ArrayBufferView,
    buffers: readonly Binding[],
    workgroups: Workgroups,
    last: LastGroup = {},
  ): void {
    const [x, y = 1, z = 1] = workgroups;
    if (x === 0 || y === 0 || z === 0) return;
    const most = this.#gpu.limits.maxComputeWorkgroupsPerDimension;
    if (Math.max(x, y, z) > most) {
      throw new RandloraError(
        "gpu",
        `kernel ${kernel.key}: ${x}×${y}×${z} workgroups, this GPU allows ${most} an axis`,
        FEWER_TOKENS_HINT,
      );
    }
    const { page, offset, size } = this.#uniform(parameters);
    if (last.group === undefined || last.page !== page) {
      const bound = [{ buffer: page, offset: 0, size }, ...buffers.map((binding) => this.#resource(binding))];
      last.group = this.#gpu.bindGroups.get(kernel.layout, bound);
      last.page = page;
    }
    const pass = this.#beginPass(kernel.key);
    pass.setPipeline(kernel.pipeline);
    pass.setBindGroup(0, last.group, [offset]);
    pass.dispatchWorkgroups(x, y, z);
  }

  /** Records a copy between buffers; offsets and size are multiples of 4 bytes. */
  copy(from: DeviceBuffer, fromOffset: number, to: DeviceBuffer, toOffset: number, size: number): void {
    this.#endPass();
    this.#encoder.copyBufferToBuffer(nativeBuffer(from), fromOffset, nativeBuffer(to), toOffset, size);
  }

  /** Fills a range with zero bytes; offset and size are multiples of 4 bytes. */
  clear(target: DeviceBuffer, offset = 0, size = Math.ceil(target.size / 4) * 4): void {
    this.#endPass();
    this.#encoder.clearBuffer(nativeBuffer(target), offset, size);
  }

  /**
   * Sends everything recorded to the GPU and starts anew. Does not wait; see `Gpu.idle` and `read`.
   * @throws RandloraError `memory` where there was no room for parameters
   */
  submit(): void {
    this.#endPass();
    const { device, memory, profiler } = this.#gpu;
    for (const { held, used, bytes } of this.#uniforms) device.queue.writeBuffer(nativeBuffer(held), 0, bytes, 0, used);
    profiler?.resolve(this.#encoder);
    device.queue.submit([this.#encoder.finish()]);
    resetPace();
    for (const { held } of this.#uniforms) memory.release(held); // writes to it, too, wait for what was submitted
    this.#uniforms.length = 0;
    this.#encoder = device.createCommandEncoder();
  }

  /** Forgets everything recorded, which is not sent, and starts anew. */
  discard(): void {
    this.#pass = undefined;
    for (const { held } of this.#uniforms) this.#gpu.memory.release(held);
    this.#uniforms.length = 0;
    this.#encoder = this.#gpu.device.createCommandEncoder();
  }

  /** @throws RandloraError `memory` for more bytes than this GPU binds at once */
  #resource(binding: Binding): Bound {
    const range = "of" in binding ? binding : { of: binding, offset: 0, size: binding.size };
    const { label } = range.of;
    const buffer = nativeBuffer(range.of);
    const most = this.#gpu.limits.maxStorageBufferBindingSize;
    if (range.size > most) {
      const [size, limit] = [showBytes(range.size), showBytes(most)];
      const hint = "choose another GPU with --device (randlora doctor lists them)";
      throw new RandloraError("memory", `${label}: ${size} at once, and this GPU binds at most ${limit}`, hint);
    }
    return "of" in binding ? { buffer, offset: range.offset, size: range.size } : { buffer };
  }

  /** A slice of this submission's uniform buffer; a further buffer is begun when one is full. */
  #uniform(parameters: ArrayBufferView): { page: GPUBuffer; offset: number; size: number } {
    const { limits, memory } = this.#gpu;
    const size = Math.ceil(parameters.byteLength / 16) * 16;
    const align = limits.minUniformBufferOffsetAlignment;
    let page = this.#uniforms.at(-1);
    if (page === undefined || page.used + size > UNIFORM_PAGE) {
      const held = memory.allocate("uniforms", UNIFORM_PAGE, "uniforms");
      page = { held, used: 0, bytes: new Uint8Array(UNIFORM_PAGE) };
      this.#uniforms.push(page);
    }
    const offset = page.used;
    page.bytes.set(new Uint8Array(parameters.buffer, parameters.byteOffset, parameters.byteLength), offset);
    page.used = Math.min(UNIFORM_PAGE, Math.ceil((offset + size) / align) * align);
    return { page: page.held.buffer, offset, size };
  }

  #beginPass(label: string): GPUComputePassEncoder {
    const { profiler } = this.#gpu;
    if (profiler !== undefined) {
      this.#endPass(); // timestamps are taken at the ends of a pass, so each dispatch gets its own
      this.#pass = this.#encoder.beginComputePass({ timestampWrites: profiler.begin(label) });
    }
    this.#pass ??= this.#encoder.beginComputePass();
    return this.#pass;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }
}

const UNIFORM_PAGE = 64 * 1024;
