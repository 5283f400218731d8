import { formatBytes, formatNumber } from "../../src/terminal/format.ts";
import type { Seen } from "./client.ts";
import { quantile } from "./load.ts";

/** The 95th percentile of the time between tokens is at most so many times the median. */
const MOST_UNEVEN = 3;
/** Memory of the whole process is at most so many times what is planned. */
const MOST_MEMORY = 1.05;

/** What a server must reach. */
export interface Bar {
  readonly name: string;
  readonly found: number;
  readonly wanted: number;
  /** The wanted number is the least, not the most. */
  readonly isLeast?: boolean;
}

/** A row of the table of bars: what was found, what is wanted, and whether it is met. */
export function rowOfBar({ name, found, wanted, isLeast = false }: Bar): readonly string[] {
  const isMet = isLeast ? found >= wanted : found <= wanted;
  const verdict = Number.isNaN(found) ? "not measured" : isMet ? "met" : "missed";
  return [name, formatNumber(found, 2), `${isLeast ? "≥" : "≤"} ${wanted}`, verdict];
}

/** The 95th percentile of the time between tokens, in medians. */
export function unevenness(seen: readonly Seen[]): Bar {
  const gaps = seen.flatMap((one) => one.gaps);
  const found = quantile(gaps, 0.95) / quantile(gaps, 0.5);
  return { name: "time between tokens: p95 / median", found, wanted: MOST_UNEVEN };
}

/** The peak beside what the server says that it takes at most. */
export function memoryBar(planned: number, peakBytes: number): Bar {
  const name = `peak memory / planned (${formatBytes(planned)})`;
  return { name, found: peakBytes / planned, wanted: MOST_MEMORY };
}

/** What a server made of a load. */
interface Row {
  readonly name: string;
  readonly seen: readonly Seen[];
  readonly seconds: number;
  readonly peakBytes: number;
}

/** @param promptTokens of the whole load */
export function rowOf({ name, seen, seconds, peakBytes }: Row, promptTokens: number): readonly string[] {
  const firsts = seen.map(({ first }) => first).filter((first) => !Number.isNaN(first));
  const gaps = seen.flatMap((one) => one.gaps);
  const [median, p95] = [quantile(gaps, 0.5), quantile(gaps, 0.95)];
  const tokens = seen.reduce((sum, one) => sum + one.tokens, 0);
  const [first, late] = [quantile(firsts, 0.5), quantile(firsts, 0.95)].map((seconds) => formatNumber(seconds, 2));
  const times = [first ?? "", late ?? "", formatNumber(1000 * median, 1), formatNumber(1000 * p95, 1)];
  const rates = [formatNumber(tokens / seconds, 1), formatNumber(promptTokens / seconds, 0), formatBytes(peakBytes)];
  return [name, ...times, formatNumber(p95 / median, 2), ...rates];
}
