import { expect, test } from "bun:test";
import { readGbnf } from "./gbnf.ts";
import { follows, writeRandomly } from "./testing/write.ts";

const ARITHMETIC = `
# sums, as llama.cpp's own example has them
root  ::= (expr "=" ws term "\\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \\t\\n]*
`;

test.each<[string, string, boolean]>([
  [ARITHMETIC, "a+(b*2)= c\n", true],
  [ARITHMETIC, "a+(b*2= c\n", false],
  ['root ::= "a"{2,3} | [^a-z"]', "aaa", true],
  ['root ::= "a"{2,3} | [^a-z"]', "aaaa", false],
  ['root ::= "a"{2,3} | [^a-z"]', "中", true],
  ['root ::= "a"{2,3} | [^a-z"]', '"', false],
  ['root ::= x\n  | y # or\nx ::= "\\x41\\u00e9"\ny ::= (\n "b" | \n"c"\n)', "Aé", true],
  ['root ::= x\n  | y # or\nx ::= "\\x41\\u00e9"\ny ::= (\n "b" | \n"c"\n)', "c", true],
  ["root ::= [α-ω\\]-]+ .", "α]-ω🙂", true],
  ["root ::= [α-ω\\]-]+ .", "a.", false],
  ['root ::= 1st _2 | -\n1st ::= "a"\n_2 ::= | "b"\n- ::= "c"', "ab", true],
])("%j takes %j: %p", (source, text, wanted) => {
  expect(follows(readGbnf(source), text)).toBe(wanted);
});

test.each<[string, string]>([
  ["", "no rule root"],
  ['a ::= "b"', "no rule root"],
  ["root ::= gone", "no rule gone"],
  ['root ::= "a', "line 1: a text or a set has no end"],
  ['root ::= <think> "a"', "line 1: tokens (<…>) are not supported"],
  ["root ::= !<[1000]>*", "line 1: tokens (<…>) are not supported"],
  ['root ::= ("a"', "a group has no end"],
  ["root = 3", "a rule begins with NAME ::="],
  ['root ::= "a"\n\n  )', "line 3: a rule begins with"],
  ['root ::= "a"{99999}', "repetitions go up to"],
  ["root ::= []", "a set of characters is empty"],
  ['root ::= root "a"', "allows no text that ends"],
  ['root ::= root "a" | "b"', "too many ways at once"],
  [`root ::= ${"(".repeat(200)}`, "nested more than"],
])("%j is refused", (source, message) => {
  expect(() => writeRandomly(readGbnf(source), () => 0, 0)).toThrow(message);
});
