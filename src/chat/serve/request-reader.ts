import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { childCommand } from "../../files/carried.ts";
import type { LanguageModel } from "../language-model.ts";
import type { TokenTree } from "../grammar/token-tree.ts";
import { ApiError } from "./api-error.ts";
import { FairQueue, type QueuedJob } from "./fair-queue.ts";
import type { Text } from "./prompt.ts";
import { type Answer, type Question, READER, type Start, type Told, valueOf } from "./reader-messages.ts";
import type { EmbeddingTexts, ReadingOptions, Understood } from "./understand.ts";

/** What reading one request may take: the longest real ones take a part of a second. */
const MOST_SECONDS = 10;
/** Loading a large tokenizer on a busy machine. */
const MOST_SECONDS_TO_START = 60;
/** Bytes above those that the process had before. */
const MOST_BYTES = 2 ** 30;
/** Part of these that it may keep of what it read before. */
const MOST_KEPT = 1 / 4;
/** How often memory is looked at. */
const LOOK_MS = 50;

/** Bounds, and what a test may want otherwise. */
export interface ReaderLimits {
  readonly seconds?: number;
  readonly bytes?: number;
}

interface Waiting extends QueuedJob {
  readonly question: Question;
  readonly resolve: (value: Told) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Has requests read in a process of its own, one after another, networks in turn: what a template, a prompt or a schema takes keeps no
 * stream waiting. Where one takes more than its time or memory the process is ended, and the next one gets another.
 */
export class RequestReader implements Disposable {
  readonly #start: Start;
  readonly #limits: Required<ReaderLimits>;
  readonly #queue = new FairQueue<Waiting>();
  #process: Promise<ReaderProcess>;
  #isWorking = false;
  #closed: ApiError | undefined;

  constructor(
    { folder, template, decoder }: Pick<LanguageModel, "folder"> & Omit<Text, "tokenizer">,
    options: ReadingOptions,
    { seconds = MOST_SECONDS, bytes = MOST_BYTES }: ReaderLimits = {},
  ) {
    const { vocabularySize } = decoder.config;
    const parts = template && {
      source: template.source,
      // Clients are told it: where the server's files are does not concern them.
      origin: basename(template.origin),
      specialTokens: template.specialTokens,
    };
    this.#start = { folder, template: parts, vocabularySize, prompts: options.prompts, defaults: options.defaults };
    this.#limits = { seconds, bytes };
    this.#process = this.#begin();
  }

  /**
   * @param network where it comes from
   * @throws ApiError as `understand`; 400 where it takes too much; the signal's reason when it is aborted before its turn
   */
  async read(
    question: Exclude<Question, { kind: "vocabulary" | "texts" }>,
    network: string,
    signal: AbortSignal,
  ): Promise<Understood> {
    const value = await this.#ask(question, network, signal);
    if (value === undefined || !("settings" in value)) throw new TypeError("an answer to another question");
    return value;
  }

  /** Texts of which embeddings are wanted. @throws as `read` */
  async texts(body: Uint8Array, network: string, signal: AbortSignal): Promise<EmbeddingTexts> {
    const value = await this.#ask({ kind: "texts", body }, network, signal);
    if (value === undefined || !("encoding" in value)) throw new TypeError("an answer to another question");
    return value;
  }

  /** The model's vocabulary, for grammars. */
  async vocabulary(): Promise<TokenTree> {
    const value = await this.#ask({ kind: "vocabulary" }, "", undefined);
    if (value === undefined || !("ends" in value)) throw new TypeError("an answer to another question");
    return value;
  }

  [Symbol.dispose](): void {
    this.#closed = new ApiError(503, "the server is stopping", { code: "server_stopping" });
    for (const { reject } of this.#queue.drain()) reject(this.#closed);
    void this.#process.then((process) => process.end(this.#closed)).catch(() => {});
  }

  async #ask(question: Question, network: string, signal: AbortSignal | undefined): Promise<Told> {
    if (this.#closed !== undefined) throw this.#closed;
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<Told>();
    const waiting: Waiting = { network, user: "", model: "", question, resolve, reject };
    const leave = (): void => {
      if (this.#queue.remove(waiting)) reject(signal?.reason);
    };
    signal?.addEventListener("abort", leave, { once: true });
    this.#queue.add(waiting);
    void this.#work();
    return await promise.finally(() => signal?.removeEventListener("abort", leave));
  }

  async #work(): Promise<void> {
    if (this.#isWorking) return;
    this.#isWorking = true;
    for (let next = this.#queue.next(""); next !== undefined; next = this.#queue.next("")) {
      const { question, resolve, reject } = next;
      try {
        resolve(valueOf(await this.#answer(question)));
      } catch (thrown) {
        reject(thrown);
      }
      // Another one is there, then, when the next question comes.
      await this.#renew();
    }
    this.#isWorking = false;
  }

  /** Asks once more where the process was ended from outside, for which the question is hardly to blame. */
  async #answer(question: Question): Promise<Answer> {
    for (let isAgain = false; ; isAgain = true) {
      await this.#renew();
      const process = await this.#process;
      try {
        return await process.ask(question, this.#limits);
      } catch (thrown) {
        if (isAgain || thrown instanceof ApiError) throw thrown;
        process.end(thrown);
      }
    }
  }

  /** Begins another process in the place of one that did not begin, has ended, or has kept much of what it took. */
  async #renew(): Promise<void> {
    const found = await this.#process.catch(() => undefined);
    if (this.#closed !== undefined || found?.isSpent(this.#limits) === false) return;
    found?.end(new Error("another process reads requests now"));
    this.#process = this.#begin();
  }

  #begin(): Promise<ReaderProcess> {
    const begun = ReaderProcess.begin(this.#start);
    begun.catch(() => {}); // told to whoever asks
    return begun;
  }
}

class ReaderProcess {
  readonly #child: Bun.Subprocess<"ignore", "ignore", "ignore">;
  /** Of the question that is being answered. */
  #answer: PromiseWithResolvers<Answer> | undefined;
  #ended: { readonly reason: unknown } | undefined;
  #bytesAtStart = 0;

  private constructor() {
    this.#child = Bun.spawn([...childCommand(READER)], {
      ipc: (message: Answer) => this.#answer?.resolve(message),
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore"],
      onExit: (child) =>
        this.end(new Error(`the process that reads requests ended (${child.signalCode ?? child.exitCode})`)),
    });
    this.#child.unref();
  }

  /** @throws Error where it cannot start, or load what it needs */
  static async begin(start: Start): Promise<ReaderProcess> {
    const process = new ReaderProcess();
    try {
      valueOf(await process.ask(start, { seconds: MOST_SECONDS_TO_START, bytes: Infinity }));
    } catch (cause) {
      const failure = new Error("the process that reads requests did not start", { cause });
      process.end(failure);
      throw failure;
    }
    process.#bytesAtStart = process.#bytes();
    return process;
  }

  /** It has ended, or has kept much of what it took. */
  isSpent({ bytes }: Required<ReaderLimits>): boolean {
    return this.#ended !== undefined || this.#bytes() - this.#bytesAtStart > MOST_KEPT * bytes;
  }

  /** @throws ApiError 400 beyond a limit, which ends the process; an Error where it ends by itself */
  async ask(question: Start | Question, { seconds, bytes }: Required<ReaderLimits>): Promise<Answer> {
    if (this.#ended !== undefined) throw this.#ended.reason;
    const answer = Promise.withResolvers<Answer>();
    this.#answer = answer;
    const deadline = performance.now() + seconds * 1000;
    const before = this.#bytes();
    const timer = setInterval(() => {
      if (performance.now() > deadline) this.end(tooMuch(`${seconds} seconds`));
      else if (this.#bytes() - before > bytes) this.end(tooMuch(`${bytes / 2 ** 20} MiB`));
    }, LOOK_MS);
    try {
      this.#child.send(question);
      return await answer.promise;
    } finally {
      clearInterval(timer);
    }
  }

  /** Whoever waits for an answer is told why. */
  end(reason: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = { reason };
    this.#child.kill("SIGKILL");
    this.#answer?.reject(reason);
  }

  /** What it has in memory; 0 where the system does not tell. */
  #bytes(): number {
    if (process.platform !== "linux") return 0;
    try {
      const status = readFileSync(`/proc/${this.#child.pid}/status`, "latin1");
      return Number(/^VmRSS:\s*(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
    } catch {
      return 0;
    }
  }
}

function tooMuch(what: string): ApiError {
  return new ApiError(400, `reading this request takes more than ${what}: shorten it, or use another chat template`);
}
