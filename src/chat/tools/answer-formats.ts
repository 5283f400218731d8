import {
  characters,
  choice,
  type Expression,
  type Grammar,
  LAST_BYTE,
  marked,
  maybe,
  repeat,
  ROOT,
  rule,
  sequence,
  text,
  textUpTo,
  WHOLE,
} from "../grammar/grammar.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import type { AnswerFormat, AnswerParserOptions, AnswerWish } from "./answer-format.ts";
import { type CallFormat, callFormatOf, showsTools } from "./formats.ts";
import { argumentRules, callGrammar, callRules, heldTools, listOfCalls, oneCall, type Tool } from "./grammar.ts";
import { type AnswerParser, MessageParser, type MessageParserOptions, THINK, THOUGHT } from "./message-parser.ts";
import { HARMONY, HARMONY_MARKS, markOf, writesHarmony } from "../../data/text/harmony.ts";
import { HarmonyParser } from "./harmony-parser.ts";
import { SPACE } from "../grammar/json.ts";

/** Most templates': reasoning between `<think>` and `</think>`, and calls of tools between marks of their own. */
function tagFormat(template: string, tokenizer: Tokenizer): AnswerFormat {
  const known = callFormatOf(template);
  return {
    isText: true,
    callsTools: known !== undefined,
    // By the marks that the template knows, or the variables that ask for it.
    mayThink: /<think>|enable_thinking|reasoning_effort/.test(template),
    begin(prompt, { tools, grammar: format }) {
      const { callable = [], isRequired = false, several = true } = tools ?? {};
      // Nothing tells a call that is the whole answer from JSON that follows a format.
      const calls = tools && (format === undefined || known?.open !== "") ? known : undefined;
      const inCall = calls !== undefined && isRequired;
      const thinking = thinkingOf(template, prompt);
      const ofCalls = (by: CallFormat): Grammar | undefined => {
        if (inCall) return callGrammar(callable, by, several && specialOf(tokenizer, [by.open]).size === 0);
        if (format !== undefined) return callGrammar(heldTools(callable), by, several, format);
        return callable.some(({ strict }) => strict) ? openGrammar(callable, by, { several, thinking }) : undefined;
      };
      const grammar = calls === undefined ? format : ofCalls(calls);
      // The model says what it wants; a grammar holds no more than its calls.
      const isFree = !inCall && format === undefined;
      // What must follow a format follows it at once.
      const thought = thinking === "open" && !isFree ? `\n${THOUGHT}\n\n` : "";
      const shownTokens = specialOf(tokenizer, [
        THINK,
        THOUGHT,
        ...(calls === undefined ? [] : [calls.open, calls.close]),
      ]);
      return {
        opening: thought + (inCall ? calls.open : ""),
        grammar,
        marks: isFree || (calls !== undefined && !inCall) ? [...shownTokens.keys()] : [],
        parser: {
          format: calls,
          tools: calls?.kind === "function" ? callable : undefined,
          inCall,
          onlyFirst: format !== undefined,
          thinking: isFree ? thinking : undefined,
          single: !several,
        },
        shownTokens,
        // Of a list the parser takes the first one; nothing tells where it ends.
        stops: grammar === undefined && !several && calls?.close ? [calls.close] : [],
      };
    },
  };
}

/** Whether an answer begins with what a model thinks. A template that does not know the marks leaves them to the model as text. */
function thinkingOf(template: string, prompt: string): MessageParserOptions["thinking"] {
  if (!template.includes(THINK)) return undefined;
  return /<think>\s*$/.test(prompt) ? "open" : "maybe";
}

/** The marks of an answer that are special tokens, which are left out of a text unless they are asked for. */
function specialOf(tokenizer: Tokenizer, marks: readonly string[]): ReadonlyMap<number, string> {
  const ids = marks.map((mark) => [tokenizer.tokenToId(mark) ?? -1, mark] as const);
  return new Map(ids.filter(([id]) => tokenizer.isSpecial(id)));
}

const { start, channel, constrain, message, end } = HARMONY;
/** What an assistant's message begins with, and the generation prompt ends with. */
const ASSISTANT = `${start}assistant`;
/** Ends a message and begins the next. */
const NEXT = `${end}${ASSISTANT}`;
const ANALYSIS = `${channel}analysis${message}`;
const FINAL = `${channel}final${message}`;

/** What gpt-oss writes: messages on channels. See {@link HarmonyParser} for what becomes of them. */
function harmonyFormat(template: string, tokenizer: Tokenizer): AnswerFormat {
  const shownTokens = new Map(HARMONY_MARKS.map((token) => [tokenizer.tokenToId(token) ?? -1, markOf(token)]));
  return {
    isText: false,
    callsTools: showsTools(template),
    mayThink: true,
    begin(prompt, wish) {
      const { tools, continues = false } = wish;
      // What a template has behind that is its own: words of messages stand before it, but for a message that is to go on.
      const [, ...parts] = prompt.split(ASSISTANT);
      const begun = continues ? FINAL : (parts.at(-1) ?? "");
      const { opening, grammar } = openingOf(begun, wish);
      return {
        opening,
        grammar,
        // Marks are bytes of their own in a grammar.
        marks: [],
        parser: {
          kind: "harmony",
          begun: begun + opening,
          readsCalls: tools !== undefined,
          single: tools?.several === false,
        },
        shownTokens,
        stops: [],
      };
    },
  };
}

/** @param begun behind the last `<|start|>assistant` */
function openingOf(
  begun: string,
  { tools, grammar, variables }: AnswerWish,
): { readonly opening: string; readonly grammar: Grammar | undefined } {
  // As templates have it that know no levels; this one has a level, but no way to think of nothing.
  const thinks = variables?.["enable_thinking"] !== false;
  const isOpen = begun === "";
  if (tools?.isRequired === true) {
    return { opening: isOpen ? "" : NEXT, grammar: callAnswer(tools.callable, thinks) };
  }
  if (!isOpen) return { opening: "", grammar };
  if (tools !== undefined) {
    const isHeld = grammar !== undefined || tools.callable.some(({ strict }) => strict);
    // The channel is still to be chosen.
    const opening = thinks ? "" : ANALYSIS + NEXT;
    return {
      opening,
      grammar: isHeld ? callAnswer(heldTools(tools.callable), thinks, grammar ?? ANYTHING) : undefined,
    };
  }
  if (thinks) return { opening: "", grammar: grammar && saidAnswer(grammar) };
  return { opening: FINAL, grammar };
}

/** Messages of the assistant, up to the beginning of the next. @param channels that they may be on */
function messages(channels: readonly string[]): Expression {
  const one = sequence(
    choice(...channels.map((name) => marked(`${channel}${name}${message}`))),
    repeat(rule("any character"), 0),
    marked(NEXT),
  );
  return repeat(one, 0);
}

const ANY: readonly [string, Expression] = ["any character", characters([[0, 0x10ffff]])];
const ANYTHING: Grammar = new Map([ANY, [ROOT, repeat(rule("any character"), 0)]]);

/**
 * An answer that may think as long as it likes, and ends with a call of one of the tools. Behind a call nothing is written.
 * @param said it may end with a text that follows this instead
 */
function callAnswer(tools: readonly Tool[], thinks: boolean, said?: Grammar): Grammar {
  const { rules, callables } = argumentRules(tools);
  const calls = callables.map(({ name, given }) =>
    sequence(marked(`${channel}commentary to=functions.${name} ${constrain}json${message}`), given),
  );
  const before = thinks ? [messages(["analysis", "commentary"])] : [];
  const final = said === undefined ? [] : [sequence(marked(FINAL), rule(ROOT))];
  return new Map([...(said ?? []), ...rules, ANY, [WHOLE, sequence(...before, choice(...calls, ...final))]]);
}

/** An answer that may think as long as it likes, and then says what follows a grammar. */
function saidAnswer(grammar: Grammar): Grammar {
  return new Map([...grammar, ANY, [WHOLE, sequence(messages(["analysis"]), marked(FINAL), rule(ROOT))]]);
}

/** @param template the source of the chat template */
export function answerFormatOf(template: string, tokenizer: Tokenizer): AnswerFormat {
  const format = writesHarmony(template, tokenizer) ? harmonyFormat : tagFormat;
  return format(template, tokenizer);
}

export function answerParser(options: AnswerParserOptions): AnswerParser {
  return options.kind === "harmony" ? new HarmonyParser(options) : new MessageParser(options);
}

/**
 * An answer whose model decides whether it calls: any text, but what opens a call is followed by one. Arguments of a tool with
 * `strict` follow its schema, those of others are any object. What is thought before is free.
 * @param several more text and calls may follow
 * @throws RandloraError `data` for a schema that would not be obeyed
 */
export function openGrammar(
  tools: readonly Tool[],
  format: CallFormat,
  { several, thinking }: { readonly several: boolean; readonly thinking: MessageParserOptions["thinking"] },
): Grammar {
  const rules = callRules(heldTools(tools), format);
  const opened = format.isList ? listOfCalls() : sequence(oneCall(format), several ? rule("text 0") : text(""));
  rules.set("said", format.open === "" ? wholeAnswer() : textUpTo(format.open, "text", opened, rules));
  const thought = textUpTo(THOUGHT, "thought", rule("said"), rules);
  if (thinking === "open") return rules.set(ROOT, thought);
  const begun = sequence(repeat(BLANK, 0), text(THINK), thought);
  return rules.set(ROOT, thinking === "maybe" ? choice(rule("said"), begun) : rule("said"));
}

const BLANK: Expression = {
  kind: "byte",
  ranges: [
    [0x09, 0x0d],
    [0x20, 0x20],
  ],
};

/** All characters but white space, as `trim` has it, and `{`. */
const FIRST = characters([
  [0x00, 0x08],
  [0x0e, 0x1f],
  [0x21, 0x7a],
  [0x7c, 0x9f],
  [0xa1, 0x167f],
  [0x1681, 0x1fff],
  [0x200b, 0x2027],
  [0x202a, 0x202e],
  [0x2030, 0x205e],
  [0x2060, 0x2fff],
  [0x3001, 0xfefe],
  [0xff00, 0x10ffff],
]);

/** A call is the whole answer: what begins as an object is one. */
function wholeAnswer(): Expression {
  const any: Expression = { kind: "byte", ranges: [[0, LAST_BYTE]] };
  return sequence(repeat(BLANK, 0), maybe(choice(sequence(rule("call"), SPACE), sequence(FIRST, repeat(any, 0)))));
}
