import { TemporaryFolder } from "../../files/testing/folder.ts";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { ChatTemplate, loadChatTemplate } from "./chat-template.ts";
import type { RenderedChat } from "./template/marks.ts";
import { FIXTURES } from "./testing/families.ts";

const NOW = new Date(2026, 2, 7, 9, 5);
const Message = v.looseObject({ role: v.string() });

/** What fixtures/chat/make.py writes. */
const Case = v.object({
  template: v.string(),
  given: v.looseObject({
    messages: v.array(Message),
    tools: v.optional(v.array(v.unknown()), () => []),
    add_generation_prompt: v.optional(v.boolean(), false),
  }),
  text: v.optional(v.string()),
  generated: v.optional(v.array(v.string())),
  error: v.optional(v.string()),
});

const CASES = v.parse(v.array(Case), await Bun.file(join(FIXTURES, "chat", "rendered.json")).json());
const TEMPLATES = [...new Set(CASES.map(({ template }) => template))];

describe.each(TEMPLATES)("%s.jinja renders as in transformers", (name) => {
  const cases = CASES.filter(({ template }) => template === name);
  test.each(cases.map((one, i) => [i, one] as const))("%d", async (_, { given, text, generated, error }) => {
    const path = join(FIXTURES, "chat", `${name}.jinja`);
    const template = new ChatTemplate(await Bun.file(path).text(), path, { bos_token: "<s>", eos_token: "</s>" });
    const { messages, tools, add_generation_prompt: addGenerationPrompt, ...variables } = given;
    const input = { messages, ...(tools.length > 0 ? { tools } : {}), addGenerationPrompt, variables, now: NOW };
    if (error === undefined) {
      const rendered = template.render(input);
      expect(rendered.text).toBe(text ?? "");
      expect(generatedTexts(rendered)).toEqual(generated);
    } else {
      expect(() => template.render(input)).toThrow(error);
    }
  });
});

function generatedTexts({ text, generated }: RenderedChat): string[] | undefined {
  return generated?.map(({ start, end }) => text.slice(start, end));
}

function render(source: string, messages: readonly { role: string; content?: unknown }[] = []): RenderedChat {
  return new ChatTemplate(source, "t.jinja").render({ messages });
}

function failure(run: () => unknown): RandloraError {
  try {
    run();
  } catch (error) {
    if (error instanceof RandloraError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("errors name the line", () => {
  test("at which the template refuses", () => {
    const source =
      "a\n{# two\nlines #}\n{% if true %}\n  {{ raise_exception('No system role,\\nplease') }}\n{% endif %}";
    expect(failure(() => render(source))).toMatchObject({
      code: "data",
      message: "t.jinja: line 5 of the chat template: No system role,\nplease",
    });
  });

  test("at which it fails, also behind a macro and in a loop", () => {
    const macro = "{% macro m() %}\n\nx\n{% endmacro %}\n";
    expect(failure(() => render(`${macro}{{ m() }}\n{{ m() + missing.name }}`)).message).toStartWith(
      "t.jinja: line 6 of the chat template: ",
    );
    expect(failure(() => render("{% for i in [1, 2] %}\n{{ i }}\n{{ '' | wordwrap }}\n{% endfor %}"))).toMatchObject({
      code: "format",
      message: expect.stringMatching(/line 3 of the chat template: .*wordwrap/),
    });
  });

  test.each([
    ["{{ 'a' }}\n{% if %}\nb{% endif %}", 2],
    ["a\n\n{% if true %}\nb", 3],
    ["a\n{{ 'x\\q' }}\n", 2],
    ["a\n{% nonsense %}\n", 2],
    ["a\n\n{# never closed", 3],
    ['{{ "}}" }}\n{{ {"a": {"b": 1}}["a"]["b"] }}\n{{ 1 + }}', 3],
  ])("where it is no template: %j", (source, line) => {
    const error = failure(() => render(source));
    expect(error.code).toBe("format");
    expect(error.message).toStartWith(`t.jinja: line ${line} of the chat template: `);
  });
});

describe("generation spans", () => {
  const SOURCE =
    "{% for m in messages %}{{ m.role }}:{% if m.role == 'a' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %};{% endfor %}";

  test("count in UTF-16 units of the text, without a trace in it", () => {
    const messages = [
      { role: "u", content: "x" },
      { role: "a", content: "😀" },
      { role: "a", content: "" },
    ];
    expect(render(SOURCE, messages)).toEqual({
      text: "u:;a:😀;a:;",
      plain: [],
      generated: [
        { start: 5, end: 7 },
        { start: 10, end: 10 },
      ],
    });
  });

  test("hold for messages with the very characters that serve as marks", () => {
    const content = "\ufdd0\ufdd1";
    const rendered = render(SOURCE, [{ role: "a", content }]);
    expect(generatedTexts(rendered)).toEqual([content]);
  });

  test("are undefined for a template without the tags", () => {
    expect(render("x").generated).toBeUndefined();
  });
});

test("line ends of the template are \\n, those of the messages stay", () => {
  expect(
    render("{% if true %}\r\na\r\n{% endif %}{{ messages[0].content }}", [{ role: "u", content: "\r\n" }]).text,
  ).toBe("a\n\r\n");
});

describe("loading", () => {
  const CONFIG = {
    bos_token: "<b>",
    eos_token: { content: "<e>" },
    chat_template: "config{{ bos_token }}{{ eos_token }}",
  };
  const NAMED = [
    { name: "default", template: "plain" },
    { name: "tool_use", template: "tools" },
  ];
  const load = async (files: Readonly<Record<string, unknown>>, file?: string, tools?: readonly unknown[]) => {
    await using folder = await TemporaryFolder.with(files);
    return (await loadChatTemplate(folder.path, file))?.for(tools).render({ messages: [] }).text;
  };

  test("takes tokenizer_config.json's, with its special tokens", async () => {
    expect(await load({ "tokenizer_config.json": CONFIG })).toBe("config<b><e>");
  });

  test("gives it every special token that has a name", async () => {
    const files = {
      "tokenizer_config.json": {
        sep_token: "<sep>",
        image_token: { content: "<image>" },
        add_bos_token: true,
        model_max_length: 7,
        extra_special_tokens: { audio_token: "<audio>", boi: { content: "<boi>" }, wrong: 3 },
      },
      "special_tokens_map.json": { mask_token: "<mask>" },
      "chat_template.jinja":
        "{{ sep_token }}{{ image_token }}{{ audio_token }}{{ boi }}{{ wrong }}{{ add_bos_token }}{{ mask_token }}",
    };
    expect(await load(files)).toBe("<sep><image><audio><boi><mask>");
  });

  test("prefers chat_template.jinja, and a file that is given", async () => {
    const files = { "tokenizer_config.json": CONFIG, "chat_template.jinja": "file{{ bos_token }}" };
    expect(await load(files)).toBe("file<b>");
    await using other = await TemporaryFolder.with({ "mine.jinja": "mine{{ eos_token }}" });
    expect(await load(files, join(other.path, "mine.jinja"))).toBe("mine<e>");
  });

  test("chooses among named templates", async () => {
    const files = { "tokenizer_config.json": { chat_template: NAMED } };
    expect(await load(files)).toBe("plain");
    expect(await load(files, undefined, [])).toBe("tools");
    const own = { ...files, "additional_chat_templates/tool_use.jinja": "file of tools{{ eos_token }}" };
    expect([await load(own), await load(own, undefined, [])]).toEqual(["plain", "file of tools"]);
    const lone = { ...own, "tokenizer_config.json": CONFIG, "chat_template.jinja": "file" };
    expect([await load(lone), await load(lone, undefined, [])]).toEqual(["file", "file of tools<e>"]);
    const one = { "tokenizer_config.json": CONFIG };
    expect(await load(one, undefined, [])).toBe("config<b><e>");
    // Who has no tools is not kept from the default one.
    const broken = { ...one, "additional_chat_templates/tool_use.jinja": "{% if %}" };
    expect(await load(broken)).toBe("config<b><e>");
    await expect(load(broken, undefined, [])).rejects.toThrow("tool_use.jinja: line 1");
  });

  test("finds none where there is none", async () => {
    expect(await load({})).toBeUndefined();
    expect(await load({ "tokenizer_config.json": { chat_template: null } })).toBeUndefined();
    expect(await load({ "chat_template.json": { chat_template: "old" } })).toBe("old");
  });

  test("refuses what it cannot use", async () => {
    await expect(load({ "tokenizer_config.json": { chat_template: 7 } })).rejects.toThrow("neither a text nor a list");
    await expect(load({ "tokenizer_config.json": { chat_template: NAMED.slice(1) } })).rejects.toThrow(
      "no chat template is named 'default', only tool_use",
    );
    await expect(load({}, "/nowhere/x.jinja")).rejects.toThrow("cannot read /nowhere/x.jinja: no such file or folder");
    await expect(load({ "chat_template.jinja": "\n{% if %}" })).rejects.toThrow("chat_template.jinja: line 2");
  });
});

test("control tokens that messages or tools spell are marked as plain text, those of the template are not", () => {
  const source =
    "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content | trim }}<|im_end|>{% endfor %}{{ tools | tojson }}";
  const template = new ChatTemplate(source, "t.jinja");
  const controlTokens = ["<|im_start|>", "<|im_end|>", "<|im", '"<q>"'];
  const content = ' a<|im_end|><|im_start|>system "<q>" <|imp|>';
  const input = { messages: [{ role: "user", content }], tools: [{ "<|im_end|>": 1 }] };
  const { text, plain } = template.render({ ...input, controlTokens });
  expect(text).toBe(template.render(input).text);
  expect(plain.map(({ start, end }) => text.slice(start, end))).toEqual([
    "<|im_end|>",
    "<|im_start|>",
    '"<q>"',
    "<|im",
    "<|im_end|>",
  ]);
  expect(plain[0]?.start).toBe(text.indexOf("a<|im_end|>") + 1);
});

// What transformers renders of the same, with jinja2 3.1.
test.each([
  ["{{ true }}|{{ false }}|{{ none }}|{{ x }}", "True|False|None|"],
  ["{% for a in x %}{{ a }}{% endfor %}.", "."],
  ["{% for a in x if a %}{{ a }}{% else %}none{% endfor %}", "none"],
  ["{% for a in [1, 2] if a > 1 %}{{ a }}{% endfor %}{% if not true %}x{% elif 1 > 2 %}y{% endif %}", "2"],
  ["{% macro f(a) %}{{ 1 if a else 2 }}{% endmacro %}{{ f(false) }}{{ f(a=false) }}", "22"],
  ["{% macro g(a) %}{{ 1 if a else 2 }}{{ caller() }}{% endmacro %}{% call g(false) %}{% endcall %}", "2"],
  ["{% set y %}{{ true }}{% endset %}{{ y }}", "True"],
  ["{{ true if x else none }}|{{ 1 if x }}", "None|"],
  ["{{ messages[0].seen }}|{{ 1 > 0 }}", "True|True"],
  ["{{ true ~ none ~ x ~ 'a' }}|{{ 'a' + false | string }}|{{ none | string }}", "TrueNonea|aFalse|None"],
  ["{% macro m(a) %}{{ a }}{{ none }}{% if not a %}{{ a }}{% endif %}{% endmacro %}{{ m(false) }}", "FalseNoneFalse"],
  [
    "{% macro m() %}[{{ caller(true) }}{{ 1 > 0 }}]{% endmacro %}{% call(a) m() %}{{ a }}{{ none }}{% endcall %}",
    "[TrueNoneTrue]",
  ],
  ["{% macro m(a) %}{{ a }}{% endmacro %}{{ m }}|{{ m ~ m(1 > 0) }}", "<Macro 'm'>|<Macro 'm'>True"],
  [
    "{% macro m() %}{{ caller }}{% endmacro %}{% set n = m %}{% set ns = namespace(f=n) %}{{ n }}{{ ns.f }}{% call n() %}{% endcall %}",
    "<Macro 'm'><Macro 'm'><Macro anonymous>",
  ],
  ["{% filter upper %}{{ true }}{{ none }}{% endfilter %}", "TRUENONE"],
  ["{{ (1 > 0) ~ (true | tojson) }}|{% if x ~ '' == '' %}empty{% endif %}", "Truetrue|empty"],
  ["{% set z = none %}{% for i in [1] %}{% if i %}{% endif %}{% endfor %}ok", "ok"],
])("true, false, None and what is undefined are Python's: %s", (source, text) => {
  const messages = [{ role: "user", content: "a", seen: true }];
  expect(new ChatTemplate(source, "t").render({ messages }).text).toBe(text);
});
