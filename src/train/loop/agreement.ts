import { createHash } from "node:crypto";
import type { Device } from "../../compute/device/device.ts";
import { RandloraError } from "../../files/errors.ts";
import { findUnlike } from "../../mpi/alike.ts";
import { isAny, type Processes } from "../../mpi/processes.ts";
import type { Parameters } from "../../adapters/method/parameters.ts";
import { OTHER_OPTIONS_HINT, refuseOtherDevice } from "../../terminal/options/shared-work.ts";
import { flagOf, type FlatSettings, flatSettings, inWords, type TrainSettings } from "../settings/settings.ts";

/** Paths, which may differ by machine while what is there does not, and when the run began. */
const OWN: ReadonlySet<string> = new Set<keyof FlatSettings>([
  "model",
  "data",
  "valid",
  "logDir",
  "initAdapter",
  "date",
]);

/**
 * Does on all processes what needs memory: where it is not enough on one, all give up, and may try with less.
 * @throws RandloraError `memory` on all of them; else what was thrown, on the process where it was
 */
export async function allOrNone<T>(processes: Processes, work: () => Promise<T>): Promise<T> {
  let full: RandloraError | undefined;
  let made: { readonly value: T } | undefined;
  try {
    made = { value: await work() };
  } catch (thrown) {
    if (!(thrown instanceof RandloraError) || thrown.code !== "memory") throw thrown;
    full = thrown;
  }
  if (!(await isAny(processes, full !== undefined)) && made !== undefined) return made.value;
  throw full ?? new RandloraError("memory", "another process has not enough memory");
}

/**
 * Refuses processes that were told otherwise than the first: options also come from the environment and files of each machine.
 * @throws RandloraError `usage` naming one of them
 */
export async function refuseOtherSettings(processes: Processes, settings: TrainSettings): Promise<void> {
  const own = Object.entries(flatSettings(settings)).filter(([name]) => !OWN.has(name));
  const unlike = await findUnlike(processes, Object.fromEntries(own));
  if (unlike === undefined) return;
  const { key, rank, first, other } = unlike;
  const cause = `${flagOf(key)}: process ${rank} has ${inWords(key, other)}, process 0 ${inWords(key, first)}`;
  throw new RandloraError("usage", cause, OTHER_OPTIONS_HINT);
}

/**
 * Refuses processes whose sums would not be the others': on another device or driver, with other files, or with other
 * parameters than the first. Nothing is compared of a process alone.
 * @param same what all have to have alike
 * @throws RandloraError `gpu` for another device, `model` for other files
 */
export async function refuseUnlike(
  processes: Processes,
  device: Device,
  same: object,
  parameters: Parameters,
): Promise<void> {
  if (processes.size === 1) return;
  await refuseOtherDevice(processes, device);
  const hash = createHash("sha256").update(JSON.stringify(same));
  for (const { name } of parameters.all) hash.update(await parameters.read(name));
  const digests = await processes.each(hash.digest("hex"));
  const wrong = digests.findIndex((digest) => digest !== digests[0]);
  if (wrong < 0) return;
  const cause = `process ${wrong} has other data, another base model or another state than process 0`;
  throw new RandloraError("model", cause, "give all of them the same files, on a disk that they share or in copies");
}
