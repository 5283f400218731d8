import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { type DriverManifest, findManifests } from "./doctor-drivers.ts";

let folder: TemporaryFolder;
let root: string;
/** An environment in which nothing but `root` is searched (and /etc, which no variable moves). */
let environment: Record<string, string>;

beforeAll(async () => {
  folder = await TemporaryFolder.create();
  root = folder.path;
  const data = join(root, "data");
  const manifests = join(data, "vulkan", "icd.d");
  await mkdir(manifests, { recursive: true });
  const manifest = (library: string): string => JSON.stringify({ ICD: { library_path: library, api_version: "1.3" } });
  await writeFile(join(manifests, "bare.json"), manifest("libvulkan_x.so"));
  await writeFile(join(manifests, "gone.json"), manifest("./libgone.so"));
  await writeFile(join(manifests, "here.json"), manifest("../libhere.so"));
  await writeFile(join(manifests, "junk.json"), "{");
  await writeFile(join(manifests, "other.txt"), "");
  await writeFile(join(data, "vulkan", "libhere.so"), "");
  environment = { HOME: root, XDG_CONFIG_DIRS: join(root, "none"), XDG_DATA_DIRS: data };
});
afterAll(() => folder[Symbol.asyncDispose]());

const inRoot = (manifests: readonly DriverManifest[]) => manifests.filter(({ path }) => path.startsWith(root));

test("manifests are found in the loader's folders, and what is wrong with them", () => {
  const { overriddenBy, manifests } = findManifests(environment);
  const folder = join(root, "data", "vulkan", "icd.d");
  expect(overriddenBy).toBeUndefined();
  expect(inRoot(manifests)).toEqual([
    { path: join(folder, "bare.json"), library: "libvulkan_x.so", problem: undefined },
    { path: join(folder, "gone.json"), library: "./libgone.so", problem: "./libgone.so: no such file" },
    { path: join(folder, "here.json"), library: "../libhere.so", problem: undefined },
    { path: join(folder, "junk.json"), library: undefined, problem: "not a driver manifest" },
  ]);
});

test("VK_DRIVER_FILES replaces the folders, its old name does too, VK_ADD_DRIVER_FILES comes before them", () => {
  const folder = join(root, "data", "vulkan", "icd.d");
  const list = `${join(folder, "here.json")}:${join(root, "gone")}`;
  const expected = [join(folder, "here.json"), join(root, "gone")];
  for (const name of ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]) {
    const { overriddenBy, manifests } = findManifests({ ...environment, [name]: list });
    expect(overriddenBy).toBe(name);
    expect(manifests.map(({ path }) => path)).toEqual(expected);
    expect(manifests[1]?.problem).toBe("no such file");
  }
  const { manifests } = findManifests({ ...environment, VK_ADD_DRIVER_FILES: join(root, "gone") });
  expect(manifests[0]?.path).toBe(join(root, "gone"));
  expect(inRoot(manifests)).toHaveLength(5);
  const whole = findManifests({ ...environment, VK_DRIVER_FILES: folder });
  expect(whole.manifests).toHaveLength(4);
});
