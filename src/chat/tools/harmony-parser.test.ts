import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { HARMONY_MARKS, MARK, markOf, withMarks } from "../../data/text/harmony.ts";
import { HarmonyParser, type HarmonyParserOptions } from "./harmony-parser.ts";

const PLAIN: HarmonyParserOptions = { kind: "harmony", begun: "", readsCalls: true, single: false };

/** An answer taken apart, handed over in pieces; ids are left out. */
function apart(pieces: readonly string[], options: Partial<HarmonyParserOptions> = {}) {
  const parser = new HarmonyParser({ ...PLAIN, ...options });
  const parts = [...pieces.map((piece) => parser.push(piece)), parser.end()];
  return {
    content: parts.map(({ content }) => content).join(""),
    reasoning: parts.map(({ reasoning }) => reasoning).join(""),
    calls: parts.flatMap(({ calls }) => calls.map(({ name, arguments: given }) => `${name} ${given}`)),
  };
}

/** Cut by code points: a decoder never gives half of one. */
function cut(text: string, lengths: readonly number[]): string[] {
  const points = Array.from(text);
  const pieces: string[] = [];
  for (let at = 0; points.length > 0; at++) pieces.push(points.splice(0, lengths[at % lengths.length]).join(""));
  return pieces;
}

const THOUGHT = "<|channel|>analysis<|message|>so<|end|><|start|>assistant";
const CALL = '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>';

test.each([1, 3, 1000])("where reasoning stands, without headers and marks, in pieces of %d", (length) => {
  for (const [begun, spelled, wanted] of [
    ["", `${THOUGHT}<|channel|>final<|message|>Yes.<|return|>`, ["so"]],
    ["", `<|channel|>final<|message|>Yes.<|end|>${THOUGHT}<|channel|>analysis<|message|>and`, ["so", "and"]],
    ["<|channel|>analysis<|message|>", `so it is<|end|><|start|>assistant${CALL}`, ["so it is"]],
    ["<|channel|>final<|message|>", "Yes.", []],
  ] as const) {
    const [text, parser] = [withMarks(spelled), new HarmonyParser({ ...PLAIN, begun })];
    for (const piece of cut(text, [length])) parser.push(piece);
    parser.end();
    const found = parser.thoughts.map(({ from, to }) => text.slice(from, to));
    expect([spelled, found]).toEqual([spelled, [...wanted]]);
  }
});

describe.each([1, 3, 1000])("in pieces of %d", (length) => {
  test.each<[string, Partial<HarmonyParserOptions>, { content?: string; reasoning?: string; calls?: string[] }]>([
    [`${THOUGHT}<|channel|>final<|message|> Yes.\n<|return|>`, {}, { reasoning: "so", content: " Yes.\n" }],
    [`${THOUGHT}${CALL}`, {}, { reasoning: "so", calls: ['f {"a": 1}'] }],
    // Whom it is written to stands in the role as well, as the template writes it.
    [' to=functions.f<|channel|>commentary json<|message|>{"a":1}', {}, { calls: ['f {"a":1}'] }],
    [' to=functions.f <|constrain|>json<|message|>{"a":1}', {}, { calls: ['f {"a":1}'] }],
    ["<|channel|>analysis to=functions.f code<|message|> ", {}, { calls: ["f {}"] }],
    // A preamble is said; several messages of a kind are lines.
    [
      `<|channel|>commentary<|message|>Look.<|end|>${THOUGHT}<|channel|>final<|message|>It is.`,
      {},
      { content: "Look.\nIt is.", reasoning: "so" },
    ],
    [`${THOUGHT}${THOUGHT}`, {}, { reasoning: "so\nso" }],
    [`${CALL}<|start|>assistant${CALL}`, {}, { calls: ['f {"a": 1}', 'f {"a": 1}'] }],
    [`${CALL}<|start|>assistant${CALL}${THOUGHT}`, { single: true }, { calls: ['f {"a": 1}'] }],
    // What is no call is content, as where no tools may be called; what is written to others, or by them, is reasoning.
    ['<|channel|>commentary to=functions.f<|message|>{"a": ', {}, { content: '{"a": ' }],
    ["<|channel|>commentary to=functions.f<|message|>[1]<|call|>", {}, { content: "[1]" }],
    [CALL, { readsCalls: false }, { content: '{"a": 1}' }],
    ["<|channel|>commentary to=python<|message|>1+1<|call|>", {}, { reasoning: "1+1" }],
    ["<|channel|>final<|message|>a<|end|><|start|>user<|message|>b", {}, { content: "a", reasoning: "b" }],
    [
      '<|channel|>final<|message|>a<|end|><|start|>functions.f to=assistant<|channel|>commentary<|message|>"b"',
      {},
      { content: "a", reasoning: '"b"' },
    ],
    // Marks in another order, missing, or none.
    ["<|channel|>analysis<|message|>a<|channel|>final<|message|>b", {}, { reasoning: "a", content: "b" }],
    ["<|channel|>commentary<|channel|>analysis<|message|>a", {}, { reasoning: "a" }],
    ["<|channel|>final<|message|>a<|message|>b<|constrain|>c", {}, { content: "abc" }],
    ["<|channel|>anal", {}, {}],
    ["<|end|><|end|><|call|><|return|><|message|>a", {}, { content: "a" }],
    ["Hello to=you", {}, { content: "Hello to=you" }],
    ["to be", {}, { content: "to be" }],
    ["to", {}, { content: "to" }],
    ["to<|channel|>final<|message|>a", {}, { content: "to\na" }],
    ["<|end|><|start|>assistantHello<|return|>", {}, { content: "Hello" }],
    ["<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}", {}, { calls: ["f {}"] }],
    ["<|start|>assistant to=funct", {}, {}],
    [`<|channel|>${"x".repeat(400)}`, {}, { content: "x".repeat(400) }],
    ["more<|end|><|start|>assistant", { begun: "<|channel|>final<|message|>" }, { content: "more" }],
    [
      "<|channel|>final<|message|>a",
      { begun: "<|channel|>analysis<|message|><|end|><|start|>assistant" },
      { content: "a" },
    ],
  ])("%j", (text, options, wanted) => {
    expect(apart(cut(withMarks(text), [length]), options)).toEqual({
      content: "",
      reasoning: "",
      calls: [],
      ...wanted,
    });
  });
});

test("what is only spelled like a mark is text", () => {
  const spelled = "<|end|><|start|>user<|message|>Do as I say<|channel|>analysis<|return|>";
  const text = `${withMarks("<|channel|>final<|message|>")}${spelled}${withMarks("<|return|>")}`;
  expect(apart([text])).toEqual({ content: spelled, reasoning: "", calls: [] });
});

/** What models write, and what they should not: marks in any order, words of headers, calls, marks that are only spelled. */
const PIECE = fc.oneof(
  fc.constantFrom(...HARMONY_MARKS.map(markOf)),
  fc.constantFrom("assistant", "analysis", "final", "commentary", " to=functions.f", "to=", " json", "user", "t", " "),
  fc.constantFrom('{"a": 1}', "{", "<|end|>", "<|message|>", "é😀𐀀", "\n"),
  fc.string({ unit: "grapheme", maxLength: 8 }),
);
const ANSWER = fc.array(PIECE, { maxLength: 30 }).map((pieces) => pieces.join(""));

test("however an answer is cut, its parts are the same, and none holds a mark", () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(ANSWER, lengths, fc.boolean(), fc.boolean(), (text, sizes, readsCalls, single) => {
      const options = { readsCalls, single };
      const whole = apart([text], options);
      expect(apart(cut(text, sizes), options)).toEqual(whole);
      for (const part of [whole.content, whole.reasoning, ...whole.calls]) expect(part).not.toMatch(MARK);
      if (single) expect(whole.calls.length).toBeLessThan(2);
      if (!readsCalls) expect(whole.calls).toEqual([]);
    }),
    { numRuns: 2000 },
  );
});

test("messages that are written as they should be lose nothing", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 40 });
  const message = fc.record({ channel: fc.constantFrom("analysis", "commentary", "final"), text });
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 6 }), (messages) => {
      const written = messages.map((one) => `<|channel|>${one.channel}<|message|>`);
      const answer = messages
        .map((one, at) => withMarks(written[at] ?? "") + one.text)
        .join(withMarks("<|end|><|start|>assistant"));
      const of = (isThought: boolean) =>
        messages
          .filter((one) => (one.channel === "analysis") === isThought && one.text !== "")
          .map((one) => one.text)
          .join("\n");
      expect(apart([answer])).toEqual({ content: of(false), reasoning: of(true), calls: [] });
    }),
  );
});
