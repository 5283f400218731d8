import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../../src/files/errors.ts";
import { replaceSynced } from "../../src/files/whole-file.ts";

const MAIN = join(import.meta.dir, "../../cmd/main.ts");

/** Seconds of the clock, and of the processor in all threads. */
export const COST = v.object({ seconds: v.number(), processor: v.number() });
export type Cost = v.InferOutput<typeof COST>;

/** Commands of randlora, each once: what they answered is kept, and a script that is started again goes on after it. */
export class Stages {
  readonly #folder: string;
  readonly #common: readonly string[];
  readonly #signal: AbortSignal;
  /** Of all commands that came to their end, in this start of the script and in others. */
  readonly costs = new Map<string, Cost>();

  /** @param common options of all commands */
  constructor(folder: string, common: readonly string[], signal: AbortSignal) {
    this.#folder = folder;
    this.#common = common;
    this.#signal = signal;
  }

  /** Is the command's answer kept? It is not run again then. */
  has(name: string): boolean {
    return existsSync(this.#fileOf(name));
  }

  #fileOf(name: string): string {
    return join(this.#folder, "stages", `${name}.json`);
  }

  /**
   * The JSON of a command, now or from an earlier start of the script with the same words.
   * @param cwd where it runs: paths that images show are short there
   * @throws RandloraError when it fails, or answers something else than the schema says
   */
  async answer<T>(
    name: string,
    schema: v.GenericSchema<unknown, T>,
    args: readonly string[],
    cwd: string,
    again: readonly string[] = [],
  ): Promise<T> {
    const file = this.#fileOf(name);
    await mkdir(join(this.#folder, "stages"), { recursive: true });
    const Kept = v.object({ args: v.array(v.string()), cost: COST, answer: schema });
    if (existsSync(file)) {
      const kept = v.parse(Kept, JSON.parse(await readFile(file, "utf8")));
      if (JSON.stringify(kept.args) !== JSON.stringify(args)) {
        const cause = `${file}: the answer to another command: ${kept.args.join(" ")}`;
        throw new RandloraError("usage", cause, "begin in another folder: --work DIR");
      }
      this.costs.set(name, kept.cost);
      return kept.answer;
    }
    process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${name}: randlora ${args.join(" ")}\n`);
    const { text, cost } = await this.#run([...args, ...again], cwd);
    const answer = v.parse(schema, JSON.parse(text));
    this.costs.set(name, cost);
    await replaceSynced(file, `${JSON.stringify({ args, cost, answer }, undefined, 1)}\n`);
    return answer;
  }

  async #run(args: readonly string[], cwd: string): Promise<{ readonly text: string; readonly cost: Cost }> {
    this.#signal.throwIfAborted();
    const started = performance.now();
    const child = Bun.spawn([process.execPath, MAIN, ...args, ...this.#common, "--json", "--quiet"], {
      cwd,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const stop = () => child.kill("SIGINT");
    this.#signal.addEventListener("abort", stop);
    const [text, problems, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    this.#signal.removeEventListener("abort", stop);
    this.#signal.throwIfAborted();
    if (status !== 0)
      throw new RandloraError("file", `randlora ${args.join(" ")}: status ${status}: ${problems.trim()}`);
    const processor = Number(child.resourceUsage()?.cpuTime.total ?? 0n) / 1e6;
    return { text, cost: { seconds: (performance.now() - started) / 1000, processor } };
  }
}
