// A process that holds a file or folder: `bun testing/lock.ts PATH KIND` makes and locks PATH, in which OWNER stands for
// the process, says what it is called, and stays until it is killed.
import { mkdir, writeFile } from "node:fs/promises";
import { createLocked } from "../lock.ts";
import { ownerName, self } from "../owner.ts";

/** Another process that holds what {@link holdElsewhere} was asked for. */
export interface Holder {
  readonly pid: number;
  readonly path: string;
  /** As by `kill -9`. */
  kill(): Promise<void>;
}

/** @param pattern the path, with OWNER where the process's name is to stand */
export async function holdElsewhere(pattern: string, kind: "file" | "folder"): Promise<Holder> {
  const child = Bun.spawn([process.execPath, import.meta.path, pattern, kind], { stdout: "pipe", stderr: "inherit" });
  const { value } = await child.stdout.getReader().read();
  const path = new TextDecoder().decode(value);
  return {
    pid: child.pid,
    path,
    async kill() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

if (import.meta.main) {
  const [pattern = "", kind] = process.argv.slice(2);
  const path = pattern.replace("OWNER", ownerName(self()));
  const lock = await createLocked(path, () => (kind === "folder" ? mkdir(path) : writeFile(path, "", { flag: "wx" })));
  process.stdout.write(path);
  await Bun.sleep(60_000);
  lock?.[Symbol.dispose]();
}
