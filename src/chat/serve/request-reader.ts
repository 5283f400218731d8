import { basename } from "node:path";
import type { TemplateText } from "../../data/text/chat-template.ts";
import type { LanguageModel } from "../language-model.ts";
import { ApiError } from "./api-error.ts";
import { FairQueue, type QueuedJob } from "./fair-queue.ts";
import type { Text } from "./prompt.ts";
import { Reader, tooMuch } from "./reader-child.ts";
import { type Question, type Start, type Told, valueOf } from "./reader-messages.ts";
import type { ReadingOptions } from "./understand.ts";

/** What reading one request may take: the longest real ones take a part of a second. */
const MOST_SECONDS = 10;
/** The same where others wait, and every process is busy. */
const MOST_SECONDS_WANTED = 2;
/** Of all processes together, above those that they have at the start. */
const MOST_BYTES = 2 ** 30;
/** Processes that read requests, of each network one at a time: while one reads a long one the other is there for others. */
const MOST_READERS = 2;
/** The second one is started when somebody has waited for so long: the usual request takes a few milliseconds. */
const SOON_MS = 100;
/** Where it could not start it is not tried again for so long, then for twice as long, and so on up to the longest. */
const [PAUSE_MS, LONGEST_PAUSE_MS] = [10_000, 600_000];
/** It is ended when no request has been read for so long. */
const IDLE_MS = 60_000;

/** Bounds, and what a test may want otherwise. */
export interface ReaderLimits {
  readonly seconds?: number;
  readonly secondsWanted?: number;
  readonly bytes?: number;
}

interface Waiting extends QueuedJob {
  readonly question: Question;
  readonly resolve: (value: Told) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Has requests read in processes of their own, networks in turn: what a template, a prompt or a schema takes keeps no stream waiting, and
 * other networks' requests for two seconds at most. Where one takes more than its time or memory its process is ended.
 */
export class RequestReader implements Disposable {
  readonly #start: Start;
  readonly #limits: Required<ReaderLimits>;
  readonly #queue = new FairQueue<Waiting>();
  readonly #readers: Reader[];
  /** The networks whose requests readers are reading. */
  readonly #reading = new Map<Reader, string>();
  /** Another reader is being started, or is going to be if somebody still waits then. */
  #starting: NodeJS.Timeout | undefined;
  /** Until when none is, as one could not start; and for how long that was. */
  #noneUntil = 0;
  #pause = 0;
  readonly #onFailure: (error: unknown) => void;
  #idle: NodeJS.Timeout | undefined;
  #closed: ApiError | undefined;

  constructor(
    { folder, template, decoder }: Pick<LanguageModel, "folder"> & Omit<Text, "tokenizer">,
    { prompts, defaults, onFailure }: ReadingOptions & { readonly onFailure: (error: unknown) => void },
    { seconds = MOST_SECONDS, secondsWanted = MOST_SECONDS_WANTED, bytes = MOST_BYTES }: ReaderLimits = {},
  ) {
    const { vocabularySize } = decoder.config;
    // Clients are told the origin: where the server's files are does not concern them.
    const textOf = ({ source, origin }: TemplateText) => ({ source, origin: basename(origin) });
    const parts = template && {
      ...textOf(template),
      specialTokens: template.specialTokens,
      toolUse: template.toolUse && textOf(template.toolUse),
    };
    this.#start = { folder, template: parts, vocabularySize, prompts, defaults, ahead: false };
    this.#onFailure = onFailure;
    this.#limits = { seconds, secondsWanted, bytes };
    this.#readers = [this.#makeReader({ ahead: true })];
  }

  [Symbol.dispose](): void {
    this.#closed = new ApiError(503, "the server is stopping", { code: "server_stopping" });
    for (const { reject } of this.#queue.drain()) reject(this.#closed);
    clearTimeout(this.#idle);
    clearTimeout(this.#starting);
    for (const reader of this.#readers) reader.end(this.#closed);
  }

  /**
   * @param key that answers to such a question have
   * @param network where it comes from
   * @throws ApiError as `understand`; 400 where it takes too much, 503 where it does while others wait; the signal's reason when it is
   *   aborted before its turn
   */
  async ask<K extends string>(
    question: Question,
    key: K,
    network = "",
    signal?: AbortSignal,
  ): Promise<Extract<Told, Readonly<Record<K, unknown>>>> {
    if (this.#closed !== undefined) throw this.#closed;
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<Told>();
    const waiting: Waiting = { network, user: "", model: "", question, resolve, reject };
    const leave = (): void => {
      if (this.#queue.remove(waiting)) reject(signal?.reason);
    };
    signal?.addEventListener("abort", leave, { once: true });
    this.#queue.add(waiting);
    this.#work();
    const told = await promise.finally(() => signal?.removeEventListener("abort", leave));
    if (!has(told, key)) throw new TypeError("an answer to another question");
    return told;
  }

  /** Gives readers that have nothing to do the next questions. */
  #work(): void {
    for (const reader of this.#readers) {
      if (this.#reading.has(reader)) continue;
      const next = this.#next();
      if (next === undefined) break;
      this.#queue.take(next);
      void this.#read(reader, next);
    }
    if (this.#readers.length < MOST_READERS && this.#next() !== undefined) this.#startAnother();
  }

  async #read(reader: Reader, { network, question, resolve, reject }: Waiting): Promise<void> {
    this.#reading.set(reader, network);
    try {
      resolve(valueOf(await reader.ask(question, (seconds) => this.#lateness(seconds))));
    } catch (thrown) {
      reject(thrown);
    }
    // Another one is there, then, when the next question comes.
    await reader.renew();
    this.#reading.delete(reader);
    this.#work();
    this.#endWhenIdle();
  }

  /** The next of those for whom nothing is being read. */
  #next(): Waiting | undefined {
    const busy = [...this.#reading.values()];
    return this.#queue.first(
      () => false,
      ({ network }) => !busy.includes(network),
    );
  }

  #lateness(seconds: number): ApiError | undefined {
    const { seconds: most, secondsWanted } = this.#limits;
    if (seconds > most) return tooMuch(`${most} seconds`);
    if (seconds <= secondsWanted || this.#starting !== undefined || this.#next() === undefined) return undefined;
    const message = `reading this request takes more than ${secondsWanted} seconds while others wait: shorten it, or try again later`;
    return new ApiError(503, message, { code: "server_busy", headers: { "retry-after": "10" } });
  }

  #startAnother(): void {
    if (this.#closed !== undefined || performance.now() < this.#noneUntil) return;
    this.#starting ??= setTimeout(async () => {
      if (this.#next() !== undefined) await this.#begin(this.#makeReader());
      this.#starting = undefined;
      this.#work();
    }, SOON_MS);
  }

  async #begin(reader: Reader): Promise<void> {
    try {
      await reader.begun();
      this.#pause = 0;
      if (this.#closed === undefined) this.#readers.push(reader);
      else reader.end(this.#closed);
    } catch (thrown) {
      // Those that wait have the others.
      reader.end(thrown);
      if (this.#pause === 0 && this.#closed === undefined) this.#onFailure(thrown);
      this.#pause = Math.min(LONGEST_PAUSE_MS, Math.max(PAUSE_MS, 2 * this.#pause));
      this.#noneUntil = performance.now() + this.#pause;
    }
  }

  /** Ends readers beyond the first, later, if they have nothing to do then. */
  #endWhenIdle(): void {
    clearTimeout(this.#idle);
    if (this.#readers.length === 1 || this.#closed !== undefined) return;
    this.#idle = setTimeout(() => {
      const unused = this.#readers.slice(1).filter((reader) => !this.#reading.has(reader));
      for (const reader of unused) this.#readers.splice(this.#readers.indexOf(reader), 1);
      for (const reader of unused) reader.end(new Error("nobody needs it"));
    }, IDLE_MS);
  }

  #makeReader(more: Partial<Start> = {}): Reader {
    return new Reader({ ...this.#start, ...more }, this.#limits.bytes / MOST_READERS);
  }
}

function has<K extends string>(told: Told, key: K): told is Extract<Told, Readonly<Record<K, unknown>>> {
  return told !== undefined && key in told;
}
