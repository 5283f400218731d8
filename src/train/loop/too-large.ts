import type { Device } from "../../compute/device/device.ts";
import { machineMemory } from "../../compute/device/machine-memory.ts";
import { megabytes, sharesMachine } from "../../compute/device/memory-limit.ts";
import { RandloraError } from "../../files/errors.ts";

/**
 * Refuses what `--memory` does not allow, and what this machine cannot hold where the device has no memory of its own: such a run
 * would not fail, but be killed.
 * @param bytes that it takes at most
 * @param smaller what takes less, for the hint
 * @throws RandloraError `memory`
 */
export function refuseTooLarge(
  { info, memory }: Pick<Device, "info" | "memory">,
  bytes: number,
  smaller: string,
  { total } = machineMemory(),
): void {
  const allowed = memory.limit - memory.liveBytes;
  const there = sharesMachine(info) ? total : Infinity;
  if (bytes <= Math.min(allowed, there)) return;
  const [needed, most] = [bytes, Math.min(memory.limit, there)].map(megabytes);
  const isLimit = memory.limit < there;
  const cause = `about ${needed} of memory are needed, and ${isLimit ? "--memory allows" : "this machine has"} ${most}`;
  const other = isLimit ? "raise --memory" : "choose a GPU with --device";
  throw new RandloraError("memory", cause, `give a smaller rank or ${smaller}, or ${other}`);
}
