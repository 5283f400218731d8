import { Caller } from "../caller.ts";
import { type NativeName, sharedCode } from "../choose.ts";
import type { Machine } from "../machine.ts";
import { machineOf, type NativeCode } from "../on-demand.ts";
import { executable } from "../pages.ts";
import { ENTER } from "../program.ts";
import { wasmModule } from "../wasm-code.ts";
import { WasmMachine } from "../wasm-machine.ts";
import { CODES, mappedCode } from "./codes.ts";
import type { GuardedHeap } from "./guarded.ts";

/** What writes routines here. */
export type Writer = NativeName | "wasm";
export const WRITERS: readonly Writer[] = ["wasm", ...CODES];

/** A routine that is written for a test, as a function of its arguments. */
export function routine(
  code: Writer,
  heap: GuardedHeap,
  write: (m: Machine) => void,
): (...args: readonly number[]) => void {
  const list = heap.part(2 ** 12, "begin");
  const set = (args: readonly number[]) => args.forEach((value, at) => (heap.words()[list / 4 + at] = value));
  const machine = code === "wasm" ? new WasmMachine() : machineOf(sharedCode(code)).machine;
  write(machine);
  machine.end();
  const bytes = machine.finish();
  if (code === "wasm") {
    const module = new WebAssembly.Module(wasmModule([bytes]));
    const { exports } = new WebAssembly.Instance(module, { env: { memory: heap.memory } });
    const run = exports["0"] as (list: number) => void;
    return (...args) => {
      set(args);
      run(list);
    };
  }
  const [native, address] = [mappedCode(code), executable(bytes)];
  const addressOf = (number: number) => (number === ENTER ? native.addressOf(ENTER) : address);
  const written: NativeCode = { ...native, addressOf };
  const on = new Caller(written, heap, list, heap.parts);
  return (...args) => {
    set(args);
    on.call(ENTER + 1);
  };
}
