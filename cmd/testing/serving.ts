import OpenAI from "openai";
import type { ProcessOptions } from "../../src/files/testing/process.ts";
import { startProgram } from "./program.ts";

/** `randlora serve` with these arguments. */
export const spawnServe = (args: readonly string[], options: ProcessOptions) =>
  startProgram(["serve", ...args], options);

/** `randlora serve` in a process of its own, on a free port: where it listens, and what it says on stderr. */
export class ServingProcess implements AsyncDisposable {
  readonly child: ReturnType<typeof spawnServe>;
  stderr = "";
  readonly #read: Promise<void>;
  readonly #listening = Promise.withResolvers<string>();

  constructor(args: readonly string[], options: ProcessOptions) {
    this.child = spawnServe(["--port", "0", ...args], options);
    this.#read = this.#follow();
  }

  /** Rejects with what the program said where it ends before it listens. */
  get address(): Promise<string> {
    return this.#listening.promise;
  }

  async client(apiKey = "none"): Promise<OpenAI> {
    return new OpenAI({ baseURL: `${await this.address}/v1`, apiKey, maxRetries: 0 });
  }

  /** Sends a signal and waits for the end. @returns the exit status */
  async end(signal: "SIGINT" | "SIGTERM" | "SIGKILL"): Promise<number> {
    this.child.kill(signal);
    const status = await this.child.exited;
    await this.#read;
    return status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGKILL");
  }

  async #follow(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of this.child.stderr) {
      this.stderr += decoder.decode(bytes, { stream: true });
      const address = /^listening on (http:\/\/\S+)$/m.exec(this.stderr)?.[1];
      if (address !== undefined) this.#listening.resolve(address);
    }
    this.#listening.reject(new Error(this.stderr));
  }
}
