import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";

import { type Block, findBlocks } from "./lines.ts";
import { strftime } from "./strftime.ts";

type Token = ReturnType<typeof tokenize>[number];
type Program = ReturnType<typeof parse>;
type EvaluateArguments = Parameters<Interpreter["evaluate"]>;

/** transformers' settings for chat templates. */
const WHITESPACE = { trim_blocks: true, lstrip_blocks: true };
/** Comments of this form are ours: the line of the block that follows. */
const MARK = "\u0000line ";

/** What goes wrong in a template, with the line it happens at. */
export class TemplateError extends Error {
  readonly line: number;
  /** The template itself refused, by `raise_exception`. */
  readonly raised: boolean;

  constructor(message: string, line: number, raised: boolean, cause: unknown) {
    super(message, { cause });
    this.line = line;
    this.raised = raised;
  }
}

/** A compiled Jinja template with the globals and white space rules that transformers gives to chat templates. */
export class JinjaTemplate {
  readonly #program: Program;

  /** @throws {TemplateError} for a template that cannot be parsed */
  constructor(template: string) {
    // Jinja reads every kind of line end as \n.
    const source = template.replaceAll(/\r\n?/g, "\n");
    const blocks = findBlocks(source);
    this.#program = parseMarked(tokenizeAt(source, blocks), blocks);
  }

  /**
   * @param variables JSON values by name
   * @param now what `strftime_now` tells
   * @throws {TemplateError} when the template refuses or fails
   */
  render(variables: Readonly<Record<string, unknown>>, now: Date): string {
    const refusal: { message?: string } = {};
    const environment = new Environment();
    const globals = { ...GLOBALS, strftime_now: (format: string) => strftime(now, format), ...variables };
    const raise = (message: unknown) => {
      refusal.message = String(message);
      throw new Error(refusal.message);
    };
    const interpreter = new TrackingInterpreter(environment);
    try {
      for (const [name, value] of Object.entries({ ...globals, raise_exception: raise })) environment.set(name, value);
      return String(interpreter.run(this.#program).value);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new TemplateError(message, interpreter.line, refusal.message === message, error);
    }
  }
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
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (step === 0) throw new Error("range() arg 3 must not be zero");
  const length = Math.max(0, Math.ceil((stop - start) / step));
  return Array.from({ length }, (_, i) => start + i * step);
}

/** Remembers the line of the last block that it entered. */
class TrackingInterpreter extends Interpreter {
  line = 1;

  override evaluate(...[statement, environment]: EvaluateArguments): ReturnType<Interpreter["evaluate"]> {
    if (statement?.type === "Comment" && "value" in statement) {
      const text = String(statement.value);
      if (text.startsWith(MARK)) this.line = Number(text.slice(MARK.length));
    }
    const { line } = this;
    const value = super.evaluate(statement, environment);
    // Back from a macro, which has lines of its own.
    if (statement?.type === "CallExpression") this.line = line;
    return value;
  }
}

function tokenizeAt(source: string, blocks: readonly Block[]): Token[] {
  try {
    return tokenize(source, WHITESPACE);
  } catch (error) {
    // The lexer keeps no position: the culprit is the first block with which it fails.
    const culprit = blocks.find(({ end }) => !tokenizes(source.slice(0, end)));
    const line = culprit?.line ?? source.split("\n").length;
    throw new TemplateError(error instanceof Error ? error.message : String(error), line, false, error);
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
        marked.push({ type: "Comment", value: `${MARK}${line}` });
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
    const message = ended
      ? "the template ends in the middle of a statement"
      : String(error instanceof Error ? error.message : error);
    throw new TemplateError(message, lines[Math.min(reached, lines.length - 1)] ?? 1, false, error);
  }
}
