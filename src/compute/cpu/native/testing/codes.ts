import { availableCodes, type NativeName, sharedCode } from "../choose.ts";
import { type NativeCode, nativeCode } from "../on-demand.ts";

/** The machine codes that run here. */
export const CODES = availableCodes().filter((code): code is NativeName => code !== "wasm");

const mapped = new Map(CODES.map((code) => [code, nativeCode(sharedCode(code))]));

/** One of them, as this thread sees it. */
export function mappedCode(code: NativeName): NativeCode {
  const found = mapped.get(code);
  if (found === undefined) throw new Error(`${code} does not run here`);
  return found;
}
