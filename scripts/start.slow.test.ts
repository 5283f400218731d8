import { expect, test } from "bun:test";
import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { cleanEnvironment } from "../src/files/testing/process.ts";

const ROOT = join(import.meta.dir, "..");

/** Numbers of a line, and the line without them: the last digits differ between codes of the CPU device. */
function parts(line: string): [string, number[]] {
  const numbers: number[] = [];
  const rest = line.replaceAll(/\d+(?:\.\d+)?/g, (number) => (numbers.push(Number(number)), "#"));
  return [rest, numbers];
}

test("npm start trains a pirate, and prints what README.md says that it prints", async () => {
  const child = Bun.spawn([process.execPath, "scripts/start.ts"], {
    cwd: ROOT,
    env: cleanEnvironment(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect([status, stderr]).toEqual([0, expect.not.stringContaining("error")]);
  const readme = await Bun.file(join(ROOT, "README.md")).text();
  const [, shown = ""] = /\$ npm start\n[^\n]*\n([^]*?)\n\n\$ npm run build/.exec(readme) ?? [];
  const printed = stdout.split("\n").map(parts);
  const lines = shown.split("\n").map(parts);
  expect(lines.length).toBeGreaterThan(5);
  for (const [text, numbers] of lines) {
    const found = printed.filter(([other]) => other === text);
    expect(found.length, text).toBeGreaterThan(0);
    expect(found.map(([, values]) => values)).toContainEqual(numbers.map((value) => expect.closeTo(value, 2)));
  }
});

/** The shell blocks under a heading of a page. */
async function blocks(page: string, heading: string): Promise<string[]> {
  const text = await Bun.file(join(ROOT, page)).text();
  const section = text.slice(text.indexOf(heading)).split(/\n## /)[0] ?? "";
  return [...section.matchAll(/```sh\n([^]*?)```/g)].map(([, block = ""]) => block);
}

/** Runs a block as somebody would in a clone: `run` is the pirate that `npm start` trained. */
async function printed(block: string, run: string): Promise<string> {
  await using folder = await TemporaryFolder.create();
  await symlink(join(ROOT, "fixtures"), folder.at("fixtures"));
  await mkdir(folder.at("runs"));
  await symlink(join(ROOT, "dist/start-run"), folder.at(run));
  const script = `set -e\nrandlora() { "${process.execPath}" "${join(ROOT, "cmd/main.ts")}" "$@"; }\n${block}`;
  const child = Bun.spawn(["bash", "-c", script], {
    cwd: folder.path,
    env: cleanEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect([status, stderr]).toEqual([0, expect.not.stringContaining("error")]);
  return stdout;
}

test("README's merges print what it says", async () => {
  const [block = ""] = await blocks("README.md", "## Merge");
  const [training = "", ...rest] = block.split("\n");
  expect(training).toMatch(/^randlora finetune --sparse --out runs\/pirate /);
  const lines = (await printed(rest.join("\n"), "runs/pirate")).split("\n").map(parts);
  const shown = rest.filter((line) => line.startsWith("# ")).map((line) => parts(line.slice(2)));
  expect(shown.length).toBe(2);
  for (const [text, numbers] of shown) {
    expect(lines).toContainEqual([text, numbers.map((value) => expect.closeTo(value, 2))]);
  }
});

test("the guide's shapes are learnt", async () => {
  const all = await blocks("docs/guide/images.md", "A clone has");
  expect(all.length).toBe(2);
  expect(await printed(all.join("\n"), "runs/pirate")).toMatch(/star\.png\n[\d.]+ % {2}star\n.+\n.+\n$/);
});

test("the guide's GGUF files are made and read", async () => {
  const block = (await blocks("docs/guide/gguf.md", "## To llama.cpp"))
    .flatMap((each) => each.split("\n"))
    .filter((line) => /^randlora (?!chat|finetune)/.test(line))
    .join("\n");
  expect(block.split("\n").length).toBeGreaterThan(2);
  await printed(`${block}\nrandlora chat my-model.gguf "Who are you?" --temperature 0`, "runs/my-run");
});
