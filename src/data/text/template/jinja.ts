import { Environment, parse, tokenize } from "@huggingface/jinja";
import { Budget, FREE, isContainer, LimitError, type Role, rolesOf } from "./budget.ts";
import { BoundedInterpreter, LINE_MARK } from "./interpreter.ts";
import { strftime } from "./strftime.ts";

type Token = ReturnType<typeof tokenize>[number];
type Program = ReturnType<typeof parse>;

/** transformers' settings for chat templates. */
const WHITESPACE = { trim_blocks: true, lstrip_blocks: true };
/** Of a template, in UTF-16 units; the longest real ones have a fifth of it. */
const LONGEST = 2 ** 18;
/** Blanks in a row: the library's time to read them grows with the square. */
const MOST_BLANKS = 4000;
/** What a user reads of an error: templates may say anything. */
const LONGEST_MESSAGE = 1000;
/** The sandbox of Jinja, which transformers renders in, has the same limit. */
const LONGEST_RANGE = 100_000;

/** What goes wrong in a template, with the line it happens at. */
export class TemplateError extends Error {
  readonly line: number;
  /** The template itself refused, by `raise_exception`. */
  readonly raised: boolean;

  constructor(message: string, line: number, raised: boolean, cause: unknown) {
    super(message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}…` : message, { cause });
    this.line = line;
    this.raised = raised;
  }
}

/**
 * A compiled Jinja template with the globals and white space rules that transformers gives to chat templates. Python's Jinja, which
 * transformers has, differs where a template prints or joins a list or an object (`{'a': 1}` there, `{"a": 1}` here), measures something
 * undefined (0 there, refused with the line here), formats with `%`, or takes the remainder of negative numbers.
 */
export class JinjaTemplate {
  readonly #program: Program;
  readonly #roles: ReadonlyMap<unknown, Role>;

  /** @throws {TemplateError} for a template that cannot be parsed, or is too large */
  constructor(template: string) {
    checkSize(template);
    // Jinja reads every kind of line end as \n.
    const source = template.replaceAll(/\r\n?/g, "\n");
    const blocks = findBlocks(source);
    this.#program = parseMarked(tokenizeAt(source, blocks), blocks);
    this.#roles = rolesOf(this.#program);
  }

  /**
   * @param variables JSON values by name
   * @param now what `strftime_now` tells
   * @throws {TemplateError} when the template refuses or fails, or does more than a {@link Budget} allows
   */
  render(variables: Readonly<Record<string, unknown>>, now: Date, free = FREE): string {
    const refusal: { message?: string } = {};
    const raise = (message: unknown) => {
      refusal.message = (isContainer(message) ? "" : String(message)) || "it raised an exception";
      throw new Error(refusal.message);
    };
    let interpreter: BoundedInterpreter | undefined;
    try {
      const environment = new Environment();
      const budget = new Budget(variables, free);
      interpreter = new BoundedInterpreter(environment, budget, this.#roles);
      const globals = {
        ...GLOBALS,
        strftime_now: (format: unknown) => strftime(now, shortFormat(format)),
        ...variables,
      };
      for (const [name, value] of Object.entries({ ...globals, raise_exception: raise })) environment.set(name, value);
      return String(interpreter.run(this.#program).value);
    } catch (error) {
      const message = messageOf(error);
      throw new TemplateError(message, interpreter?.line ?? 1, refusal.message === message, error);
    }
  }
}

function checkSize(template: string): void {
  if (template.length > LONGEST) {
    throw new TemplateError(`it is longer than ${LONGEST} characters`, 1, false, undefined);
  }
  const blanks = new RegExp(`\\s{${MOST_BLANKS}}`).exec(template);
  if (blanks === null) return;
  const line = template.slice(0, blanks.index).split("\n").length;
  throw new TemplateError(`it has more than ${MOST_BLANKS} blanks in a row`, line, false, undefined);
}

function messageOf(error: unknown): string {
  // What the library does deep inside (lists in each other, parentheses) has no limit but the stack.
  if (error instanceof RangeError && /call stack/i.test(error.message)) return "it is nested too deeply";
  // The library throws these two without a word, and catches them in loops only.
  if (error instanceof Error && error.message === "") return "break or continue stands outside of a loop";
  return error instanceof Error ? error.message : String(error);
}

function shortFormat(format: unknown): string {
  const text = typeof format === "string" ? format : "";
  if (text.length > 1000) throw new LimitError("strftime_now() is given more than 1000 characters");
  return text;
}

const GLOBALS = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range,
};

/** Python's `range`. */
function range(first: number, second?: number, step = 1): number[] {
  // Templates give anything, and lists become texts on their way to a number.
  if (![first, second ?? 0, step].every(Number.isInteger)) throw new Error("range() takes whole numbers");
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (step === 0) throw new Error("range() arg 3 must not be zero");
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > LONGEST_RANGE) throw new LimitError(`range() of more than ${LONGEST_RANGE} numbers`);
  return Array.from({ length }, (_, i) => start + i * step);
}

function tokenizeAt(source: string, blocks: readonly Block[]): Token[] {
  try {
    return tokenize(source, WHITESPACE);
  } catch (error) {
    // The lexer keeps no position: the culprit is the first block with which it fails.
    // With it all longer beginnings fail, too.
    let good = 0;
    let bad = blocks.length;
    while (good < bad) {
      const middle = (good + bad) >> 1;
      if (tokenizes(source.slice(0, blocks[middle]?.end))) good = middle + 1;
      else bad = middle;
    }
    throw new TemplateError(messageOf(error), blocks[good]?.line ?? source.split("\n").length, false, error);
  }
}

function tokenizes(source: string): boolean {
  try {
    tokenize(source, WHITESPACE);
    return true;
  } catch {
    return false;
  }
}

/** Parses with a line mark before every block that begins a statement or an expression. */
function parseMarked(tokens: readonly Token[], blocks: readonly Block[]): Program {
  const marked: Token[] = [];
  const lines: number[] = []; // of every marked token
  let opened = 0;
  let line = 1;
  for (const [i, token] of tokens.entries()) {
    if (token.type === "OpenStatement" || token.type === "OpenExpression") {
      line = blocks[opened++]?.line ?? line;
      const word = tokens[i + 1]?.value ?? "";
      if (token.type === "OpenExpression" || !/^(?:else|elif|end\w*)$/.test(word)) {
        marked.push({ type: "Comment", value: `${LINE_MARK}${line}` });
        lines.push(line);
      }
    }
    marked.push(token);
    lines.push(line);
  }
  // Which token the parser looked at last: that is where it stopped.
  let reached = 0;
  const watched = new Proxy(marked, {
    get(target, key, receiver) {
      if (typeof key === "string" && /^\d+$/.test(key)) reached = Math.max(reached, Number(key));
      return Reflect.get(target, key, receiver);
    },
  });
  try {
    return parse(watched);
  } catch (error) {
    // Past the end the parser trips over its own feet (a TypeError about undefined).
    const ended = reached >= marked.length;
    const message = ended ? "the template ends in the middle of a statement" : messageOf(error);
    throw new TemplateError(message, lines[Math.min(reached, lines.length - 1)] ?? 1, false, error);
  }
}

/** Where a block of a template stands: `{% … %}` or `{{ … }}`. */
interface Block {
  /** From 1. */
  readonly line: number;
  /** Just behind the closing braces; the template's length when they are missing. */
  readonly end: number;
}

/**
 * Finds the blocks of a Jinja template, comments left out, in the order in which a lexer opens them. (The parser keeps
 * no positions, and an error without a line is of little use in a template of 200.)
 */
export function findBlocks(source: string): Block[] {
  const blocks: Block[] = [];
  const opening = /\{[%{#]/g;
  let line = 1;
  let counted = 0;
  for (let match = opening.exec(source); match !== null; match = opening.exec(source)) {
    const comment = match[0] === "{#";
    const end = comment ? endOfComment(source, opening.lastIndex) : endOfBlock(source, opening.lastIndex, match[0]);
    for (; counted < match.index; counted++) if (source.charAt(counted) === "\n") line++;
    if (!comment) blocks.push({ line, end });
    opening.lastIndex = end;
  }
  return blocks;
}

function endOfComment(source: string, from: number): number {
  const end = source.indexOf("#}", from);
  return end < 0 ? source.length : end + 2;
}

/** Strings may hold braces, and `{{ {"a": {}} }}` holds objects. */
function endOfBlock(source: string, from: number, open: string): number {
  const close = open === "{%" ? "%}" : "}}";
  let depth = 0;
  for (let at = from; at < source.length; at++) {
    const character = source.charAt(at);
    if (character === "'" || character === '"') {
      at = endOfString(source, at, character);
    } else if (depth === 0 && source.startsWith(close, at)) {
      return at + 2;
    } else if (character === "{") {
      depth++;
    } else if (character === "}") {
      depth = Math.max(0, depth - 1);
    }
  }
  return source.length;
}

function endOfString(source: string, start: number, quote: string): number {
  let at = start + 1;
  while (at < source.length && source.charAt(at) !== quote) at += source.charAt(at) === "\\" ? 2 : 1;
  return at;
}
