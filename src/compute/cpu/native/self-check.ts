// No kernel of machine code is used before it has computed something small as WebAssembly does.
import { GEMM } from "../families/gemm.ts";
import { GROUPED_GEMM } from "../families/grouped-gemm.ts";
import { NORMED_GEMM } from "../families/normed-linear.ts";
import { SCRATCH_PITCH } from "../layout.ts";
import type { Code } from "./caller.ts";
import { type CpuKernel, fieldsOf, type Members } from "../parameters.ts";
import { ROW_KERNELS } from "../../rows/index.ts";
import { type Check, CHECKS, fill, ROOM, rowCheck } from "./checks.ts";
import { routineKernels } from "./kernels/index.ts";
import { STORED_DTYPES } from "../../device/dtype.ts";
import { nativeCode, type SharedCode, wasmRoutines } from "./on-demand.ts";

/** Sums of a few hundred products of numbers up to 2 differ by less than this, whatever order they are added in. */
const TOLERANCE = 1e-3;

/** Where operands and a worker's scratch are, in a memory of their own: a device's threads may be at work. */
const [OPERANDS_AT, SCRATCH_AT] = [64, 2 ** 17];
const PAGES = Math.ceil((SCRATCH_AT + SCRATCH_PITCH) / 2 ** 16);

type Kernel = (parameters: number, piece: number, scratch: number) => void;
type Kernels = Readonly<Record<string, unknown>>;

/** WebAssembly and machine code on one memory. */
interface Bench {
  readonly words: Uint32Array;
  readonly natives: Kernels;
  readonly plains: Kernels;
}

/** Machine code, and which of its kernels compute right here. */
export class CheckedCode {
  readonly #native: SharedCode;
  readonly #module: WebAssembly.Module;
  /** By kernel and format; by check. */
  readonly #known = new Map<string, boolean>();
  readonly #outcomes = new Map<Check, boolean>();
  #bench: Bench | undefined;
  /** Told what differs, in words. */
  onFault: ((fault: string) => void) | undefined;

  constructor(native: SharedCode, module: WebAssembly.Module) {
    this.#native = native;
    this.#module = module;
  }

  /**
   * Whether a kernel computes right.
   * @param dtype of products: the format of a matrix, as parameters number it
   */
  has({ name }: CpuKernel<Members>, dtype?: number): boolean {
    const key = dtype === undefined ? name : `${name} ${dtype}`;
    let isRight = this.#known.get(key);
    if (isRight === undefined) {
      const own = rowCheck(name);
      const checks = own === undefined ? CHECKS.filter((check) => concerns(check, name, dtype)) : [own];
      isRight = checks.every((check) => this.#isRight(check));
      this.#known.set(key, isRight);
    }
    return isRight;
  }

  /** Whatever differs, of all that there is, in words. */
  faults(): string[] {
    const all = [...CHECKS, ...[...ROW_KERNELS.keys()].flatMap((name) => rowCheck(name) ?? [])];
    return all.filter((check) => !this.#isRight(check)).map((check) => this.#inWords(check));
  }

  #isRight(check: Check): boolean {
    let isRight = this.#outcomes.get(check);
    if (isRight === undefined) {
      this.#bench ??= benchOf(this.#native, this.#module);
      isRight = !differ(this.#bench, check);
      this.#outcomes.set(check, isRight);
      if (!isRight) this.onFault?.(this.#inWords(check));
    }
    return isRight;
  }

  #inWords({ name }: Check): string {
    return `${this.#native.code}: ${name} differs from WebAssembly's`;
  }
}

/** One of each code serves all devices of the process. */
const checked = new Map<SharedCode, CheckedCode>();

export function checkedCode(native: SharedCode, module: WebAssembly.Module): CheckedCode {
  const found = checked.get(native) ?? new CheckedCode(native, module);
  checked.set(native, found);
  return found;
}

function concerns({ kernel, stored }: Check, name: string, dtype: number | undefined): boolean {
  // Products of rows that are normalized first (by the module), and of groups of rows, are the plain one.
  const isProduct = name === NORMED_GEMM.name || name === GROUPED_GEMM.name;
  if (kernel.name !== (isProduct ? GEMM.name : name)) return false;
  return dtype === undefined || STORED_DTYPES[dtype] === stored;
}

function benchOf(native: SharedCode, module: WebAssembly.Module): Bench {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const kernels = (code: () => Code) => routineKernels(code, memory, SCRATCH_AT, exports);
  return {
    words: new Uint32Array(memory.buffer),
    natives: kernels(() => nativeCode(native)),
    plains: { ...kernels(wasmRoutines), ...exports },
  };
}

/** Whether two kernels make something else of the same numbers. */
function differ({ words, natives, plains }: Bench, { kernel, stored, values, prepare }: Check): boolean {
  const [a, b, y] = [OPERANDS_AT, OPERANDS_AT + ROOM.operand, OPERANDS_AT + 2 * ROOM.operand];
  const parameters = y + 2 * ROOM.result;
  fill(words, a, "F32");
  fill(words, b, stored);
  prepare?.(words, { a, b, y });
  const compute = (kernels: Kernels, y: number): Float32Array => {
    const given = values({ a, b, y });
    fieldsOf(kernel.members).forEach(([name], word) => (words[parameters / 4 + word] = given[name] ?? 0));
    words.fill(0, y / 4, (y + ROOM.result) / 4);
    (kernels[kernel.name] as Kernel)(parameters, 0, SCRATCH_AT);
    return new Float32Array(words.buffer, y, ROOM.result / 4);
  };
  const ours = compute(natives, y);
  const theirs = compute(plains, y + ROOM.result);
  return ours.some((value, at) => !(Math.abs(value - (theirs[at] ?? NaN)) < TOLERANCE));
}
