import { expect, test } from "bun:test";
import { join } from "node:path";
import { program } from "../cmd/main.ts";
import { allCommands } from "../src/terminal/options/names.ts";
import { commandsPage, PAGE } from "./interface.ts";
import { jsonTypes } from "./json-types.ts";

const ROOT = join(import.meta.dir, "..");

test(`${PAGE} is what \`npm run docs\` writes`, async () => {
  const written = await commandsPage();
  expect(await Bun.file(join(ROOT, PAGE)).text(), "npm run docs").toBe(written);
});

test("the interface has lines of 120 characters and 7,500 words at most", async () => {
  const pages = ["docs/interface.md", ...new Bun.Glob("docs/interface/*.md").scanSync(ROOT)];
  const texts = await Promise.all(pages.map((page) => Bun.file(join(ROOT, page)).text()));
  const text = texts.join("\n");
  expect(text.split("\n").filter((line) => Bun.stringWidth(line) > 120)).toEqual([]);
  expect(text.trim().split(/\s+/).length).toBeLessThanOrEqual(7500);
});

test("every command says what --json prints", async () => {
  const page = await commandsPage();
  const silent = allCommands(program).filter(({ path }) => {
    const section = page.split(`\n## ${path.join(" ")}\n`)[1]?.split("\n## ")[0] ?? "";
    // The cache's own are as \`list\` and \`rm\`.
    return path[0] !== "cache" && !section.includes("\nJSON");
  });
  expect(silent.map(({ path }) => path.join(" "))).toEqual([]);
});

const REPORT = `
interface Figures {
  /** Mean of all. */
  readonly loss: number;
}

/**
 * What it prints.
 * @json several
 */
export interface TimedJson {
  readonly seconds?: number;
}

/** @json train --dry-run */
interface TrainJson extends Figures, TimedJson {
  readonly kind: "full" | "part";
  /**
   * On two
   * lines.
   */
  readonly sizes: {
    /** Of one { brace. */
    readonly width: number;
  } | null;
  readonly runs?: readonly Figures[];
  readonly names:
    | readonly string[]
    | undefined;
}
`;

test("keys, what they say and what is within them are read from interfaces", () => {
  const [several, train] = jsonTypes([["report.ts", REPORT]]);
  expect(several?.command).toBe("several");
  expect(train?.command).toBe("train --dry-run");
  expect(train?.extended.map(({ command }) => command)).toEqual(["several"]);
  const loss = { name: "loss", holds: "one", isOptional: false, help: "Mean of all.", keys: [] } as const;
  expect(train?.keys).toEqual([
    loss,
    { name: "kind", holds: "one", isOptional: false, help: "full, part.", keys: [] },
    {
      name: "sizes",
      holds: "one",
      isOptional: false,
      help: "On two lines.",
      keys: [{ name: "width", holds: "one", isOptional: false, help: "Of one { brace.", keys: [] }],
    },
    { name: "runs", holds: "list", isOptional: true, help: "", keys: [loss] },
    { name: "names", holds: "one", isOptional: false, help: "", keys: [] },
  ]);
});

test("what no report has is refused", () => {
  expect(() => jsonTypes([["a.ts", "/** @json x */\ninterface A {\n  run(): void;\n}\n"]])).toThrow(
    "no key of a report",
  );
  expect(() => jsonTypes([["a.ts", "/** @json x */\ninterface A extends B {\n}\n"]])).toThrow("B");
});
