import { readFileSync } from "node:fs";

/**
 * The most memory that this process ever had resident, in bytes. On Linux from /proc: getrusage(2) also counts what the
 * parent had at the moment when it started this process.
 */
export function peakRssBytes(): number {
  try {
    const [, kilobytes] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    if (kilobytes !== undefined) return Number(kilobytes) * 1024;
  } catch {
    // No /proc: the system's own count is all there is.
  }
  return process.resourceUsage().maxRSS * 1024;
}
