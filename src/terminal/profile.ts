import { readFileSync } from "node:fs";
import type { Device, KernelTime } from "../compute/device/device.ts";
import { formatDuration, formatNumber } from "./format.ts";
import { formatTable } from "./table.ts";

/**
 * What `--profile` adds to a command's JSON: nothing where nothing was measured.
 * @json several
 */
export interface ProfileJson {
  /** With --profile: kernel, calls, seconds. */
  readonly profile?: readonly { readonly kernel: string; readonly calls: number; readonly seconds: number }[];
}

export function profileJson(profile: readonly KernelTime[]): ProfileJson {
  return profile.length === 0 ? {} : { profile };
}

/** The same for people, below the result. */
export function profileText(profile: readonly KernelTime[], columns: number): string {
  if (profile.length === 0) return "";
  const rows = profile.map(({ kernel, calls, seconds }) => [kernel, formatNumber(calls), formatDuration(seconds)]);
  return `\n${formatTable(rows, { head: ["kernel", "calls", "time"], align: "lrr", columns })}`;
}

/** Shows a command's result with the times of its device's kernels, where they were measured. */
export async function showProfiled<Json extends object>(
  { profiler }: Device,
  context: { readonly columns: number; result(json: Json & ProfileJson, text: () => string): void },
  json: Json,
  text: () => string,
): Promise<void> {
  const times = (await profiler?.report()) ?? [];
  context.result({ ...json, ...profileJson(times) }, () => text() + profileText(times, context.columns));
}

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
