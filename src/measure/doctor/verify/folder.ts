import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { naming } from "../../../files/failure.ts";

const PREFIX = "randlora-verify-";
/** Milliseconds after which a folder belongs to nobody: a verification takes minutes. */
const OLD = 24 * 3600 * 1000;

/** Where the processes of a verification keep what they make. */
export interface VerificationFolder extends AsyncDisposable {
  readonly path: string;
}

/** A temporary folder that goes when it is disposed of. Those that are left of verifications which were killed go now. @throws RandloraError `file` */
export async function verificationFolder(): Promise<VerificationFolder> {
  const parent = tmpdir();
  for (const name of await readdir(parent).catch((): string[] => [])) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(parent, name);
    const made = await stat(path).catch(() => undefined);
    // Somebody else's stays, where that user alone may remove it.
    if (made !== undefined && Date.now() - made.mtimeMs > OLD)
      await rm(path, { recursive: true, force: true }).catch(() => {});
  }
  const path = await naming(parent, "write", mkdtemp(join(parent, PREFIX)));
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true });
    },
  };
}
