import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/**
 * A folder `.pack` for what a script makes on its way, which goes with it: at its end, and when Ctrl-C or a signal ends the
 * script. What kill -9 has left, the next one removes.
 */
export function workFolder(parent: string): { readonly path: string } & Disposable {
  const path = join(parent, ".pack");
  const remove = (): void => rmSync(path, { recursive: true, force: true });
  const leave = (signal: NodeJS.Signals): void => {
    remove();
    process.kill(process.pid, signal);
  };
  remove();
  mkdirSync(path, { recursive: true });
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.once(signal, leave);
  return {
    path,
    [Symbol.dispose]() {
      for (const signal of signals) process.off(signal, leave);
      remove();
    },
  };
}
