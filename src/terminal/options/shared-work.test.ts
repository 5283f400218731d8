import { describe, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { hubSettings } from "../../files/hub/settings.ts";
import { together } from "../../mpi/testing/together.ts";
import { refuseOtherDevice, refuseOtherFiles, refuseOtherOptions } from "./shared-work.ts";

/** What becomes of it on each of two processes. */
async function outcomes<T>(own: readonly [T, T], check: (at: number, value: T) => Promise<void>): Promise<unknown[]> {
  return await Promise.all(own.map((value, at) => check(at, value).catch((thrown: unknown) => thrown)));
}

test("processes that were asked otherwise are refused, and the option is named", async () => {
  const asked = async (first: object, second: object) => {
    const processes = together(2);
    return await outcomes([first, second], async (at, own) => {
      const [process] = processes.slice(at);
      if (process !== undefined) await refuseOtherOptions(process, { ...own });
    });
  };
  expect(await asked({ MODEL: "a", kvType: "f32" }, { MODEL: "a", kvType: "f32" })).toEqual([undefined, undefined]);
  const refusal = { code: "usage", message: "--kv-type: process 1 has q8_0, process 0 f32" };
  expect(await asked({ kvType: "f32" }, { kvType: "q8_0" })).toMatchObject([refusal, refusal]);
  const other = { message: "MODEL: process 1 has b, process 0 none" };
  expect(await asked({ MODEL: undefined }, { MODEL: "b" })).toMatchObject([other, other]);
});

test("processes on devices with other bits are refused", async () => {
  const info = { name: "a CPU", driver: "ours", software: true } as const;
  const device = (fma: boolean) => ({ info, staging: { kind: "cpu", fma } }) as Pick<Device, "info" | "staging">;
  const processes = together(2);
  const found = await outcomes([device(true), device(false)], async (at, own) => {
    const [process] = processes.slice(at);
    if (process !== undefined) await refuseOtherDevice(process, own);
  });
  const refusal = { code: "gpu", message: expect.stringContaining('process 1 computes on a CPU, ours, {"kind":"cpu"') };
  expect(found).toMatchObject([refusal, refusal]);
});

describe("files under one path", () => {
  const large = Buffer.alloc(3 * 2 ** 20);
  const MODEL = { "config.json": {}, "model.safetensors": large, "notes.md": "a" };
  const changed = (at: number) => Buffer.from(large).fill(1, at, at + 1);

  test.each([
    ["alike, whatever else lies there", { "notes.md": "b" }, undefined],
    ["another beginning", { "model.safetensors": changed(9) }, "model.safetensors"],
    ["another end", { "model.safetensors": changed(large.length - 9) }, "model.safetensors"],
    ["another size", { "model.safetensors": large.subarray(1) }, "model.safetensors"],
    ["another small file", { "config.json": { a: 1 } }, "config.json"],
    ["one more", { "adapter_config.json": {} }, "adapter_config.json"],
  ])("%s", async (_, change, file) => {
    await using first = await TemporaryFolder.with(MODEL);
    await using second = await TemporaryFolder.with({ ...MODEL, ...change });
    const processes = together(2);
    const found = await outcomes([first.path, second.path], async (at, path) => {
      const [process] = processes.slice(at);
      if (process !== undefined) await refuseOtherFiles(process, { adapter: path, out: at === 0 ? path : undefined });
    });
    const message = `--adapter: ${file}: process 1 has another file there than process 0, or none`;
    expect(found).toMatchObject(file === undefined ? [undefined, undefined] : [{ message }, { message }]);
  });
});

test.each([
  ["the same commit", "b", "1", undefined],
  ["another commit", "c", "1", "MODEL"],
  ["no copy", undefined, "1", "MODEL"],
  ["another commit, and the Hub says which", "c", "0", undefined],
])("a name in the Hub's cache: %s", async (_, commit, offline, refused) => {
  const cache = (own: string | undefined) =>
    TemporaryFolder.with(own === undefined ? {} : { "models--org--name/refs/main": own.repeat(40) });
  await using first = await cache("b");
  await using second = await cache(commit);
  const processes = together(2);
  const found = await outcomes([first.path, second.path], async (at, path) => {
    const [process] = processes.slice(at);
    const hub = hubSettings({ HF_HUB_CACHE: path, HF_HUB_OFFLINE: offline });
    if (process !== undefined) await refuseOtherFiles(process, { MODEL: "org/name", kvType: "q8/none" }, hub);
  });
  const message = "MODEL: org/name in the Hub's cache: process 1 has another file there than process 0, or none";
  expect(found).toMatchObject(refused === undefined ? [undefined, undefined] : [{ message }, { message }]);
});
