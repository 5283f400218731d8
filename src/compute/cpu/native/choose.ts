import { RandloraError } from "../../../files/errors.ts";
import { type Features, x64Features } from "./features.ts";
import { shareCode, type SharedCode } from "./on-demand.ts";
import { executable, NoPages } from "./pages.ts";

/** What the CPU device computes with: WebAssembly, or code of our own for the processor at hand. */
export const CPU_CODES = ["wasm", "neon", "avx2", "avx512"] as const;
export type CpuCode = (typeof CPU_CODES)[number];
export type NativeName = SharedCode["code"];

export interface Chosen {
  readonly code: CpuCode;
  /** Undefined: WebAssembly. */
  readonly native: SharedCode | undefined;
  /** What is faster and not used, each with why. */
  readonly passed: readonly string[];
}

/** The variable that chooses, for tests and comparisons. */
const VARIABLE = "RANDLORA_CPU_CODE";

/** One mapping serves all devices and threads of the process. */
const shared = new Map<NativeName, SharedCode>();
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

/**
 * The fastest code that runs here, or the one that RANDLORA_CPU_CODE names. Kernels are written and checked when they are first used.
 * @throws RandloraError `usage` for a name that there is not, or whose code does not run here
 */
export function chooseCode(wanted: string | undefined): Chosen {
  const codes = availableCodes();
  const named = wanted ?? process.env[VARIABLE] ?? "";
  const code = named === "" ? codes.at(-1) : codes.find((name) => name === named);
  if (code === undefined) throw unavailable(named, codes);
  const passed = named === "" && reason !== undefined ? [reason] : [];
  if (code === "wasm") return { code, native: undefined, passed };
  try {
    return { code, native: sharedCode(code), passed };
  } catch (refusal) {
    if (!(refusal instanceof NoPages)) throw refusal;
    return { code: "wasm", native: undefined, passed: [...passed, `${code}: ${refusal.message}`] };
  }
}

function unavailable(wanted: string, codes: readonly CpuCode[]): RandloraError {
  const known: readonly string[] = CPU_CODES;
  const what = known.includes(wanted) ? (reason ?? "does not run on this machine") : "is no code of the CPU device";
  return new RandloraError(
    "usage",
    `${VARIABLE}=${wanted}: ${what}`,
    `here it is one of ${codes.join(", ")}; unset it for the fastest`,
  );
}

/** Code that is available. @throws NoPages */
export function sharedCode(code: NativeName): SharedCode {
  const found = shared.get(code) ?? shareCode({ code, vnni: code === "avx512" && features?.vnni === true });
  shared.set(code, found);
  return found;
}
