import { expect, test } from "bun:test";
import { HARMONY, HARMONY_MARKS, markOf } from "../../data/text/harmony.ts";
import { familyTokenizer } from "../../data/text/testing/families.ts";
import { ReplyText } from "./reply.ts";

const tokenizer = await familyTokenizer("qwen2");
/** Ids that the tokenizer does not have stand for the marks of the format. */
const IDS = new Map(HARMONY_MARKS.map((token, at) => [token, 100_000 + at]));
const SHOWN = new Map([...IDS].map(([token, id]) => [id, markOf(token)]));

function written(parts: readonly string[], stops: readonly string[]) {
  const text = new ReplyText(tokenizer, stops, SHOWN);
  const ids = parts.flatMap((part) => IDS.get(part) ?? tokenizer.encode(part, { special: false }));
  const isStopped = ids.some((id) => text.push(id)) || text.finish();
  return { text: text.text, isStopped };
}

const ANSWER = [HARMONY.channel, "analysis", HARMONY.message, "a", HARMONY.end, HARMONY.start, "assistant"];
const marked = (parts: readonly string[]) => parts.map((part) => (IDS.has(part) ? markOf(part) : part)).join("");

test("headers of messages are searched for no stop text, and what they say is", () => {
  const all = [...ANSWER, HARMONY.channel, "final", HARMONY.message, "the assistant is"];
  expect(written(all, ["assistant", "final", "analysis"])).toEqual({
    text: marked([...ANSWER, HARMONY.channel, "final", HARMONY.message, "the "]),
    isStopped: true,
  });
  expect(written(all, ["analysisa", "x"])).toEqual({ text: marked(all), isStopped: false });
  expect(written(ANSWER, ["a\udc04", "ass"])).toEqual({ text: marked(ANSWER), isStopped: false });
});

test("a mark within a character ends it", () => {
  const text = new ReplyText(tokenizer, [], SHOWN);
  const [first = -1] = tokenizer.encode("𐀀", { special: false });
  text.push(first);
  text.push(IDS.get(HARMONY.end) ?? -1);
  expect(text.text).toMatch(/^\ufffd+\udc04$/);
});
