/*
 * `bun scripts/same-bytes.ts COMMIT [CASE…]`: does this tree compute what COMMIT computed, bit for bit? For changes of
 * structure: merges, losses, adapters of every method, a resumed run, texts, perplexities and answers over the API, on the device that the program
 * takes (with RANDLORA_DEVICE=software on this machine's driver, or on that of VK_DRIVER_FILES), are compared byte by byte. Nothing
 * is recorded: bits belong to a driver.
 */
import { mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Case, Inputs, Served } from "./same-bytes-case.ts";
import { CASES } from "./same-bytes-cases.ts";
import { writeInputs } from "./same-bytes-inputs.ts";

const ROOT = join(import.meta.dir, "..");
/** Numbers of a report that no two runs share, and those that say how, not what, was computed. */
const VOLATILE = /seconds|_s$|_per_s$|bytes|timings|^run$|path|^out$|gpu|^id$|^created(_at)?$|^time$|duration$/i;
/** Files that hold what was computed; a run's state holds more than that, and the resumed run, which needs it, is compared. */
const RESULTS = new Bun.Glob("**/*.{safetensors,jsonl,json,gguf}");
/** In the place of a result: why there are no more. */
const FAILED = "failed";
const NO_RESULT = /\/state\/|(^|\/)(run|compare)\.json$/;

/** A command, a request or a server did not do what its case wants. */
class Failure extends Error {}

const [commit, ...wanted] = process.argv.slice(2);
if (commit === undefined) {
  process.stderr.write("usage: bun scripts/same-bytes.ts COMMIT [CASE…]\n");
  process.exit(2);
}
const unknown = wanted.filter((name) => !CASES.some((each) => each.name === name));
if (unknown.length > 0) {
  const names = CASES.map(({ name }) => name).join(", ");
  process.stderr.write(`no case ${unknown.join(", ")}; there are: ${names}\n`);
  process.exit(2);
}
const scratch = await mkdtemp(join(tmpdir(), "same-bytes-"));
try {
  process.exitCode = await compare(commit);
} finally {
  await git("worktree", "remove", "--force", join(scratch, "before"));
  await rm(scratch, { recursive: true, force: true });
}

async function compare(commit: string): Promise<number> {
  const before = join(scratch, "before");
  if ((await git("worktree", "add", "--quiet", "--detach", before, commit)) !== 0) return 1;
  if (!(await installed(before))) return 1;
  if ((await exited(["node", join(before, "scripts/assembly.mjs")])) !== 0) return 1;
  const inputs = { fixtures: join(ROOT, "fixtures"), made: join(scratch, "made") };
  await writeInputs(inputs);
  let different = 0;
  for (const each of CASES.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
    const [old, now] = await Promise.all([
      results(before, each, inputs, join(scratch, "old", each.name)),
      results(ROOT, each, inputs, join(scratch, "new", each.name)),
    ]);
    const names = new Set([...old.keys(), ...now.keys()]);
    // What fails in both compares nothing.
    const changed = [...names].filter((name) => name === FAILED || old.get(name) !== now.get(name));
    different += changed.length;
    process.stdout.write(`${changed.length === 0 ? "same     " : "DIFFERENT"}  ${each.name}: ${names.size} results\n`);
    for (const name of changed) {
      const [a, b] = fromDifference(old.get(name) ?? "none", now.get(name) ?? "none");
      process.stdout.write(`             ${name}: ${a} | ${b}\n`);
    }
  }
  return different === 0 ? 0 : 1;
}

/** Gives the older tree its dependencies: this tree's, where the lock files are the same. */
async function installed(tree: string): Promise<boolean> {
  const [own, other] = await Promise.all([ROOT, tree].map((root) => readFile(join(root, "package-lock.json"), "utf8")));
  if (own !== other) return (await exited(["npm", "ci", "--silent", "--prefix", tree])) === 0;
  await symlink(join(ROOT, "node_modules"), join(tree, "node_modules"));
  return true;
}

/** Two texts from a little before the first character that is not the same. */
function fromDifference(...texts: readonly [string, string]): readonly string[] {
  const [a, b] = texts;
  const first = Math.max(
    0,
    [...a].findIndex((character, at) => character !== b[at]),
  );
  return texts.map((text) => text.slice(Math.max(0, first - 60), first + 200));
}

/** What the program of one tree makes of a case: file, report or answer → its content, or a digest of it. */
async function results(tree: string, asked: Case, inputs: Inputs, folder: string): Promise<Map<string, string>> {
  await mkdir(folder, { recursive: true });
  const found = new Map<string, string>();
  try {
    for (const [index, command] of asked.commands(inputs).entries()) {
      const child = randlora(tree, folder, asked, [...command, "--json"]);
      const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
      if (status !== 0) throw new Failure(`randlora ${command.join(" ")}: ${stderr}`);
      found.set(`report ${index + 1}`, stable(stdout));
    }
    if (asked.served !== undefined) {
      for (const [index, answer] of (await answers(tree, folder, asked, asked.served(inputs))).entries()) {
        found.set(`answer ${index + 1}`, stable(answer));
      }
    }
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    found.set(FAILED, failure.message);
  }
  for await (const path of RESULTS.scan(folder)) {
    if (NO_RESULT.test(path)) continue;
    const bytes = await readFile(join(folder, path));
    // A base in the case's own folder is named with its path.
    if (!/\.jsonl?$/.test(path)) found.set(path, digest(bytes));
    else
      found.set(
        path,
        bytes
          .toString()
          .replaceAll(folder, "")
          .split("\n")
          .map(path.endsWith("l") ? stable : String)
          .join("\n"),
      );
  }
  return found;
}

/** What a server of one tree answers, request by request. */
async function answers(tree: string, folder: string, asked: Case, { serve, requests }: Served): Promise<string[]> {
  const child = randlora(tree, folder, asked, ["serve", ...serve, "--port", "0"]);
  try {
    const address = await listening(child.stderr);
    const texts: string[] = [];
    for (const [path, body] of requests) {
      const response = await fetch(`${address}${path}`, { method: "POST", body: JSON.stringify(body) });
      const text = await response.text();
      if (!response.ok) throw new Failure(`${path}: ${text}`);
      texts.push(text);
    }
    return texts;
  } finally {
    child.kill();
    await child.exited;
  }
}

/** The address that a server prints when it is ready. */
async function listening(stderr: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stderr) {
    text += decoder.decode(chunk, { stream: true });
    const address = /listening on (http:\S+)/.exec(text)?.[1];
    if (address !== undefined) return address;
  }
  throw new Failure(`the server ended: ${text}`);
}

function randlora(tree: string, cwd: string, { code }: Case, args: readonly string[]) {
  const program = [process.execPath, join(tree, "cmd/main.ts"), ...args];
  const env = code === undefined ? process.env : { ...process.env, RANDLORA_CPU_CODE: code };
  return Bun.spawn(program, { cwd, env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
}

/** A JSON text without what changes from run to run. */
function stable(json: string): string {
  if (json.trim() === "") return "";
  return JSON.stringify(JSON.parse(json), (key, value: unknown) => (VOLATILE.test(key) ? undefined : value));
}

function digest(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

async function git(...args: string[]): Promise<number> {
  return await exited(["git", ...args]);
}

async function exited(command: string[]): Promise<number> {
  return await Bun.spawn(command, { cwd: ROOT, stdio: ["ignore", "ignore", "inherit"] }).exited;
}
