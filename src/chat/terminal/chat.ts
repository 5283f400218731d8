import { RandloraError } from "../../files/errors.ts";
import type { AdapterChoice } from "../../adapters/merge/merged-checkpoint.ts";
import type { LanguageModel } from "../language-model.ts";
import { type Reply, speeds } from "../generation/reply.ts";
import type { AnswerOptions, Session } from "../session.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { visibleLines } from "../../files/visible.ts";
import { errorLines } from "../../terminal/screen.ts";
import { formatAmount, formatDuration, formatNumber } from "../../terminal/format.ts";
import type { History } from "../../terminal/editor/history.ts";
import { LineEditor } from "../../terminal/editor/line-editor.ts";
import type { RawTerminal } from "../../terminal/editor/raw-terminal.ts";
import { steerless, type Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
import { wrapWords } from "../../terminal/word-wrap.ts";
import { FoldedText, TextDisplay } from "./text-display.ts";

/** What an interactive chat is made of. */
export interface ChatParts {
  readonly terminal: RawTerminal;
  readonly history: History;
  readonly style: Style;
  readonly session: Session;
  readonly model: LanguageModel;
  /** `/adapter on` brings these back. */
  readonly adapters: readonly AdapterChoice[];
  readonly generator: GeneratorName | undefined;
  /** Finds an adapter that is given by path or by name on the Hub. */
  readonly findAdapter: (text: string, signal: AbortSignal) => Promise<string>;
  /** Aborted when the program is told to end. */
  readonly signal: AbortSignal;
}

/** Keys that follow each other within so many milliseconds are meant as one. */
const QUICK_MS = 1000;

/** A chat on a terminal, as its commands see it: something to write on, a session, a model. */
export class Chat {
  readonly session: Session;
  readonly model: LanguageModel;
  readonly style: Style;
  readonly editor: LineEditor;
  readonly signal: AbortSignal;
  /** `/stats`: a line of numbers after every answer. */
  showsStats = false;
  /** `/exit` was given, or Ctrl-C twice. */
  leaving = false;
  /** The last thing that happened was a Ctrl-C: another one leaves. */
  interrupted = false;
  /** What `/adapter on` brings back. */
  adapters: readonly AdapterChoice[];
  readonly #parts: ChatParts;

  constructor(parts: ChatParts) {
    this.#parts = parts;
    this.session = parts.session;
    this.model = parts.model;
    this.style = parts.style;
    this.signal = parts.signal;
    this.adapters = parts.adapters;
    this.editor = new LineEditor(parts.terminal, parts.history);
  }

  /** Writes text, with the program's own colors; lines end with `\n`. */
  write(text: string): void {
    this.#parts.terminal.write(steerless(text).replaceAll("\n", "\r\n"));
  }

  /** Writes a remark of the program's own, which may quote anything. */
  note(line: string): void {
    this.#lines(this.style.dim(visibleLines(line)));
  }

  table(rows: readonly string[][]): void {
    this.write(formatTable(rows, { columns: this.#parts.terminal.columns }));
  }

  #lines(text: string): void {
    const { columns } = this.#parts.terminal;
    for (const line of text.split("\n").flatMap((one) => wrapWords(one, columns))) this.write(`${line}\n`);
  }

  /** Explains what went wrong; the chat goes on. @throws what no chat survives */
  explain(error: unknown): void {
    const fatal = !(error instanceof RandloraError) || error.code === "gpu";
    if (fatal) throw error;
    for (const line of errorLines(error.message, error.hint, this.style)) this.#lines(line);
  }

  /**
   * Does something that takes a while; Ctrl-C aborts its signal.
   * @returns undefined when it was given up
   */
  async interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.signal]);
    let stopped = Infinity;
    using _ = this.#parts.terminal.onInterrupt(() => {
      // The first is heard when the GPU has finished what it is doing; a later one says that there is no hurry to come back. Two
      // quick ones are one: a conversation is not lost by them.
      if (performance.now() - stopped > QUICK_MS) this.leaving = this.interrupted = true;
      stopped = Math.min(stopped, performance.now());
      stop.abort();
    });
    try {
      return await work(signal);
    } catch (error) {
      if (signal.aborted && error === signal.reason) return undefined;
      throw error;
    }
  }

  /** Shows an answer as it is written. */
  async answer(ask: (options: AnswerOptions) => Promise<Reply | undefined>): Promise<void> {
    const { terminal } = this.#parts;
    const text = new TextDisplay(
      (text) => this.write(text),
      this.style,
      !this.session.raw,
      () => terminal.columns,
    );
    const display = new FoldedText(text, (line) => this.note(line));
    let reply: Reply | undefined;
    try {
      reply = await this.interruptible((signal) => ask({ signal, onPart: (part) => display.push(part) }));
    } finally {
      display.end();
    }
    if (reply?.finishReason === "cancelled") this.note("(stopped)");
    if (reply?.finishReason === "length") this.note(this.#lengthNote(reply));
    if (reply !== undefined && isRepeating(reply.tokens))
      this.note("(the answer repeats itself: /params repeat-penalty 1.1 and a temperature above 0 help)");
    if (reply !== undefined && this.showsStats) this.note(statsLine(reply));
  }

  /** Makes the weights the base's with these adapters. */
  async setAdapters(choices: readonly AdapterChoice[]): Promise<boolean> {
    const { generator } = this.#parts;
    const notes = await this.interruptible((signal) => this.model.setAdapters(choices, { generator, signal }));
    this.session.weightsChanged();
    for (const line of notes ?? []) this.note(line);
    if (notes === undefined) this.note("(stopped; nothing has changed)");
    return notes !== undefined;
  }

  /** @returns undefined when Ctrl-C stopped the search */
  async findAdapter(text: string): Promise<string | undefined> {
    return await this.#abandonable((signal) => this.#parts.findAdapter(text, signal));
  }

  /** Reads a file that goes before the next message. @returns its tokens; undefined when Ctrl-C stopped it */
  async attach(file: string): Promise<number | undefined> {
    return await this.#abandonable((signal) => this.session.attach(file, signal));
  }

  /** As `interruptible`, of work that may not hear its signal for long: a pipe, a mount. What comes of it later is nobody's. */
  async #abandonable<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const result = await this.interruptible(async (signal) => {
      const { promise, reject } = Promise.withResolvers<never>();
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      return await Promise.race([work(signal), promise]);
    });
    if (result === undefined) this.note("(stopped; nothing has changed)");
    return result;
  }

  #lengthNote({ promptTokens, tokens }: Reply): string {
    const { session } = this;
    return promptTokens + tokens.length >= session.context && !session.settings.shift
      ? `(the context of ${formatNumber(session.context)} tokens is full; /reset begins anew)`
      : "(cut off by max-tokens)";
  }
}

/** The longest part that is looked for, in tokens, and how much of an answer's end is to be made of it. */
const [LONGEST_PART, MOST_TIMES, LEAST_REPEATED] = [128, 4, 48];

/** Does an answer end with one part again and again? */
export function isRepeating(tokens: readonly number[]): boolean {
  for (let part = 1; part <= LONGEST_PART; part++) {
    const length = Math.max(LEAST_REPEATED, MOST_TIMES * part);
    if (length > tokens.length) return false;
    const end = tokens.slice(-length);
    if (end.every((id, at) => at < part || id === end[at - part])) return true;
  }
  return false;
}

/** `/stats`: one line about an answer. */
export function statsLine(reply: Reply): string {
  const { promptTokens, cachedTokens, tokens, prefillSeconds, decodeSeconds } = reply;
  const { prefill, decode } = speeds(reply);
  const cached = cachedTokens === 0 ? "" : `, ${formatNumber(cachedTokens)} known`;
  return [
    `prompt ${formatAmount(promptTokens, "token")}${cached}, ${formatNumber(prefill)} tokens/s`,
    `answer ${formatAmount(tokens.length, "token")}, ${formatNumber(decode, 1)} tokens/s`,
    formatDuration(prefillSeconds + decodeSeconds),
  ].join(" · ");
}
