import { expect, test } from "bun:test";
import fc from "fast-check";
import { cut, formatTable } from "./table.ts";

const rows = [
  ["q_proj", "30", "1.20 MB"],
  ["embedding 埋め込み", "1", "56.6 MB"],
];

test("the column that gives way last is whole while another can be cut", () => {
  const row = ["runs/a-model-randlora-1", "a-model-of-some-name", "randlora"];
  expect(formatTable([row], { columns: 36, last: 0 })).toBe("runs/a-model-randlora-1  a-m…  rand…\n");
  expect(formatTable([row], { columns: 25, last: 0 })).toBe("runs/a-model…  a-m…  ran…\n");
});

test("numbers are never cut: words are, and columns that may be are left out", () => {
  const rows = [["runs/a-model-randlora-1", "a-model-of-some-name", "15 of 15", "1.7634"]];
  const spec = { head: ["run", "model", "steps", "loss"], align: "llrr", last: 0 };
  expect(formatTable(rows, { ...spec, columns: 36 })).toEndWith("\nruns/a-mode…  a-m…  15 of 15  1.7634\n");
  expect(formatTable(rows, { ...spec, columns: 24 })).toEndWith("\nrun…  a-m…  15 of 15  1.7634\n");
  expect(formatTable(rows, { ...spec, columns: 41, drop: [1, 2] })).toBe(
    "run                         steps    loss\nruns/a-model-randlora-1  15 of 15  1.7634\n",
  );
  expect(formatTable(rows, { ...spec, columns: 31, drop: [1, 2] })).toBe(
    "run                        loss\nruns/a-model-randlora-1  1.7634\n",
  );
});

test("columns line up, wide characters counted as the terminal shows them", () => {
  expect(formatTable(rows, { head: ["tensor", "number", "bytes"], align: "lrr" })).toBe(
    [
      "tensor              number    bytes",
      "q_proj                  30  1.20 MB",
      "embedding 埋め込み       1  56.6 MB",
      "",
    ].join("\n"),
  );
});

test("colors take no room", () => {
  const table = formatTable(
    [
      ["\x1b[31mred\x1b[39m", "x"],
      ["green", "y"],
    ],
    { head: ["a", "b"], markHead: (text) => `\x1b[2m${text}\x1b[22m` },
  );
  expect(Bun.stripANSI(table)).toBe("a      b\nred    x\ngreen  y\n");
});

test("cells steer nothing", () => {
  expect(formatTable([["a\x1b[2J\x9b1m\u202eb", "\x1b[1mbold\x1b[22m"]])).toBe(
    "a␛[2J\uFFFD1m\uFFFDb  \x1b[1mbold\x1b[22m\n",
  );
});

test("missing cells are empty, no rows are no text", () => {
  expect(formatTable([["a"], ["b", "c"]])).toBe("a\nb  c\n");
  expect(formatTable([])).toBe("");
});

test("a narrow terminal cuts the widest column", () => {
  expect(formatTable([["model.layers.0.self_attn.q_proj.weight", "1.25"]], { columns: 20 })).toBe(
    "model.layers.…  1.25\n",
  );
  const cell = fc.string({ unit: fc.constantFrom("a", "_", "é", "埋", "🙂", "👩‍🔬"), maxLength: 20 });
  fc.assert(
    fc.property(fc.array(fc.array(cell, { maxLength: 3 }), { maxLength: 5 }), (cells) => {
      for (const line of formatTable(cells, { columns: 20 }).split("\n")) {
        expect(Bun.stringWidth(line)).toBeLessThanOrEqual(20);
      }
    }),
    { numRuns: 200 },
  );
});

test("cut keeps what fits", () => {
  expect([cut("abc", 3), cut("abcd", 3), cut("埋め込み", 5), cut("abc", 0)]).toEqual(["abc", "ab…", "埋め…", ""]);
});

test("a last column that wraps goes on below itself, and loses nothing", () => {
  const rows = [
    ["time", "1 s (plan 0.1 s, merge 0.9 s)"],
    ["written", "/a/long/path/of/one/word"],
    ["size", "3"],
  ];
  expect(formatTable(rows, { columns: 20, wrap: true })).toBe(
    [
      "time     1 s (plan",
      "         0.1 s,",
      "         merge 0.9",
      "         s)",
      "written  /a/long/path/of/one/word",
      "size     3",
      "",
    ].join("\n"),
  );
});
