import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ChatTemplate } from "../chat-template.ts";
import { FREE } from "./budget.ts";
import { JinjaTemplate, TemplateError } from "./jinja.ts";

/** An eighth of what is free, so that what costs too little goes on for no longer than it must. */
const LITTLE = { steps: FREE.steps / 8, text: FREE.text / 8 };

const CHAT = join(import.meta.dir, "../../../../fixtures/chat");

/** `ns.s`: a quarter of a million letters, half of the longest text. */
const LONG = "{% set ns = namespace(s='aa', l=[]) %}{% for i in range(17) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
/** `ns.a`: two to the 60th numbers, of 60 lists. */
const DEEP = "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}";
const STEPS = "it takes too many steps";
const TEXT = "it makes a text of more than";
const NESTED = /nested/;

function forever(body: string): string {
  return `{% for i in range(100000) %}{% for j in range(100000) %}${body}{% endfor %}{% endfor %}`;
}

test.each([
  ["loops in loops", forever(""), STEPS],
  // Each round costs the interpreter what some expressions do.
  [
    "a million rounds of nothing",
    "{% for i in range(10) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    STEPS,
  ],
  [
    "a macro that calls itself twice",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    STEPS,
  ],
  ["a macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", NESTED],
  ["a range", "{{ range(10 ** 9) }}", "range() of more than 100000 numbers"],
  [
    "a text that doubles",
    "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    TEXT,
  ],
  [
    "a list that doubles",
    "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
    STEPS,
  ],
  ["output", forever("x".repeat(1000)), /steps|text/],
  [
    "macros defined again",
    `{% for i in range(100000) %}{% macro f() %}${"{{ a }}".repeat(10_000)}{% endmacro %}{% endfor %}`,
    STEPS,
  ],
  ["tables", "{% set l = range(100000) %}{% for i in range(100) %}{% set l = l | unique %}{% endfor %}", STEPS],
  ["an object in itself", "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns | tojson }}", NESTED],
  [
    "lists kept",
    "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = ns.l + [range(100000)] %}{% endfor %}",
    STEPS,
  ],
] as const)("what goes on for ever: %s", (_, source, message) => {
  expectRefusal(source, message);
});

test.each([
  [forever(""), STEPS],
  ["{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", `${TEXT} 4001`],
  [
    "{% macro m() %}{{ caller() }}{% endmacro %}{% macro f() %}{% call m() %}{{ f() }}{% endcall %}{% endmacro %}{{ f() }}",
    NESTED,
  ],
])("all that is free has an end: %s", (source, message) => {
  expectRefusal(source, message, FREE);
});

test.each([
  "{{ ns.a }}",
  "{{ ns.a | tojson }}",
  "{{ ns.a | join }}",
  "{{ ns.a | string }}",
  "{{ ns.a ~ 'x' }}",
  "{{ ns.a == 'x' }}",
  "{{ ns.a if true }}",
  "{% set x %}{{ ns.a }}{% endset %}",
  "{% filter upper %}{{ ns.a }}{% endfilter %}",
  "{% macro f() %}{{ ns.a }}{% endmacro %}{{ f() }}",
])("a value that is small in memory and large in writing: %s", (source) => {
  expectRefusal(DEEP + source, STEPS);
});

test.each([
  ["{{ raise_exception([[1]]) }}", "it raised an exception"],
  ["{{ raise_exception('') }}", "it raised an exception"],
  ["{% break %}", "break or continue stands outside of a loop"],
  ["{{ range([[1]]) }}", "range() takes whole numbers"],
])("what is wrong is said of %s", (source, message) => {
  expectRefusal(source, message);
});

test.each([
  ["{{ 'a\nb' | indent(10 ** 9) }}", STEPS],
  ["{{ 'a' | indent(width=10 ** 9, first=true) }}", STEPS],
  ["{% filter indent(10 ** 9) %}a\nb{% endfilter %}", STEPS],
  ["{{ [1, [2]] | tojson(indent=10 ** 9) }}", STEPS],
  ["{{ range(1000) | join(ns.s) }}", STEPS],
  ["{{ ns.s | join(ns.s) }}", STEPS],
  ["{{ ns.s | replace('a', ns.s) }}", STEPS],
  ["{{ ns.s.replace('', ns.s) }}", STEPS],
  ["{{ ns.s['repl' ~ 'ace']('a', ns.s) }}", STEPS],
  ["{% set f = ns.s.replace %}{{ f('a', ns.s) }}", STEPS],
  ["{% set given = ['a', ns.s] %}{{ ns.s.replace(*given) }}", STEPS],
  ["{{ ns.s | replace(*['a', ns.s]) }}", STEPS],
  ["{{ range(1000) | tojson(separators=[ns.s, ns.s]) }}", STEPS],
  ["{% set l = [range(100000)] %}{% for i in range(10000) %}{{ l == 'x' }}{% endfor %}", STEPS],
  ["{{ ns.s[:10] | replace('a', ns.s) }}", TEXT],
  ["{{ range(5) | join(ns.s) }}", TEXT],
  ["{% for i in range(100000) %}{% set x = ns.s | upper %}{% endfor %}", STEPS],
  ["{% for i in range(100000) %}{% set x = ns.s.split('a') %}{% endfor %}", STEPS],
  ["{% set f = ns.s.split %}{% for i in range(100000) %}{% set x = f('q') %}{% endfor %}", STEPS],
  ["{% set o = {} %}{% for i in range(100000) %}{% set x = o[ns.s ~ i] %}{% endfor %}", STEPS],
  ["{% for i in range(1000) %}{% set ns.l = ns.l + [ns.s ~ i] %}{% endfor %}{{ ns.l | unique }}", STEPS],
  ["{% set l = range(100000) %}{% for i in range(20) %}{% set x = l | sort %}{% endfor %}", STEPS],
  ["{{ range(1000) | sort(attribute=ns.s) }}", STEPS],
  ["{% set p = ns.s[:100000] ~ 'b' %}{{ p in ns.s }}", STEPS],
  ["{% for i in range(12) %}{% set ns.l = ns.l + ns.l + [{}] %}{% endfor %}{{ ns.l | map(attribute=ns.s) }}", STEPS],
])("what one filter or operator could do: %s", (source, message) => {
  expectRefusal(LONG + source, message);
});

test("long texts may come to a macro, be written by one, and stand in a block, as often as they like", () => {
  const said = "a".repeat(30_000);
  for (const [source, times] of [
    ["{% macro m(x) %}{{ x }}{{ x }}{{ x | trim }}{% endmacro %}{{ m(s) }}{{ m(s) }}", 6],
    ["{% macro m(x, y, z) %}{{ z ~ y ~ x }}{% endmacro %}{{ m(s, z=s, y=s) }}", 3],
    ["{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}{% call m() %}{{ s }}{{ s }}{% endcall %}", 4],
    ["{% filter trim %}{{ s }}{{ s }}{{ s }}{% endfilter %}", 3],
  ] as const) {
    const { text } = new ChatTemplate(source, "x").render({ messages: [], variables: { s: said } });
    expect(text).toHaveLength(times * said.length);
  }
});

test.each([
  ["parentheses", `{{ ${"(".repeat(50_000)}1${")".repeat(50_000)} }}`, NESTED],
  ["lists", `{{ ${"[".repeat(50_000)}1${"]".repeat(50_000)} }}`, NESTED],
  ["operators", `{{ a${" ~ a".repeat(20_000)} }}`, NESTED],
  ["negations", `{{ ${"not ".repeat(50_000)}a }}`, NESTED],
  ["branches", `{% if a %}${"{% elif a %}".repeat(10_000)}{% endif %}`, NESTED],
  ["filters", `{{ a${"|upper".repeat(30_000)} }}`, NESTED],
  ["text", "x".repeat(300_000), "it is longer than 262144 characters"],
  ["blanks", " ".repeat(200_000), "it has more than 4000 blanks in a row"],
  ["a fault at its end", `${"{{ a }}".repeat(5000)}{{ ' `, "Unexpected end of input"],
])("a template of too much: %s", (_, source, message) => {
  expectRefusal(source, message);
});

test.each([200, 100_000])("values nested %i deep", (depth) => {
  const template = new ChatTemplate("{{ messages[0].x | tojson | length }}{{ more | tojson | length }}", "t", {});
  const nested = JSON.parse("[".repeat(depth) + "]".repeat(depth));
  const messages = [{ role: "user", content: "a" }];
  for (const input of [{ messages: [{ role: "user", x: nested }] }, { messages, variables: { more: nested } }]) {
    if (depth < 250) {
      expect(template.render(input).text).toContain(String(2 * depth));
    } else {
      const message = "messages, tools or variables: a value is nested more than 250 deep";
      expect(() => template.render(input)).toThrow(expect.objectContaining({ code: "data", message }));
    }
  }
});

test("a message is not longer than somebody reads", () => {
  expect(() => render("{{ raise_exception('x' ~ range(1000) | tojson) }}")).toThrow(/^x.{900,1000}…$/);
});

describe("long conversations are far from the limits", () => {
  const tool = { type: "function", function: { name: "f", description: "d".repeat(500), parameters: { a: ["b"] } } };
  const tools = Array.from({ length: 50 }, () => tool);
  const conversation = (count: number, length: number) =>
    Array.from({ length: count }, (_, i) => ({
      role: i % 2 === 0 ? "user" : "assistant",
      content: "some words\n".repeat(length / 11 + 1).slice(0, length),
    }));
  const templates = readdirSync(CHAT).filter((name) => name.endsWith(".jinja"));

  test.each(templates)("%s, where little is free", (name) => {
    const template = new JinjaTemplate(readFileSync(join(CHAT, name), "utf8"));
    for (const [count, length] of [
      [2, 50_000],
      [50, 2000],
      [1000, 50],
    ] as const) {
      const given = { messages: conversation(count, length), tools, bos_token: "<s>", eos_token: "</s>" };
      const text = template.render(given, new Date(), { steps: 1000, text: 1000 });
      expect(text.length).toBeGreaterThan(count * (length - 3));
    }
  });

  test("one of a million characters", () => {
    const template = new ChatTemplate(readFileSync(join(CHAT, "harmony.jinja"), "utf8"), "x");
    const { text } = template.render({ messages: conversation(20_000, 50), tools });
    expect(text.length).toBeGreaterThan(20_000 * 47);
  });
});

function render(source: string, free = LITTLE): string {
  return new JinjaTemplate(source).render({ messages: [{ role: "user", content: "a" }] }, new Date(), free);
}

function expectRefusal(source: string, message: string | RegExp, free = LITTLE): void {
  let refusal: unknown;
  try {
    render(source, free);
  } catch (error) {
    refusal = error;
  }
  expect(refusal).toBeInstanceOf(TemplateError);
  expect(() => {
    throw refusal;
  }).toThrow(message);
}
