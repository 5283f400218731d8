import { type Key, KeyReader } from "./keys.ts";
import type { OutputStream } from "../style.ts";

/** The part of process.stdin that is needed. */
export interface TerminalInput {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
  on(event: "data", listener: (chunk: Uint8Array) => void): unknown;
  on(event: "end" | "close", listener: () => void): unknown;
  off(event: "data", listener: (chunk: Uint8Array) => void): unknown;
  off(event: "end" | "close", listener: () => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

/** The part of process.stdout that is needed. */
export interface TerminalOutput extends OutputStream {
  readonly rows?: number;
  on(event: "resize", listener: () => void): unknown;
  off(event: "resize", listener: () => void): unknown;
}

const BRACKETED_PASTE = { on: "\x1b[?2004h", off: "\x1b[?2004l" };
/** A process that still runs so long after it asked to be stopped will not be. */
const STOP_MS = 100;
/** How long after an ESC the rest of its sequence may take. */
const ESCAPE_MS = 50;

type KeyListener = (key: Key) => void;

/**
 * A terminal that hands over every key as it is pressed, Ctrl-C too: raw mode with bracketed paste, no alternate screen.
 * Keys that nobody listens for wait: what is typed ahead is not lost, and a paste of any size never fills the kernel's
 * line buffer. Its former state comes back with `close`, on suspension, and whichever way the process ends.
 */
export class RawTerminal implements Disposable {
  readonly #input: TerminalInput;
  readonly #output: TerminalOutput;
  readonly #reader = new KeyReader();
  readonly #queue: Key[] = [];
  #listener: KeyListener | undefined;
  #resized: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopTimer: ReturnType<typeof setTimeout> | undefined;
  #goOn: (() => void) | undefined;
  #raw = false;
  #ended = false;

  private constructor(input: TerminalInput, output: TerminalOutput) {
    this.#input = input;
    this.#output = output;
  }

  /** Takes the terminal over; `close` gives it back. */
  static open(input: TerminalInput = process.stdin, output: TerminalOutput = process.stdout): RawTerminal {
    const terminal = new RawTerminal(input, output);
    process.on("exit", terminal.#leave);
    input.on("data", terminal.#receive);
    input.on("end", terminal.#hangUp);
    input.on("close", terminal.#hangUp);
    output.on("resize", terminal.#resize);
    terminal.#enter();
    input.resume();
    return terminal;
  }

  /** A terminal that a job has made may say 0. */
  get columns(): number {
    return this.#output.columns || 80;
  }

  get rows(): number {
    return this.#output.rows || 24;
  }

  write(text: string): void {
    this.#output.write(text);
  }

  /**
   * Hands keys to `listener`, those that wait first, until the result is disposed of. One listens at a time.
   * @param resized is called when the window's size has changed
   */
  listen(listener: KeyListener, resized?: () => void): Disposable {
    this.#listener = listener;
    this.#resized = resized;
    queueMicrotask(() => this.#deliver());
    return {
      [Symbol.dispose]: () => {
        if (this.#listener !== listener) return;
        this.#listener = undefined;
        this.#resized = undefined;
      },
    };
  }

  /** Calls `interrupted` on Ctrl-C and hang-up, and suspends on Ctrl-Z; whatever else is typed waits for the next listener. */
  onInterrupt(interrupted: () => void): Disposable {
    const ahead: Key[] = [];
    const listening = this.listen((key) => {
      if (key.kind === "key" && key.name === "ctrl-z") {
        this.suspend(() => undefined);
        return;
      }
      const hangUp = key.kind === "key" && key.name === "hangup";
      if (hangUp || (key.kind === "key" && key.name === "ctrl-c")) interrupted();
      // What was typed before a Ctrl-C is taken back by it, as a shell does.
      if (key.kind === "key" && key.name === "ctrl-c") ahead.length = 0;
      else ahead.push(key);
    });
    return {
      [Symbol.dispose]: () => {
        listening[Symbol.dispose]();
        this.#queue.unshift(...ahead);
      },
    };
  }

  /**
   * Stops the program as Ctrl-Z does elsewhere; `resumed` is called when it goes on. Without a shell that could continue
   * it (`docker run -it`, `ssh -t host randlora chat`) the system discards the signal, and it goes on at once. Windows has none.
   */
  suspend(resumed: () => void): void {
    if (process.platform === "win32") return resumed();
    if (this.#goOn !== undefined) return;
    this.#leave();
    const goOn = (): void => {
      this.#forgetStop();
      this.#enter();
      resumed();
    };
    this.#goOn = goOn;
    process.once("SIGCONT", goOn);
    process.kill(process.pid, "SIGTSTP");
    this.#stopTimer = setTimeout(goOn, STOP_MS);
  }

  #forgetStop(): void {
    clearTimeout(this.#stopTimer);
    if (this.#goOn !== undefined) process.off("SIGCONT", this.#goOn);
    this.#goOn = undefined;
  }

  /** Gives the terminal back; a second call does nothing. */
  close(): void {
    clearTimeout(this.#timer);
    this.#forgetStop();
    this.#listener = undefined;
    this.#input.off("data", this.#receive);
    this.#input.off("end", this.#hangUp);
    this.#input.off("close", this.#hangUp);
    this.#output.off("resize", this.#resize);
    process.off("exit", this.#leave);
    this.#leave();
    this.#input.pause();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  readonly #enter = (): void => {
    if (this.#raw) return;
    this.#raw = true;
    this.#input.setRawMode?.(true);
    this.write(BRACKETED_PASTE.on);
  };

  readonly #leave = (): void => {
    if (!this.#raw) return;
    this.#raw = false;
    this.#input.setRawMode?.(false);
    this.write(`${BRACKETED_PASTE.off}\x1b[?25h`);
  };

  readonly #receive = (bytes: Uint8Array): void => {
    clearTimeout(this.#timer);
    this.#queue.push(...this.#reader.push(bytes));
    if (this.#reader.waiting) {
      this.#timer = setTimeout(() => {
        this.#queue.push(...this.#reader.flush());
        this.#deliver();
      }, ESCAPE_MS);
    }
    this.#deliver();
  };

  readonly #hangUp = (): void => {
    if (this.#ended) return;
    this.#ended = true;
    this.#queue.push({ kind: "key", name: "hangup" });
    this.#deliver();
  };

  readonly #resize = (): void => this.#resized?.();

  #deliver(): void {
    while (this.#listener !== undefined) {
      const key = this.#queue.shift();
      if (key === undefined) return;
      this.#listener(key);
    }
  }
}
