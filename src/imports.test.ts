import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";

const ROOT = join(import.meta.dir, "..");

/**
 * The parts of `src`, lowest layer first (docs/architecture.md). A file imports from its own part and from layers below, not
 * from the parts beside it; `cmd` stands on top, and nothing below imports from it.
 */
const LAYERS = [
  ["files"],
  ["compute", "mpi"],
  ["data"],
  ["models", "terminal"],
  ["adapters"],
  ["chat", "train"],
  ["measure"],
  ["library"],
];

/** The guideline is 2 to 10 KB; what is larger than this says why on its first line, and ends at the other number. */
const LARGE = 12 * 1024;
const LARGEST = 14_000;

/** Sources by path from the root, in the form `src/compute/gpu/gpu.ts`; tests and their helpers are free to import anything. */
const sources = ["src", "cmd"]
  .flatMap((folder) => [...new Bun.Glob(`${folder}/**/*.{ts,wgsl}`).scanSync(ROOT)])
  .map((path) => path.replaceAll(sep, "/"))
  .filter((path) => !/\.test\.ts$|\.d\.ts$|\/testing\/|\/assembly\//.test(path))
  .toSorted();

/** Relative imports of one file, types included, as paths from the root. */
function importsOf(path: string): string[] {
  const text = readFileSync(join(ROOT, path), "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  const matches = text.matchAll(/(?:\bfrom|\bimport|\bimport\(|\brequire\()\s*"(\.[^"]+)"/g);
  return [...matches].map((match) => relative(ROOT, join(ROOT, dirname(path), match[1] ?? "")).replaceAll(sep, "/"));
}

/** `cmd`, or the part of `src` that a file belongs to. */
function partOf(path: string): string {
  const [top, part = ""] = path.split("/");
  return top === "src" ? part : "cmd";
}

function layerOf(part: string): number {
  return part === "cmd" ? LAYERS.length : LAYERS.findIndex((parts) => parts.includes(part));
}

const graph = new Map(sources.filter((path) => path.endsWith(".ts")).map((path) => [path, importsOf(path)]));

describe("the layout", () => {
  test("is not empty, and every file of src belongs to a part", () => {
    expect(sources.length).toBeGreaterThan(10);
    expect(sources.filter((path) => layerOf(partOf(path)) < 0)).toEqual([]);
  });

  test("imports exist and point down", () => {
    const wrong = [...graph].flatMap(([path, imports]) =>
      imports
        .filter((target) => !isBundled(target) && !pointsDown(path, target))
        .map((target) => `${path} → ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test("cmd has one file a command", () => {
    const commands = sources.filter((path) => path.startsWith("cmd/") && path !== "cmd/main.ts");
    const others = commands.filter(
      (path) => !/^export const \w*[cC]ommand = /m.test(readFileSync(join(ROOT, path), "utf8")),
    );
    expect(others).toEqual([]);
  });

  test("knows of GPUs in few places: where a device is opened, and where GPUs are reported on", () => {
    const isGpu = (path: string) => path.startsWith("src/compute/gpu/");
    const knowing = [...graph].filter(([path, imports]) => !isGpu(path) && imports.some(isGpu)).map(([path]) => path);
    expect(knowing).toEqual([
      "src/compute/open-device.ts",
      "src/measure/doctor/advice.ts",
      "src/measure/doctor/doctor.ts",
      "src/measure/doctor/verify/check.ts",
      "src/measure/doctor/verify/speed-checks.ts",
    ]);
  });

  test("has no import cycle, types included", () => {
    expect(findCycle(graph)).toBeUndefined();
  });

  test("has files of one job each", () => {
    const large = sources.filter((path) => {
      const { size } = statSync(join(ROOT, path));
      const hasReason = () => readFileSync(join(ROOT, path), "utf8").startsWith("// Larger than 12 KB: ");
      return size > LARGEST || (size > LARGE && !hasReason());
    });
    expect(large).toEqual([]);
  });
});

/** Files that the binary carries: what the program is called and contains, the embedded model and its data. */
function isBundled(target: string): boolean {
  return (
    ["package.json", "THIRD_PARTY_NOTICES.txt"].includes(target) || /^fixtures\/embedded\/(model|data)\//.test(target)
  );
}

function pointsDown(path: string, target: string): boolean {
  if (!existsSync(join(ROOT, target)) || !/^(src|cmd)\//.test(target)) return false;
  const [from, to] = [partOf(path), partOf(target)];
  return from === to || layerOf(to) < layerOf(from);
}

/** A path of imports that ends where it begins, or undefined. */
function findCycle(edges: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const finished = new Set<string>();
  const visit = (node: string, trail: readonly string[]): string[] | undefined => {
    if (trail.includes(node)) return [...trail.slice(trail.indexOf(node)), node];
    if (finished.has(node)) return undefined;
    for (const next of edges.get(node) ?? []) {
      const cycle = visit(next, [...trail, node]);
      if (cycle !== undefined) return cycle;
    }
    finished.add(node);
    return undefined;
  };
  for (const node of edges.keys()) {
    const cycle = visit(node, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

test("the cycle finder finds cycles", () => {
  const edges = new Map([
    ["a", ["b", "c"]],
    ["b", ["c"]],
    ["c", ["d"]],
    ["d", ["b"]],
  ]);
  expect(findCycle(edges)).toEqual(["b", "c", "d", "b"]);
  expect(
    findCycle(
      new Map([
        ["a", ["b"]],
        ["b", []],
      ]),
    ),
  ).toBeUndefined();
});
