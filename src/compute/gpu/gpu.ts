import type { Copy, Device, DeviceBuffer, Range } from "../device/device.ts";
import type { Preparations, ScratchSizes } from "../device/families.ts";
import type { RunMemory } from "../device/run-memory.ts";
import { type GpuStaging, gpuStaging, type Staging } from "../device/staging.ts";
import { RandloraError } from "../../files/errors.ts";
import { BindGroups } from "./bind-groups.ts";
import { DRIVER_HINT } from "./choose.ts";
import { mayHaveGpu } from "./nodes.ts";
import type { GpuContext } from "./context.ts";
import { countingDevice } from "./counting.ts";
import { releaseInstance } from "./dawn.ts";
import { PREPARED, SCRATCH } from "./families/index.ts";
import { type GpuLimits, limitsOf } from "./limits.ts";
import { defaultStaging } from "./integer-dots.ts";
import { FULL_HINT, GpuMemory } from "./memory.ts";
import { catchNativeLog } from "./native-log.ts";
import { resetPace } from "./pacing.ts";
import { PipelineCache } from "./pipelines.ts";
import { Profiler } from "./profiler.ts";
import { GpuRecording } from "./recording.ts";
import { type GpuInfo, type GpuOptions, type OpenedDevice, requestDevice } from "./request.ts";
import { Stream } from "./stream.ts";
import { readRanges, writeBytes } from "./transfer.ts";

export type { GpuInfo, GpuOptions } from "./request.ts";

/** How Dawn's messages name what could not be made, in what follows from it. */
const INVALID = /\[Invalid /;

/** How a device of WebGPU is used. */
interface OnDevice extends Pick<GpuOptions, "memory" | "profile"> {
  /** Bytes that are bound at once, if less than it allows. */
  readonly mostBytes?: number | undefined;
}

/**
 * An opened GPU: the device, its memory, its compiled kernels, and the first thing that went wrong on it.
 * One process opens one; `close` releases everything and lets the process end by itself.
 */
export class Gpu implements Device, GpuContext {
  readonly device: GPUDevice;
  readonly info: GpuInfo;
  readonly limits: GpuLimits;
  readonly staging: GpuStaging;
  readonly memory: GpuMemory;
  readonly pipelines: PipelineCache;
  readonly bindGroups: BindGroups;
  readonly skipsZeros = false;
  readonly mixesRows = false;
  readonly profiler: Profiler | undefined;
  #failure: RandloraError | undefined;
  #isClosed = false;
  /** Of those who wait in `settle`: a promise that all of them raced against would keep every one of them for ever. */
  readonly #waiting = new Set<(error: RandloraError) => void>();

  readonly #instance: GPU;

  private constructor({ instance, device, info }: OpenedDevice, { profile, memory, mostBytes }: OnDevice = {}) {
    this.#instance = instance;
    this.device = device;
    this.info = info;
    this.limits = limitsOf(device, mostBytes);
    this.staging = defaultStaging(info);
    this.bindGroups = new BindGroups(device);
    this.memory = new GpuMemory(device, (buffer) => this.bindGroups.drop(buffer), memory);
    this.pipelines = new PipelineCache(device);
    this.profiler = profile === true && Profiler.isSupported(device) ? new Profiler(device, this.memory) : undefined;
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault(); // Dawn would print it as well
      const { pending } = this.memory;
      if (pending === undefined) this.#refused(event.error);
      else void pending.then(() => this.#refused(event.error));
    });
    void device.lost.then((lost) => {
      if (this.#isClosed) return;
      const hint = "the driver was reset, or the GPU ran out of memory; close other programs that use it and try again";
      this.#fail(new RandloraError("gpu", `the GPU was lost (${lost.reason}): ${lost.message}`, hint));
    });
  }

  /**
   * Opens the chosen GPU, the fastest by default, with every useful limit and feature.
   * @throws RandloraError `gpu` when there is none, when the choice matches none, or when the driver fails
   */
  static async open(options: GpuOptions = {}): Promise<Gpu> {
    const { result, log } = await catchNativeLog(() => requestDevice(options));
    if (result === undefined) {
      const said = log.split("\n").filter((line) => line.startsWith("Warning: ") || line.startsWith("Error: "));
      const reason = said.length === 0 ? "" : ` (${said.map((line) => line.replace(/^\w+: /, "")).join("; ")})`;
      throw new RandloraError("gpu", `no GPU and no software GPU was found${reason}`, DRIVER_HINT);
    }
    return new Gpu(result, options);
  }

  /**
   * Opens the fastest GPU that is one, without a word where there is none.
   * @returns undefined where there are CPU drivers at most
   * @throws RandloraError `gpu` when its driver fails
   */
  static async openReal(options: Pick<GpuOptions, "memory" | "profile"> = {}): Promise<Gpu | undefined> {
    if (!mayHaveGpu()) return undefined;
    const { result } = await catchNativeLog(() => requestDevice({ isReal: true, profile: options.profile }));
    return result === undefined ? undefined : new Gpu(result, options);
  }

  /** A GPU on a device of WebGPU that is opened already. */
  static on(opened: OpenedDevice, options?: Omit<OnDevice, "profile">): Gpu {
    return new Gpu(opened, options);
  }

  counting(): Gpu {
    return Gpu.on({ instance: this.#instance, device: countingDevice(this.device), info: this.info });
  }

  /** The same GPU with memory and kernels of its own, which binds so many bytes at once at most. */
  binding(mostBytes: number): Gpu {
    return Gpu.on({ instance: this.#instance, device: this.device, info: this.info }, { mostBytes });
  }

  /**
   * Waits for GPU work: the promise's value, or the first failure of the device, whichever comes first.
   * @throws RandloraError `gpu` or `memory`
   */
  async settle<T>(promise: Promise<T>): Promise<T> {
    promise.catch(() => {}); // where the device has failed already, nobody else will hear of it
    resetPace();
    this.check();
    const { promise: outcome, resolve, reject } = Promise.withResolvers<T>();
    promise.then(resolve, reject);
    this.#waiting.add(reject);
    const settled = outcome.finally(() => this.#waiting.delete(reject));
    const value = await settled.catch((cause: unknown) => this.#explain(cause));
    resetPace();
    this.memory.settled();
    await this.#checkAll();
    return value;
  }

  recording(memory: RunMemory, staging: Staging = this.staging): GpuRecording {
    return new GpuRecording(this, memory, gpuStaging(staging));
  }

  async prepare<F extends keyof Preparations>(family: F, variant: Preparations[F]): Promise<void> {
    await Promise.all(PREPARED[family](variant).map((source) => this.pipelines.get(source)));
  }

  scratchBytes<F extends keyof ScratchSizes>(family: F, of: ScratchSizes[F]["of"]): ScratchSizes[F]["bytes"] {
    return SCRATCH[family](of);
  }

  write(target: DeviceBuffer, source: ArrayBufferView<ArrayBuffer>, offset = 0): void {
    writeBytes(this, target, source, offset);
  }

  copy(copies: readonly Copy[]): void {
    const stream = new Stream(this);
    for (const { from, to, fromOffset = 0, toOffset = 0, size } of copies)
      stream.copy(from, fromOffset, to, toOffset, size);
    stream.submit();
  }

  clear(buffers: readonly DeviceBuffer[]): void {
    const stream = new Stream(this);
    for (const buffer of buffers) stream.clear(buffer);
    stream.submit();
  }

  async readWith<T>(ranges: readonly Range[], use: (parts: Uint8Array<ArrayBuffer>[]) => Promise<T>): Promise<T> {
    return readRanges(this, ranges, use);
  }

  async idle(): Promise<void> {
    await this.settle(this.device.queue.onSubmittedWorkDone());
  }

  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Destroys the device with all its buffers. */
  close(): void {
    this.#isClosed = true;
    this.memory.clear();
    this.device.destroy();
    releaseInstance(this.#instance);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @throws RandloraError `gpu` of the device, `memory` of buffers that there was no room for */
  async #checkAll(): Promise<void> {
    await this.memory.pending;
    this.check();
    this.memory.check();
  }

  /** Dawn rejects what was pending on a dead device with an error that says nothing; the reason arrives beside it. */
  async #explain(cause: unknown): Promise<never> {
    if (cause instanceof RandloraError) throw cause;
    await Bun.sleep(0);
    await this.#checkAll();
    const reason = cause instanceof Error && cause.message !== "" ? cause.message : String(cause);
    throw new RandloraError("gpu", `the GPU did not finish its work: ${reason}`, "please report this", { cause });
  }

  #refused(error: GPUError): void {
    // For what is no buffer of `GpuMemory` (what the queue copies uploads to, what a pipeline takes): nobody knows whom it concerns.
    if (error instanceof GPUOutOfMemoryError) {
      this.#fail(new RandloraError("memory", `the GPU has no room: ${error.message}`, FULL_HINT));
      return;
    }
    // What is done with a buffer that there was no room for is not done, and whoever does it is told of the room.
    if (!this.memory.hasRefused || !INVALID.test(error.message)) {
      this.#fail(new RandloraError("gpu", `the GPU refused a command: ${error.message}`, "please report this"));
    }
  }

  #fail(error: RandloraError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    for (const reject of this.#waiting) reject(error);
  }
}
