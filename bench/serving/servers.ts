import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../../src/files/errors.ts";

const MAIN = join(import.meta.dir, "../../cmd/main.ts");
/** What computes in benchmarks of servers. */
export const DEVICE = process.env["RANDLORA_DEVICE"] ?? "cpu";

const Listening = v.object({ address: v.string(), planned_bytes: v.optional(v.number(), NaN) });
const Models = v.object({ data: v.array(v.object({ id: v.string() })) });
const Written = v.object({ usage: v.object({ completion_tokens: v.number() }) });

/** A server in a process of its own. */
export class ServerProcess implements AsyncDisposable {
  readonly address: string;
  /** The memory that it says it takes at most; NaN: it does not. */
  readonly plannedBytes: number;
  readonly #child: Bun.Subprocess<"ignore", "pipe", "inherit">;

  private constructor(
    { address, planned_bytes: planned }: v.InferOutput<typeof Listening>,
    child: Bun.Subprocess<"ignore", "pipe", "inherit">,
  ) {
    this.address = address;
    this.plannedBytes = planned;
    this.#child = child;
  }

  /** `randlora serve` with these arguments, on the device that RANDLORA_DEVICE names, else the CPU device. */
  static async randlora(args: readonly string[]): Promise<ServerProcess> {
    const common = ["--port", "0", "--quiet", "--json", "--device", DEVICE];
    return await this.#start([process.execPath, MAIN, "serve", ...args, ...common]);
  }

  /** llama.cpp's server, through a Python that has xllamacpp (`peers/llama_server.py`). */
  static async llama(python: string, args: readonly string[]): Promise<ServerProcess> {
    return await this.#start([python, join(import.meta.dir, "../peers/llama_server.py"), ...args]);
  }

  static async #start(command: string[]): Promise<ServerProcess> {
    const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
    let said = "";
    for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
      said += part;
      const line = /^\{.*\}$/m.exec(said)?.[0];
      if (line !== undefined) return new ServerProcess(v.parse(Listening, JSON.parse(line)), child);
      if (said.trimEnd().endsWith("}")) break;
    }
    return new ServerProcess(v.parse(Listening, readJson(said, command)), child);
  }

  /** The ids of its models, the base's first. */
  async models(): Promise<readonly string[]> {
    const listed = await fetch(`${this.address}/v1/models`);
    return v.parse(Models, await listed.json()).data.map(({ id }) => id);
  }

  /** Asks for a completion. @returns the number of its tokens @throws RandloraError `file` for another status than 200 */
  async complete(request: object): Promise<number> {
    const answer = await fetch(`${this.address}/v1/completions`, { method: "POST", body: JSON.stringify(request) });
    if (!answer.ok) throw new RandloraError("file", `the server answered ${answer.status}: ${await answer.text()}`);
    return v.parse(Written, await answer.json()).usage.completion_tokens;
  }

  /** Seconds of processor time so far, of all threads; NaN where /proc does not tell. */
  async processorTime(): Promise<number> {
    const stat = await readFile(`/proc/${this.#child.pid}/stat`, "utf8").catch(() => "");
    // Behind the name, which may hold anything: utime and stime, in hundredths.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11] ?? NaN) + Number(fields[12] ?? NaN)) / 100;
  }

  /** The most memory that it had resident so far, in bytes; NaN where /proc does not tell. */
  async peakBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.#child.pid}/status`, "utf8").catch(() => "");
    return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1] ?? NaN);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.exited;
  }
}

function readJson(text: string, command: readonly string[]): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new RandloraError("file", `${command.slice(0, 3).join(" ")} ended before it listened`);
  }
}
