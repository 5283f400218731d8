import { expect, test } from "bun:test";
import { openCheckpoint } from "../../models/folder/open-checkpoint.ts";
import { Workplace } from "./to-gguf/testing/workplace.ts";
import { type TensorSink, TensorStream } from "./tensor-stream.ts";

test("large tensors are copied beside others where a file has them as they are read: not those that are turned, of which one at a time is kept", async () => {
  await using place = await Workplace.open();
  // Both matrices of the MLP have 8 MiB.
  await place.model("gpt2", "gpt2", 1, { vocab_size: 544, n_positions: 64, n_inner: 2 ** 16 });
  const folder = place.folder.at("gpt2");
  const copiedBeside = async (path: string): Promise<string[]> => {
    await using checkpoint = await openCheckpoint(path);
    const tensors = [...checkpoint.tensors.values()].map(({ info: { name, dtype, shape } }) => {
      return { name, dtype, shape, work: { kind: "copy", tensor: name } } as const;
    });
    const names: string[] = [];
    const sink: TensorSink = { append: async () => {}, appendBeside: async (name) => names.push(name) < 0 };
    await TensorStream.run({ gpu: place.gpu, checkpoint, adapters: [] }, {}, async (stream) => {
      for (const tensor of tensors) await stream.add(tensor, sink);
    });
    return names;
  };
  expect(await copiedBeside(folder)).toEqual(["c_fc", "c_proj"].map((name) => `transformer.h.0.mlp.${name}.weight`));
  expect(await copiedBeside(await place.written(folder, "x.gguf", "f32"))).toEqual([]);
});
