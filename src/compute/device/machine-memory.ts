import { freemem, totalmem } from "node:os";
import { macAvailable } from "./mac-memory.ts";
import { type MemoryGroup, memoryGroups } from "./memory-groups.ts";

/** Bytes. */
export interface MachineMemory {
  readonly total: number;
  readonly free: number;
}

/** What is asked of the system. */
export interface MemoryReadings extends MachineMemory {
  /** Limits of 0, or of more than there is, limit nothing. */
  readonly groups: readonly MemoryGroup[];
}

/** The memory that this process may have: the machine's, or what its containers or jobs leave it. */
export function machineMemory({ total, free, groups }: MemoryReadings = readings()): MachineMemory {
  const limiting = groups.filter(({ limit }) => limit > 0 && limit < total);
  return {
    total: Math.min(total, ...limiting.map(({ limit }) => limit)),
    free: Math.min(free, ...limiting.map(({ limit, used }) => Math.max(0, limit - used))),
  };
}

function readings(): MemoryReadings {
  const groups = memoryGroups();
  const own = { limit: process.constrainedMemory(), used: process.memoryUsage.rss() };
  return {
    total: totalmem(),
    free: (process.platform === "darwin" ? macAvailable() : undefined) ?? freemem(),
    groups: groups.length > 0 ? groups : [own],
  };
}
