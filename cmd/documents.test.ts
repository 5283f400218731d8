import { describe, expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { GLOBAL_OPTIONS } from "../src/terminal/options/globals.ts";
import { allCommands, allKeys, flagName } from "../src/terminal/options/names.ts";
import { program } from "./main.ts";
import { randlora as run } from "./testing/program.ts";

const ROOT = join(import.meta.dir, "..");
const commands = allCommands(program);
const options = commands.flatMap(({ command }) => allKeys(command.options));
const flags = new Set([...options, ...allKeys(GLOBAL_OPTIONS), "help", "help-all", "version"].map(flagName));

/** Code of a page: `…` and fenced lines. */
async function codeOf(page: string): Promise<string[]> {
  const text = await Bun.file(join(ROOT, page)).text();
  const code = [...text.matchAll(/```\w*\n([^]*?)```|`([^`]+)`/g)].map(([, block, span]) => block ?? span ?? "");
  // Another program's command has options of its own.
  return code.map((part) => part.replaceAll(/^(?:lm_eval|npm|docker|llama-cli)(?:.*\\\n)*.*$/gm, ""));
}

const PAGES = [...new Bun.Glob("docs/{guide/*,interface/*,interface,adapter-json}.md").scanSync(ROOT)].toSorted();

describe.each(["README.md", ...PAGES])("%s", (page) => {
  test("names no command and no option that does not exist", async () => {
    const known = new Set(commands.map(({ path }) => path.join(" ")));
    for (const code of await codeOf(page)) {
      const named = [...code.matchAll(/(?<![\w-])--([a-z][a-z-]*)/g)].map(([, flag = ""]) => flag);
      // Any flag may be negated.
      expect(named.filter((flag) => !flags.has(flag) && !flags.has(flag.replace(/^no-/, "")))).toEqual([]);
      for (const [, first = "", second = ""] of code.matchAll(/\brandlora ([a-z]+)(?: ([a-z]+))?/g)) {
        expect(
          [first, `${first} ${second}`].some((path) => known.has(path)),
          code,
        ).toBe(true);
      }
    }
  });
});

test("the README's first run on data of one's own is seen in the answer, on the embedded model as well", async () => {
  const readme = await Bun.file(join(ROOT, "README.md")).text();
  const [, sample = "", flags = ""] = /^echo '(.*)' > ahoy\.jsonl\nrandlora finetune \S+ (.*)$/m.exec(readme) ?? [];
  await using folder = await TemporaryFolder.create();
  await Bun.write(folder.at("ahoy.jsonl"), `${sample}\n`);
  const randlora = async (...args: readonly string[]) => {
    return (await run(args, { cwd: folder.path })).stdout;
  };
  const ask = (model: string) => randlora("chat", model, "Hi", "--temperature", "0", "--quiet");
  expect(await ask("embedded")).not.toContain("Ahoy");
  await randlora("finetune", "embedded", ...flags.split(" "), "--quiet");
  expect(await ask("runs/embedded-randlora-1")).toBe("Ahoy!\n");
});

test("git ignores what README's commands write", async () => {
  const code = (await codeOf("README.md")).join("\n");
  const written = [...code.matchAll(/(?:--out|>) (\w*[a-z][\w.-]*)/g)].map(([, name = ""]) => name);
  expect(written).toContain("ahoy.jsonl");
  const { stdout } = Bun.spawnSync(["git", "check-ignore", "randlora-doctor-1.json", ...written], { cwd: ROOT });
  expect(stdout.toString().trim().split("\n")).toEqual(["randlora-doctor-1.json", ...written]);
});

test("names no file of the repository and no heading of a page that does not exist", async () => {
  const listed = Bun.spawnSync(["git", "ls-files", "--cached", "--others", "--exclude-standard"], { cwd: ROOT });
  const files = listed.stdout.toString().trim().split("\n");
  const places = new Set(files.flatMap((file) => ancestors(file)));
  const ends = new Set([...places].flatMap((place) => endings(place)));
  const pages = files.filter((file) => file.endsWith(".md"));
  expect(pages.length).toBeGreaterThan(5);
  const missing: string[] = [];
  for (const page of pages) {
    const text = await Bun.file(join(ROOT, page)).text();
    // Paths of source, also without the folder that a table or a sentence is about; NAME, METHOD, DATE stand for any.
    for (const [, named = ""] of text.matchAll(/(?<![\w./@~-])((?:[\w.-]+\/)+[\w.-]*)(?![\w*<>-])/g)) {
      const path = named.replace(/^(?:\.\.\/)+|[./]+$/g, "");
      const isOurs = /\.(?:ts|mjs|wgsl|py|svg|md)$/.test(path) || SOURCES.has(path.split("/")[0] ?? "");
      if (isOurs && !/NAME|METHOD|DATE/.test(path) && !ends.has(path)) missing.push(`${page}: ${path}`);
    }
    for (const [, link = "", heading] of text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)) {
      const linked = link === "" ? page : join(dirname(page), link).replace(/\/$/, "");
      if (!places.has(linked)) missing.push(`${page}: ${link}`);
      else if (heading !== undefined && !(await anchorsOf(linked)).includes(heading)) {
        missing.push(`${page}: ${link}#${heading}`);
      }
    }
  }
  expect(missing).toEqual([]);
});

/** Where links into a page may lead: its headings, as GitHub names them. */
async function anchorsOf(page: string): Promise<string[]> {
  const text = await Bun.file(join(ROOT, page)).text();
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) => anchorOf(title));
}

function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}_ -]/gu, "")
    .replaceAll(" ", "-");
}

/** First parts of what is certainly a path of ours. */
const SOURCES = new Set(["adapters", "bench", "cmd", "docs", "fixtures", "interop", "kernels", "scripts", "src"]);

/** a/b/c: a, a/b, a/b/c. */
function ancestors(file: string): string[] {
  const parts = file.split("/");
  return parts.map((_, at) => parts.slice(0, at + 1).join("/"));
}

/** a/b/c: a/b/c, b/c, c. */
function endings(place: string): string[] {
  const parts = place.split("/");
  return parts.map((_, at) => parts.slice(at).join("/"));
}
