import { loadConfig } from "../../src/models/decoder/architectures/index.ts";
import { kvBytes } from "../../src/models/decoder/cache/layer-cache.ts";
import { inBlocks } from "../../src/models/decoder/cache/layer-cache.ts";
import { openCheckpoint } from "../../src/models/folder/open-checkpoint.ts";
import { formatBytes, formatNumber } from "../../src/terminal/format.ts";
import type { Seen } from "./client.ts";
import { quantile } from "./load.ts";

/** The 95th percentile of the time between tokens is at most so many times the median. */
const MOST_UNEVEN = 3;
/** Memory of the whole process is at most so many times what is planned. */
const MOST_MEMORY = 1.05;

/** The peak beside what is planned: weights, and keys and values of as many texts as there are slots, each as long as it may be. */
export async function memoryLine(model: string, parallel: number, peakBytes: number): Promise<string> {
  const config = await loadConfig(model);
  await using checkpoint = await openCheckpoint(model);
  const kept = kvBytes(config, parallel * inBlocks(config.contextLength), "F16", parallel);
  const planned = checkpoint.bytes + kept;
  const parts = `${formatBytes(checkpoint.bytes)} of weights, ${formatBytes(kept)} of keys and values`;
  const verdict = peakBytes <= MOST_MEMORY * planned ? "met" : "missed";
  const share = formatNumber(peakBytes / planned, 2);
  return `${formatBytes(peakBytes)} of memory at most, ${share} of what is planned (${parts}; ≤ ${MOST_MEMORY}: ${verdict})\n`;
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
  return [
    name,
    ...times,
    `${formatNumber(p95 / median, 2)} (≤ ${MOST_UNEVEN}: ${p95 <= MOST_UNEVEN * median ? "met" : "missed"})`,
    ...rates,
  ];
}
