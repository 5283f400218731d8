import { RandloraError } from "../errors.ts";
import type { Heaps } from "./heap.ts";
import { CONTROL, CONTROL_BYTES, type WorkerMessage, type WorkerStart } from "./layout.ts";
import modulePath from "./kernels.wasm" with { type: "file" };

/** The threads that compute, what they share with the host, and the first thing that went wrong on one of them. */
export class Crew {
  readonly control = new Int32Array(new SharedArrayBuffer(CONTROL_BYTES));
  readonly threads: number;
  /** Kernels by name, as commands name them. */
  readonly kernelNumbers: ReadonlyMap<string, number>;
  /** Rejects when a worker fails. */
  readonly failure: Promise<never>;
  readonly #workers: Worker[] = [];
  #failed: RandloraError | undefined;
  readonly #fail: (error: RandloraError) => void;
  #notice: () => void = () => {};

  private constructor(threads: number, kernels: readonly string[]) {
    this.threads = threads;
    this.kernelNumbers = new Map(kernels.map((name, index) => [name, index]));
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    this.failure = promise;
    this.#fail = (error) => {
      if (this.#failed !== undefined) return;
      this.#failed = error;
      reject(error);
      this.#notice();
    };
  }

  /**
   * Starts the workers.
   * @param scratch where each has its scratch in every heap
   * @throws RandloraError `gpu` where the processor lacks what the kernels need
   */
  static async start(heaps: Heaps, scratch: readonly number[]): Promise<Crew> {
    const module = await compiled();
    const kernels = WebAssembly.Module.exports(module).flatMap(({ kind, name }) => (kind === "function" ? [name] : []));
    const crew = new Crew(scratch.length, kernels);
    const starting = scratch.map(async (at) => {
      const worker = new Worker(new URL("./worker.ts", import.meta.url).href);
      crew.#workers.push(worker);
      const { promise, resolve } = Promise.withResolvers<void>();
      worker.addEventListener("message", ({ data }: MessageEvent<WorkerMessage>) => {
        if ("ready" in data) resolve();
        else crew.#fail(failed(data.failed));
      });
      worker.addEventListener("error", ({ message }) => crew.#fail(failed(message)));
      worker.postMessage({
        control: crew.control.buffer,
        heaps: heaps.memories,
        module,
        threads: crew.threads,
        kernels,
        scratch: at,
      } satisfies Omit<WorkerStart, "control"> & { control: ArrayBufferLike });
      await Promise.race([promise, crew.failure]);
    });
    await Promise.all(starting);
    return crew;
  }

  /** @param notice is called once, at the first failure */
  onFailure(notice: () => void): void {
    this.#notice = notice;
  }

  /** Throws the first failure, if there was one. */
  check(): void {
    if (this.#failed !== undefined) throw this.#failed;
  }

  /** Ends the workers. */
  close(): void {
    Atomics.store(this.control, CONTROL.closed, 1);
    Atomics.add(this.control, CONTROL.sent, 1);
    Atomics.notify(this.control, CONTROL.sent);
    for (const worker of this.#workers) worker.terminate();
  }
}

async function compiled(): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(await Bun.file(modulePath).arrayBuffer());
  } catch (cause) {
    throw new RandloraError(
      "gpu",
      `the CPU device cannot run here: ${cause instanceof Error ? cause.message : String(cause)}`,
      "it needs a processor with 128-bit SIMD; choose a GPU with --device",
      { cause },
    );
  }
}

function failed(message: string): RandloraError {
  return new RandloraError("gpu", `a kernel of the CPU device failed: ${message}`, "please report this");
}
