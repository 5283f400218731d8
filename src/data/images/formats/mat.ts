import { inflateSync } from "node:zlib";
import { RandloraError } from "../../../files/errors.ts";
import { hasText, latin1, viewOf } from "./bytes.ts";

/** A value of a MATLAB file. Elements follow each other by columns: the first index runs fastest. */
export type MatValue =
  | { readonly kind: "numbers"; readonly dims: readonly number[]; readonly data: MatNumbers }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "cells"; readonly items: readonly MatValue[] }
  | { readonly kind: "structs"; readonly items: readonly Readonly<Record<string, MatValue>>[] };

type MatNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

const [CELL, STRUCT, CHAR] = [1, 2, 4];
const NUMERIC = new Set([6, 7, 8, 9, 10, 11, 12, 13]);
const [MATRIX, COMPRESSED] = [14, 15];
/** Arrays in each other; Stanford Cars has four. */
const DEEPEST = 16;
/** Sizes of an array, fields of a struct, and values of a file: some hundred thousand are the most that sets have. */
const MOST_DIMS = 32;
const MOST_FIELDS = 1000;
const MOST_VALUES = 2 ** 20;
/** What all compressed arrays of a file may unfold to: SVHN's training images take 225 MB. */
const MOST_BYTES = 2 ** 30;

/** How numbers are stored, by the type in a tag; whatever the array's class is, they may be stored in a smaller one. */
const STORED = new Map<number, { readonly bytes: number; readonly read: (bytes: Uint8Array) => MatNumbers }>([
  [1, { bytes: 1, read: (bytes) => new Int8Array(aligned(bytes)) }],
  [2, { bytes: 1, read: (bytes) => bytes }],
  [3, { bytes: 2, read: (bytes) => new Int16Array(aligned(bytes)) }],
  [4, { bytes: 2, read: (bytes) => new Uint16Array(aligned(bytes)) }],
  [5, { bytes: 4, read: (bytes) => new Int32Array(aligned(bytes)) }],
  [6, { bytes: 4, read: (bytes) => new Uint32Array(aligned(bytes)) }],
  [7, { bytes: 4, read: (bytes) => new Float32Array(aligned(bytes)) }],
  [9, { bytes: 8, read: (bytes) => new Float64Array(aligned(bytes)) }],
]);

function aligned(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

interface Element {
  readonly type: number;
  readonly data: Uint8Array;
  readonly end: number;
}

/**
 * Reads the variables of a MATLAB file, version 5 (little-endian): numbers, texts, cells and structs.
 *
 * @param name of the file, fit to be printed
 * @throws {RandloraError} `format` for another version and for a file that is broken
 */
export function readMat(bytes: Uint8Array, name: string): ReadonlyMap<string, MatValue> {
  if (hasText(bytes, 0, "MATLAB 7.3") || hasText(bytes, 1, "HDF")) throw wrong(name, "MATLAB 7.3 files are not read");
  if (bytes.length < 128 || !hasText(bytes, 126, "IM")) throw wrong(name, "no header");
  const variables = new Map<string, MatValue>();
  let left = MOST_BYTES;
  const budget = { values: MOST_VALUES };
  for (let at = 128; at < bytes.length;) {
    let element = readElement(bytes, at, name);
    at = element.end;
    if (element.type === COMPRESSED) {
      const unfolded = unfold(element.data, left, name);
      left -= unfolded.length;
      element = readElement(unfolded, 0, name);
    }
    if (element.type !== MATRIX) continue;
    const variable = readMatrix(element.data, name, budget);
    variables.set(variable.name, variable.value);
  }
  return variables;
}

function unfold(data: Uint8Array, most: number, name: string): Uint8Array {
  try {
    return inflateSync(data, { maxOutputLength: Math.max(1, most) });
  } catch {
    throw wrong(name, "its compressed data are wrong");
  }
}

function readElement(bytes: Uint8Array, at: number, name: string): Element {
  if (at + 8 > bytes.length) throw wrong(name, "it is cut short");
  const view = viewOf(bytes);
  const tag = view.getUint32(at, true);
  if (tag > 0xffff) {
    // Up to four bytes stand in the tag itself.
    return { type: tag & 0xffff, data: bytes.subarray(at + 4, at + 4 + Math.min(4, tag >>> 16)), end: at + 8 };
  }
  const length = view.getUint32(at + 4, true);
  const end = at + 8 + length;
  if (end > bytes.length) throw wrong(name, "it is cut short");
  return { type: tag, data: bytes.subarray(at + 8, end), end: tag === COMPRESSED ? end : Math.ceil(end / 8) * 8 };
}

/** @param budget of values that may still be made */
function readMatrix(
  bytes: Uint8Array,
  name: string,
  budget: { values: number },
  depth = 0,
): { name: string; value: MatValue } {
  if (depth > DEEPEST) throw wrong(name, `arrays lie more than ${DEEPEST} deep in each other`);
  if (--budget.values < 0) throw wrong(name, `more than ${MOST_VALUES} values`);
  // An empty array may be a tag alone.
  if (bytes.length === 0) return { name: "", value: { kind: "numbers", dims: [0, 0], data: new Uint8Array() } };
  let at = 0;
  const next = (): Element => {
    const element = readElement(bytes, at, name);
    at = element.end;
    return element;
  };
  const kind = (next().data[0] ?? 0) & 0xff;
  const sizes = numbersOf(next(), name);
  if (sizes.length > MOST_DIMS) throw wrong(name, `an array of more than ${MOST_DIMS} dimensions`);
  const dims = Array.from(sizes);
  const count = dims.reduce((product, size) => product * size, 1);
  const own = nameOf(next().data);
  const nested = (): MatValue => {
    const element = next();
    if (element.type !== MATRIX) throw wrong(name, "an array's element is no array");
    return readMatrix(element.data, name, budget, depth + 1).value;
  };
  // Each value takes eight bytes at least: what claims more is refused before anything is allocated.
  const many = (each: number) => {
    if (count > budget.values) throw wrong(name, `more than ${MOST_VALUES} values`);
    if (!(count >= 0 && count * Math.max(1, each) * 8 <= bytes.length)) throw wrong(name, "it is cut short");
    return count;
  };
  if (kind === CELL) {
    return { name: own, value: { kind: "cells", items: Array.from({ length: many(1) }, nested) } };
  }
  if (kind === STRUCT) {
    const [width = 0] = numbersOf(next(), name);
    const { data } = next();
    if (data.length > width * MOST_FIELDS) throw wrong(name, `a struct of more than ${MOST_FIELDS} fields`);
    const fields =
      width > 0
        ? Array.from({ length: data.length / width }, (_, i) => nameOf(data.subarray(i * width, (i + 1) * width)))
        : [];
    const item = () => Object.fromEntries(fields.map((field) => [field, nested()]));
    return { name: own, value: { kind: "structs", items: Array.from({ length: many(fields.length) }, item) } };
  }
  if (kind === CHAR) return { name: own, value: { kind: "text", text: textOf(next()) } };
  if (!NUMERIC.has(kind)) throw wrong(name, "it holds arrays of another kind");
  const data = numbersOf(next(), name);
  if (data.length !== count) throw wrong(name, "an array has another size than it says");
  return { name: own, value: { kind: "numbers", dims, data } };
}

function numbersOf({ type, data }: Element, name: string): MatNumbers {
  const stored = STORED.get(type);
  if (stored === undefined || data.length % stored.bytes !== 0) throw wrong(name, "numbers of an unknown kind");
  return stored.read(data);
}

/** Characters: UTF-16, UTF-8, or one byte each. */
function textOf({ type, data }: Element): string {
  if (type === 4 || type === 17) return new TextDecoder("utf-16le").decode(data);
  return type === 16 ? new TextDecoder().decode(data) : latin1(data);
}

/** Names are padded with zeros. */
function nameOf(data: Uint8Array): string {
  const end = data.indexOf(0);
  return latin1(end < 0 ? data : data.subarray(0, end));
}

function wrong(name: string, problem: string): RandloraError {
  return new RandloraError("format", `${name}: not a MATLAB file that can be read: ${problem}`, "fetch the set again");
}
