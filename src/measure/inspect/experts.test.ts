import { expect, test } from "bun:test";
import { CpuDevice } from "../../compute/cpu/cpu.ts";
import { read } from "../../compute/device/transfer.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import { writeModel } from "../../models/testing/models.ts";
import { writePackedExperts } from "../../models/testing/packed-experts.ts";
import { inspectCheckpoint } from "./inspect-checkpoint.ts";
import { logitsAfter } from "../../models/testing/logits.ts";

test("what a token reads of a mixture of experts is what its logits depend on, counted tensor by tensor", async () => {
  await using folder = await TemporaryFolder.create();
  await writeArchitecture(folder.path, "mixtral", 2, { num_local_experts: 12, num_experts_per_tok: 3 });
  const { experts, bytesOfToken, counts } = await inspectCheckpoint(folder.path);
  const gpu = await CpuDevice.open({ threads: 2 });
  try {
    using decoder = await loadDecoder(gpu, folder.path);
    const logitsOf = async () => {
      const logits = await logitsAfter(decoder, [7]);
      return Float32Array.from(logits);
    };
    const before = await logitsOf();
    let bytes = 0;
    for (const [name, { buffer, offset, pitch, shape }] of decoder.weights.tensors) {
      const size = shape[0] * pitch * 4;
      const saved = (await read(gpu, buffer)).slice(offset * 4, offset * 4 + size);
      gpu.write(buffer, new Uint32Array(size / 4).fill(0x7fc00000), offset * 4);
      // Of the embedding, only the rows of other tokens.
      const isTable = name === "model.embed_tokens.weight";
      const row = pitch * 4;
      if (isTable) gpu.write(buffer, saved.slice(7 * row, 8 * row), (offset + 7 * pitch) * 4);
      const isRead = (await logitsOf()).some((value, at) => !Object.is(value, before[at]));
      expect([name, isTable && isRead]).toEqual([name, false]);
      bytes += isTable ? row : isRead ? shape[0] * shape[1] * 4 : 0;
      gpu.write(buffer, saved, offset * 4);
    }
    expect(bytesOfToken).toBe(bytes);
    expect(bytes).toBeLessThan(0.5 * counts.bytes);
    const idle = 2 * 9 * 3 * 64 * 32;
    expect(experts).toEqual({
      count: 12,
      chosen: 3,
      parameters: 2 * 12 * 3 * 64 * 32,
      active: counts.parameters - idle,
    });
  } finally {
    gpu.close();
  }
});

test("of learned positions a row is read for a token, and of an embedding that is the output matrix all", async () => {
  await using folder = await TemporaryFolder.create();
  await writeArchitecture(folder.path, "gpt2", 1, { n_positions: 100 });
  const { bytesOfToken, counts } = await inspectCheckpoint(folder.path);
  expect(bytesOfToken).toBe(counts.bytes - 99 * 32 * 4);
});

test("experts are counted where files have tensors of all, where only config.json is here, and in models that cannot be run", async () => {
  await using folder = await TemporaryFolder.create();
  const wanted = { count: 8, chosen: 2, parameters: 8 * 3 * 64 * 32 };
  await writeArchitecture(folder.at("fused"), "granitemoe", 1);
  expect((await inspectCheckpoint(folder.at("fused"))).experts).toMatchObject(wanted);
  // Beside an MLP of another size.
  await writeArchitecture(folder.at("beside"), "gemma4_text-experts", 1);
  const { experts: beside } = await inspectCheckpoint(folder.at("beside"));
  expect(beside).toMatchObject({ count: 8, chosen: 2, parameters: 8 * 3 * 32 * 32 });
  // Those of gpt-oss have biases.
  await writeArchitecture(folder.at("biases"), "gpt_oss", 1);
  const parameters = 8 * (3 * 64 * 32 + 2 * 64 + 32);
  expect((await inspectCheckpoint(folder.at("biases"))).experts).toMatchObject({ ...wanted, parameters });
  // In MXFP4, 17 bytes of 32 numbers, whether the weights are here or not.
  await writePackedExperts(folder.at("packed"), 1);
  await Bun.write(folder.at("promised", "config.json"), Bun.file(folder.at("packed", "config.json")));
  for (const name of ["packed", "promised"]) {
    const { problems, experts, counts } = await inspectCheckpoint(folder.at(name));
    expect([problems, experts]).toEqual([[], expect.objectContaining({ ...wanted, parameters })]);
    expect(counts.dtypes.MXFP4).toEqual({ parameters: 8 * 3 * 64 * 32, bytes: (8 * 3 * 64 * 32 * 17) / 32 });
  }
  await Bun.write(folder.at("alone", "config.json"), Bun.file(folder.at("fused", "config.json")));
  const alone = await inspectCheckpoint(folder.at("alone"));
  expect([alone.hasWeights, alone.experts]).toEqual([false, expect.objectContaining(wanted)]);

  const shapes = Object.fromEntries(
    [0, 1, 2].map((expert) => [`model.layers.0.mlp.experts.${expert}.up_proj.weight`, [4, 6]]),
  );
  const other = { ...shapes, "model.norm.weight": [5] };
  await writeModel(folder.at("other"), { model_type: "future_moe", num_experts_per_tok: 1 }, other);
  expect((await inspectCheckpoint(folder.at("other"))).experts).toEqual({
    count: 3,
    chosen: 1,
    parameters: 72,
    active: 24 + 5,
  });
  await writeModel(folder.at("silent"), { model_type: "future_moe" }, other);
  expect((await inspectCheckpoint(folder.at("silent"))).experts).toMatchObject({
    chosen: undefined,
    active: undefined,
  });
});
