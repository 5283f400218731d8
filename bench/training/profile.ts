import type { Device } from "../../src/compute/device/device.ts";
import { formatDuration, formatNumber, formatShare } from "../../src/terminal/format.ts";
import { formatTable } from "../../src/terminal/table.ts";

/** GPU time of one kernel in a step. */
export interface KernelTime {
  readonly kernel: string;
  readonly calls: number;
  readonly seconds: number;
}

/** Splits what `work` does on a GPU that was opened with `profile` by kernel, the longest first. */
export async function profiled(gpu: Device, work: () => Promise<void>): Promise<readonly KernelTime[]> {
  const { profiler } = gpu;
  if (profiler === undefined) throw new Error("this GPU has no timestamps");
  const before = new Map((await profiler.report()).map((time) => [time.kernel, time]));
  await work();
  return (await profiler.report())
    .map(({ kernel, calls, seconds }) => {
      const old = before.get(kernel);
      return { kernel, calls: calls - (old?.calls ?? 0), seconds: seconds - (old?.seconds ?? 0) };
    })
    .filter(({ calls }) => calls > 0)
    .toSorted((left, right) => right.seconds - left.seconds);
}

/** Kernels by share, those below a hundredth in one line. */
export function renderProfile(title: string, times: readonly KernelTime[]): string {
  const all = times.toSorted((left, right) => right.seconds - left.seconds);
  const total = all.reduce((sum, { seconds }) => sum + seconds, 0);
  const large = all.filter(({ seconds }) => seconds >= total / 100);
  const small = all.filter(({ seconds }) => seconds < total / 100);
  const rest = {
    kernel: `${small.length} others`,
    calls: small.reduce((sum, { calls }) => sum + calls, 0),
    seconds: small.reduce((sum, { seconds }) => sum + seconds, 0),
  };
  const rows = [...large, rest].map(({ kernel, calls, seconds }) => [
    kernel,
    formatNumber(calls),
    formatDuration(seconds),
    formatShare(seconds / total),
  ]);
  return formatTable(rows, { head: [title, "calls", "GPU time", "share"], align: "lrrr" });
}
