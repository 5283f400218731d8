import type { FileSink, Subprocess } from "bun";
import * as v from "valibot";
import { RandloraError } from "../../src/files/errors.ts";

/** A peer's process: it answers each line of text with one line of JSON, and idles in between. */
export class PeerProcess implements AsyncDisposable {
  readonly #name: string;
  readonly #child: Subprocess<"pipe", "pipe", "pipe">;
  readonly #lines: AsyncIterator<string>;
  readonly #log: Promise<string>;

  constructor(command: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#name = command.slice(0, 2).join(" ");
    this.#child = Bun.spawn([...command], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, ...env },
    });
    this.#lines = linesOf(this.#child.stdout);
    this.#log = this.#child.stderr.text();
  }

  /** What it says when it is ready. */
  async hello<T>(schema: v.GenericSchema<unknown, T>): Promise<T> {
    return await this.#answer(schema);
  }

  /** @throws RandloraError `file` with its standard error, when it ended */
  async ask<T>(line: string, schema: v.GenericSchema<unknown, T>): Promise<T> {
    const sink: FileSink = this.#child.stdin;
    sink.write(`${line}\n`);
    await sink.flush();
    return await this.#answer(schema);
  }

  async #answer<T>(schema: v.GenericSchema<unknown, T>): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new RandloraError("file", `${this.#name} ended:\n${(await this.#log).slice(-4000)}`);
    return v.parse(schema, JSON.parse(value));
  }

  /** Ends it, and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.end();
    this.#child.kill();
    await this.#child.exited;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}
