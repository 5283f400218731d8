import { RandloraError } from "../../files/errors.ts";
import { UNPACKED_BYTES } from "../../compute/gpu/doctor-folders.ts";
import { formatBytes } from "../../terminal/format.ts";
import type { Diagnosis } from "./doctor.ts";

/** What works now and will fail later, a line each. */
export function warningsOf({
  temp,
  caches,
  unlisted,
  cpuFailure,
  failure,
}: Pick<Diagnosis, "temp" | "caches" | "unlisted" | "cpuFailure" | "failure">): string[] {
  const lines: string[] = [];
  // Where the chosen device fails, that is told as the error.
  const others = failure === undefined ? [unlisted, cpuFailure] : [];
  for (const other of others) if (other instanceof RandloraError) lines.push(other.message);
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
export function explainFailure({ failure, gpus, gpu, cpu, chosen, trial, vulkan }: Diagnosis): unknown {
  if (failure === undefined) {
    const device = chosen === "cpu" ? cpu?.name : gpu?.name;
    const wrong = [
      ...(trial?.correct === false ? [`${device ?? "the device"} computes ΔW wrong`] : []),
      ...(cpu?.product.correct === false || cpu?.vectorProduct.correct === false
        ? [`${cpu.name} computes products wrong`]
        : []),
    ];
    if (wrong.length === 0) return undefined;
    const cause = `${wrong.join(", ")}: its results cannot be trusted`;
    const hint = chosen === "cpu" ? "please report this" : "update the driver, or choose another device with --device";
    return new RandloraError("gpu", cause, hint);
  }
  if (!(failure instanceof RandloraError) || failure.code !== "gpu") return failure;
  if (vulkan?.overriddenBy === undefined || gpus.length > 0) return failure;
  if (!vulkan.loader || vulkan.manifests.some(({ problem }) => problem === undefined)) return failure;
  const hint = `${vulkan.overriddenBy} names no usable driver: unset it, or point it to a driver's .json file`;
  return new RandloraError(failure.code, failure.message, hint, { cause: failure });
}
