/** Where Linux shows control groups. */
const ROOT = "/sys/fs/cgroup";

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
    if (controllers === "") return folders.map((folder) => ratio(read(`${ROOT}${folder}/cpu.max`)));
    if (!controllers.split(",").includes("cpu")) return [];
    const file = (folder: string, name: string) => read(`${ROOT}/${controllers}${folder}/cpu.cfs_${name}_us`);
    return folders.map((folder) => ratio(`${file(folder, "quota")} ${file(folder, "period")}`));
  });
  return Math.min(Infinity, ...quotas);
}

/** Of `QUOTA PERIOD` in microseconds; "max", -1 and nothing at all are no quota. */
function ratio(text = ""): number {
  const [quota = NaN, period = NaN] = text.trim().split(/\s+/).map(Number);
  return quota > 0 && period > 0 ? quota / period : Infinity;
}
