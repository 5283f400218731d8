import { RandloraError } from "../../../files/errors.ts";
import { Arm64Machine } from "./arm64-machine.ts";
import { type Features, x64Features } from "./features.ts";
import type { Machine } from "./machine.ts";
import { executable, NoPages } from "./pages.ts";
import { program, type Program } from "./program.ts";
import { X64Machine } from "./x64-machine.ts";

/** What the CPU device computes with: WebAssembly, or code of our own for the processor at hand. */
export const CPU_CODES = ["wasm", "neon", "avx2", "avx512"] as const;
export type CpuCode = (typeof CPU_CODES)[number];

/** Code of our own, where it can be called. */
export interface NativeCode extends Omit<Program, "code"> {
  /** Where it begins. */
  readonly address: number;
}

export interface Chosen {
  readonly code: CpuCode;
  /** Undefined: WebAssembly. */
  readonly native: NativeCode | undefined;
  /** What is faster and not used, each with why. */
  readonly passed: readonly string[];
}

/** The variable that chooses, for tests and comparisons. */
const VARIABLE = "RANDLORA_CPU_CODE";

/** One mapping serves all devices and threads of the process, for good: nobody knows when the last call has returned. */
const mapped = new Map<CpuCode, NativeCode>();
const faults = new Map<CpuCode, string | undefined>();
let available: readonly CpuCode[] | undefined;
let features: Features | undefined;

/** The codes that run here, the fastest last. */
export function availableCodes(): readonly CpuCode[] {
  available ??= findCodes();
  return available;
}

/** Why there is none but WebAssembly, where a processor of this kind could run other code. */
let reason: string | undefined;

function findCodes(): readonly CpuCode[] {
  try {
    // Every processor of Linux' arm64 has NEON.
    if (process.arch === "arm64" && process.platform !== "win32") {
      executable(new Uint8Array(1));
      return ["wasm", "neon"];
    }
    if (process.arch === "x64") features = x64Features();
  } catch (refusal) {
    if (!(refusal instanceof NoPages)) throw refusal;
    reason = refusal.message;
  }
  return CPU_CODES.filter((code) => code === "wasm" || (code !== "neon" && features?.[code] === true));
}

/** Computes with code before it is used; returns what of it differs from the module. */
type SelfCheck = (native: NativeCode) => string | undefined;

/**
 * The fastest code that runs here, or the one that RANDLORA_CPU_CODE names.
 * @throws RandloraError `usage` for a name that there is not, or whose code does not run here; `gpu` where that computes wrongly
 */
export function chooseCode(wanted: string | undefined, check: SelfCheck): Chosen {
  const codes = availableCodes();
  const named = wanted ?? process.env[VARIABLE] ?? "";
  if (named !== "") {
    const code = codes.find((name) => name === named);
    if (code === undefined) throw unavailable(named, codes);
    const fault = faultOf(code, check);
    if (fault !== undefined) throw new RandloraError("gpu", fault, `please report this; ${VARIABLE}=wasm does without`);
    return { code, native: mapped.get(code), passed: [] };
  }
  const passed: string[] = reason === undefined ? [] : [reason];
  for (const code of codes.toReversed()) {
    const fault = faultOf(code, check);
    if (fault === undefined) return { code, native: mapped.get(code), passed };
    passed.push(fault);
  }
  return { code: "wasm", native: undefined, passed };
}

/** Maps and checks code, once a process; returns what is wrong with it. */
function faultOf(code: CpuCode, check: SelfCheck): string | undefined {
  if (code === "wasm") return undefined;
  if (!faults.has(code)) {
    faults.set(code, findFault(code, check));
  }
  return faults.get(code);
}

function findFault(code: Exclude<CpuCode, "wasm">, check: SelfCheck): string | undefined {
  try {
    const differs = check(mappedCode(code));
    return differs === undefined ? undefined : `${code}: ${differs} differs from WebAssembly's`;
  } catch (refusal) {
    if (refusal instanceof NoPages) return `${code}: ${refusal.message}`;
    throw refusal;
  }
}

function unavailable(wanted: string, codes: readonly CpuCode[]): RandloraError {
  const known: readonly string[] = CPU_CODES;
  const what = known.includes(wanted) ? "does not run on this machine" : "is no code of the CPU device";
  return new RandloraError(
    "usage",
    `${VARIABLE}=${wanted}: ${what}`,
    `here it is one of ${codes.join(", ")}; unset it for the fastest`,
  );
}

/** Code that is available, unchecked. */
export function mappedCode(code: Exclude<CpuCode, "wasm">): NativeCode {
  const native = mapped.get(code) ?? mapCode(code);
  mapped.set(code, native);
  return native;
}

/** @throws NoPages */
function mapCode(code: Exclude<CpuCode, "wasm">): NativeCode {
  const { machine, enter } = machineOf(code);
  const { code: bytes, ...rest } = program(machine, enter);
  return { ...rest, address: executable(bytes) };
}

/** What writes code, and what JavaScript calls. */
export function machineOf(code: Exclude<CpuCode, "wasm">): { readonly machine: Machine; readonly enter: () => number } {
  if (code === "neon") {
    const machine = new Arm64Machine();
    return { machine, enter: () => machine.enter() };
  }
  const machine = new X64Machine(code === "avx2" ? 8 : 16, code === "avx512" && features?.vnni === true);
  return { machine, enter: () => machine.enter(process.platform === "win32") };
}
