/*
 * `bun scripts/same-bytes.ts COMMIT [CASE…]`: does this tree compute what COMMIT computed, bit for bit? For changes of
 * structure: merges, losses, trained adapters, a resumed run, texts and perplexities of both, on the device that the program
 * takes (with RANDLORA_DEVICE=software on this machine's driver, or on that of VK_DRIVER_FILES), are compared byte by byte. Nothing
 * is recorded: bits belong to a driver.
 */
import { mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CASES, type Case } from "./same-bytes-cases.ts";

const ROOT = join(import.meta.dir, "..");
/** Numbers of a report that no two runs share, and those that say how, not what, was computed. */
const VOLATILE = /seconds|_s$|_per_s$|bytes|timings|^run$|path|^out$|gpu/i;

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
  if ((await git("worktree", "add", "--detach", before, commit)) !== 0) return 1;
  await symlink(join(ROOT, "node_modules"), join(before, "node_modules"));
  if ((await exited(["node", join(before, "scripts/assembly.mjs")])) !== 0) return 1;
  // Both read the models of the older tree, under one path.
  const fixtures = join(before, "fixtures");
  let different = 0;
  for (const each of CASES.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
    const old = await results(before, each, fixtures, join(scratch, "old", each.name));
    const now = await results(ROOT, each, fixtures, join(scratch, "new", each.name));
    const names = new Set([...old.keys(), ...now.keys()]);
    const changed = [...names].filter((name) => old.get(name) !== now.get(name));
    different += changed.length;
    process.stdout.write(`${changed.length === 0 ? "same     " : "DIFFERENT"}  ${each.name}: ${names.size} results\n`);
    for (const name of changed) process.stdout.write(`             ${name}\n`);
  }
  return different === 0 ? 0 : 1;
}

/** What the program of one tree makes of a case: file or report → its content, or a digest of it. */
async function results(
  tree: string,
  { commands }: Case,
  fixtures: string,
  folder: string,
): Promise<Map<string, string>> {
  await mkdir(folder, { recursive: true });
  const found = new Map<string, string>();
  for (const [index, command] of commands(fixtures).entries()) {
    const program = [process.execPath, join(tree, "cmd/main.ts"), ...command, "--json"];
    const child = Bun.spawn(program, { cwd: folder, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    if (status !== 0) throw new Error(`${tree}: randlora ${command.join(" ")}: ${stderr}`);
    found.set(`report ${index + 1}`, stable(stdout));
  }
  for await (const path of new Bun.Glob("**/{*.safetensors,metrics.jsonl}").scan(folder)) {
    // A state holds more than what was computed; what it is for, the resumed run, is compared.
    if (path.includes("/state/")) continue;
    const bytes = await readFile(join(folder, path));
    found.set(path, path.endsWith(".jsonl") ? bytes.toString().split("\n").map(stable).join("\n") : digest(bytes));
  }
  return found;
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
