import { createHash } from "node:crypto";
import type { Device } from "../../compute/device/device.ts";
import { RandloraError } from "../../files/errors.ts";
import { isAny, type Processes } from "../../mpi/processes.ts";
import type { Parameters } from "../../adapters/training/parameters.ts";

/**
 * Does on all processes what needs memory: where it is not enough on one, all give up, and may try with less.
 * @throws RandloraError `memory` on all of them; else what was thrown, on the process where it was
 */
export async function allOrNone(processes: Processes, work: () => Promise<void>): Promise<void> {
  let full: RandloraError | undefined;
  try {
    await work();
  } catch (thrown) {
    if (!(thrown instanceof RandloraError) || thrown.code !== "memory") throw thrown;
    full = thrown;
  }
  if (!(await isAny(processes, full !== undefined))) return;
  throw full ?? new RandloraError("memory", "another process has not enough memory");
}

/**
 * Refuses processes whose sums would not be the others': on another device or driver, with other files, or with other
 * parameters than the first. Nothing is compared of a process alone.
 * @param same what all have to have alike
 * @throws RandloraError `gpu` for another device, `model` for other files
 */
export async function refuseUnlike(
  processes: Processes,
  { info, staging }: Device,
  same: object,
  parameters: Parameters,
): Promise<void> {
  if (processes.size === 1) return;
  const devices = await processes.each(`${info.name}, ${info.driver}, ${JSON.stringify(staging)}`);
  const other = devices.findIndex((device) => device !== devices[0]);
  if (other > 0) {
    const cause = `process ${other} computes on ${devices[other]}, process 0 on ${devices[0]}: their sums differ in the last bits`;
    throw new RandloraError(
      "gpu",
      cause,
      "start all on the same kind of device, or choose one that all have: --device cpu",
    );
  }
  const hash = createHash("sha256").update(JSON.stringify(same));
  for (const { name } of parameters.all) hash.update(await parameters.read(name));
  const digests = await processes.each(hash.digest("hex"));
  const wrong = digests.findIndex((digest) => digest !== digests[0]);
  if (wrong < 0) return;
  const cause = `process ${wrong} has other data, another base model or another state than process 0`;
  throw new RandloraError("model", cause, "give all of them the same files, on a disk that they share or in copies");
}
