import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../../src/files/errors.ts";

const MAIN = join(import.meta.dir, "../../cmd/main.ts");
const Listening = v.object({ address: v.string() });

/** A server in a process of its own. */
export class ServerProcess implements AsyncDisposable {
  readonly address: string;
  readonly #child: Bun.Subprocess<"ignore", "pipe", "inherit">;

  private constructor(address: string, child: Bun.Subprocess<"ignore", "pipe", "inherit">) {
    this.address = address;
    this.#child = child;
  }

  /** `randlora serve` with these arguments, on the device that RANDLORA_DEVICE names, else the CPU device. */
  static async randlora(args: readonly string[]): Promise<ServerProcess> {
    const device = ["--device", process.env["RANDLORA_DEVICE"] ?? "cpu"];
    return await this.#start([process.execPath, MAIN, "serve", ...args, "--port", "0", "--quiet", "--json", ...device]);
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
      if (line !== undefined) return new ServerProcess(v.parse(Listening, JSON.parse(line)).address, child);
      if (said.trimEnd().endsWith("}")) break;
    }
    return new ServerProcess(v.parse(Listening, readJson(said, command)).address, child);
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
