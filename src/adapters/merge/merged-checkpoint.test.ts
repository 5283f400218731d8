import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { MergedCheckpoint } from "./merged-checkpoint.ts";
import { TensorStream } from "./tensor-stream.ts";
import { ADAPTER, mergeIn, modelOf } from "./testing/merge.ts";
import type { Tensors } from "./testing/models.ts";

const CHANGED = "model.layers.0.mlp.up_proj.weight";

let gpu: Device;
let folder: TemporaryFolder;
/** What `merge` writes. */
let written: Tensors;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  ({ tensors: written } = await mergeIn(folder, { tensors: modelOf("BF16") }, [ADAPTER]));
}, 60_000);
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

const open = async () => await MergedCheckpoint.open(folder.at("base"), [{ path: folder.at("adapter0"), scale: 1 }]);

test("tensors are read by ranges, in any order, as merge writes them", async () => {
  await using merged = await open();
  await merged.load(gpu);
  expect([...merged.tensors.keys()].toSorted()).toEqual(Object.keys(written).toSorted());
  for (const [name, { data, dtype, shape }] of Object.entries(written)) {
    const { info } = merged.get(name);
    expect([info.dtype, info.shape, info.bytes]).toEqual([dtype, [...shape], data.length]);
    const [found, middle] = [new Uint8Array(data.length), data.length >> 1];
    await merged.read(name, found.subarray(middle), middle);
    await merged.read(name, found.subarray(0, middle));
    expect([name, Buffer.compare(found, data)]).toEqual([name, 0]);
  }
});

test("before adapters are loaded, what they change is not read", async () => {
  await using merged = await open();
  const { bytes } = merged.get(CHANGED).info;
  await expect(merged.read(CHANGED, new Uint8Array(bytes))).rejects.toThrow("not loaded");
  expect(merged.changes.map(({ name }) => name)).toContain(CHANGED);
});

test("a stream that fails has no ΔW on the device, or on its way there, when it ends", async () => {
  await using merged = await open();
  const { base, plan, plans } = merged;
  const copies = plan.tensors.filter(({ work }) => work.kind === "copy").slice(0, 2);
  const changed = plan.tensors.filter(({ name }) => name === CHANGED);
  let isUploading = false;
  let released = 0;
  const deltas = {
    async layer() {
      isUploading = true;
      await Bun.sleep(20);
      isUploading = false;
      return { form: () => {}, release: () => void released++ };
    },
  };
  const adapters = plans.map((one) => ({ plan: one, factor: 1, deltas }));
  const append = async (): Promise<void> => {
    throw new Error("disk full");
  };
  const running = TensorStream.run({ gpu, checkpoint: base.checkpoint, adapters }, {}, async (stream) => {
    for (const tensor of [...copies, ...changed]) await stream.add(tensor, { append });
  });
  await expect(running).rejects.toThrow("disk full");
  expect([isUploading, released]).toEqual([false, 1]);
});
