import { readFileSync } from "node:fs";
import { childCommand } from "../../files/carried.ts";
import { ApiError } from "./api-error.ts";
import { type Answer, MADE_AHEAD, type Question, READER, type Start, valueOf } from "./reader-messages.ts";

/** Loading a large tokenizer on a busy machine. */
const MOST_SECONDS_TO_START = 60;
/** Part of the bytes that reading a request may take, which it may keep of what it read before. */
const MOST_KEPT = 1 / 4;
/** How often memory is looked at. */
const LOOK_MS = 50;

/** What reading one request may take. */
export interface Allowance {
  /** Why it has taken too much time, so many seconds as it has taken now; undefined: it has not. */
  readonly isLate: (seconds: number) => ApiError | undefined;
  /** Bytes above those that the process had before. */
  readonly bytes: number;
}

/** A process that reads requests, one after another, and another one in its place where it was ended. */
export class Reader {
  #start: Start;
  readonly #bytes: number;
  #process: Promise<ReaderProcess>;
  #closed: { readonly reason: unknown } | undefined;

  /** @param bytes that reading a request may take */
  constructor(start: Start, bytes: number) {
    this.#start = start;
    this.#bytes = bytes;
    this.#process = this.#begin();
  }

  /** @throws Error where it cannot start, or load what it needs */
  async begun(): Promise<void> {
    await this.#process;
  }

  /** Asks once more where the process was ended from outside, for which the question is hardly to blame. @throws as `ReaderProcess.ask` */
  async ask(question: Question, isLate: Allowance["isLate"]): Promise<Answer> {
    for (let isAgain = false; ; isAgain = true) {
      await this.renew();
      const process = await this.#process;
      try {
        return await process.ask(question, { isLate, bytes: this.#bytes });
      } catch (thrown) {
        if (isAgain || thrown instanceof ApiError) throw thrown;
        process.end(thrown);
      }
    }
  }

  /** Begins another process in the place of one that did not begin, has ended, or has kept much of what it took. */
  async renew(): Promise<void> {
    const found = await this.#process.catch(() => undefined);
    if (this.#closed !== undefined || found?.isSpent(MOST_KEPT * this.#bytes) === false) return;
    found?.end(new Error("another process reads requests now"));
    this.#process = this.#begin();
  }

  end(reason: unknown): void {
    this.#closed = { reason };
    void this.#process.then((process) => process.end(reason)).catch(() => {});
  }

  #begin(): Promise<ReaderProcess> {
    const begun = ReaderProcess.begin(this.#start);
    // A request that ends a process must not cost a second of computing each time: the tree is made when it is asked for.
    this.#start = { ...this.#start, ahead: false };
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
  /** It makes a tree of the vocabulary, which is no request's, and may take more than requests may leave behind. */
  #isMaking: boolean;

  private constructor({ ahead }: Start) {
    this.#isMaking = ahead;
    this.#child = Bun.spawn([...childCommand(READER)], {
      ipc: (message: Answer | typeof MADE_AHEAD) => {
        if (message !== MADE_AHEAD) return this.#answer?.resolve(message);
        this.#isMaking = false;
        this.#bytesAtStart = this.#bytes();
      },
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore"],
      onExit: (child) =>
        this.end(new Error(`the process that reads requests ended (${child.signalCode ?? child.exitCode})`)),
    });
    this.#child.unref();
  }

  /** @throws Error where it cannot start, or load what it needs */
  static async begin(start: Start): Promise<ReaderProcess> {
    const process = new ReaderProcess(start);
    try {
      const isLate = (seconds: number) => (seconds > MOST_SECONDS_TO_START ? tooMuch(`${seconds} seconds`) : undefined);
      valueOf(await process.ask(start, { isLate, bytes: Infinity }));
    } catch (cause) {
      const failure = new Error("the process that reads requests did not start", { cause });
      process.end(failure);
      throw failure;
    }
    process.#bytesAtStart = process.#bytes();
    return process;
  }

  /** It has ended, or has kept more than so many bytes of what it took. */
  isSpent(bytes: number): boolean {
    if (this.#ended !== undefined || this.#isMaking) return this.#ended !== undefined;
    return this.#bytes() - this.#bytesAtStart > bytes;
  }

  /** @throws ApiError 400 beyond the bytes, or what `isLate` says, either of which ends the process; an Error where it ends by itself */
  async ask(question: Start | Question, { isLate, bytes }: Allowance): Promise<Answer> {
    if (this.#ended !== undefined) throw this.#ended.reason;
    const answer = Promise.withResolvers<Answer>();
    this.#answer = answer;
    const begun = performance.now();
    const before = this.#bytes();
    const timer = setInterval(() => {
      const late = isLate((performance.now() - begun) / 1000);
      if (late !== undefined) this.end(late);
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

/** The refusal of a request that takes too much, whoever else asks. */
export function tooMuch(what: string): ApiError {
  return new ApiError(400, `reading this request takes more than ${what}: shorten it, or use another chat template`);
}
