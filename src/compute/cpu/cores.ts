import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { macCounter } from "../device/mac-memory.ts";

const CPUS = "/sys/devices/system/cpu";
/** Where Linux shows control groups. */
const CONTROL_GROUPS = "/sys/fs/cgroup";

/**
 * Workers by default: a thread for each fast core that this process may use, and no more than its control groups give time
 * for. Two threads of one core share what multiplies, and a slow core, or a thread that has used up its time, keeps the
 * others waiting at every barrier. Windows is not asked which of its processors share a core.
 */
export function coreCount(): number {
  const most = availableParallelism();
  if (process.platform === "darwin") return Math.min(most, macCores() ?? most);
  if (process.platform !== "linux") return most;
  const allowed = readList("/proc/self/status", /^Cpus_allowed_list:\s*(\S+)/m) ?? readList(`${CPUS}/online`);
  return Math.max(1, Math.min(most, fastCores(allowed ?? [], read).length || most, Math.floor(cpuQuota(read))));
}

/** Fast cores of Apple's processors, all of Intel's. @param counter the value of a kernel counter */
export function macCores(counter: (name: string) => number | undefined = macCounter): number | undefined {
  return counter("hw.perflevel0.physicalcpu") ?? counter("hw.physicalcpu");
}

/**
 * One of the threads of each fast core.
 * @param allowed numbers of the processors that may be used
 * @param read a file's text; undefined where there is none
 */
export function fastCores(allowed: readonly number[], read: (path: string) => string | undefined): number[] {
  // How fast cores of several kinds are: Arm's say it, of Intel's the fast ones are listed.
  const fast = parseList(read("/sys/devices/cpu_core/cpus"));
  const capacity = (cpu: number) => Number(read(`${CPUS}/cpu${cpu}/cpu_capacity`) ?? 0);
  const largest = Math.max(...allowed.map(capacity));
  const taken = new Set<number>();
  return allowed.filter((cpu) => {
    if ((fast !== undefined && !fast.includes(cpu)) || capacity(cpu) * 2 < largest || taken.has(cpu)) return false;
    for (const sibling of parseList(read(`${CPUS}/cpu${cpu}/topology/thread_siblings_list`)) ?? []) taken.add(sibling);
    return true;
  });
}

/**
 * Processors whose time the control groups of this process (a container, a job) may use together: the least of the quotas
 * from its own group up to the root. Bun's `availableParallelism` follows the group's own in cgroup v1, and finds none where
 * /proc has the group's path on the host, as in Docker's containers there.
 * @param read a file's text; undefined where there is none
 * @returns Infinity where no quota limits it
 */
export function cpuQuota(read: (path: string) => string | undefined): number {
  const quotas = (read("/proc/self/cgroup") ?? "").split("\n").flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    const folders = path.split("/").map((_, at, all) => all.slice(0, at + 1).join("/"));
    // All controllers of cgroup v2 are in one hierarchy, which has no name.
    if (controllers === "") return folders.map((folder) => ratio(read(`${CONTROL_GROUPS}${folder}/cpu.max`)));
    if (!controllers.split(",").includes("cpu")) return [];
    const file = (folder: string, name: string) => read(`${CONTROL_GROUPS}/${controllers}${folder}/cpu.cfs_${name}_us`);
    return folders.map((folder) => ratio(`${file(folder, "quota")} ${file(folder, "period")}`));
  });
  return Math.min(Infinity, ...quotas);
}

/** Of `QUOTA PERIOD` in microseconds; "max", -1 and nothing at all are no quota. */
function ratio(text = ""): number {
  const [quota = NaN, period = NaN] = text.trim().split(/\s+/).map(Number);
  return quota > 0 && period > 0 ? quota / period : Infinity;
}

function readList(path: string, pattern = /^\s*(\S+)/): readonly number[] | undefined {
  return parseList(pattern.exec(read(path) ?? "")?.[1]);
}

/** The kernel's lists: `0-3,8`. */
function parseList(text: string | undefined): number[] | undefined {
  if (text === undefined || text.trim() === "") return undefined;
  return text.split(",").flatMap((part) => {
    const [first = 0, last = first] = part.split("-").map(Number);
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at);
  });
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
