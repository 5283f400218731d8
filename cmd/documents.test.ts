import { expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { RandloraError } from "../src/files/errors.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { GLOBAL_OPTIONS } from "../src/terminal/options/globals.ts";
import { allCommands, allKeys, flagName } from "../src/terminal/options/names.ts";
import { parse } from "../src/terminal/options/parse.ts";
import { program } from "./main.ts";
import { USERS_OWN } from "../src/terminal/options/config.ts";
import { randlora as run } from "./testing/program.ts";

const ROOT = join(import.meta.dir, "..");
const commands = allCommands(program);
const options = commands.flatMap(({ command }) => allKeys(command.options));
const flags = new Set([...options, ...allKeys(GLOBAL_OPTIONS), "help", "help-all", "version"].map(flagName));

/** A page's code: fenced lines, with those that a backslash continues, and `…`. */
async function codeOf(page: string): Promise<{ readonly lines: string[]; readonly spans: string[] }> {
  const text = await Bun.file(join(ROOT, page)).text();
  const blocks = [...text.matchAll(/^ *```(\w*)\n([^]*?)^ *```/gm)].filter(([, language]) => language !== "ts");
  const lines = blocks.flatMap(([, , block = ""]) => block.replaceAll(/ *\\\n\s*/g, " ").split("\n"));
  const prose = text.replaceAll(/^ *```[^]*?^ *```/gm, "");
  const spans = [...prose.matchAll(/`([^`]+)`/g)].map(([, span = ""]) => span.replaceAll(/\s+/g, " "));
  return { lines, spans };
}

/** The words of the program's command in a line of a shell, up to what the shell does with its output; undefined without one. */
function commandIn(line: string): string[] | undefined {
  const [, rest] = /(?:^|[^\w/.-])randlora ((?:"[^"]*"|'[^']*'|[^|;>#&)"'`])*)/.exec(line) ?? [];
  return rest?.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)?.map((word) => word.replaceAll(/["']/g, ""));
}

/** Why the program would not take these words; a mention may leave out arguments and values that a command needs. */
function refusal(words: readonly string[], isMention: boolean): string[] {
  if (words[0] === "COMMAND") return [];
  try {
    parse(program, words, STYLE);
    return [];
  } catch (thrown) {
    if (!(thrown instanceof RandloraError)) throw thrown;
    return isMention && /missing required argument|is missing|needs a value/.test(thrown.message)
      ? []
      : [`${words.join(" ")}: ${thrown.message}`];
  }
}

const STYLE = { columns: 100, bold: (text: string) => text, dim: (text: string) => text };
/** Flags in these are another program's. */
const FOREIGN =
  /^(?:[A-Z_]+=\S+ )*(?:npm|npx|bun|node|docker|git|sudo|apt|dnf|pip|python3?|sh|lm_eval|llama-[a-z]+|mpirun|srun|sbatch|cargo|cmake|numactl)\b/;
/** Notation of a usage line. */
const USAGE = /\[|…|\.\.\./;

const PAGES = ["{README,CONTRIBUTING,SECURITY}.md", "docs/**/*.md"].flatMap((pattern) =>
  [...new Bun.Glob(pattern).scanSync(ROOT)].toSorted(),
);

test.each(PAGES)("%s: every command is one that the program takes, and every option there is", async (page) => {
  const { lines, spans } = await codeOf(page);
  const shown = lines
    .filter((line) => !USAGE.test(line))
    .flatMap((line) => refusal(commandIn(line) ?? ["--help"], false));
  const mentioned = [...spans, ...lines.filter((line) => USAGE.test(line))].flatMap((span) => {
    const words = commandIn(span);
    if (words !== undefined)
      return refusal(
        words.filter((word) => !USAGE.test(word)),
        true,
      );
    if (FOREIGN.test(span)) return [];
    const named = [...span.matchAll(/(?<![\w-])--([a-z][a-z-]*)/g)].map(([, flag = ""]) => flag);
    // Any flag may be negated.
    return named.filter((flag) => !flags.has(flag) && !flags.has(flag.replace(/^no-/, "")));
  });
  expect([...shown, ...mentioned]).toEqual([]);
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
  const { lines, spans } = await codeOf("README.md");
  const code = [...lines, ...spans].join("\n");
  const written = [...code.matchAll(/(?:--out|>) (\w*[a-z][\w./-]*)/g)].map(([, name = ""]) => name);
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
    // Paths of source, also without the folder that a table or a sentence is about; NAME, METHOD, DATE stand for any. What is in
    // git alone stands before its commit.
    for (const [, named = ""] of text
      .replaceAll(OF_COMMIT, "")
      .matchAll(/(?<![\w./@~-])((?:[\w.-]+\/)+[\w.-]*)(?![\w*<>-])/g)) {
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

/** A command with a script that a commit has. */
const OF_COMMIT = /`bun bench\/[^`]+`\s+of\s+[0-9a-f]{8}\b/g;

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

test.each(["SECURITY.md", "docs/interface.md"])(
  "%s names what the current folder's randlora.yaml may not set",
  async (page) => {
    const text = await Bun.file(join(ROOT, page)).text();
    expect([...USERS_OWN].filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  },
);

test("all documents together have at most 25,000 words", async () => {
  const pages = [...new Bun.Glob("**/*.md").scanSync({ cwd: ROOT, dot: true })].filter(
    (path) => !/(?:^|\/)(?:node_modules|dist|runs)\//.test(path),
  );
  const counts = pages.map(async (page) => (await Bun.file(join(ROOT, page)).text()).match(/\S+/g)?.length ?? 0);
  expect((await Promise.all(counts)).reduce((sum, count) => sum + count)).toBeLessThanOrEqual(25_000);
});
