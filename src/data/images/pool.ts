import { availableParallelism } from "node:os";
import { threadProgram } from "../../files/carried.ts";
import { type Job, runJob } from "./job.ts";
import { type Admission, type Answer, type Question, thrownBy } from "./pool-messages.ts";
import { MOST_PIXELS } from "./decode.ts";

/** Jobs that a thread has at once: it resizes one image while Bun decodes another. */
const JOBS_A_THREAD = 2;
/** More threads than this wait for the disk, and for the one that trains. */
const MOST_THREADS = 8;

const WORKER = "src/data/images/worker.ts";

/** A processor is left to what waits for the images. */
function defaultThreads(): number {
  return Math.min(MOST_THREADS, Math.max(1, availableParallelism() - 1));
}

interface Task {
  readonly job: Job;
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (thrown: Error) => void;
  /** Of the pixels that the process decodes at once. */
  share?: Disposable;
}

interface Thread {
  readonly worker: Worker;
  readonly tasks: Map<number, Task>;
}

/**
 * Reads and prepares images in threads, a bounded number at a time, begun in the order in which they were asked for. What
 * a thread throws is thrown to who asked. Without threads images are prepared in this one, two at a time.
 */
export class ImagePool implements Disposable {
  readonly #threads: Thread[];
  readonly #waiting: Task[] = [];
  #here = 0;
  #next = 0;
  #closed = false;

  /** @param threads from 0 */
  constructor(threads: number = defaultThreads()) {
    this.#threads = Array.from({ length: threads }, () => this.#start());
  }

  /** @returns as {@link runJob}. @throws {RandloraError} as {@link runJob} */
  run(job: Job): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new Error("the threads for images have ended"));
        return;
      }
      this.#waiting.push({ job, resolve, reject });
      this.#distribute();
    });
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    const ended = new Error("the threads for images have ended");
    for (const { reject } of this.#waiting.splice(0)) reject(ended);
    for (const thread of this.#threads.splice(0)) end(thread, ended);
  }

  #start(): Thread {
    const worker = new Worker(threadProgram(WORKER));
    const thread: Thread = { worker, tasks: new Map() };
    // Threads without work do not keep the program alive.
    worker.unref();
    worker.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
      const task = thread.tasks.get(data.id);
      if ("pixels" in data) {
        if (task !== undefined) void this.#admit(thread, data.id, task, data.pixels);
        return;
      }
      thread.tasks.delete(data.id);
      task?.share?.[Symbol.dispose]();
      if (thread.tasks.size === 0) worker.unref();
      if ("bytes" in data) task?.resolve(data.bytes);
      else task?.reject(thrownBy(data));
      this.#distribute();
    });
    worker.addEventListener("error", ({ message }) => this.#lose(thread, message));
    return thread;
  }

  async #admit({ worker, tasks }: Thread, id: number, task: Task, pixels: number): Promise<void> {
    const share = await PROCESS_PIXELS.take(pixels);
    // The thread may have ended meanwhile.
    if (tasks.get(id) !== task) return share[Symbol.dispose]();
    task.share = share;
    worker.postMessage({ admitted: id } satisfies Admission);
  }

  /** A thread that ended by itself: a bug, or no memory. */
  #lose(thread: Thread, message: string): void {
    const at = this.#threads.indexOf(thread);
    if (at < 0) return;
    this.#threads.splice(at, 1);
    const lost = new Error(`a thread for images ended: ${message}`);
    end(thread, lost);
    if (this.#threads.length > 0) return;
    this.#closed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(lost);
  }

  #distribute(): void {
    while (this.#waiting[0] !== undefined) {
      const free = this.#free();
      if (free === undefined) return;
      const task = this.#waiting.shift() as Task;
      if (free === "here") void this.#runHere(task);
      else this.#send(free, task);
    }
  }

  /** Where the next job goes: to the thread with the fewest. */
  #free(): Thread | "here" | undefined {
    if (this.#threads.length === 0) return this.#here < JOBS_A_THREAD ? "here" : undefined;
    const [idlest] = this.#threads.toSorted((a, b) => a.tasks.size - b.tasks.size);
    return idlest !== undefined && idlest.tasks.size < JOBS_A_THREAD ? idlest : undefined;
  }

  #send({ worker, tasks }: Thread, task: Task): void {
    const id = this.#next++;
    tasks.set(id, task);
    worker.ref();
    const { job, buffers } = detached(task.job);
    const question: Question = { id, job };
    worker.postMessage(question, buffers);
  }

  async #runHere(task: Task): Promise<void> {
    const { job, resolve, reject } = task;
    this.#here++;
    try {
      const admit = async (pixels: number) => void (task.share = await PROCESS_PIXELS.take(pixels));
      resolve(await runJob(job, admit));
    } catch (thrown) {
      reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
    } finally {
      task.share?.[Symbol.dispose]();
      this.#here--;
      this.#distribute();
    }
  }
}

/** Ends a thread; who waits for it is told why. */
function end({ worker, tasks }: Thread, why: Error): void {
  worker.terminate();
  for (const { share, reject } of tasks.values()) {
    share?.[Symbol.dispose]();
    reject(why);
  }
  tasks.clear();
}

/** A job whose bytes are its own: what is sent along with a view is the whole buffer behind it. */
function detached(job: Job): { job: Job; buffers: ArrayBuffer[] } {
  const { from } = job.source;
  if ("bytes" in from) {
    const bytes = new Uint8Array(from.bytes);
    return { job: { ...job, source: { ...job.source, from: { bytes } } }, buffers: [bytes.buffer] };
  }
  return { job, buffers: [] };
}

/** Pixels that are decoded at once, granted in the order in which they were asked for. */
export class PixelBudget {
  #free: number;
  readonly #total: number;
  readonly #waiting: { readonly pixels: number; readonly begin: () => void }[] = [];

  constructor(total: number) {
    this.#free = total;
    this.#total = total;
  }

  /** Waits for its turn. More than there is in all gets all. @returns what gives the share back */
  async take(pixels: number): Promise<Disposable> {
    const share = Math.min(pixels, this.#total);
    if (this.#waiting.length > 0 || share > this.#free) {
      await new Promise<void>((begin) => this.#waiting.push({ pixels: share, begin }));
    } else this.#free -= share;
    let held = share;
    return {
      [Symbol.dispose]: () => {
        this.#free += held;
        held = 0;
        this.#grant();
      },
    };
  }

  #grant(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || next.pixels > this.#free) return;
      this.#waiting.shift();
      this.#free -= next.pixels;
      next.begin();
    }
  }
}

/** Of all threads of the process. A pixel takes up to 20 bytes while it is decoded, so this is 4 GB at most. */
export const PROCESS_PIXELS = new PixelBudget(2 * MOST_PIXELS);
