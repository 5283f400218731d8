import { dirname } from "node:path";
import { availableParallelism, loadavg } from "node:os";
import { dependencies, version } from "../../package.json";
import { type DeltaCheck, type DeltaTiming, DeltaTrial } from "../adapters/bilinear/delta-trial.ts";
import { stdCachePath } from "../bases/std-cache.ts";
import { type GpuEntry, listGpus } from "../gpu/choose.ts";
import { findVulkanDrivers, type VulkanDrivers } from "../gpu/doctor-drivers.ts";
import { checkFolder, checkTempFolder, type FolderState, type TempFolderState } from "../gpu/doctor-folders.ts";
import { Gpu, type GpuInfo } from "../gpu/gpu.ts";
import { catchNativeLog } from "../gpu/native-log.ts";
import { hubSettings } from "../hub/settings.ts";

/** The layer that is computed and checked: square, and as deep as it is wide. */
export const TRIAL = { out: 1024, in: 1024, r: 32, generator: "torch-mt19937-bf16-v2", sparsity: "dense" } as const;

/** What of a GPU is shown once it is closed again. */
export interface GpuFacts extends GpuInfo {
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
  readonly subgroups: boolean;
  readonly subgroupMatrices: boolean;
  readonly f16: boolean;
  readonly timestamps: boolean;
}

/** ΔW on this GPU: whether it is right, and how fast. */
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
  /** False where `gpus` is empty because nobody could be asked: the GPU library cannot be loaded. */
  readonly listed: boolean;
  /** Of `gpus`, the one that was opened; −1 for none. */
  readonly chosen: number;
  readonly gpu: GpuFacts | undefined;
  readonly trial: Trial | undefined;
  /** Why there is no GPU, or no trial. */
  readonly failure: unknown;
  readonly vulkan: VulkanDrivers | undefined;
  readonly temp: TempFolderState;
  readonly caches: { readonly randlora: FolderState; readonly hub: FolderState };
}

/**
 * Looks at everything; a GPU that cannot be opened leaves the rest to be shown.
 * @param choice `--gpu`
 */
export async function diagnose(choice: string | undefined): Promise<Diagnosis> {
  const surroundings = {
    versions: { randlora: version, bun: Bun.version, webgpu: dependencies.webgpu },
    platform: `${process.platform}-${process.arch}`,
    cores: availableParallelism(),
    load: loadavg()[0] ?? 0,
    vulkan: await findVulkanDrivers(),
    temp: checkTempFolder(),
    caches: { randlora: checkFolder(dirname(stdCachePath())), hub: checkFolder(hubSettings().cacheDir) },
  };
  let gpus: readonly GpuEntry[] = [];
  let listed = false;
  let facts: GpuFacts | undefined;
  let trial: Trial | undefined;
  let failure: unknown;
  try {
    gpus = (await catchNativeLog(listGpus)).result;
    listed = true;
    using gpu = await Gpu.open({ choice });
    facts = describe(gpu);
    trial = await tryKernel(gpu);
  } catch (thrown) {
    failure = thrown;
  }
  return { ...surroundings, gpus, listed, chosen: chosenIndex(gpus, facts), gpu: facts, trial, failure };
}

function describe(gpu: Gpu): GpuFacts {
  const { features } = gpu;
  const limits: Record<string, number> = {};
  for (const name in gpu.device.limits) {
    // getters of the prototype: a spread would miss them
    const value: unknown = Reflect.get(gpu.device.limits, name);
    if (typeof value === "number") limits[name] = value;
  }
  const offered = new Set<string>(features);
  return {
    ...gpu.info,
    features: [...offered].toSorted(),
    limits,
    subgroups: offered.has("subgroups"),
    subgroupMatrices: offered.has("chromium-experimental-subgroup-matrix"),
    f16: offered.has("shader-f16"),
    timestamps: offered.has("timestamp-query"),
  };
}

async function tryKernel(gpu: Gpu): Promise<Trial> {
  using trial = await DeltaTrial.create(gpu, TRIAL);
  const { storage, staging } = trial;
  const way = staging.kind === "subgroup" ? `shuffled among ${staging.lanes} lanes` : "through workgroup memory";
  const kernel = `${storage} bases, operands ${way}`;
  return { ...(await trial.check()), ...(await trial.measure()), kernel };
}

/** The entry that was opened: by its name, which for a software GPU is not the one its driver gives. */
function chosenIndex(gpus: readonly GpuEntry[], gpu: GpuFacts | undefined): number {
  if (gpu === undefined) return -1;
  const byName = gpus.findIndex(({ name }) => name === gpu.name);
  return byName >= 0 ? byName : gpus.findIndex(({ software }) => software === gpu.software);
}

/** A diagnosis as `--json` prints it. Failures are words, absent things null. */
export function diagnosisJson(diagnosis: Diagnosis): object {
  const { gpus, chosen, gpu, trial, failure, vulkan, temp, caches } = diagnosis;
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
            index: chosen < 0 ? null : chosen,
            name: gpu.name,
            vendor: gpu.vendor,
            architecture: gpu.architecture,
            driver: gpu.driver,
            backend: gpus[chosen]?.backend ?? null,
            software: gpu.software,
            subgroup_size: gpu.subgroups ? { min: gpu.subgroupMinSize, max: gpu.subgroupMaxSize } : null,
            f16: gpu.f16,
            timestamps: gpu.timestamps,
            subgroup_matrices: gpu.subgroupMatrices,
            features: gpu.features,
            limits: gpu.limits,
          },
    matmul:
      trial === undefined
        ? null
        : {
            shape: [TRIAL.out, TRIAL.in, TRIAL.in],
            kernel: trial.kernel,
            correct: trial.correct,
            sampled: trial.sampled,
            max_relative_error: trial.maxRelativeError,
            seconds: trial.seconds,
            gflops: trial.gflops,
          },
    error: failure === undefined ? null : failure instanceof Error ? failure.message : String(failure),
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
