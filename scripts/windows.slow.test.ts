import { expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "webgpu/package.json";
import { WINDOWS_LOADERS } from "./build.ts";

const ROOT = join(import.meta.dir, "..");
const PACKAGE = join(ROOT, "node_modules/webgpu/dist/win32-x64");

test("a binary for Windows unpacks Dawn with Direct3D's compilers beside it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "randlora-windows-"));
  try {
    await Bun.build({
      entrypoints: [join(ROOT, "src/compute/gpu/dawn.ts")],
      outdir: join(folder, "bundle"),
      target: "bun",
      loader: WINDOWS_LOADERS,
      define: { "process.platform": '"win32"', "process.arch": '"x64"' },
      throw: true,
    });
    const program =
      'import { createInstance } from "./dawn.js"; try { createInstance([]); } catch (e) { console.log(`${e}`); }';
    await Bun.write(join(folder, "bundle/run.js"), program);
    const child = Bun.spawnSync([process.execPath, "run.js"], {
      cwd: join(folder, "bundle"),
      env: { ...process.env, RANDLORA_CACHE: join(folder, "cache") },
    });
    // All but the last step, which only Windows takes.
    const refusal = process.platform === "linux" ? "invalid ELF header" : "cannot load the GPU library";
    expect(child.stdout.toString()).toContain(refusal);
    const unpacked = join(folder, "cache/gpu", version);
    expect((await readdir(unpacked)).toSorted()).toEqual(["d3dcompiler_47.dll", "dawn.node", "dxcompiler.dll"]);
    for (const name of await readdir(unpacked)) {
      const [found, wanted] = [Bun.file(join(unpacked, name)), Bun.file(join(PACKAGE, name))];
      expect(Bun.hash(await found.arrayBuffer()) === Bun.hash(await wanted.arrayBuffer()), name).toBe(true);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
