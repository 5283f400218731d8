import { existsSync } from "node:fs";
import { basename, join } from "node:path";

import * as v from "valibot";

import { RandloraError } from "../../files/errors.ts";
import { MAX_SETTINGS_BYTES, readWhole } from "../../files/read-whole.ts";
import { harmonyMessages, harmonyTools, isHarmony, REASONING } from "./harmony.ts";
import { LimitError, measure } from "./template/budget.ts";
import { JinjaTemplate, TemplateError } from "./template/jinja.ts";
import { cutMarks, markControlTokens, type RenderedChat, unusedCharacters } from "./template/marks.ts";
import { isJsonObject } from "../../files/json.ts";
import { readOptionalJsonObject, readTokenizerConfig, TokenText } from "../../files/read-text.ts";
import { decodeUtf8 } from "../../files/utf8.ts";

/** One turn. What else a template reads (`tool_calls`, `reasoning_content`, `name`) may stand beside the two. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [key: string]: unknown;
}

/** What to render. */
export interface ChatInput {
  readonly messages: readonly ChatMessage[];
  /** Tools as JSON schemas. */
  readonly tools?: readonly unknown[] | undefined;
  /** End with the header of an assistant's turn. */
  readonly addGenerationPrompt?: boolean;
  /** `--chat-template-kwargs`: more variables, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** What `strftime_now` tells; the present by default. */
  readonly now?: Date;
  /** Spellings of control tokens, which in the texts that are rendered are plain text; see `RenderedChat.plain`. */
  readonly controlTokens?: readonly string[];
}

/** `{% generation %}` and its end, with their white space control. */
const GENERATION = /\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}/g;
/** Names of the variables that hold the marks put in the place of those tags. */
const NAMES = { start: "randlora_generation_start", end: "randlora_generation_end" } as const;

/** A template's text, and where it was found. */
export interface TemplateText {
  /** As it was found: what else it says (its end of turn) can be looked up here. */
  readonly source: string;
  /** The file, for errors. */
  readonly origin: string;
}

/** A model's chat template: messages in, prompt out, as transformers' `apply_chat_template(tokenize=False)`. */
export class ChatTemplate implements TemplateText {
  readonly source: string;
  readonly origin: string;
  /** `bos_token`, `eos_token` and so on, by name. */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** The model's template named `tool_use`. */
  readonly toolUse: TemplateText | undefined;
  #forTools: ChatTemplate | undefined;
  readonly #template: JinjaTemplate;
  readonly #marked: boolean;
  readonly #isHarmony: boolean;

  /**
   * @param origin the file that the template came from
   * @throws {RandloraError} `format` for a template that is not Jinja, with the line
   */
  constructor(
    source: string,
    origin: string,
    specialTokens: Readonly<Record<string, string>> = {},
    toolUse?: TemplateText,
  ) {
    this.source = source;
    this.origin = origin;
    this.specialTokens = specialTokens;
    this.toolUse = toolUse;
    this.#isHarmony = isHarmony(source);
    // The library drops these tags. A statement in their place keeps their white space control.
    const marked = source.replaceAll(
      GENERATION,
      (_, before: string, end: string | undefined, after: string) =>
        `{%${before} if true %}{{ ${end === undefined ? NAMES.start : NAMES.end} }}{% endif ${after}%}`,
    );
    this.#marked = marked !== source;
    try {
      this.#template = new JinjaTemplate(marked);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /**
   * The template of a conversation that has tools: the one named `tool_use` where there is one (transformers'
   * get_chat_template, tokenization_utils_base.py).
   * @throws {RandloraError} `format` where that is not Jinja
   */
  for(tools: readonly unknown[] | undefined): ChatTemplate {
    if (tools === undefined || this.toolUse === undefined) return this;
    return (this.#forTools ??= new ChatTemplate(this.toolUse.source, this.toolUse.origin, this.specialTokens));
  }

  /** The messages that the template is given: of gpt-oss's some are cut into several. */
  arranged(messages: readonly ChatMessage[]): readonly ChatMessage[] {
    return this.#isHarmony ? harmonyMessages(messages) : messages;
  }

  /**
   * @throws {RandloraError} `data` with the template's own message when it refuses the messages, `format` when it fails;
   *   both name the line
   */
  render({ addGenerationPrompt = false, variables = {}, now = new Date(), ...input }: ChatInput): RenderedChat {
    const { messages, tools, controlTokens = [] } = input;
    const values = {
      ...this.specialTokens,
      ...variables,
      messages: this.arranged(messages).map(normalizeMessage),
      tools: this.#isHarmony && tools ? harmonyTools(tools) : (tools ?? null),
      documents: variables["documents"] ?? null,
      add_generation_prompt: addGenerationPrompt,
    };
    checkNesting(values);
    const marks = unusedCharacters(this.source + JSON.stringify(values));
    let text: string;
    try {
      const said = markControlTokens({ messages: values.messages, tools: values.tools }, controlTokens, marks.plain);
      text = this.#template.render({ ...values, ...said, [NAMES.start]: marks.start, [NAMES.end]: marks.end }, now);
    } catch (error) {
      throw this.#explain(error);
    }
    return this.#marked || text.includes(marks.plain)
      ? cutMarks(text, marks, { controlTokens, isGenerationMarked: this.#marked })
      : { text, generated: undefined, plain: [] };
  }

  #explain(error: unknown): unknown {
    if (!(error instanceof TemplateError)) return error;
    const where = `${this.origin}: line ${error.line} of the chat template: ${error.message}`;
    return error.raised
      ? new RandloraError("data", where, "the model's template refuses these messages: change them", { cause: error })
      : new RandloraError(
          "format",
          where,
          "chat and serve take another one by --chat-template FILE; finetune reads the model's: mend it there",
          { cause: error },
        );
  }
}

const TemplateField = v.union([v.string(), v.array(v.object({ name: v.string(), template: v.string() }))]);

/**
 * Loads a model folder's chat template: `file` (`--chat-template`), else chat_template.jinja, else `chat_template` in
 * tokenizer_config.json (a text, or named ones), else in chat_template.json; and the one for conversations with tools, of
 * additional_chat_templates/tool_use.jinja or among the named ones.
 *
 * @returns undefined when the model has none
 * @throws {RandloraError} when one is there but cannot be used
 */
export async function loadChatTemplate(folder: string, file?: string): Promise<ChatTemplate | undefined> {
  const specialTokens = await readSpecialTokens(folder);
  if (file !== undefined) return new ChatTemplate(await readTemplate(file, true), file, specialTokens);
  const ofTools = join(folder, "additional_chat_templates", "tool_use.jinja");
  const toolUse = existsSync(ofTools) ? { source: await readTemplate(ofTools), origin: ofTools } : undefined;
  const lone = join(folder, "chat_template.jinja");
  if (existsSync(lone)) return new ChatTemplate(await readTemplate(lone), lone, specialTokens, toolUse);
  for (const name of ["tokenizer_config.json", "chat_template.json"]) {
    const path = join(folder, name);
    const field = (await readOptionalJsonObject(path))["chat_template"];
    if (field === undefined || field === null) continue;
    const result = v.safeParse(TemplateField, field);
    if (!result.success) {
      throw new RandloraError("format", `${path}: chat_template is neither a text nor a list of named templates`);
    }
    const { source, tools } = pick(result.output, path);
    return new ChatTemplate(
      source,
      path,
      specialTokens,
      toolUse ?? (tools === undefined ? undefined : { source: tools, origin: path }),
    );
  }
  return undefined;
}

async function readTemplate(path: string, pipes = false): Promise<string> {
  return decodeUtf8(await readWhole(path, MAX_SETTINGS_BYTES, { pipes }), path);
}

function pick(
  field: v.InferOutput<typeof TemplateField>,
  path: string,
): { source: string; tools?: string | undefined } {
  if (typeof field === "string") return { source: field };
  const byName = new Map(field.map(({ name, template }) => [name, template]));
  const source = byName.get("default");
  if (source !== undefined) return { source, tools: byName.get("tool_use") };
  throw new RandloraError(
    "model",
    `${path}: no chat template is named 'default', only ${[...byName.keys()].join(", ")}`,
    `copy one of them from ${basename(path)} into a file and give it with --chat-template`,
  );
}

/**
 * Every special token that has a name, as transformers gives them to templates (tokenization_utils_base.py,
 * special_tokens_map): keys that end in `_token`, and those of `extra_special_tokens`.
 */
async function readSpecialTokens(folder: string): Promise<Readonly<Record<string, string>>> {
  const { extra_special_tokens: extra, ...config } = await readTokenizerConfig(folder);
  const named = Object.entries(config).filter(([name]) => name.endsWith("_token"));
  const more = isJsonObject(extra) ? Object.entries(extra) : [];
  const tokens: Record<string, string> = {};
  for (const [name, value] of [...named, ...more]) {
    const text = v.safeParse(TokenText, value);
    if (text.success) tokens[name] = text.output;
  }
  return tokens;
}

/** Whatever reads the values further on calls itself: `JSON.stringify`, the template. */
function checkNesting(values: unknown): void {
  try {
    measure(values);
  } catch (error) {
    if (!(error instanceof LimitError)) throw error;
    throw new RandloraError("data", `messages, tools or variables: ${error.message}`, "", { cause: error });
  }
}

/**
 * As transformers: keys with null are dropped (some APIs write `"tool_calls": null`, and templates only ask whether the
 * key is there), and reasoning is found under every name that templates read.
 */
function normalizeMessage(message: ChatMessage): Record<string, unknown> {
  const present: Record<string, unknown> = Object.fromEntries(
    Object.entries(message).filter(([, value]) => value !== null && value !== undefined),
  );
  const name = REASONING.find((key) => key in present);
  if (name === undefined) return present;
  return { thinking: present[name], ...present, reasoning_content: present[name] };
}
