import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { pythonWithPeft } from "../../interop/environment.ts";
import { PeerProcess } from "./worker.ts";

export const THREADS = 2;

/** What it answers: its name and version, and how long products took. */
export const Ready = v.object({ ready: v.string() });
export const Times = v.object({ seconds: v.number(), coreSeconds: v.number() });

/** Numpy's product of f32 matrices (m, k) and (k, n), of both cores. */
export async function openNumpy(m: number, n: number, k: number): Promise<PeerProcess> {
  const command = [await pythonWithPeft(), join(import.meta.dir, "sgemm.py"), ...[m, n, k].map(String)];
  return new PeerProcess(command, { OPENBLAS_NUM_THREADS: String(THREADS) });
}

/** `--rounds`. */
export function askedRounds(): number {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: "5" } } });
  return Number(values.rounds);
}

/** Shows how far it is, on a terminal. */
export function note(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
}
