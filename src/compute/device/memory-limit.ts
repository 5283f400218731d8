import { RandloraError } from "../../files/errors.ts";
import type { DeviceMemory } from "./buffer.ts";
import type { Device } from "./device.ts";
import { machineMemory } from "./machine-memory.ts";

/** Does it compute in the machine's memory? Those of a GPU's own tell nothing of it. */
export function sharesMachine({ software, vendor }: Pick<Device["info"], "software" | "vendor">): boolean {
  return software || vendor.toLowerCase() === "apple";
}

/** Bytes that a device may take yet: what `--memory` leaves of those that are free, as far as anybody knows. */
export function freeBytes({ info, memory }: Pick<Device, "info" | "memory">): number {
  const left = memory.limit - memory.liveBytes;
  return sharesMachine(info) ? Math.min(left, machineMemory().free) : left;
}

/** What is said of a buffer that `--memory` leaves no room for. */
export function overLimit(
  label: string,
  bytes: number,
  { liveBytes, limit }: Pick<DeviceMemory, "liveBytes" | "limit">,
): RandloraError {
  const [needed, used, most] = [bytes, liveBytes, limit].map(megabytes);
  const message = `${label}: ${needed} are needed beside ${used} in use, and --memory allows ${most}`;
  return new RandloraError(
    "memory",
    message,
    "raise --memory, or put less through at once (--batch-size, --max-length, --context)",
  );
}

/** Bytes in messages, in powers of 1000 as `--memory` has them: what differs by less than a megabyte is not to look the same. */
export function megabytes(bytes: number): string {
  const amount = bytes / 1e6;
  return `${amount < 100 ? Number(amount.toPrecision(3)) : Math.round(amount)} MB`;
}
