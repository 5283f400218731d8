import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const ROOT = join(import.meta.dir, "..");

/** Paths that tests make up in a folder of theirs: links in a Hub's cache, and what a hostile server or model may name. */
const MADE_UP = /^(?:\.\.\/)+(?:blobs|etc|evil|models--.*)$/;

/** Files with words of people in them; the others are numbers, or written by programs. */
const READ = /\.(?:ts|mjs|py|md|json|ya?ml|toml|html|sh)$|^\.ci\/|^[A-Z]+$/;
const NOT_OURS =
  /(?:^|\/)(?:node_modules|dist|runs|\.git)\/|^package-lock\.json$|^(?:fixtures|bench\/results)\/.*\.json$/;

/** The home of the user in the repository's container images. */
const IMAGE_HOME = "/home/randlora";

/**
 * Paths in a text that lead out of the repository: relative ones, seen from the file's own folder (or from a constant that
 * holds another folder), and those of one machine.
 * @param path of the file, from the root
 */
function leaving(path: string, text: string): string[] {
  const here = dirname(join(ROOT, path));
  // "..", "x" as arguments of a join are the path "../x".
  const folded = text.replaceAll(/["'`]\s*,\s*["'`]/g, "/");
  const folders = new Map([["ROOT", ROOT]]);
  for (const [, name = "", to = ""] of folded.matchAll(/const (\w+) = join\(import\.meta\.dir, "([^"]+)"\)/g)) {
    folders.set(name, join(here, to));
  }
  const relatives = [...folded.matchAll(/(?:(\w+)[,}]\s*)?["'`(/]*((?:\.\.\/)+[\w.@-]*|(?<![\w.])\.\.(?=["'`]))/g)]
    .filter(([, base = "", to = ""]) => {
      const target = join(folders.get(base) ?? here, to);
      // Pages speak of paths from the root, too; what they mean is there, or it is elsewhere.
      return relative(ROOT, target).startsWith("..") || (path.endsWith(".md") && !existsSync(target));
    })
    .map(([, , to = ""]) => to)
    .filter((to) => !MADE_UP.test(to));
  const absolutes = [...text.matchAll(/(?<![\w.~*}$-])\/(?:home|root|Users|work)\/[\w.-]+/g)]
    .map(([to]) => to)
    .filter((to) => to !== IMAGE_HOME);
  return [...relatives, ...absolutes];
}

test("nothing here names a path that leaves the repository", () => {
  const files = [...new Bun.Glob("**/*").scanSync({ cwd: ROOT, dot: true })].filter(
    (path) => READ.test(path) && !NOT_OURS.test(path),
  );
  expect(files.length).toBeGreaterThan(500);
  const found = files.flatMap((path) =>
    leaving(path, readFileSync(join(ROOT, path), "utf8")).map((to) => `${path}: ${to}`),
  );
  expect(found).toEqual([]);
});

// Written in parts, or this file would be found.
const up = (levels: number, rest: string): string => `${Array(levels).fill("..").join("/")}${rest}`;
const quoted = (path: string): string => `"${path.split("/").join('", "')}"`;

test.each([
  ["src/a/x.test.ts", `join(import.meta.dir, "${up(3, "/shared/models")}")`],
  ["src/a/x.test.ts", `join(import.meta.dir, ${quoted(up(3, "/shared"))})`],
  ["src/a/x.test.ts", `join(\n  import.meta.dir,\n  ${quoted(up(2, ""))},\n  ${quoted(up(1, ""))},\n  "shared",\n)`],
  ["interop/x.ts", `join(ROOT, ${quoted(up(1, "/shared"))})`],
  ["interop/x.ts", `const A = join(import.meta.dir, "..");\nconst B = join(A, ${quoted(up(1, "/shared"))});`],
  ["interop/x.ts", `\`\${ROOT}/${up(1, "/shared")}\``],
  ["README.md", `models are in \`${up(1, "/shared")}\``],
  ["bench/README.md", `[models](${up(2, "/shared")})`],
  ["bench/README.md", `models are in \`${up(1, "/shared")}\``],
  ["bench/x.py", `open("${["", "home", "me", "x"].join("/")}")`],
])("%s: %s leaves it", (path, text) => {
  expect(leaving(path, text)).toHaveLength(1);
});

test.each([
  ["src/a/x.test.ts", `join(import.meta.dir, "${up(2, "/fixtures/draws")}")`],
  ["src/a/x.test.ts", `join(ROOT, "fixtures")`],
  ["docs/x.md", `[the suite](${up(1, "/interop/README.md")})`],
  [".ci/run", `cd "$(dirname "$0")/${up(1, "")}"`],
  ["src/a/x.test.ts", `symlink("${up(4, "/blobs/x")}")`],
])("%s: %s stays in it", (path, text) => {
  expect(leaving(path, text)).toEqual([]);
});
