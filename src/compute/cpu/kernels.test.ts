import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ModuleParts } from "./native/caller.ts";
import { type CpuKernel, type Members, pack, type Pointer, type Values } from "./parameters.ts";
import { BLOCK } from "../device/blocks.ts";
import { STORED_DTYPES } from "../device/dtype.ts";
import { ELEMENTWISE } from "../device/families/elementwise.ts";
import { MAGNITUDE } from "../device/families/magnitude.ts";
import { STEP_STATE } from "../device/families/optimizer.ts";
import { CHUNK } from "./families/attention.ts";
import { TILE_ROWS } from "./families/basis-gradient.ts";
import { CODES, DRAWN, DRAWN_UNITS } from "./families/basis.ts";
import { GROUP } from "./families/columns.ts";
import { UNIT } from "./families/losses.ts";
import { SCRATCH_BYTES } from "./layout.ts";
import modulePath from "./kernels.wasm" with { type: "file" };

const ASSEMBLY = join(import.meta.dir, "assembly");
const FAMILIES = join(import.meta.dir, "families");

/** What the host knows of kernels: every export of a family's module that describes one. */
const described: CpuKernel<Members>[] = [];
for (const path of [...new Bun.Glob("*.ts").scanSync(FAMILIES)].toSorted()) {
  const exported = Object.values((await import(join(FAMILIES, path))) as Record<string, unknown>);
  described.push(...exported.filter(isKernel));
}

function isKernel(value: unknown): value is CpuKernel<Members> {
  return typeof value === "object" && value !== null && "name" in value && "members" in value;
}

/** Without comments on members. */
const sources = [...new Bun.Glob("*.ts").scanSync(ASSEMBLY)].map((path) =>
  readFileSync(join(ASSEMBLY, path), "utf8").replace(/\/\*\*[^]*?\*\//g, ""),
);

/** Fields of an unmanaged class, in their order, after those of the one that it extends: `name: type`. */
function fieldsOf(name: string): string[] {
  const pattern = new RegExp(`@unmanaged\\n(?:export )?class ${name} (?:extends (\\w+) )?\\{\\n([^}]*)\\}`);
  const found = sources.flatMap((text) => pattern.exec(text) ?? []);
  if (found.length !== 3) throw new Error(`${name}: no class, or several`);
  const [, parent, body = ""] = found;
  const own = [...body.matchAll(/^ {2}(\w+): (\w+);$/gm)].map(([, field, type]) => `${field}: ${type}`);
  return [...(parent === undefined ? [] : fieldsOf(parent)), ...own];
}

/** The class of a kernel's parameters. */
function classOf(kernel: string): string {
  const found = sources.flatMap((text) => {
    const [, name] =
      new RegExp(`^export function ${kernel}\\(p: (\\w+), piece: u32, scratch: usize\\): void`, "m").exec(text) ?? [];
    return name === undefined ? [] : [name];
  });
  if (found.length !== 1) throw new Error(`${kernel}: ${found.length} functions`);
  return found[0] ?? "";
}

/** As the assembly declares what the host calls a member. */
const TYPES = { u32: "u32", f32: "f32", flag: "u32", pointer: "usize" } as const;

/** What kernels of machine code leave to the module. */
const PARTS: readonly (keyof ModuleParts)[] = [
  "basisRows",
  "foldRows",
  "gatedRows",
  "listRows",
  "loadRows",
  "normedRows",
];

/** Kernels of machine code alone, and which part of the module takes their parameters. */
const ALONE = new Map<string, keyof ModuleParts | undefined>([
  ["normedGemm", "normedRows"],
  ["ternary", undefined],
]);

test("the module exports the kernels that families dispatch, parts that machine code calls, and no other", async () => {
  const module = await WebAssembly.compile(await Bun.file(modulePath).arrayBuffer());
  const exported = WebAssembly.Module.exports(module).flatMap(({ kind, name }) => (kind === "function" ? [name] : []));
  expect(described.length).toBeGreaterThan(25);
  const kernels = described.map(({ name }) => name).filter((name) => !ALONE.has(name));
  const wanted = new Set([...kernels, ...PARTS]);
  expect([...wanted].toSorted()).toEqual(exported.toSorted());
});

test("the module has no data, and no state but its memory: threads share that", async () => {
  const module = await WebAssembly.compile(await Bun.file(modulePath).arrayBuffer());
  expect(WebAssembly.Module.imports(module)).toEqual([expect.objectContaining({ kind: "memory", name: "memory" })]);
  const others = WebAssembly.Module.exports(module).filter(({ kind }) => kind !== "function");
  expect(others.filter(({ kind }) => kind !== "memory")).toEqual([]);
});

const shared = described.filter(({ name }) => !ALONE.has(name) || ALONE.get(name) !== undefined);

describe.each(shared)("$name", (kernel) => {
  test("has the members of the assembly's class, in their order and types", () => {
    const members = Object.entries(kernel.members).map(([name, kind]) => `${name}: ${TYPES[kind]}`);
    expect(members).toEqual(fieldsOf(classOf(ALONE.get(kernel.name) ?? kernel.name)));
  });
});

test("parameters are packed word by word; an address is an offset until it is placed", () => {
  const members = { rows: "u32", scale: "f32", on: "flag", x: "pointer", none: "pointer" } as const;
  const x: Pointer = { buffer: { size: 64, label: "x" }, offset: 16, size: 32, access: "read" };
  const values: Values<typeof members> = { rows: 2 ** 32 - 1, scale: 0.1, on: true, x, none: undefined };
  const { words, pointers } = pack({ name: "any", members }, values);
  expect([...words]).toEqual([2 ** 32 - 1, 0x3dcccccd, 1, 16, 0]);
  expect(pointers).toEqual([{ word: 3, ...x }]);
});

/** What files of the assembly call numbers of the host. */
const CONSTANTS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  activations: {
    SILU: ELEMENTWISE.silu,
    GELU_TANH: ELEMENTWISE["gelu-tanh"],
    GELU: ELEMENTWISE.gelu,
    QUICK_GELU: ELEMENTWISE["quick-gelu"],
    EXPM1: ELEMENTWISE.expm1,
    SAME: ELEMENTWISE.copy,
  },
  "basis-gradient": { ROWS: TILE_ROWS },
  basis: { CODES, DENSE: DRAWN.dense, UNITS: DRAWN_UNITS, SPARSE: DRAWN.sparse },
  blocks: { BLOCK },
  columns: { GROUP },
  elementwise: {
    ADD: ELEMENTWISE.add,
    SOFTCAP: ELEMENTWISE.softcap,
    ACCUMULATE: ELEMENTWISE.accumulate,
    GATED: ELEMENTWISE.gated,
  },
  losses: { UNIT },
  magnitude: { FACTOR: MAGNITUDE.factor, NORM: MAGNITUDE.norm },
  "normed-rows": { SCRATCH_BITS: Math.log2(SCRATCH_BYTES) },
  optimizer: {
    LOSS: 4 * STEP_STATE.loss,
    NORM: 4 * STEP_STATE.norm,
    COEFFICIENT: 4 * STEP_STATE.coefficient,
    HALTED: 4 * STEP_STATE.halted,
  },
  softmax: { CHUNK },
};

test("the assembly numbers formats as the host does", () => {
  const [, body = ""] = /enum Format \{([^}]*)\}/.exec(sources.join("\n")) ?? [];
  expect([...(body.match(/\w+/g) ?? [])]).toEqual([...STORED_DTYPES]);
});

test.each(Object.entries(CONSTANTS))("%s.ts of the assembly has the host's numbers", (name, wanted) => {
  const text = readFileSync(join(ASSEMBLY, `${name}.ts`), "utf8");
  const found = [...text.matchAll(/^(?:export )?const (\w+): (?:u32|usize) = (\d+);/gm)];
  const values = new Map(found.map(([, constant = "", value]) => [constant, Number(value)]));
  expect(Object.keys(wanted).map((constant) => values.get(constant))).toEqual(Object.values(wanted));
});
