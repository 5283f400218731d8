import { join } from "node:path";
import { supervise } from "../supervise.ts";

/** Checks of products with Q8_0 weights in a process of its own. */
export async function checked(mode: string, patience = 60, signal = new AbortController().signal, onCheck = () => {}) {
  const verification = await supervise({
    command: [process.execPath, join(import.meta.dir, "checking.ts"), mode],
    signal,
    patience,
    onStart() {},
    onCheck,
    onEnd() {},
  });
  return { verification };
}
