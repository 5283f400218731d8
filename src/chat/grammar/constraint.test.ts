import { beforeAll, expect, spyOn, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { TokenTexts } from "../../data/text/token-text.ts";
import { Turn } from "../../data/text/tokenizer/token-model.ts";
import { Automaton } from "./automaton.ts";
import { Constraint, type Vocabulary } from "./constraint.ts";
import { readGbnf } from "./gbnf.ts";
import { statesOf } from "./states.ts";
import { bytesOf, tokenTree } from "./token-tree.ts";

let vocabulary: Vocabulary;

beforeAll(async () => {
  const tokenizer = await loadTokenizer(STORIES);
  const texts = new TokenTexts(tokenizer);
  using turns = spyOn(Turn.prototype, "isOver");
  const tree = await tokenTree(tokenizer, tokenizer.vocabSize);
  // Others have their turn while tokens are read, and again while the tree is made of them.
  expect(turns.mock.calls.length).toBeGreaterThan((1.5 * tree.tokens.length) / 64);
  turns.mockRestore();
  vocabulary = { tree, bytesOf: (id) => bytesOf(tokenizer, texts, id) };
});

function constraint(grammar: string): Constraint {
  return new Constraint(statesOf(readGbnf(grammar)), vocabulary, new Set([0]));
}

/** Tokens that are left. */
function allowed(filter: Constraint, left: number): readonly number[] {
  const logits = new Float32Array(vocabulary.tree.size);
  filter.apply(logits, left);
  return Array.from(logits.keys()).filter((id) => logits[id] === 0);
}

test("a mask that was prepared is the one that is found at once, token by token, with few left as well", async () => {
  const grammar = 'root ::= ([a-z]{1,5} " "){2,4} "."';
  const [prepared, other] = [constraint(grammar), constraint(grammar)];
  for (let left = 16; left > 0; left--) {
    await prepared.prepare(left);
    const tokens = allowed(prepared, left);
    expect(tokens).toEqual(allowed(other, left));
    const token = tokens[left % tokens.length] ?? -1;
    const hasEnded = prepared.push(token);
    expect(other.push(token)).toBe(hasEnded);
    if (hasEnded) return;
  }
  throw new Error("the text did not end");
});

test("what is wrong with a grammar is thrown when the mask is applied, not while it is prepared", async () => {
  const lists = "list ::= ([a-z] | [a-z ]{2,40} | other)*\nother ::= [a-z ]{0,30} list? [a-z]";
  const ambiguous = constraint(`root ::= "a" list "."\n${lists}`);
  await ambiguous.prepare(1000);
  expect(() => allowed(ambiguous, 1000)).toThrow("the grammar can be read in too many ways at once");
});

test("a special token may stand for its text, where the grammar has that", () => {
  const marks = new Map([[3, [...Buffer.from("<x>")]]]);
  const states = statesOf(readGbnf('root ::= [a-z]* ("<x>" "1" [a-z]*)?'));
  const marked = new Constraint(states, { ...vocabulary, marks }, new Set([0]));
  expect(allowed(marked, 10)).toContain(3);
  expect(allowed(new Constraint(states, vocabulary, new Set([0])), 10)).not.toContain(3);
  expect(marked.push(3)).toBeFalse();
  const tokens = allowed(marked, 10);
  expect(tokens.length).toBeGreaterThan(0);
  for (const id of tokens) expect(vocabulary.bytesOf(id)?.[0]).toBe("1".charCodeAt(0));
});

test("what is remembered of a grammar is bounded by the ways in which texts can be read, not by states alone", () => {
  const automaton = new Automaton(statesOf(readGbnf("root ::= [a-z]{0,400} [a-z]{0,400}")));
  let state = automaton.start();
  for (let read = 0; read < 600; read++) state = automaton.tidy(automaton.step(state, 97));
  expect(automaton.generation).toBeGreaterThan(0);
  expect([automaton.accepts(state), automaton.goesOn(state)]).toEqual([true, true]);
});
