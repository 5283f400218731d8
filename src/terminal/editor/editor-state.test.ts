import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { emptyState, type EditorState, step } from "./editor-state.ts";
import type { Key } from "./keys.ts";

const HISTORY = ["first", "second\nof two lines", "Third one"];

/** Types keys: words in angle brackets are names, the rest is text. `|` marks the cursor in what is expected. */
function type(script: string, history: readonly string[] = HISTORY) {
  let state: EditorState = emptyState(history.length);
  let outcome: string | undefined;
  for (const [part] of script.matchAll(/<[^>]+>|[^<]+/g)) {
    const key: Key = part.startsWith("<") ? { kind: "key", name: part.slice(1, -1) } : { kind: "text", text: part };
    ({ state, outcome } = { outcome: undefined, ...step(state, key, history) });
  }
  return { state, outcome, shown: `${state.text.slice(0, state.cursor)}|${state.text.slice(state.cursor)}` };
}

describe("editing", () => {
  test.each([
    ["abc<left>x", "abx|c"],
    ["abc<ctrl-a>x<ctrl-e>y<ctrl-b><ctrl-b>z<ctrl-f>!", "xabzc!|y"],
    ["abc<home><delete><end><backspace>", "b|"],
    ["one two<alt-b><alt-b>x<alt-f>y", "xoney| two"],
    ["one, two-three<ctrl-w>", "one, |"],
    ["one, two-three<alt-backspace>", "one, two-|"],
    ["one two<ctrl-a><alt-d>", "| two"],
    ["one two three<ctrl-w><ctrl-w><ctrl-a><ctrl-y>", "two three|one "],
    ["one two<ctrl-w><left><right><ctrl-w><ctrl-y>", "one |"],
    ["one two<alt-b><ctrl-k>", "one |"],
    ["one two<alt-b><ctrl-u><ctrl-e><ctrl-y>", "twoone |"],
    ["a<alt-enter>b<up>x<ctrl-k><ctrl-k>c", "axc|"],
    ["a<ctrl-j>b<home><ctrl-u>", "a|b"],
    ["abc<ctrl-j>d<up>x<down>y", "ax|bc\nd".replace("ax|bc\nd", "axbc\ndy|")],
    ["埋め込み<left><left><backspace>", "埋|込み"],
    ["e\u0301x<left><left>y", "y|e\u0301x"],
    ["👩‍🔬🇸🇪<left><backspace>", "|🇸🇪"],
    ["ax\u0301<left>b<left><backspace><right><delete>", "|b".replace("|b", "b|")],
    ["<insert><ctrl-t><f1>a", "a|"],
  ])("%s → %s", (script, shown) => expect(type(script).shown).toBe(shown));

  test.each([
    ["abc<enter>", "submit", "abc|"],
    ["abc<left><enter>", "submit", "abc|"],
    ["abc\\<enter>def", undefined, "abc\ndef|"],
    ["abc\\<left><enter>", "submit", "abc\\|"],
    ["abc<ctrl-c>", "cancel", "abc|"],
    ["<ctrl-d>", "leave", "|"],
    ["ab<left><ctrl-d>", undefined, "a|"],
    ["a<ctrl-l>", "clear", "a|"],
    ["a<ctrl-z>", "suspend", "a|"],
  ])("%s asks to %s", (script, wanted, shown) => {
    const { outcome, shown: found } = type(script);
    expect([outcome, found]).toEqual([wanted, shown]);
  });

  test("what is pasted is text, newlines too", () => {
    expect(step(emptyState(0), { kind: "paste", text: "a\nb" }, [])).toEqual({
      state: { ...emptyState(0), text: "a\nb", cursor: 3 },
    });
  });
});

describe("history", () => {
  test.each([
    ["<up>", "Third one|"],
    ["<up><up>", "second\nof two lines|"],
    ["<up><up><up><up>", "first|"],
    ["<up><up><ctrl-p><ctrl-p><ctrl-p>", "first|"],
    ["draft<up><down>", "draft|"],
    ["draft<up>changed<page-up><page-down><down><down>", "draft|"],
    ["a<ctrl-j>b<up><up>", "Third one|"],
    ["<ctrl-r>o", "Third |one"],
    ["<ctrl-r>th<enter>", "Third one|"],
    ["<ctrl-r>TH<enter>x", "x|"],
    ["x<ctrl-r>O<ctrl-c>", "x|"],
    ["<ctrl-r>o<ctrl-r><left>", "second\nof two line|s"],
    ["<ctrl-r>sec<backspace><backspace><backspace>o<escape>!", "Third one!|"],
    ["x<ctrl-r>first<escape><down><down><down>", "x|"],
  ])("%s → %s", (script, shown) => {
    const { state, shown: found } = type(script);
    if (state.search === undefined) expect(found).toBe(shown);
    else expect(HISTORY[state.search.entry]).toBe(shown.replace("|", ""));
  });

  test("enter in a search submits what was found", () => {
    expect(type("<ctrl-r>fir<enter>")).toMatchObject({ outcome: "submit", state: { text: "first" } });
  });
});

test("whatever is pressed, the cursor stays between characters and nothing is lost that was not removed", () => {
  const segmenter = new Intl.Segmenter();
  const texts = ["a", " ", "é", "e\u0301", "\u0301", "埋", "👩‍🔬", "🇸🇪", "\u200d", "\t", "lo_1"];
  const keys = ["left", "right", "up", "down", "home", "end", "alt-b", "alt-f", "ctrl-j", "ctrl-r", "escape", "enter"];
  const cuts = ["backspace", "delete", "ctrl-k", "ctrl-u", "ctrl-w", "alt-d", "alt-backspace", "ctrl-y"];
  const key = fc.oneof(
    fc.constantFrom(...texts).map((text): Key => ({ kind: "text", text })),
    fc.constantFrom(...keys, ...cuts).map((name): Key => ({ kind: "key", name })),
  );
  fc.assert(
    fc.property(fc.array(key, { maxLength: 40 }), (pressed) => {
      let state = emptyState(HISTORY.length);
      for (const one of pressed) {
        const before = state;
        ({ state } = step(state, one, HISTORY));
        const boundaries = [...segmenter.segment(state.text)].map(({ index }) => index);
        expect([...boundaries, state.text.length]).toContain(state.cursor);
        if (one.kind === "text" && before.search === undefined) {
          expect(state.text.length).toBe(before.text.length + one.text.length);
        }
      }
    }),
    { numRuns: 400 },
  );
});
