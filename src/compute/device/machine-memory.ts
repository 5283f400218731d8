import { readFileSync } from "node:fs";
import { freemem, totalmem } from "node:os";
import { dirname, join } from "node:path/posix";
import { macAvailable } from "./mac-memory.ts";

/** Bytes. */
export interface MachineMemory {
  readonly total: number;
  readonly free: number;
}

/** A control group (a container, a job): what it may have, and what all of its processes have of that, in bytes. */
export interface MemoryGroup {
  readonly limit: number;
  /** Without cached files, which the kernel gives up first. */
  readonly used: number;
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

/** How the two versions of control groups say it (Linux' admin-guide: cgroup-v2.rst, cgroup-v1/memory.rst). */
const VERSIONS = [
  {
    own: /^0::(.*)$/m,
    folder: "sys/fs/cgroup",
    limit: "memory.max",
    used: "memory.current",
    cached: /^inactive_file (\d+)$/m,
  },
  {
    own: /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m,
    folder: "sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: /^total_inactive_file (\d+)$/m,
  },
];

/**
 * The groups that this process is in, its own and those around it, as far as Linux shows them; a container may see its
 * own as the root.
 * @param root of the file system
 */
export function memoryGroups(root = "/"): MemoryGroup[] {
  const groups: MemoryGroup[] = [];
  const lines = read(join(root, "proc/self/cgroup"));
  for (const { own, folder, limit, used, cached } of VERSIONS) {
    for (
      let path = own.exec(lines)?.[1];
      path !== undefined;
      path = path === dirname(path) ? undefined : dirname(path)
    ) {
      const file = (name: string) => read(join(root, folder, path ?? "", name));
      const most = Number.parseInt(file(limit), 10);
      const taken = Number.parseInt(file(used), 10) - Number(cached.exec(file("memory.stat"))?.[1] ?? 0);
      if (most > 0 && taken >= 0) groups.push({ limit: most, used: taken });
    }
  }
  return groups;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
