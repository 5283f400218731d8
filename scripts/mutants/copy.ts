/*
 * A private copy of the working tree, in which tests run with a mistake in one file. The user's own tree stays as it is.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { SETTINGS } from "../tests.ts";
import type { Mutation } from "./mutation.ts";
import { mutate } from "./mutation.ts";

/** What `npm ci` and scripts/assembly.mjs make, which git does not know. */
const CPU = "src/compute/cpu";
const COMPILED = [`${CPU}/kernels.wasm`, `${CPU}/kernels.wasm.made-from`, `${CPU}/assembly/parameters.ts`];

function git(folder: string, ...args: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["git", "-C", folder, ...args]);
  if (exitCode !== 0) throw new Error(`git ${args.join(" ")}: ${stderr.toString()}`);
  return stdout.toString();
}

/** Paths of a tree's sources and tests, but for those of suites that neither `npm test` nor `npm run test:slow` has. */
export function sourcesOf(root: string): readonly string[] {
  const paths = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0");
  return paths.filter(
    (path) =>
      /\.(?:ts|mjs|wgsl)$/.test(path) &&
      !/^(?:interop|bench|scripts\/mutants)\b/.test(path) &&
      existsSync(join(root, path)),
  );
}

/** What a run of some test files came to: undefined where all passed. */
export interface Failure {
  /** The test file that failed. */
  readonly file: string;
  readonly hung: boolean;
}

export class Copy implements Disposable {
  readonly #root = mkdtempSync(join(tmpdir(), "randlora-mutant-"));
  readonly #kept = new Map<string, Buffer>();

  #child: number | undefined;

  constructor(source: string) {
    process.on("exit", () => this[Symbol.dispose]());
    git(source, "clone", "--quiet", "--shared", source, this.#root);
    const changed = git(source, "ls-files", "-z", "--modified", "--others", "--exclude-standard").split("\0");
    for (const path of [...changed.filter((path) => path !== ""), ...COMPILED]) {
      if (existsSync(join(source, path))) cpSync(join(source, path), join(this.#root, path));
      else rmSync(join(this.#root, path), { force: true });
    }
    symlinkSync(join(source, "node_modules"), join(this.#root, "node_modules"));
  }

  /** Puts a mistake into the copy, instead of the one before; none: the copy is as its source is. */
  apply(mutation?: Mutation): void {
    for (const [path, bytes] of this.#kept) writeFileSync(path, bytes);
    this.#kept.clear();
    if (mutation === undefined) return;
    const text = mutate(this.#root, mutation);
    // Tests compile changed kernels by themselves, and would again to undo it.
    const made = mutation.file.startsWith(CPU) ? COMPILED : [];
    for (const path of [mutation.file, ...made].map((path) => join(this.#root, path)))
      this.#kept.set(path, readFileSync(path));
    writeFileSync(join(this.#root, mutation.file), text);
  }

  /** Runs test files up to the first that fails; one that says nothing for `patience` seconds hangs. */
  async run(files: readonly string[], patience: number): Promise<Failure | undefined> {
    const child = Bun.spawn(
      [process.execPath, "test", "--bail", "--timeout", "120000", ...files.map((file) => `./${file}`)],
      {
        cwd: this.#root,
        env: { ...process.env, ...SETTINGS },
        stdio: ["ignore", "ignore", "pipe"],
        // A group of its own, so that what a test has started ends with it.
        detached: true,
      },
    );
    let [text, hung] = ["", false];
    this.#child = child.pid;
    const stop = () => {
      hung = true;
      this.#end();
    };
    let timer = setTimeout(stop, patience * 1000);
    // A server that a failed test leaves behind would keep stderr open.
    void child.exited.then(() => this.#end());
    const decoder = new TextDecoder();
    for await (const bytes of child.stderr) {
      clearTimeout(timer);
      timer = setTimeout(stop, patience * 1000);
      text += decoder.decode(bytes, { stream: true });
    }
    const status = await child.exited;
    clearTimeout(timer);
    if (status === 0 && !hung) return undefined;
    // Bun names a file before what it says of its tests; of one that ends the process it may say nothing.
    const named = [...text.matchAll(/^(?:::group::)?(\S+\.test\.ts):$/gm)].at(-1)?.[1];
    const file = files.find((path) => path === named) ?? files[0] ?? dirname(this.#root);
    return { file, hung };
  }

  /** Ends the tests that run, if any do, and what they have started. */
  #end(): void {
    if (this.#child !== undefined) spawnSync("kill", ["-KILL", `-${this.#child}`], { stdio: "ignore" });
  }

  [Symbol.dispose](): void {
    this.#end();
    rmSync(this.#root, { recursive: true, force: true });
  }
}
