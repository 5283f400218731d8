import { RandloraError } from "../errors.ts";
import { BindGroups } from "./bind-groups.ts";
import { adapterFlags, checkOpened, DRIVER_HINT, isSoftware, listGpus, pickGpu } from "./choose.ts";
import { countingDevice } from "./counting.ts";
import { createInstance, releaseInstance } from "./dawn.ts";
import { type GpuLimits, limitsOf } from "./limits.ts";
import { FULL_HINT, GpuMemory } from "./memory.ts";
import { catchNativeLog } from "./native-log.ts";
import { resetPace } from "./pacing.ts";
import { PipelineCache } from "./pipelines.ts";
import { Profiler } from "./profiler.ts";

/** What the program needs to know about the GPU that it runs on. */
export interface GpuInfo {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  /** The driver's own description, with its version. */
  readonly driver: string;
  readonly software: boolean;
  /** Lanes of a subgroup, smallest and largest that the driver may choose; both 0 where subgroups are missing. */
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
}

export interface GpuOptions {
  /** `--gpu`: a name, an index or `software`; undefined takes the fastest. */
  readonly choice?: string | undefined;
  /** Time every dispatch with timestamp queries. */
  readonly profile?: boolean | undefined;
  /**
   * `guaranteed` binds no more at once, and has no more workgroup memory, than WebGPU promises everywhere (128 MiB,
   * 16 KiB): so what is taken in row blocks, and what kernels need, is tested on GPUs that have more. `largest` by default.
   */
  readonly limits?: "largest" | "guaranteed" | undefined;
}

/** Requested where the GPU has them: for kernels, which ask `gpu.features` first, and for `doctor` to report. */
const FEATURES = [
  "subgroups",
  "subgroup-size-control",
  "shader-f16",
  "timestamp-query",
  "chromium-experimental-subgroup-matrix",
] as const;

/** Raised to what the GPU offers; WebGPU's defaults are those of a phone. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxUniformBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const satisfies readonly (keyof GPUSupportedLimits)[];

/** Those of them that `GpuOptions.limits` can leave at what WebGPU promises. */
const GUARANTEED = ["maxStorageBufferBindingSize", "maxComputeWorkgroupStorageSize"] as const;

/** NVIDIA's Vulkan driver hides f16 without the first; timestamps are rounded to 100 µs without the second. */
const DAWN_FLAGS = [
  "enable-dawn-features=vulkan_enable_f16_on_nvidia,allow_unsafe_apis",
  "disable-dawn-features=timestamp_quantization",
];

/**
 * An opened GPU: the device, its memory, its compiled kernels, and the first thing that went wrong on it.
 * One process opens one; `close` releases everything and lets the process end by itself.
 */
export class Gpu {
  readonly device: GPUDevice;
  readonly info: GpuInfo;
  readonly limits: GpuLimits;
  readonly memory: GpuMemory;
  readonly pipelines: PipelineCache;
  readonly bindGroups: BindGroups;
  readonly profiler: Profiler | undefined;
  #failure: RandloraError | undefined;
  /** Of those who wait in `settle`: a promise that all of them raced against would keep every one of them for ever. */
  readonly #waiting = new Set<(error: RandloraError) => void>();

  readonly #instance: GPU;

  private constructor({ instance, device, info }: OpenedDevice, profile: boolean) {
    this.#instance = instance;
    this.device = device;
    this.info = info;
    this.limits = limitsOf(device);
    this.bindGroups = new BindGroups(device);
    this.memory = new GpuMemory(
      device,
      (error) => this.#fail(error),
      (buffer) => this.bindGroups.drop(buffer),
    );
    this.pipelines = new PipelineCache(device);
    this.profiler = profile && Profiler.isSupported(device) ? new Profiler(device, this.memory) : undefined;
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault(); // Dawn would print it as well
      const { error } = event;
      // For what is no buffer of `GpuMemory`: what the queue copies uploads to, what a pipeline takes.
      const isFull = error instanceof GPUOutOfMemoryError;
      this.#fail(
        isFull
          ? new RandloraError("memory", `the GPU has no room: ${error.message}`, FULL_HINT)
          : new RandloraError("gpu", `the GPU refused a command: ${error.message}`, "please report this"),
      );
    });
    void device.lost.then((lost) => {
      if (lost.reason === "destroyed") return;
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
    return new Gpu(result, options.profile === true);
  }

  /**
   * A GPU like this one that computes nothing and holds nothing: what is done with it leaves in its `memory` what the
   * same would take here. It needs no closing.
   */
  counting(): Gpu {
    return new Gpu({ instance: this.#instance, device: countingDevice(this.device), info: this.info }, false);
  }

  get features(): GPUSupportedFeatures {
    return this.device.features;
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
    this.check();
    return value;
  }

  /** Waits until everything submitted so far has run. */
  async idle(): Promise<void> {
    await this.settle(this.device.queue.onSubmittedWorkDone());
  }

  /** Throws the first failure of this device, if there was one. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Destroys the device with all its buffers. */
  close(): void {
    this.memory.clear();
    this.device.destroy();
    releaseInstance(this.#instance);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Dawn rejects what was pending on a dead device with an error that says nothing; the reason arrives beside it. */
  async #explain(cause: unknown): Promise<never> {
    if (cause instanceof RandloraError) throw cause;
    await Bun.sleep(0);
    this.check();
    const reason = cause instanceof Error && cause.message !== "" ? cause.message : String(cause);
    throw new RandloraError("gpu", `the GPU did not finish its work: ${reason}`, "please report this", { cause });
  }

  #fail(error: RandloraError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    for (const reject of this.#waiting) reject(error);
  }
}

interface OpenedDevice {
  readonly instance: GPU;
  readonly device: GPUDevice;
  readonly info: GpuInfo;
}

async function requestDevice(options: GpuOptions): Promise<OpenedDevice | undefined> {
  const list = options.choice === undefined ? [] : await listGpus();
  const picked = options.choice === undefined ? undefined : pickGpu(list, options.choice);
  const instance = createInstance([...DAWN_FLAGS, ...(picked === undefined ? [] : adapterFlags(picked))]);
  let name = "the GPU";
  try {
    const adapter = await instance.requestAdapter({ powerPreference: "high-performance" });
    if (adapter === null) {
      releaseInstance(instance);
      return undefined;
    }
    name = adapter.info.device;
    if (picked !== undefined) checkOpened(list, picked, name);
    const requiredLimits: Record<string, number> = {};
    for (const limit of LIMITS) requiredLimits[limit] = adapter.limits[limit];
    if (options.limits === "guaranteed") for (const limit of GUARANTEED) delete requiredLimits[limit];
    const offered = new Set<string>(adapter.features);
    const requiredFeatures = FEATURES.filter((feature) => offered.has(feature)) as GPUFeatureName[];
    const device = await adapter.requestDevice({ label: "randlora", requiredLimits, requiredFeatures });
    return { instance, device, info: describe(adapter.info) };
  } catch (cause) {
    releaseInstance(instance);
    if (cause instanceof RandloraError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RandloraError("gpu", `${name}: the driver refused to open it: ${reason}`, DRIVER_HINT, { cause });
  }
}

function describe(info: GPUAdapterInfo): GpuInfo {
  const { device, description, vendor, architecture } = info;
  const software = isSoftware(`${device} ${description} ${architecture}`);
  const name = software || device.startsWith("0x") || device === "" ? description : device;
  return {
    name,
    vendor,
    architecture,
    driver: description,
    software,
    subgroupMinSize: info.subgroupMinSize ?? 0,
    subgroupMaxSize: info.subgroupMaxSize ?? 0,
  };
}
