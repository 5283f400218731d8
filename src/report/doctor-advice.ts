import { RandloraError } from "../errors.ts";
import { UNPACKED_BYTES } from "../gpu/doctor-folders.ts";
import { formatBytes } from "../terminal/format.ts";
import type { Diagnosis } from "./doctor.ts";

/** What works now and will fail later, a line each. */
export function warningsOf({ temp, caches }: Pick<Diagnosis, "temp" | "caches">): string[] {
  const lines: string[] = [];
  const move = "set BUN_TMPDIR to another folder";
  const { path, freeBytes = Infinity } = temp;
  if (!temp.writable) lines.push(`${path}: temporary files cannot be written; ${move}`);
  else if (!temp.executable) lines.push(`${path} is mounted noexec: the GPU library cannot be loaded from it; ${move}`);
  else if (freeBytes < UNPACKED_BYTES) {
    lines.push(`${path}: ${formatBytes(freeBytes)} free are too few for the GPU library; ${move}`);
  }
  if (!caches.randlora.writable) lines.push(`${caches.randlora.path}: nothing can be cached; set RANDLORA_CACHE`);
  if (!caches.hub.writable) lines.push(`${caches.hub.path}: no model can be fetched; set HF_HOME`);
  return lines;
}

/** Why this machine cannot be used, with the most precise advice there is; undefined when it can. */
export function explainFailure({ failure, gpus, gpu, trial, vulkan }: Diagnosis): unknown {
  if (failure === undefined) {
    if (trial?.correct !== false) return undefined;
    const cause = `${gpu?.name ?? "the GPU"} computes ΔW wrong: its results cannot be trusted`;
    return new RandloraError("gpu", cause, "update the driver, or choose another GPU with --gpu");
  }
  if (!(failure instanceof RandloraError) || vulkan?.overriddenBy === undefined || gpus.length > 0) return failure;
  if (!vulkan.loader || vulkan.manifests.some(({ problem }) => problem === undefined)) return failure;
  const hint = `${vulkan.overriddenBy} names no usable driver: unset it, or point it to a driver's .json file`;
  return new RandloraError(failure.code, failure.message, hint, { cause: failure });
}
