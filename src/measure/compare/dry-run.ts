import { resolve } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { RUNS } from "../../files/hub/name.ts";
import { formatAmount, formatBytes, formatMeasure, formatNumber } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { formatTable } from "../../terminal/table.ts";
import { estimateRun } from "../../train/loop/finetune.ts";
import { ComparisonFolder } from "./folder.ts";
import { plannedRuns } from "./plan.ts";
import type { CompareInput } from "./run.ts";
import type { Comparison, Contender } from "./types.ts";

/**
 * What a comparison would train.
 * @json compare --dry-run
 */
interface CompareDryRunJson {
  readonly dry_run: true;
  readonly runs: number;
  readonly contenders: readonly ContenderJson[];
}

interface ContenderJson {
  readonly method: string;
  readonly budget: number | null;
  readonly parameters: number;
  readonly learning_rate: number;
  readonly steps: number;
  readonly estimated_gpu_bytes: number;
  readonly estimated_disk_bytes: number;
}

type PlanInput<Batch> = Pick<CompareInput<Batch>, "location" | "local" | "load" | "gpu">;

/**
 * What the runs of a method would train and take, or what they would be refused for, with the method's name.
 * @throws RandloraError for data that cannot be read
 */
export async function planContender<Batch>(
  { label: method, budget, settings: planned }: Contender,
  { location, local, load, gpu }: PlanInput<Batch>,
  out: string | undefined,
): Promise<ContenderJson | RandloraError> {
  const settings = local(planned);
  const { subject, headParameters } = await load(settings);
  try {
    const estimate = await estimateRun({ settings, location, subject, gpu }, resolve(out ?? RUNS));
    return {
      method,
      budget,
      parameters: estimate.method.trainableParameters - headParameters,
      learning_rate: estimate.settings.learningRate,
      steps: estimate.steps,
      estimated_gpu_bytes: estimate.estimatedGpuBytes,
      estimated_disk_bytes: estimate.estimatedDiskBytes,
    };
  } catch (thrown) {
    if (!(thrown instanceof RandloraError)) throw thrown;
    return new RandloraError(thrown.code, `${method}: ${thrown.message}`, thrown.hint);
  }
}

/**
 * Shows methods, sizes, memory and runs; nothing is trained or written.
 * @throws RandloraError what a run would be refused for, with the method's name
 */
export async function showPlan<Batch>(
  out: string | undefined,
  comparison: Comparison,
  input: PlanInput<Batch>,
  context: Context,
): Promise<void> {
  if (out !== undefined) await ComparisonFolder.refuseTaken(out);
  const contenders: ContenderJson[] = [];
  for (const contender of comparison.contenders) {
    const planned = await planContender(contender, input, out);
    if (planned instanceof RandloraError) throw planned;
    contenders.push(planned);
  }
  const json: CompareDryRunJson = { dry_run: true, runs: plannedRuns(comparison).length, contenders };
  context.result(json, () => {
    const rows = contenders.map((one) => [
      one.method,
      one.budget === null ? "–" : formatNumber(one.budget),
      formatNumber(one.parameters),
      formatMeasure(one.learning_rate),
      formatNumber(one.steps),
      formatBytes(one.estimated_gpu_bytes),
      formatBytes(one.estimated_disk_bytes),
    ]);
    const head = ["method", "budget", "parameters", "rate", "steps", "device memory", "disk a run"];
    const table = formatTable(rows, { head, align: "lrrrrrr", columns: context.columns, markHead: context.style.dim });
    return `${table}\n${formatAmount(json.runs, "run")}: ${formatAmount(comparison.seeds, "seed")} of each method\n`;
  });
}
