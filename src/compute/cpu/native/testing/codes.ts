import type { Code } from "../caller.ts";
import { availableCodes, type NativeName, sharedCode } from "../choose.ts";
import { type NativeCode, nativeCode, wasmRoutines } from "../on-demand.ts";
import type { Edge } from "./guarded.ts";

/** The machine codes that run here. */
export const CODES = availableCodes().filter((code): code is NativeName => code !== "wasm");

const mapped = new Map(CODES.map((code) => [code, nativeCode(sharedCode(code))]));

/** One of them, as this thread sees it. */
export function mappedCode(code: NativeName): NativeCode {
  const found = mapped.get(code);
  if (found === undefined) throw new Error(`${code} does not run here`);
  return found;
}

/** The same, or WebAssembly. */
export function codeOf(code: NativeName | "wasm"): Code {
  return code === "wasm" ? wasmRoutines() : mappedCode(code);
}

/**
 * Tries a shape by each code, with operands at both edges of what may be read. The first is compared with a reference as well.
 * @returns the digest that all of them have
 */
export function everyWay<S>(
  shape: S,
  digestOf: (code: NativeName, shape: S, edge: Edge, isCompared: boolean) => bigint,
): bigint {
  const ways = CODES.flatMap((code) => (["end", "begin"] as const).map((edge) => ({ code, edge })));
  const digests = ways.map(({ code, edge }, at) => digestOf(code, shape, edge, at === 0));
  const [first = 0n] = digests;
  const odd = digests.findIndex((found) => found !== first);
  if (odd < 0) return first;
  const { code, edge } = ways[odd] ?? {};
  throw new Error(`${JSON.stringify(shape)}: ${code}, at the ${edge}, has other bits than ${CODES[0]}`);
}
