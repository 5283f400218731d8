import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleLibrary } from "./library-bundle.ts";
import { hostTarget, isTarget, TARGETS } from "./runtimes.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-library-"));
});
afterAll(() => rm(folder, { recursive: true }));

test.each(Object.keys(TARGETS).filter(isTarget))(
  "for %s it carries the GPU library of its platform alone",
  async (target) => {
    const place = join(folder, target);
    await bundleLibrary(place, target);
    const names = (await readdir(place)).map((name) => name.replace(/-[a-z0-9]+(?=\.)/, ""));
    const direct3d = target === "windows-x64" ? ["d3dcompiler_47.dll", "dxcompiler.dll"] : [];
    expect(names.filter((name) => /\.(?:node|dll)$/.test(name)).toSorted()).toEqual(
      ["dawn.node", ...direct3d].toSorted(),
    );
    expect(names).toContain("kernels.wasm");
    expect(names).toContain("model.safetensors");
  },
);

test("it has the same bytes twice", async () => {
  const target = hostTarget() ?? "linux-x64";
  const [one, other] = [join(folder, "one"), join(folder, "deeper/other")];
  for (const place of [one, other]) await bundleLibrary(place, target);
  const files = async (place: string) => (await readdir(place, { recursive: true })).toSorted();
  expect(await files(other)).toEqual(await files(one));
  const scripts = (await files(one)).filter((name) => name.endsWith(".js"));
  expect(scripts.length).toBeGreaterThan(10);
  for (const name of scripts)
    expect(await readFile(join(other, name), "utf8")).toBe(await readFile(join(one, name), "utf8"));
});
