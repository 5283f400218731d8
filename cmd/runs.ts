import { RandloraError } from "../src/files/errors.ts";
import { oneLine } from "../src/files/failure.ts";
import { modelTitle } from "../src/files/run-names.ts";
import { defineCommand, defineGroup, flag, optional, required } from "../src/terminal/options/command.ts";
import { formatAge, formatBytes, formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import type { FoundRun } from "../src/train/run/runs.ts";

const list = defineCommand({
  name: "list",
  otherNames: ["ls"],
  summary: "List the runs in a folder and below it",
  example: "randlora runs list",
  arguments: { folder: optional("DIR", "folder to look in; default: the current one") },
  options: {},
  async run({ folder = "." }, _, context) {
    const { findRuns } = await import("../src/train/run/runs.ts");
    const { runs, isComplete } = await findRuns(folder);
    if (!isComplete) context.log.warn(`${oneLine(folder)}: too many folders to look into all of them`);
    const json: RunsJson = { folder, runs: runs.map(toJson) };
    context.result(json, () => {
      if (runs.length === 0) return `no runs in ${oneLine(folder)}\n`;
      const rows = runs.map((run) => [
        run.path,
        modelTitle(run.model),
        run.method,
        stepsOf(run),
        run.bestValidLoss?.toFixed(4) ?? "",
        run.state,
        formatBytes(run.bytes),
        formatAge((Date.now() - run.updatedMs) / 1000),
      ]);
      const head = ["run", "model", "method", "steps", "valid loss", "state", "size", "written"];
      return formatTable(rows, {
        head,
        align: "lllrrlrr",
        last: 0,
        // A run's own name has model and method, as a rule.
        drop: [1, 6, 2, 7],
        columns: context.columns,
        markHead: context.style.dim,
      });
    });
  },
});

const remove = defineCommand({
  name: "rm",
  otherNames: ["remove", "delete"],
  summary: "Remove a run: its weights, metrics and training states",
  example: "randlora runs rm runs/SmolLM2-135M-Instruct-randlora-1 --yes",
  arguments: { run: required("RUN", "a run's folder") },
  options: { yes: flag({ short: "y", topic: "Run", help: "remove it: nothing brings a run back" }) },
  async run({ run: path }, { yes }, context) {
    const { removableRun, removeRun } = await import("../src/train/run/runs.ts");
    const run = await removableRun(path);
    if (!yes) {
      const what = `${stepsOf(run)} steps of ${run.method}, ${formatBytes(run.bytes)}`;
      throw new RandloraError("usage", `${oneLine(path)}: ${what}: not removed`, "--yes removes it for good");
    }
    await removeRun(run);
    const json: RemovedJson = { run: path, bytes: run.bytes };
    context.result(json, () => `removed ${oneLine(path)}: ${formatBytes(run.bytes)}\n`);
  },
});

/** `randlora runs list`, `randlora runs rm`. */
export const command = defineGroup({ name: "runs", summary: "List or remove runs", commands: [list, remove] });

function stepsOf({ steps, plannedSteps }: FoundRun): string {
  return plannedSteps === undefined ? formatNumber(steps) : `${formatNumber(steps)} of ${formatNumber(plannedSteps)}`;
}

/** @json runs list */
interface RunsJson {
  readonly folder: string;
  readonly runs: readonly RunJson[];
}

interface RunJson {
  readonly run: string;
  readonly model: string;
  readonly method: string;
  /** running (a process trains into it), done, interrupted. */
  readonly state: "running" | "done" | "interrupted";
  /** Saved; if running, measured. */
  readonly steps: number;
  /** After the first save. */
  readonly planned_steps: number | null;
  /** As of the last save. */
  readonly best_valid_loss: number | null;
  readonly bytes: number;
  /** Last write. */
  readonly updated: string;
}

/** @json runs rm */
interface RemovedJson {
  readonly run: string;
  readonly bytes: number;
}

function toJson({ path: run, plannedSteps, bestValidLoss, bytes, updatedMs, ...rest }: FoundRun): RunJson {
  const updated = new Date(updatedMs).toISOString();
  return { run, ...rest, planned_steps: plannedSteps ?? null, best_valid_loss: bestValidLoss ?? null, bytes, updated };
}
