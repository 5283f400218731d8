/*
 * Which test files reach a source file: by imports, by the path of a program that they start, and through the module that is
 * compiled from AssemblyScript.
 */
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

const ASSEMBLY = "src/compute/cpu/assembly/";
/** Steps of imports that a test is nearer by that names the file: its folder's index mostly lies between. */
const NAMED = 3;
const MODULE = "src/compute/cpu/kernels.wasm";

/** Types are gone before anything runs, and comments name files that they do not use. */
const ONLY_READ = /\/\*[\s\S]*?\*\/|^\s*\/\/.*$|^(?:import|export) type [^;]*?;/gm;
/** A path of a source in a literal, or the end of one: `"./lock.ts"`, `${folder}/main.ts`. */
const PATH = /["'`/]((?:\.\/)?[\w@.][\w@./-]*\.(?:ts|mjs|wgsl|wasm))["'`]/g;

/** @returns the file that a literal of `from` means: beside it, in a folder above, or the only one below that ends so */
function resolve(root: string, from: string, name: string, files: readonly string[]): string | undefined {
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    const path = join(folder, name).replaceAll("\\", "/");
    if (!path.startsWith("..") && existsSync(join(root, path))) return path;
    if (name.startsWith(".")) return undefined;
    if (folder === ".") break;
  }
  const [only, ...others] = files.filter((path) => path.startsWith(dirname(from)) && path.endsWith(`/${name}`));
  return others.length === 0 ? only : undefined;
}

/** How many folders lie between two files. */
function apart(a: string, b: string): number {
  const [left, right] = [dirname(a).split("/"), dirname(b).split("/")];
  const shared = left.findIndex((name, index) => name !== right[index]);
  return left.length + right.length - 2 * (shared < 0 ? left.length : shared);
}

/** Test files of a tree by the sources that they reach. */
export class Reach {
  readonly #users = new Map<string, string[]>();
  readonly #tests = new Map<string, string>();

  /** `files` are all TypeScript and WGSL files of the tree, as paths from `root`. */
  constructor(root: string, files: readonly string[]) {
    const assembly = files.filter((path) => path.startsWith(ASSEMBLY));
    for (const used of assembly) this.#use(used, MODULE);
    for (const file of files) {
      const text = readFileSync(join(root, file), "utf8").replace(ONLY_READ, "");
      if (file.endsWith(".test.ts")) this.#tests.set(file, text);
      for (const [, name = ""] of text.matchAll(PATH)) {
        const used = resolve(root, file, name, files);
        if (used !== undefined) this.#use(used, file);
      }
    }
  }

  #use(used: string, user: string): void {
    const users = this.#users.get(used);
    if (users === undefined) this.#users.set(used, [user]);
    else users.push(user);
  }

  /** @returns the test files that reach `file`; those first that name it, are near it and reach it by few steps */
  testsOf(file: string): readonly string[] {
    const steps = new Map([[file, 0]]);
    // A Map's iterator also visits what is added on the way.
    for (const [path, step] of steps) {
      for (const user of this.#users.get(path) ?? []) if (!steps.has(user)) steps.set(user, step + 1);
    }
    const name = basename(file).replace(/\.\w+$/, "");
    const rank = (test: string) => {
      const isNamed = this.#tests.get(test)?.includes(name) === true;
      return (steps.get(test) ?? 0) + apart(file, test) - (isNamed ? NAMED : 0);
    };
    return [...steps.keys()].filter((path) => this.#tests.has(path)).toSorted((a, b) => rank(a) - rank(b));
  }
}
