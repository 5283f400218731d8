import { carriedFile, threadProgram } from "../../files/carried.ts";
import { RandloraError } from "../../files/errors.ts";
import type { Heaps } from "./heap.ts";
import { chooseCode, type Chosen, type CpuCode } from "./native/choose.ts";
import { numberedKernels } from "./native/kernels/names.ts";
import { type CheckedCode, checkedCode } from "./native/self-check.ts";
import {
  CONTROL,
  CONTROL_BYTES,
  FIRST_COUNT,
  type WorkerHeap,
  type WorkerMessage,
  type WorkerStart,
} from "./layout.ts";
import modulePath from "./kernels.wasm" with { type: "file" };

/** How workers are started. */
interface CrewOptions {
  readonly heaps: Heaps;
  /** Where each worker has its scratch in every heap. */
  readonly scratch: readonly number[];
  readonly profile: boolean;
  /** Another program for workers, and milliseconds in which each must answer: for tests. */
  readonly program?: string;
  readonly patience?: number;
  /** What kernels are computed with; the fastest by default. */
  readonly code?: CpuCode | undefined;
}

/** What kernels are computed with. */
export interface CrewCode extends Chosen {
  /** Undefined: WebAssembly. */
  readonly checked: CheckedCode | undefined;
}

/** A worker answers within milliseconds, on a machine with much else to do within a second or two. */
const PATIENCE = 60_000;

const WORKER = "src/compute/cpu/worker.ts";

/** The threads that compute, what they share with the host, and the first thing that went wrong on one of them. */
export class Crew {
  readonly control = new Int32Array(new SharedArrayBuffer(CONTROL_BYTES));
  readonly threads: number;
  readonly code: CrewCode;
  /** Kernels by name, as commands name them. */
  readonly kernelNumbers: ReadonlyMap<string, number>;
  readonly #workers: Worker[] = [];
  #failure: RandloraError | undefined;
  /** Of those who wait in `settle`: a promise that all of them raced against would keep every one of them for ever. */
  readonly #waiting = new Set<(error: RandloraError) => void>();

  private constructor(threads: number, code: CrewCode, kernels: readonly string[]) {
    this.threads = threads;
    this.code = code;
    for (const count of ["sent", "done", "finished"] as const) Atomics.store(this.control, CONTROL[count], FIRST_COUNT);
    this.kernelNumbers = new Map(kernels.map((name, index) => [name, index]));
  }

  /** Starts the workers. @throws RandloraError `gpu` where the processor lacks what the kernels need, or a worker does not start */
  static async start(options: CrewOptions): Promise<Crew> {
    const { heaps, scratch, profile, code, program = threadProgram(WORKER), patience = PATIENCE } = options;
    const module = await compiled();
    const kernels = WebAssembly.Module.exports(module).flatMap(({ kind, name }) => (kind === "function" ? [name] : []));
    const chosen = chooseCode(code);
    const { native } = chosen;
    const checked = native === undefined ? undefined : checkedCode(native, module);
    const crew = new Crew(scratch.length, { ...chosen, checked }, numberedKernels(kernels));
    Atomics.store(crew.control, CONTROL.heaps, heaps.memories.length);
    heaps.onMemory = (memory) => crew.#tell(memory);
    const threads = scratch.length;
    const shared = { control: crew.control.buffer, heaps: heaps.memories, module, kernels, native, profile, threads };
    // What a system does that has no room for another thread differs; nothing at all is among it.
    const timer = setTimeout(() => crew.fail(unanswered(threads, patience)), patience);
    try {
      await Promise.all(scratch.map((at) => crew.#startOne(program, { ...shared, scratch: at })));
    } catch (thrown) {
      crew.close();
      throw thrown;
    } finally {
      clearTimeout(timer);
    }
    return crew;
  }

  /** Nothing more will be computed: a worker has failed, or all were told to end. */
  get isOver(): boolean {
    return this.#failure !== undefined;
  }

  /** Throws the first failure, if there was one. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** A promise's value, or the first failure of a worker, whichever comes first. @throws RandloraError `gpu` */
  async settle<T>(promise: Promise<T>): Promise<T> {
    this.check();
    const { promise: outcome, resolve, reject } = Promise.withResolvers<T>();
    promise.then(resolve, reject);
    this.#waiting.add(reject);
    return await outcome.finally(() => this.#waiting.delete(reject));
  }

  /** Ends everything that waits. */
  fail(error: RandloraError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    Atomics.store(this.control, CONTROL.failed, 1);
    // The queue waits for this word; what it waited for may never come.
    Atomics.notify(this.control, CONTROL.done);
    for (const reject of this.#waiting) reject(error);
  }

  /** Ends the workers; what they have not done is left undone. */
  close(): void {
    this.fail(new RandloraError("gpu", "the CPU device was closed before it had done everything"));
    Atomics.store(this.control, CONTROL.closed, 1);
    Atomics.add(this.control, CONTROL.sent, 1);
    Atomics.notify(this.control, CONTROL.sent);
    for (const worker of this.#workers.splice(0)) worker.terminate();
  }

  /** Hands a new heap on: commands that work in it come to the workers later. */
  #tell(memory: WebAssembly.Memory): void {
    const message: WorkerHeap = { heap: memory };
    for (const worker of this.#workers) worker.postMessage(message);
    Atomics.add(this.control, CONTROL.heaps, 1);
  }

  async #startOne(program: string, start: WorkerStart): Promise<void> {
    const worker = new Worker(program);
    this.#workers.push(worker);
    const { promise, resolve } = Promise.withResolvers<void>();
    worker.addEventListener("message", ({ data }: MessageEvent<WorkerMessage>) => {
      if ("ready" in data) resolve();
      else this.fail(failed(data.failed));
    });
    worker.addEventListener("error", ({ message }) => this.fail(failed(message)));
    worker.addEventListener("close", () => this.fail(failed("it ended")));
    worker.postMessage(start);
    await this.settle(promise);
  }
}

async function compiled(): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(await Bun.file(carriedFile(modulePath)).arrayBuffer());
  } catch (cause) {
    throw new RandloraError(
      "gpu",
      `the CPU device cannot run here: ${cause instanceof Error ? cause.message : String(cause)}`,
      "it needs a processor with 128-bit SIMD; choose a GPU with --device",
      { cause },
    );
  }
}

function unanswered(threads: number, patience: number): RandloraError {
  return new RandloraError(
    "gpu",
    `the CPU device cannot start: its ${threads} workers were not ready after ${patience / 1000} s`,
    "ask for fewer with --threads, or choose a GPU with --device",
  );
}

function failed(message: string): RandloraError {
  const [first = ""] = message.split("\n");
  return new RandloraError("gpu", `a worker of the CPU device failed: ${first}`, "please report this");
}
