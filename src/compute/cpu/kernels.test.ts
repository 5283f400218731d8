import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { className } from "../../../scripts/assembly-parameters.ts";
import type { ModuleParts } from "./native/caller.ts";
import { ROUTINE_KERNELS } from "./native/kernels/names.ts";
import type { Pointer } from "./operands.ts";
import { type CpuKernel, fieldsOf, type Members, pack, type Values } from "./parameters.ts";
import { BLOCK } from "../device/blocks.ts";
import type { DeviceBuffer } from "../device/buffer.ts";
import { DTYPE_CODES, STORED_DTYPES } from "../device/dtype.ts";
import { MAGNITUDE } from "../device/families/magnitude.ts";
import { STEP_STATE } from "../device/families/optimizer.ts";
import type { Tensor, TensorDtype } from "../device/tensor.ts";
import { CODES, DRAWN, DRAWN_UNITS } from "./families/basis.ts";
import { GROUP } from "./families/columns.ts";
import { UNIT } from "./families/losses.ts";
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

/** What kernels of routines leave to the module. */
const PARTS: readonly (keyof ModuleParts)[] = [
  "basisRows",
  "deltaGate",
  "foldRows",
  "listRows",
  "loadRows",
  "normedRows",
];

/** Kernels that are routines alone. */
const ALONE: ReadonlySet<string> = new Set(ROUTINE_KERNELS.filter((name) => !name.startsWith("gatedDelta")));

test("the module exports the kernels that families dispatch, parts that routines' kernels call, and no other", async () => {
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

test.each(described.filter(({ name }) => !ALONE.has(name)))("$name takes the class of its members", ({ name }) => {
  expect(sources.filter((text) => text.includes(`export function ${name}(p: ${className(name)}, `)).length).toBe(1);
});

test("parameters are packed word by word; an address is an offset until it is placed", () => {
  const members = { rows: "u32", scale: "f32", on: "flag", x: "pointer", none: "pointer" } as const;
  const x: Pointer = { buffer: { size: 64, label: "x" }, offset: 16, size: 32, access: "read" };
  const values: Values<typeof members> = { rows: 2 ** 32 - 1, scale: 0.1, on: true, x, none: undefined };
  const { words, pointers } = pack({ name: "any", members }, values);
  expect([...words]).toEqual([2 ** 32 - 1, 0x3dcccccd, 1, 16, 0]);
  expect(pointers).toEqual([{ word: 3, ...x }]);
});

test("a tensor is packed as its kind says: its address, bytes from row to row, its format, and what is done with it", () => {
  const buffer: DeviceBuffer = { size: 4096, label: "all" };
  const tensor = (dtype: TensorDtype, more: Partial<Tensor> = {}): Tensor => {
    return { buffer, dtype, shape: [3, 40], offset: 8, pitch: 64, ...more };
  };
  const members = {
    a: "row",
    b: "targetRow",
    c: "matrix",
    d: "target",
    e: "stored",
    f: "stored",
    g: "matrix",
  } as const;
  const inBlocks = tensor("Q8_0", { shape: [2, 64], offset: 64, scalesAt: 512 });
  const numbers = { a: tensor("U32"), b: tensor("F32"), c: tensor("F32"), d: tensor("BF16"), e: tensor("F16") };
  const { words, pointers } = pack({ name: "any", members }, { ...numbers, f: inBlocks, g: undefined });
  const e = [16, 128, DTYPE_CODES.F16, 0, 0];
  const f = [64, 64, DTYPE_CODES.Q8_0, 512 + 2 * 2, 2 * 2];
  expect([...words]).toEqual([32, 32, 32, 256, 16, 128, ...e, ...f, 0, 0]);
  expect(fieldsOf(members).length).toBe(words.length);
  // Two rows of 64 elements, and one of 40.
  const placed = pointers.map(({ word, size, access }) => [word, size, access]);
  expect(placed).toEqual([
    [0, 168 * 4, "read"],
    [1, 168 * 4, "write"],
    [2, 168 * 4, "read"],
    [4, 168 * 2, "write"],
    [6, 168 * 2, "read"],
    [11, 128, "read"],
    [14, 4 * 2, "read"],
  ]);
});

/** What files of the assembly call numbers of the host. */
const CONSTANTS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  basis: { CODES, DENSE: DRAWN.dense, UNITS: DRAWN_UNITS, SPARSE: DRAWN.sparse },
  blocks: { BLOCK },
  columns: { GROUP },
  losses: { UNIT },
  magnitude: { FACTOR: MAGNITUDE.factor, NORM: MAGNITUDE.norm },
  optimizer: {
    LOSS: 4 * STEP_STATE.loss,
    NORM: 4 * STEP_STATE.norm,
    COEFFICIENT: 4 * STEP_STATE.coefficient,
    HALTED: 4 * STEP_STATE.halted,
  },
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
