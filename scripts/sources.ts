import { readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";

/** Sources of src and cmd below `root`, as `src/compute/gpu/gpu.ts`, without tests, their helpers, and what is generated. */
export function sourcesOf(root: string): string[] {
  return (
    ["src", "cmd"]
      .flatMap((folder) => [...new Bun.Glob(`${folder}/**/*.{ts,wgsl}`).scanSync(root)])
      .map((path) => path.replaceAll("\\", "/"))
      // What set-up makes is no source.
      .filter((path) => !/\.test\.ts$|\.d\.ts$|\/testing\/|\/assembly\/parameters\.ts$/.test(path))
      .toSorted()
  );
}

/** What each TypeScript file imports by a relative path, types included, as paths from the root. */
export function importsOf(root: string, sources: readonly string[]): Map<string, string[]> {
  const graph = new Map<string, string[]>();
  for (const path of sources) {
    if (!path.endsWith(".ts")) continue;
    const text = readFileSync(join(root, path), "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
    const matches = text.matchAll(/(?:\bfrom|\bimport|\bimport\(|\brequire\()\s*"(\.[^"]+)"/g);
    graph.set(
      path,
      [...matches].map((match) => posix.join(dirname(path), match[1] ?? "")),
    );
  }
  return graph;
}

/** `cmd`, or the part of `src` that a file belongs to. */
export function partOf(path: string): string {
  const [top, part = ""] = path.split("/");
  return top === "src" ? part : "cmd";
}
