import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { runToEnd } from "../../files/testing/process.ts";
import { unpackTogether } from "./unpack.ts";

let temporary: TemporaryFolder;
let folder: string;
beforeAll(async () => {
  temporary = await TemporaryFolder.create();
  folder = temporary.path;
  await Bun.write(join(folder, "one-1a2b.dll"), "one");
  await Bun.write(join(folder, "two-3c4d.dll"), "two");
});
afterAll(() => temporary[Symbol.asyncDispose]());

const files = () => ({ "one.dll": join(folder, "one-1a2b.dll"), "two.dll": join(folder, "two-3c4d.dll") });

test("files lie beside each other under their own names; what is there and whole stays", async () => {
  const into = join(folder, "cache/gpu");
  expect(unpackTogether(files(), into)).toBe(join(into, "one.dll"));
  expect((await readdir(into)).toSorted()).toEqual(["one.dll", "two.dll"]);
  await Bun.write(join(into, "one.dll"), "ONE");
  await Bun.write(join(into, "two.dll"), "cut off or of another kind");
  unpackTogether(files(), into);
  expect(await Bun.file(join(into, "one.dll")).text()).toBe("ONE");
  expect(await Bun.file(join(into, "two.dll")).text()).toBe("two");
});

test("what cannot be written is named, with what to do", async () => {
  await mkdir(join(folder, "taken/one.dll"), { recursive: true });
  let thrown: unknown;
  try {
    unpackTogether(files(), join(folder, "taken"));
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ code: "gpu", hint: expect.stringContaining("RANDLORA_CACHE") });
  expect(String(thrown)).toContain(join(folder, "taken/one.dll"));
  expect(await readdir(join(folder, "taken"))).toEqual(["one.dll"]);
});

test.if(process.platform === "linux")("an addon that was unpacked is loaded from there", async () => {
  const addon = join(import.meta.dir, `../../../node_modules/webgpu/dist/linux-${process.arch}/dawn.node`);
  const words = [{ "dawn.node": addon, ...files() }, join(folder, "addon")].map((word) => JSON.stringify(word));
  const load = `import("${import.meta.dir}/unpack.ts").then(({ loadUnpacked }) => loadUnpacked(${words.join()}))`;
  const program = `${load}.then(({ create }) => console.log(typeof create([]).requestAdapter))`;
  const { stdout, stderr } = await runToEnd([process.execPath, "-e", program]);
  expect(stderr + stdout).toBe("function\n");
});
