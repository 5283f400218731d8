import type { DeviceInfo } from "../device/device.ts";
import { RandloraError } from "../../files/errors.ts";
import { adapterFlags, checkOpened, DRIVER_HINT, isSoftware, listGpus, pickGpu } from "./choose.ts";
import { createInstance, releaseInstance } from "./dawn.ts";
import { hasIntegerDots } from "./integer-dots.ts";

/** What is known about a GPU. */
export interface GpuInfo extends DeviceInfo {
  /** Lanes of a subgroup, smallest and largest that the driver may choose; both 0 where subgroups are missing. */
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  /** What WebGPU calls features that it has, whether or not the program uses them. */
  readonly features: readonly string[];
  /** It has integer dot products of four bytes. */
  readonly integerDots: boolean;
}

export interface GpuOptions {
  /** `--device`: a name, an index or `software`; undefined takes the fastest. */
  readonly choice?: string | undefined;
  /** A CPU that plays a GPU does not count. */
  readonly isReal?: boolean | undefined;
  /** `--memory`: bytes of buffers that may exist at once. */
  readonly memory?: number | undefined;
  /** Time every dispatch with timestamp queries. */
  readonly profile?: boolean | undefined;
  /**
   * `guaranteed` binds no more at once, and has no more workgroup memory, than WebGPU promises everywhere (128 MiB,
   * 16 KiB): so what is taken in row blocks, and what kernels need, is tested on GPUs that have more. `largest` by default.
   */
  readonly limits?: "largest" | "guaranteed" | undefined;
}

/** Kernels use no optional feature: a device without one is the same for all drivers. Timing needs this. */
const TIMESTAMPS: GPUFeatureName = "timestamp-query";

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

/** A device of WebGPU, with the instance that it lives with. */
export interface OpenedDevice {
  readonly instance: GPU;
  readonly device: GPUDevice;
  readonly info: GpuInfo;
}

/**
 * Opens the chosen GPU, the fastest by default, with every useful limit and feature.
 * @returns undefined where there is none
 * @throws RandloraError `gpu` when the choice matches none, or when the driver fails
 */
export async function requestDevice(options: GpuOptions): Promise<OpenedDevice | undefined> {
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
    if (options.isReal === true && isSoftwareAdapter(adapter.info)) {
      releaseInstance(instance);
      return undefined;
    }
    name = adapter.info.device;
    if (picked !== undefined) checkOpened(list, picked, name);
    const requiredLimits: Record<string, number> = {};
    for (const limit of LIMITS) requiredLimits[limit] = adapter.limits[limit];
    if (options.limits === "guaranteed") for (const limit of GUARANTEED) delete requiredLimits[limit];
    const requiredFeatures = options.profile === true && adapter.features.has(TIMESTAMPS) ? [TIMESTAMPS] : [];
    const device = await adapter.requestDevice({ label: "randlora", requiredLimits, requiredFeatures });
    return { instance, device, info: describe(adapter, instance) };
  } catch (cause) {
    releaseInstance(instance);
    if (cause instanceof RandloraError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RandloraError("gpu", `${name}: the driver refused to open it: ${reason}`, DRIVER_HINT, { cause });
  }
}

function isSoftwareAdapter({ device, description, architecture }: GPUAdapterInfo): boolean {
  return isSoftware(`${device} ${description} ${architecture}`);
}

function describe({ info, features }: GPUAdapter, { wgslLanguageFeatures }: GPU): GpuInfo {
  const { device, description, vendor, architecture } = info;
  const software = isSoftwareAdapter(info);
  const name = software || device.startsWith("0x") || device === "" ? description : device;
  return {
    name,
    vendor,
    architecture,
    driver: description,
    software,
    features: [...features].toSorted(),
    subgroupMinSize: info.subgroupMinSize ?? 0,
    subgroupMaxSize: info.subgroupMaxSize ?? 0,
    integerDots: hasIntegerDots({ vendor, architecture, software }, wgslLanguageFeatures),
  };
}
