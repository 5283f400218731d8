import { RandloraError } from "../errors.ts";
import type { FinishReason } from "../generate/generate.ts";
import type { LanguageModel } from "../generate/language-model.ts";
import { type Reply, type ReplyOptions, writeReply } from "../generate/reply.ts";
import type { KvCache } from "../models/kv-cache.ts";
import type { GeneratorName } from "../random/names.ts";
import { ApiError } from "./api-error.ts";
import type { Client } from "./client.ts";
import { FairQueue, type QueuedJob } from "./fair-queue.ts";
import type { ServedModel } from "./models.ts";

/** A text to write. */
export interface Job {
  /** Who asks; clients take turns. */
  readonly client: Client;
  readonly model: ServedModel;
  /** The whole prompt. */
  readonly ids: readonly number[];
  /** `signal` says that nobody wants the answer any more. */
  readonly options: ReplyOptions & { readonly signal: AbortSignal };
}

/** An answer that came to its end. */
export type WholeReply = Reply & { readonly finishReason: FinishReason };

export interface EngineOptions {
  /** `--generator`. */
  readonly generator?: GeneratorName | undefined;
  /** Requests that may wait. */
  readonly queueLength: number;
}

interface Waiting extends QueuedJob {
  readonly job: Job;
  readonly resolve: (reply: WholeReply) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Writes one text at a time with the one model in GPU memory: requests wait in a fair queue, and the adapter is changed
 * between two of them where they ask for another one.
 */
export class Engine implements AsyncDisposable {
  /** Rejects when the GPU has failed: nothing can be written any more. */
  readonly failure: Promise<never>;
  readonly #fail: (error: unknown) => void;
  readonly #model: LanguageModel;
  readonly #options: EngineOptions;
  readonly #cache: KvCache;
  readonly #queue = new FairQueue<Waiting>();
  /** The id of the model whose weights are in place; undefined after a switch that failed. */
  #resident: string | undefined;
  #running: AbortController | undefined;
  #working: Promise<void> = Promise.resolve();
  #closed: ApiError | undefined;
  /** What a request takes, smoothed; for `Retry-After`. */
  #seconds = 1;

  constructor(model: LanguageModel, options: EngineOptions) {
    this.#model = model;
    this.#options = options;
    this.#cache = model.decoder.createCache();
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {}); // nobody need be listening
    this.failure = promise;
    this.#fail = reject;
  }

  /** Requests that wait or are worked on. */
  get load(): number {
    return this.#queue.size + (this.#running === undefined ? 0 : 1);
  }

  /** @throws ApiError 503 when nothing is written any more */
  check(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  /**
   * Finds out whether `submit` would take a job from `network`.
   * @throws ApiError 429 when too many wait and none of them is to give way, 503 when the server stops
   */
  checkRoom(network: string): void {
    this.#makeRoom(network);
  }

  /**
   * Puts a job into the queue. Where that is full, a job of the network that has most in it gives way.
   * @returns the answer; rejects with the signal's reason when that is aborted, with an ApiError: 429 when it had to give
   *   way, 503 when the server stops
   * @throws ApiError at once: 429 when too many wait, 503 when the server stops
   */
  submit(job: Job): Promise<WholeReply> {
    const displaced = this.#makeRoom(job.client.network);
    if (displaced !== undefined) {
      displaced.reject(this.#full());
      this.#queue.remove(displaced);
    }
    const { promise, resolve, reject } = Promise.withResolvers<WholeReply>();
    const waiting: Waiting = { ...job.client, model: job.model.id, job, resolve, reject };
    const { signal } = job.options;
    const leave = (): void => {
      if (this.#queue.remove(waiting)) reject(signal.reason);
    };
    this.#queue.add(waiting);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    void promise.catch(() => {}).finally(() => signal.removeEventListener("abort", leave));
    if (this.#running === undefined) this.#working = this.#work();
    return promise;
  }

  /**
   * Stops: who waits is turned away, what runs has `grace` milliseconds to come to its end.
   * @returns when nothing runs any more
   */
  async close(grace: number): Promise<void> {
    this.#closed ??= new ApiError(503, "the server is stopping", { code: "server_stopping" });
    for (const { reject } of this.#queue.drain()) reject(this.#closed);
    const timer = setTimeout(() => this.#running?.abort(this.#closed), grace);
    await this.#working;
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(0);
    this.#cache[Symbol.dispose]();
  }

  async #work(): Promise<void> {
    for (;;) {
      const waiting = this.#queue.next(this.#resident);
      if (waiting === undefined) return;
      const { job, resolve, reject } = waiting;
      const start = performance.now();
      this.#running = new AbortController();
      try {
        resolve(await this.#run(job, this.#running));
      } catch (thrown) {
        reject(thrown);
        this.#checkGpu();
      } finally {
        this.#running = undefined;
      }
      this.#seconds += ((performance.now() - start) / 1000 - this.#seconds) / 8;
    }
  }

  async #run({ model, ids, options }: Job, stop: AbortController): Promise<WholeReply> {
    const leave = (): void => stop.abort(options.signal.reason);
    options.signal.addEventListener("abort", leave, { once: true });
    try {
      await this.#makeResident(model);
      stop.signal.throwIfAborted();
      const reply = await writeReply(this.#model, this.#cache, ids, { ...options, signal: stop.signal });
      const { finishReason } = reply;
      if (finishReason === "cancelled") throw stop.signal.reason;
      return { ...reply, finishReason };
    } finally {
      options.signal.removeEventListener("abort", leave);
    }
  }

  /** A switch is never given up half-way: the next one would have to begin with putting the weights back. */
  async #makeResident({ id, adapters }: ServedModel): Promise<void> {
    if (this.#resident === id) return;
    this.#resident = undefined;
    this.#cache.truncate(0);
    await this.#model.setAdapters(adapters, { generator: this.#options.generator });
    this.#resident = id;
  }

  /** @returns the job that gives way, where one has to. @throws as `checkRoom` */
  #makeRoom(network: string): Waiting | undefined {
    this.check();
    if (this.#queue.size < this.#options.queueLength) return undefined;
    const displaced = this.#queue.displacedBy(network);
    if (displaced === undefined) throw this.#full();
    return displaced;
  }

  #full(): ApiError {
    const wait = Math.min(60, Math.max(1, Math.ceil(this.#seconds)));
    return new ApiError(429, `${this.#queue.size} requests are waiting already: try again later`, {
      code: "rate_limit_exceeded",
      headers: { "retry-after": String(wait) },
    });
  }

  /** A device that was lost, or ran out of memory, does not come back. */
  #checkGpu(): void {
    try {
      this.#model.gpu.check();
    } catch (error) {
      if (!(error instanceof RandloraError)) throw error;
      this.#closed = new ApiError(503, "the GPU has failed: the server must be started again", { cause: error });
      for (const { reject } of this.#queue.drain()) reject(this.#closed);
      this.#fail(error);
    }
  }
}
