import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import lock from "../package-lock.json";
import { checkArchive, TARGETS } from "./runtimes.ts";

test("a runtime is shipped only as the lock file has it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "randlora-runtimes-"));
  try {
    const archive = join(folder, "runtime.tgz");
    await writeFile(archive, "the archive");
    const integrity = `sha512-${createHash("sha512").update("the archive").digest("base64")}`;
    const made = { packages: { "node_modules/@oven/x": { version: "1.0.0", integrity } } };
    await checkArchive(archive, "@oven/x", "1.0.0", made);
    await expect(checkArchive(archive, "@oven/x", "1.0.1", made)).rejects.toThrow("has no @oven/x@1.0.1");
    await expect(checkArchive(archive, "@oven/y", "1.0.0", made)).rejects.toThrow("has no @oven/y@1.0.0");
    await writeFile(archive, "another archive");
    await expect(checkArchive(archive, "@oven/x", "1.0.0", made)).rejects.toThrow("is not the @oven/x@1.0.0");
    for (const { package: name } of Object.values(TARGETS)) {
      await expect(checkArchive(archive, name, Bun.version, lock)).rejects.toThrow(`is not the ${name}@${Bun.version}`);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
