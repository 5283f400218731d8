import { RandloraError } from "../../files/errors.ts";
import { itemAt } from "../../files/item-at.ts";
import type { LanguageModel } from "../language-model.ts";
import { DEFAULT_SAMPLING } from "../generation/sampling.ts";
import { endOf, Outbox, type Sequence } from "../generation/sequence.ts";
import { type Reply, replySequence, writeReply } from "../generation/reply.ts";
import { type EmbeddingOptions, EmbeddingSequence, normalized } from "../generation/embedding.ts";
import { DecodeLoop, type Progress } from "../generation/decode-loop.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { ApiError } from "./api-error.ts";
import { DeviceWatch } from "./device-watch.ts";
import type { Job, JobPiece, ServedModel } from "./job.ts";
import { PlacedAdapters, type Rows } from "./placed-adapters.ts";
import { type WaitingRequest, WaitingRequests } from "./fair-queue.ts";

export interface EngineOptions {
  /** `--generator`. */
  readonly generator?: GeneratorName | undefined;
  /** Requests that may wait. */
  readonly queueLength: number;
  /** Number of slots: sequences that are decoded at once. */
  readonly parallel: number;
  /** Of keys and values, of all slots together. */
  readonly positions: number;
  /** Adapters that stand beside the weights at most; 0: all are merged. */
  readonly adapters: number;
  /** Told why the device is opened anew. */
  readonly onLoss?: (error: unknown) => void;
}

/** Sequences in the batch of a rehearsal: from as many rows on, passes use the same kernels. */
const REHEARSED = 5;

interface Waiting<S extends Sequence = Sequence> extends WaitingRequest {
  readonly served: ServedModel;
  readonly make: (rows: Rows) => S;
  /** The places that it had, and what it begins with. */
  readonly out: Outbox<number, S>;
  readonly signal: AbortSignal;
  /** Has it end, wherever it is: called when the signal is aborted. */
  readonly leave: () => void;
}

/**
 * Runs requests in a batch with the one model in GPU memory, each through its own adapter; more wait in a fair queue for a slot. Where an
 * adapter has to be merged, or to be taken out again, no more start, and the weights are changed when the running ones have ended.
 */
export class Engine implements AsyncDisposable {
  readonly device: DeviceWatch;
  readonly #model: LanguageModel;
  readonly #options: EngineOptions;
  readonly #waiting: WaitingRequests<Waiting>;
  /** The adapters in the device's memory. */
  readonly placed: PlacedAdapters;
  #loop: DecodeLoop;
  #closed: ApiError | undefined;

  constructor(model: LanguageModel, options: EngineOptions) {
    this.#model = model;
    this.#options = options;
    this.#waiting = new WaitingRequests(options.queueLength, options.parallel);
    const { generator, adapters: most } = options;
    this.placed = new PlacedAdapters(model, { generator, most, isUsed: (one) => this.#loop.adapters.has(one) });
    this.#loop = this.#makeLoop();
    this.device = new DeviceWatch(model, {
      onLoss: options.onLoss,
      end: (reason) => this.#end(reason),
      begin: () => void (this.#loop = this.#makeLoop()),
    });
  }

  #makeLoop(): DecodeLoop {
    const { parallel: rows, positions } = this.#options;
    return new DecodeLoop(this.#model.decoder, { rows, positions, feed: () => this.#feed() });
  }

  /**
   * Writes a few tokens, so that what the first requests would wait for is done.
   * @param rows what `placed.placeFirst` gave
   * @throws RandloraError `gpu`, `memory`
   */
  async rehearse([base, ...placed]: readonly (Rows | undefined)[]): Promise<void> {
    const write = async (maxTokens: number, rows: Rows | undefined): Promise<unknown> => {
      const options = { sampling: { ...DEFAULT_SAMPLING, temperature: 0 }, maxTokens, ...rows };
      return await endOf(this.#loop.write(replySequence(this.#model, [0, 0, 0], options)));
    };
    const texts = Array.from({ length: Math.min(this.#options.parallel, REHEARSED) }, (_, at) => write(at + 1, base));
    // A model that cannot write says so when it is asked to.
    await Promise.allSettled([...texts, ...placed.map((rows) => write(2, rows))]);
    this.#model.gpu.check();
    this.#loop.weightsChanged();
  }

  /** Requests that wait or are worked on. */
  get load(): number {
    return this.#waiting.size + this.#loop.size;
  }

  /** Of each slot how far its text has come; undefined: it is free. */
  get slots(): readonly (Progress | undefined)[] {
    return Array.from({ length: this.#options.parallel }, (_, slot) => this.#loop.progress[slot]);
  }

  /** @throws ApiError 503 when the server is stopping, or the device is opened anew */
  check(): void {
    this.device.check();
    const refusal = this.#closed ?? this.device.refusal;
    if (refusal !== undefined) throw refusal;
  }

  /**
   * Puts all jobs of a request into the queue. Where that is full, jobs of the network that has most in it give way.
   * @returns what comes of each; ends with its signal's reason, or an ApiError: 429 when it had to give way, 503 as `check`
   * @throws ApiError, and none of them waits: 429 when too many do, 400 when they never have room, 503 as `check`
   */
  submit(jobs: readonly Job[]): readonly AsyncGenerator<JobPiece, Reply>[] {
    const make = ({ ids, options, client }: Job, rows: Rows) =>
      replySequence(this.#model, ids, { ...options, ...rows, owner: client.network });
    return this.#add(jobs, make, (sequence, { ids, options }) =>
      writeReply(this.#model, ids, options, this.#loop.follow(sequence), sequence.began),
    );
  }

  /**
   * Puts a prompt without an answer into the queue.
   * @returns its embedding, of norm 1
   * @throws as what `submit` returns; RandloraError `numeric` where it has no direction
   */
  async embed(job: Job<Omit<EmbeddingOptions, "owner">>): Promise<Float64Array> {
    const { ids, options, client } = job;
    const { decoder } = this.#model;
    const make = (_: unknown, rows: Rows) =>
      new EmbeddingSequence(decoder, ids, { ...options, ...rows, owner: client.network });
    const written = this.#add([job], make, (sequence) => this.#loop.follow(sequence));
    return normalized(await endOf(itemAt(written, 0)));
  }

  /**
   * Puts all jobs into the queue, or none. From here on each leaves when its signal is aborted, whether or not anybody takes what comes of it.
   * @param use makes of a sequence that was begun what is handed out
   */
  #add<J extends Job<object>, S extends Sequence, R>(
    jobs: readonly J[],
    make: (job: J, rows: Rows) => S,
    use: (sequence: S, job: J) => AsyncGenerator<JobPiece, R>,
  ): readonly AsyncGenerator<JobPiece, R>[] {
    const all = jobs.map((job): Waiting<S> => {
      const { client, model, options } = job;
      const { signal } = options;
      const leave = (): void => {
        this.#waiting.leave(waiting, signal.reason);
        this.#loop.drop();
      };
      const own = { served: model, make: (rows: Rows) => make(job, rows), out: new Outbox<number, S>(), signal, leave };
      const waiting: Waiting<S> = { ...client, model: model.weights, ...own };
      return waiting;
    });
    this.check();
    this.#waiting.addAll(all, Math.max(0, this.#options.parallel - this.#loop.size));
    for (const { signal, leave } of all) {
      signal.addEventListener("abort", leave, { once: true });
      if (signal.aborted) leave();
    }
    // One that may begin must not wait for those that run, of whom nobody takes what was made.
    this.#loop.drop();
    return jobs.map((job, at) => this.#written(itemAt(all, at), (sequence) => use(sequence, job)));
  }

  /** @param use makes of a sequence that was begun what is handed out */
  async *#written<S extends Sequence, R>(
    { out, signal, leave }: Waiting<S>,
    use: (sequence: S) => AsyncGenerator<JobPiece, R>,
  ): AsyncGenerator<JobPiece, R> {
    try {
      const sequence = yield* out.taken(() => this.#advance());
      yield 0;
      const start = performance.now();
      const result = yield* use(sequence);
      if (!signal.aborted) this.device.answered();
      this.#waiting.ended((performance.now() - start) / 1000 / this.#options.parallel);
      return result;
    } catch (thrown) {
      this.device.check();
      throw thrown instanceof RandloraError ? (this.device.refusal ?? thrown) : thrown;
    } finally {
      signal.removeEventListener("abort", leave);
      this.#loop.drop();
    }
  }

  /** Stops when what runs has ended, for which it has `grace` milliseconds. */
  async close(grace: number): Promise<void> {
    this.#closed ??= new ApiError(503, "the server is stopping", { code: "server_stopping" });
    this.#waiting.turnAway(this.#closed);
    const timer = setTimeout(() => this.#loop.abort(this.#closed), grace);
    while (this.#loop.size > 0) await this.#advance();
    clearTimeout(timer);
  }

  /** Ends all that uses the device. */
  async #end(reason: ApiError): Promise<void> {
    this.#waiting.turnAway(reason);
    this.#loop.abort(reason);
    do await this.#loop.advance();
    while (this.#loop.size > 0);
    await this.placed.clear();
    this.#loop[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(0);
    await this.device.settled();
    this.#loop[Symbol.dispose]();
    await this.placed.clear();
  }

  async #advance(): Promise<void> {
    this.#waiting.tellPlaces(this.placed.resident);
    await this.#loop.advance();
    this.device.check();
  }

  /** Needs nothing that those that run have: with the weights in place, and an adapter that has room. */
  #mayBegin({ served }: Waiting): boolean {
    return served.weights === this.placed.resident && this.placed.mayPlace(served);
  }

  /** The next request in the order of the queue, unless those that run have to end before. */
  async #feed(): Promise<Sequence | undefined> {
    for (;;) {
      const waiting = this.#waiting.first((one) => this.#mayBegin(one));
      if (waiting === undefined) return undefined;
      const { served, make, out } = waiting;
      const isAlone = this.#loop.size === 0;
      if (!isAlone && (this.placed.isPlacing || !this.#mayBegin(waiting))) return undefined;
      try {
        await this.placed.makeResident(served, () => this.#loop.weightsChanged());
        const rows = this.placed.rowsOf(served);
        const placing = rows === undefined ? this.#place(waiting) : undefined;
        // Those that run go on meanwhile.
        if (placing !== undefined && !isAlone) return undefined;
        await placing;
        // Whoever left meanwhile, or was turned away, has been told.
        if (!this.#waiting.has(waiting) || rows === undefined) continue;
        const sequence = make(rows);
        out.end(sequence);
        this.#waiting.take(waiting);
        return sequence;
      } catch (thrown) {
        this.#waiting.leave(waiting, thrown);
        this.device.check();
      }
    }
  }

  /** Places the adapter of the next request, which is told where that fails. */
  async #place(waiting: Waiting): Promise<void> {
    try {
      await this.placed.place(waiting.served);
    } catch (thrown) {
      this.#waiting.leave(waiting, thrown);
    }
    // A turn may wait for those that run, of whom nobody takes what was made.
    this.#loop.drop();
  }
}
