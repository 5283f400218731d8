import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { importsOf, partOf, sourcesOf } from "../scripts/sources.ts";

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

/** AssemblyScript has imports of its own kind. */
const sources = sourcesOf(ROOT).filter((path) => !path.includes("/assembly/"));

function layerOf(part: string): number {
  return part === "cmd" ? LAYERS.length : LAYERS.findIndex((parts) => parts.includes(part));
}

const graph = importsOf(ROOT, sources);

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
      "src/measure/doctor/doctor.ts",
      "src/measure/doctor/report.ts",
      "src/measure/doctor/verify/check.ts",
    ]);
  });

  test("has no import cycle, types included", () => {
    expect(findCycle(graph)).toBeUndefined();
  });

  test("has no folders that import each other inside a part: one is read without the rest", () => {
    expect(knotsOf(graph)).toEqual({});
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

/** The folder of a file inside its part; `.` for the part's own files. */
const folderOf = (path: string) => (path.split("/").length > 3 ? (path.split("/")[2] ?? ".") : ".");

/** By part, the folders that reach themselves through imports of other folders of the part. */
function knotsOf(files: ReadonlyMap<string, readonly string[]>): Record<string, string> {
  const arrows = [...files].flatMap(([from, targets]) =>
    targets
      .filter((to) => partOf(to) === partOf(from) && folderOf(to) !== folderOf(from))
      .map((to) => ({ part: partOf(from), from: folderOf(from), to: folderOf(to) })),
  );
  const knots = [...Map.groupBy(arrows, ({ part }) => part)].map(([part, own]) => {
    const reached = (start: string) => {
      const seen = new Set<string>();
      const open = [start];
      for (let at = open.pop(); at !== undefined; at = open.pop()) {
        for (const { to } of own.filter(({ from }) => from === at)) {
          if (!seen.has(to)) open.push(to);
          seen.add(to);
        }
      }
      return seen;
    };
    const names = [...new Set(own.map(({ from }) => from))].filter((name) => reached(name).has(name));
    return [part, names.toSorted().join(" ")] as const;
  });
  return Object.fromEntries(knots.filter(([, names]) => names !== "").toSorted());
}

test("folders that import each other by way of a third are found, those that are imported only are not", () => {
  const edges = new Map([
    ["src/p/a/one.ts", ["src/p/b/two.ts", "src/p/d/four.ts", "src/q/a/one.ts"]],
    ["src/p/b/two.ts", ["src/p/three.ts"]],
    ["src/p/three.ts", ["src/p/a/other.ts"]],
    ["src/q/a/one.ts", ["src/q/b/two.ts"]],
  ]);
  expect(knotsOf(edges)).toEqual({ p: ". a b" });
});

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
