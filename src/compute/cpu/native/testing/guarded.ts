// A heap for tests of machine code, which has no bounds checks: what lies in it ends, or begins, beside pages that cannot be read.
import { type Pointer, ptr } from "bun:ffi";
import { readFileSync } from "node:fs";
import { openLibc } from "../../../../files/libc.ts";
import modulePath from "../../kernels.wasm" with { type: "file" };
import type { ModuleParts, NativeHeap } from "../caller.ts";

const [PAGE, WASM_PAGE] = [4096, 2 ** 16];
const [PROT_NONE, PROT_READ_WRITE] = [0, 3];

/** Which end of a part touches an unreadable page. */
export type Edge = "begin" | "end";

const module = new WebAssembly.Module(readFileSync(modulePath));
const libc = openLibc({
  mprotect: { args: ["ptr", "u64", "i32"], returns: "i32" },
});

/** Parts of a WebAssembly memory with guard pages between them, on which the module computes, too. */
export class GuardedHeap implements NativeHeap, Disposable {
  readonly address: Pointer;
  readonly memory: WebAssembly.Memory;
  readonly #words: Uint32Array<ArrayBuffer>;
  #next = PAGE;

  constructor(bytes: number) {
    const pages = Math.ceil(bytes / WASM_PAGE);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.#words = new Uint32Array(this.memory.buffer as unknown as ArrayBuffer);
    this.address = ptr(this.#words);
    this.#protect(0, pages * WASM_PAGE, PROT_NONE);
  }

  /** The module's functions on it. */
  get exports(): Readonly<Record<string, unknown>> {
    return new WebAssembly.Instance(module, { env: { memory: this.memory } }).exports;
  }

  /** What kernels of machine code leave to the module. */
  get parts(): ModuleParts {
    return this.exports as unknown as ModuleParts;
  }

  words(): Uint32Array<ArrayBuffer> {
    return this.#words;
  }

  get floats(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#words.buffer);
  }

  get halves(): Uint16Array<ArrayBuffer> {
    return new Uint16Array(this.#words.buffer);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#words.buffer);
  }

  /** Room for so many bytes, in bytes from the heap's begin; a page that nobody may touch is on both sides of its pages. */
  part(bytes: number, edge: Edge): number {
    const pages = Math.max(1, Math.ceil(bytes / PAGE)) * PAGE;
    const at = this.#next;
    this.#next += pages + PAGE;
    if (this.#next > this.memory.buffer.byteLength) throw new Error("the test's heap is too small");
    this.#protect(at, pages, PROT_READ_WRITE);
    return edge === "begin" ? at : at + pages - bytes;
  }

  /** The memory is the runtime's again. */
  [Symbol.dispose](): void {
    this.#protect(0, this.memory.buffer.byteLength, PROT_READ_WRITE);
  }

  #protect(at: number, bytes: number, how: number): void {
    if (libc?.mprotect((this.address + at) as Pointer, BigInt(bytes), how) !== 0) throw new Error("mprotect");
  }
}
