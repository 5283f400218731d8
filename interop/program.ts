import { join } from "node:path";
import * as v from "valibot";
import { randlora as runHere } from "../cmd/testing/program.ts";
import { RandloraError } from "../src/files/errors.ts";
import { run } from "./environment.ts";
import type { Case } from "./judge.ts";

/** The repository, which every command here runs from. */
export const ROOT = join(import.meta.dir, "..");

/** `merge --json`, as far as the suite uses it. */
const MergeReport = v.object({
  out: v.string(),
  tensors: v.number(),
  merged: v.number(),
  bytes: v.number(),
  generator: v.optional(v.unknown()),
  seconds: v.looseObject({ total: v.number() }),
  peak_rss_bytes: v.number(),
  max_abs_delta: v.number(),
  max_error_ulp: v.optional(v.number()),
  intruders: v.optional(v.number()),
});
export type MergeReport = v.InferOutput<typeof MergeReport>;

let built: Promise<unknown> | undefined;

/** The compiled program, built from the sources as they are now. */
export async function compiled(): Promise<string[]> {
  built ??= run([process.execPath, "run", "build"], { cwd: ROOT });
  await built;
  return [join(ROOT, "dist", "randlora")];
}

/** Run our program (in this process, from its sources, unless `program` says otherwise) and return what it writes to stdout. */
export async function randlora(args: string[], program?: string[]): Promise<string> {
  if (program !== undefined) return await run([...program, ...args], { cwd: ROOT });
  const { status, stdout, stderr } = await runHere(args, { cwd: ROOT });
  if (status === 0) return stdout;
  throw new RandloraError(
    "file",
    `randlora ${args.join(" ")} ended with status ${status}:\n${stderr || stdout}`.trim(),
  );
}

/** Merge as `args` say; the report is checked to be one JSON object with the promised members. */
export async function merge(args: string[], program?: string[]): Promise<MergeReport> {
  const stdout = await randlora(["merge", ...args, "--json"], program);
  const report = v.safeParse(MergeReport, JSON.parse(stdout));
  if (!report.success) throw new RandloraError("format", `merge --json: ${v.summarize(report.issues)}\n${stdout}`);
  return report.output;
}

/** The arguments that merge a case into `out`. */
export function mergeArguments(of: Case, out: string): string[] {
  return [
    of.base,
    ...of.adapters,
    "--out",
    out,
    ...of.scales.flatMap((scale) => ["--scale", String(scale)]),
    ...(of.out_dtype === null ? [] : ["--dtype", of.out_dtype]),
    ...(of.generator === null ? [] : ["--generator", of.generator]),
  ];
}
