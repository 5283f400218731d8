import { freemem, totalmem } from "node:os";
import { macAvailable } from "./mac-memory.ts";

/** Bytes. */
export interface MachineMemory {
  readonly total: number;
  readonly free: number;
}

/** What is asked of the system. */
export interface MemoryReadings extends MachineMemory {
  /** Of the control group (a container, a job): 0, or more than there is, where nothing limits it. */
  readonly limit: number;
  /** What this process has of it. */
  readonly used: number;
}

/** The memory that this process may have: the machine's, or what its container or job leaves it. */
export function machineMemory({ total, free, limit, used }: MemoryReadings = readings()): MachineMemory {
  if (!(limit > 0 && limit < total)) return { total, free };
  return { total: limit, free: Math.min(free, Math.max(0, limit - used)) };
}

function readings(): MemoryReadings {
  return {
    total: totalmem(),
    free: (process.platform === "darwin" ? macAvailable() : undefined) ?? freemem(),
    limit: process.constrainedMemory(),
    used: process.memoryUsage.rss(),
  };
}
