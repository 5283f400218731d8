import fc from "fast-check";
import { describe, expect, test } from "bun:test";
import { MarkdownStream, printable } from "./text-display.ts";
import { createStyle, type Style } from "../../terminal/style.ts";

const tag = (name: string) => (text: string) => `<${name}>${text}</${name}>`;
const names = ["bold", "dim", "italic", "red", "green", "yellow", "cyan"] as const;
const tags: Style = {
  bold: tag("b"),
  dim: tag("d"),
  italic: tag("i"),
  cyan: tag("c"),
  red: tag("red"),
  green: tag("green"),
  yellow: tag("yellow"),
};

function render(pieces: readonly string[], style = tags): string {
  const stream = new MarkdownStream(style);
  const shown = pieces.map((piece) => stream.push(piece)).join("") + stream.flush();
  return shown.replaceAll(/<\/([bdic])><\1>/g, "");
}

describe("markdown", () => {
  test.each([
    ["plain text\nand more", "plain text\nand more"],
    ["# A *title* \ntext", "<b>A <i>title</i> </b>\ntext"],
    ["#hashtag", "#hashtag"],
    ["some **bold** and *it* and ***both***", "some <b>bold</b> and <i>it</i> and <b><i>both</i></b>"],
    ["__bold__ _it_ ~~gone~~", "<b>bold</b> <i>it</i> <d>gone</d>"],
    ["**bold with `code` and *it* too**", "<b>bold with <c>code</c> and <i>it</i> too</b>"],
    ["a snake_case_name and 2 * 3 * 4 and 2**3", "a snake_case_name and 2 * 3 * 4 and 2**3"],
    ["`a * b` and `c", "<c>a * b</c> and `c"],
    ["an unclosed **mark\nnext* line", "an unclosed **mark\nnext* line"],
    ["\\*no\\* emphasis \\n", "*no* emphasis \\n"],
    ["- a\n* b\n  + **c**\n10. d", "<c>•</c> a\n<c>•</c> b\n  <c>•</c> <b>c</b>\n<c>10.</c> d"],
    ["-a\n1.5 km\n3) c", "-a\n1.5 km\n<c>3)</c> c"],
    ["> quoted *text*", "<d>│</d> quoted <i>text</i>"],
    ["a\n***\nb", `a\n<d>${"─".repeat(20)}</d>\nb`],
    [
      "```ts\nconst *x* = `1`;\n# no\n```\n*it*",
      "<d>```ts</d>\n<c>const *x* = `1`;</c>\n<c># no</c>\n<d>```</d>\n<i>it</i>",
    ],
    ["~~~~\n```\n~~~~\na", "<d>~~~~</d>\n<c>```</c>\n<d>~~~~</d>\na"],
    ["```\nno end", "<d>```</d>\n<c>no end</c>"],
    ["| a | b |\n|---|---|\n[text](url)", "| a | b |\n|---|---|\n[text](url)"],
    [`*${"x".repeat(500)}*`, `*${"x".repeat(500)}*`],
    ["", ""],
    ["-", "-"],
    ["**", "**"],
  ])("%j", (text, shown) => expect(render([text])).toBe(shown));

  test("text is shown at once, marks when they are decided", () => {
    const stream = new MarkdownStream(tags);
    const pieces = ["Hel", "lo **wor", "ld", "** again", "\n", "-", " ", "item", "\n``", "`\nco", "de\n"];
    expect(pieces.map((piece) => stream.push(piece))).toEqual([
      "Hel",
      "lo ",
      "",
      "<b>world</b> again",
      "\n",
      "",
      "",
      "<c>•</c> item",
      "\n",
      "<d>```</d>\n",
      "<c>code</c>\n",
    ]);
  });
});

const fragments = [
  "a",
  "b1",
  " ",
  "  ",
  "*",
  "**",
  "_",
  "`",
  "```",
  "~~",
  "\n",
  "# ",
  "- ",
  "1. ",
  "> ",
  "\\",
  "---",
  "é",
  "\t",
];
const document = fc.array(fc.constantFrom(...fragments), { maxLength: 30 }).map((parts) => parts.join(""));

test("the pieces that a text comes in change nothing", () => {
  fc.assert(
    fc.property(document, fc.array(fc.nat(60), { maxLength: 6 }), (text, cuts) => {
      const ends = [...cuts, text.length].filter((end) => end <= text.length).toSorted((a, b) => a - b);
      const pieces = ends.map((end, index) => text.slice(ends[index - 1] ?? 0, end));
      expect(render(pieces)).toBe(render([text]));
    }),
    { numRuns: 1000 },
  );
});

test.each(["-", "+", "# ", "- - "])("a line that begins with any number of %j is looked at once", (mark) => {
  // Backtracking, each would take hours.
  const line = `${mark.repeat(1_000_000)}x`;
  expect(render([line]).length).toBeGreaterThan(1_000_000);
});

test("nothing but marks is left out, and without colors there is no escape sequence", () => {
  const plain = createStyle({ write: () => {} }, {});
  for (const name of names) expect(plain[name]("x")).toBe("x");
  fc.assert(
    fc.property(document, (text) => {
      const bare = (shown: string) => shown.replaceAll(/[*_`~#\\•│─>\s-]/g, "");
      const shown = render([text], plain);
      expect(bare(shown)).toBe(bare(text));
      expect(shown.split("\n").length).toBe(text.split("\n").length);
    }),
    { numRuns: 500 },
  );
});

test("a model's text does not steer the terminal", () => {
  expect(printable("a\x1b[2Jb\x07\r\n\tc\x9b1m\x7f")).toBe("a␛[2Jb␇\n\tc\uFFFD1m\uFFFD");
  expect(render(["\x1b]0;title\x07"])).toBe("␛]0;title␇");
});
