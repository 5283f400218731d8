import { dirname } from "node:path";
import { availableParallelism, loadavg } from "node:os";
import { dependencies, version } from "../../../package.json";
import {
  type DeltaCheck,
  type DeltaTiming,
  DeltaTrial,
  PRODUCT,
  type ProductTrial,
  tryProduct,
  VECTOR_PRODUCT,
} from "./delta-trial.ts";
import { stdCachePath } from "../../adapters/files/std-cache.ts";
import { type GpuEntry, listGpus } from "../../compute/gpu/choose.ts";
import { findVulkanDrivers, type VulkanDrivers } from "../../compute/gpu/doctor-drivers.ts";
import {
  checkFolder,
  checkTempFolder,
  type FolderState,
  type TempFolderState,
} from "../../compute/gpu/doctor-folders.ts";
import { Gpu, type GpuInfo } from "../../compute/gpu/gpu.ts";
import { CpuDevice } from "../../compute/cpu/cpu.ts";
import type { CpuCode } from "../../compute/cpu/native/choose.ts";
import type { Device } from "../../compute/device/device.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { type DeviceOptions, openDevice } from "../../compute/open-device.ts";
import { catchNativeLog } from "../../compute/gpu/native-log.ts";
import { hubSettings } from "../../files/hub/settings.ts";

/** The layer that is computed and checked: square, and as deep as it is wide. */
export const TRIAL = { out: 1024, in: 1024, r: 32, generator: "torch-mt19937-bf16-v2", sparsity: "dense" } as const;

/** What of a GPU is shown once it is closed again. */
export interface GpuFacts extends GpuInfo {
  readonly limits: Readonly<Record<string, number>>;
  readonly subgroups: boolean;
  readonly subgroupMatrices: boolean;
  readonly f16: boolean;
  readonly timestamps: boolean;
}

/** The program's own CPU device, and products on it. */
export interface CpuFacts {
  readonly name: string;
  readonly threads: number;
  /** What kernels are computed with, and what of it gives other results here. */
  readonly code: CpuCode;
  readonly passed: readonly string[];
  readonly product: ProductTrial;
  readonly vectorProduct: ProductTrial;
}

/** ΔW on this device: whether it is right, and how fast. */
export interface Trial extends DeltaCheck, DeltaTiming {
  readonly kernel: string;
}

/** Everything that `randlora doctor` finds out. */
export interface Diagnosis {
  readonly versions: { readonly randlora: string; readonly bun: string; readonly webgpu: string };
  readonly platform: string;
  readonly cores: number;
  /** Processes that want a core, over the last minute: above `cores`, timings say little on a software GPU. */
  readonly load: number;
  readonly gpus: readonly GpuEntry[];
  /** Why `gpus` is empty where nobody could be asked: the GPU library cannot be loaded. */
  readonly unlisted: unknown;
  /** Of `gpus`, the one that was opened; −1 for none, `cpu` for the CPU device. */
  readonly chosen: number | "cpu";
  readonly gpu: GpuFacts | undefined;
  readonly cpu: CpuFacts | undefined;
  /** Why there is no `cpu`. */
  readonly cpuFailure: unknown;
  readonly trial: Trial | undefined;
  /** Why there is no device, or no trial. */
  readonly failure: unknown;
  readonly vulkan: VulkanDrivers | undefined;
  readonly temp: TempFolderState;
  readonly caches: { readonly randlora: FolderState; readonly hub: FolderState };
}

/** Looks at everything; a device that cannot be opened leaves the rest to be shown. */
export async function diagnose(options: DeviceOptions): Promise<Diagnosis> {
  const surroundings = {
    versions: { randlora: version, bun: Bun.version, webgpu: dependencies.webgpu },
    platform: `${process.platform}-${process.arch}`,
    cores: availableParallelism(),
    load: loadavg()[0] ?? 0,
    vulkan: await findVulkanDrivers(),
    temp: checkTempFolder(),
    caches: { randlora: checkFolder(dirname(stdCachePath())), hub: checkFolder(hubSettings().cacheDir) },
  };
  const listing = await outcomeOf(async () => (await catchNativeLog(listGpus)).result);
  const gpus = listing.value ?? [];
  let facts: GpuFacts | undefined;
  let trial: Trial | undefined;
  let cpu: Outcome<CpuFacts> | undefined;
  let chosen: Diagnosis["chosen"] = -1;
  let failure: unknown;
  try {
    using device = await openDevice(options);
    if (device instanceof Gpu) {
      facts = describe(device);
      chosen = chosenIndex(gpus, facts);
    } else chosen = "cpu";
    if (device instanceof CpuDevice) cpu = await outcomeOf(() => tryCpu(device));
    trial = await tryKernel(device);
  } catch (thrown) {
    failure = thrown;
  }
  cpu ??= await outcomeOf(async () => {
    using device = await CpuDevice.open({ threads: options.threads });
    return await tryCpu(device);
  });
  return {
    ...surroundings,
    gpus,
    unlisted: listing.failure,
    chosen,
    gpu: facts,
    cpu: cpu.value,
    cpuFailure: cpu.failure,
    trial,
    failure,
  };
}

interface Outcome<T> {
  readonly value?: T;
  readonly failure?: unknown;
}

async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work() };
  } catch (failure) {
    return { failure };
  }
}

async function tryCpu(device: CpuDevice): Promise<CpuFacts> {
  const product = await tryProduct(device, PRODUCT);
  const vectorProduct = await tryProduct(device, VECTOR_PRODUCT);
  const { code, checked } = device.code;
  const passed = [...device.code.passed, ...(checked?.faults() ?? [])];
  return { name: device.info.name, threads: device.threads, code, passed, product, vectorProduct };
}

function describe(gpu: Gpu): GpuFacts {
  const limits: Record<string, number> = {};
  for (const name in gpu.device.limits) {
    // getters of the prototype: a spread would miss them
    const value: unknown = Reflect.get(gpu.device.limits, name);
    if (typeof value === "number") limits[name] = value;
  }
  const offered = new Set(gpu.info.features);
  return {
    ...gpu.info,
    limits,
    subgroups: offered.has("subgroups"),
    subgroupMatrices: offered.has("chromium-experimental-subgroup-matrix"),
    f16: offered.has("shader-f16"),
    timestamps: offered.has("timestamp-query"),
  };
}

async function tryKernel(device: Device): Promise<Trial> {
  using trial = await DeltaTrial.create(device, TRIAL);
  const kernel = `${trial.storage} bases, operands ${wayOf(trial.staging)}`;
  return { ...(await trial.check()), ...(await trial.measure()), kernel };
}

function wayOf(staging: Staging): string {
  if (staging.kind === "cpu") return "packed for each thread";
  return "through workgroup memory";
}

/** The entry that was opened: by its name, which for a software GPU is not the one its driver gives. */
function chosenIndex(gpus: readonly GpuEntry[], gpu: GpuFacts): number {
  const byName = gpus.findIndex(({ name }) => name === gpu.name);
  return byName >= 0 ? byName : gpus.findIndex(({ software }) => software === gpu.software);
}

/**
 * A diagnosis as `--json` prints it. Failures are words, absent things null.
 * @json doctor
 */
interface DiagnosisJson {
  readonly versions: Readonly<Record<string, string>>;
  readonly platform: string;
  readonly cores: number;
  readonly load_average: number;
  /** index, name, backend, software, chosen. */
  readonly gpus: readonly object[];
  /** The chosen one, with driver, features and limits. */
  readonly gpu: object | null;
  /** The CPU device. */
  readonly cpu: {
    readonly name: string;
    readonly threads: number;
    /** wasm, avx2, avx512 or neon. */
    readonly code: string;
    readonly chosen: boolean;
    /** correct, gflops, gb_per_s, shape, sampled, max_relative_error, seconds. */
    readonly product: object;
    readonly vector_product: object;
  } | null;
  /** ΔW on the device, against double precision. */
  readonly matmul: object | null;
  readonly error: string | null;
  readonly gpus_error: string | null;
  readonly cpu_error: string | null;
  /** Linux: loader, overridden_by, drivers. */
  readonly vulkan: object | null;
  readonly temp_folder: object;
  readonly cache_folders: object;
}

export function diagnosisJson(diagnosis: Diagnosis): DiagnosisJson {
  const { gpus, chosen, gpu, cpu, trial, failure, vulkan, temp, caches } = diagnosis;
  const index = chosen === "cpu" ? -1 : chosen;
  const folder = ({ path, exists, writable, freeBytes }: FolderState) => ({
    path,
    exists,
    writable,
    free_bytes: freeBytes ?? null,
  });
  return {
    versions: diagnosis.versions,
    platform: diagnosis.platform,
    cores: diagnosis.cores,
    load_average: diagnosis.load,
    gpus: gpus.map((entry, at) => ({ index: at, ...entry, chosen: at === chosen })),
    gpu:
      gpu === undefined
        ? null
        : {
            index: index < 0 ? null : index,
            name: gpu.name,
            vendor: gpu.vendor,
            architecture: gpu.architecture,
            driver: gpu.driver,
            backend: gpus[index]?.backend ?? null,
            software: gpu.software,
            subgroup_size: gpu.subgroups ? { min: gpu.subgroupMinSize, max: gpu.subgroupMaxSize } : null,
            f16: gpu.f16,
            integer_dots: gpu.integerDots,
            timestamps: gpu.timestamps,
            subgroup_matrices: gpu.subgroupMatrices,
            features: gpu.features,
            limits: gpu.limits,
          },
    cpu:
      cpu === undefined
        ? null
        : {
            name: cpu.name,
            threads: cpu.threads,
            code: cpu.code,
            chosen: chosen === "cpu",
            product: productJson(cpu.product),
            vector_product: productJson(cpu.vectorProduct),
          },
    matmul:
      trial === undefined
        ? null
        : { shape: [TRIAL.out, TRIAL.in, TRIAL.in], kernel: trial.kernel, ...trialJson(trial) },
    error: wordsOf(failure),
    gpus_error: wordsOf(diagnosis.unlisted),
    cpu_error: wordsOf(diagnosis.cpuFailure),
    vulkan:
      vulkan === undefined
        ? null
        : {
            loader: vulkan.loader,
            overridden_by: vulkan.overriddenBy ?? null,
            drivers: vulkan.manifests.map(({ path, library, problem }) => ({
              path,
              library: library ?? null,
              problem: problem ?? null,
            })),
          },
    temp_folder: { ...folder(temp), executable: temp.executable, set_by: temp.setBy ?? null },
    cache_folders: { randlora: folder(caches.randlora), hub: folder(caches.hub) },
  };
}

function productJson({ rows, cols, terms, gigabytes, ...trial }: ProductTrial): object {
  return { shape: [rows, cols, terms], ...trialJson(trial), gb_per_s: gigabytes };
}

function trialJson({ correct, sampled, maxRelativeError, seconds, gflops }: DeltaCheck & DeltaTiming): object {
  return { correct, sampled, max_relative_error: maxRelativeError, seconds, gflops };
}

/** A failure for people; null where there is none. */
export function wordsOf(failure: unknown): string | null {
  if (failure === undefined) return null;
  return failure instanceof Error ? failure.message : String(failure);
}
