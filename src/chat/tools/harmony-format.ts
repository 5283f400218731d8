import { HARMONY, HARMONY_MARKS, markOf } from "../../data/text/harmony.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import {
  characters,
  choice,
  type Expression,
  type Grammar,
  marked,
  repeat,
  ROOT,
  rule,
  sequence,
  WHOLE,
} from "../grammar/grammar.ts";
import type { AnswerFormat, AnswerWish } from "./answer-format.ts";
import { showsTools } from "./formats.ts";
import { argumentRules, heldTools, type Tool } from "./grammar.ts";

const { start, channel, constrain, message, end } = HARMONY;
/** What an assistant's message begins with, and the generation prompt ends with. */
const ASSISTANT = `${start}assistant`;
/** Ends a message and begins the next. */
const NEXT = `${end}${ASSISTANT}`;
const ANALYSIS = `${channel}analysis${message}`;
const FINAL = `${channel}final${message}`;

/** What gpt-oss writes: messages on channels. See {@link HarmonyParser} for what becomes of them. */
export function harmonyFormat(template: string, tokenizer: Tokenizer): AnswerFormat {
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
