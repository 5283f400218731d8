import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SafetensorsFile } from "../../src/files/safetensors/file.ts";
import { COPY_BYTES, SafetensorsWriter } from "../../src/files/safetensors/writer.ts";
import type { Suite } from "../suite.ts";

const CASES = [
  { name: "one tensor of 256 MB", count: 1, bytes: 256e6 },
  { name: "64 tensors of 4 MB", count: 64, bytes: 4e6 },
  { name: "4096 tensors of 16 kB", count: 4096, bytes: 16e3 },
] as const;

export const copySuite: Suite = {
  name: "copy",
  title: "safetensors, tensor by tensor, to the disk",
  unit: "MB/s",
  async *cases(wanted) {
    const folder = await mkdtemp(join(tmpdir(), "randlora-bench-"));
    try {
      for (const { name, count, bytes } of CASES) {
        if (!wanted(name)) continue;
        const tensors = Array.from({ length: count }, (_, i) => ({
          name: `t${i}`,
          dtype: "U8" as const,
          shape: [bytes],
        }));
        const from = join(folder, `${count}.safetensors`);
        {
          await using writer = await SafetensorsWriter.create(from, tensors);
          const data = new Uint8Array(bytes).map((_, i) => i * 31);
          for (const tensor of tensors) await writer.append(tensor.name, data);
          await writer.finish();
        }
        await using source = await SafetensorsFile.open(from);
        const buffer = new Uint8Array(COPY_BYTES);
        yield {
          name,
          amount: (count * bytes) / 1e6,
          async run() {
            await using writer = await SafetensorsWriter.create(join(folder, "copy.safetensors"), tensors);
            for (const info of source.header.tensors.values()) await writer.copy(source, info, buffer);
            await writer.finish();
          },
        };
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
