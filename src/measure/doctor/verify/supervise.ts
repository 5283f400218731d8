import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { type ErrorCode, RandloraError } from "../../../files/errors.ts";
import { naming } from "../../../files/failure.ts";
import type { Subject } from "./check.ts";
import { type DeviceFacts, type Measured, Message } from "./messages.ts";

/** Something that is not right. */
export interface Problem extends Subject {
  readonly kind: "wrong" | "failed" | "crashed" | "hung";
  /** In one line. */
  readonly what: string;
}

/** What came of all checks. */
export interface Verification {
  readonly device: DeviceFacts;
  /** Of all, those that came to an end; the others follow a device that failed too often. */
  readonly checks: number;
  readonly done: number;
  readonly problems: readonly Problem[];
  readonly times: readonly (Subject & { readonly seconds: number })[];
  readonly measured: readonly Measured[];
}

/** How checks are run and watched. */
export interface Supervision {
  /** Starts the process that checks; it is told in this variable with which check to begin. */
  readonly command: readonly string[];
  readonly signal: AbortSignal;
  /** Seconds without a word after which a driver hangs. */
  readonly patience: number;
  /** How many checks there are; called again after a process was begun anew. */
  onStart(checks: number): void;
  onCheck(check: Subject): void;
  onEnd(): void;
}

/** Which check the process that checks begins with. */
export const FROM_VARIABLE = "RANDLORA_CHECKS_FROM";
/** So many checks may end their process: a driver that fails at everything is not asked everything. */
const MOST_ENDS = 4;

/**
 * Runs checks in a process of its own, so that a driver that hangs or ends its process is reported: the next process goes
 * on behind the check that it was in.
 * @throws RandloraError `gpu` and others of a device that cannot be opened
 */
export async function supervise(supervision: Supervision): Promise<Verification> {
  // A process that is killed removes nothing.
  await using folder = await verificationFolder();
  const state = new State(supervision, folder.path);
  for (let ends = 0; ends < MOST_ENDS; ends++) {
    if (await state.attempt()) break;
  }
  return state.result();
}

class State {
  readonly #supervision: Supervision;
  /** Temporary files of the processes go there. */
  readonly #folder: string;
  readonly #problems: Problem[] = [];
  readonly #times: (Subject & { seconds: number })[] = [];
  readonly #measured: Measured[] = [];
  #device: DeviceFacts | undefined;
  #checks = 0;
  #next = 0;
  #current: Subject | undefined;

  constructor(supervision: Supervision, folder: string) {
    this.#supervision = supervision;
    this.#folder = folder;
  }

  /** One process, until it has done everything (true), or ends otherwise. */
  async attempt(): Promise<boolean> {
    const { command, signal, patience } = this.#supervision;
    signal.throwIfAborted();
    const child = Bun.spawn([...command], {
      env: {
        ...process.env,
        TMPDIR: this.#folder,
        TEMP: this.#folder,
        TMP: this.#folder,
        [FROM_VARIABLE]: String(this.#next),
      },
      stdio: ["pipe", "pipe", "ignore"],
    });
    const kill = (): void => child.kill("SIGKILL");
    signal.addEventListener("abort", kill);
    let hangs = false;
    let timer = setTimeout(kill, 0);
    const rewind = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        hangs = true;
        kill();
      }, patience * 1000);
    };
    rewind();
    let last: Message | undefined;
    try {
      for await (const line of linesOf(child.stdout)) {
        rewind();
        const message = messageOf(line);
        if (message === undefined) continue;
        last = message;
        this.#take(last);
        if (last.kind === "done" || last.kind === "failure") break;
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", kill);
      kill();
    }
    // What it still writes would be in the way of removing its files.
    if (signal.aborted) await child.exited;
    signal.throwIfAborted();
    if (last?.kind === "done") return true;
    await child.exited;
    this.#end(last, hangs, String(child.signalCode ?? `exit status ${child.exitCode}`));
    return false;
  }

  result(): Verification {
    if (this.#device === undefined) throw new TypeError("no device was opened");
    const { length: done } = this.#times;
    const [problems, times, measured] = [this.#problems, this.#times, this.#measured];
    return { device: this.#device, checks: this.#checks, done, problems, times, measured };
  }

  #take(message: Message): void {
    if (message.kind === "open") {
      this.#device = message.device;
      this.#checks = message.checks;
      this.#supervision.onStart(message.checks);
    } else if (message.kind === "begin") {
      const { op, format, size } = message;
      this.#current = { op, format, size };
      this.#next = message.at + 1;
      this.#supervision.onCheck(this.#current);
    } else if (message.kind === "end" && this.#current !== undefined) {
      const { seconds, wrong, measured } = message;
      this.#times.push({ ...this.#current, seconds });
      if (measured !== undefined) this.#measured.push(measured);
      if (wrong !== undefined) this.#problems.push({ ...this.#current, kind: "wrong", what: wrong });
      this.#current = undefined;
      this.#supervision.onEnd();
    }
  }

  /** The process ended before its work was done. */
  #end(last: Message | undefined, hangs: boolean, how: string): void {
    const { patience } = this.#supervision;
    const failure = last?.kind === "failure" ? last : undefined;
    const kind = failure !== undefined ? "failed" : hangs ? "hung" : "crashed";
    const what = failure?.message ?? (hangs ? `no answer for ${patience} seconds` : `the process ended (${how})`);
    if (this.#device === undefined) {
      const code = (failure?.code ?? "gpu") as ErrorCode; // what the process that checks threw
      const hint = failure?.hint ?? "update the driver, or choose another device with --device";
      throw new RandloraError(code, failure === undefined ? `the device cannot be opened: ${what}` : what, hint);
    }
    const subject = this.#current ?? { op: "opening the device again", format: "", size: "" };
    this.#problems.push({ ...subject, kind, what });
    if (this.#current !== undefined) this.#supervision.onEnd();
    this.#current = undefined;
  }
}

/** @returns undefined for what is none: a driver may write on standard output, too */
function messageOf(line: string): Message | undefined {
  try {
    return v.parse(Message, JSON.parse(line));
  } catch {
    return undefined;
  }
}

/** Whole lines; what a process that was killed left of one is none. */
async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

const PREFIX = "randlora-verify-";
/** Milliseconds after which a folder belongs to nobody: a verification takes minutes. */
const OLD = 24 * 3600 * 1000;

/** Where the processes of a verification keep what they make. */
interface VerificationFolder extends AsyncDisposable {
  readonly path: string;
}

/** A temporary folder that goes when it is disposed of. Those that are left of verifications which were killed go now. @throws RandloraError `file` */
async function verificationFolder(): Promise<VerificationFolder> {
  const parent = tmpdir();
  for (const name of await readdir(parent).catch((): string[] => [])) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(parent, name);
    const made = await stat(path).catch(() => undefined);
    // Somebody else's stays, where that user alone may remove it.
    if (made !== undefined && Date.now() - made.mtimeMs > OLD)
      await rm(path, { recursive: true, force: true }).catch(() => {});
  }
  const path = await naming(parent, "write", mkdtemp(join(parent, PREFIX)));
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true });
    },
  };
}
