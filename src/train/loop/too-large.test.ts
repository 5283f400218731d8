import { expect, test } from "bun:test";
import { CpuDevice } from "../../compute/cpu/cpu.ts";
import { hintOfFullDevice, refuseTooLarge } from "./too-large.ts";

const total = 25e9;

test("what the machine cannot hold is refused on a device that has no memory of its own, what --memory forbids on all", async () => {
  using cpu = await CpuDevice.open({ threads: 1 });
  using limited = await CpuDevice.open({ threads: 1, memory: 8e9 });
  const gpu = (memory: CpuDevice["memory"], vendor: string) => ({
    info: { ...cpu.info, software: false, vendor },
    memory,
  });
  const refuse = (device: Parameters<typeof refuseTooLarge>[0], bytes: number) =>
    refuseTooLarge(device, bytes, "shorter samples", { total, free: 0 });
  expect(() => refuse(cpu, total)).not.toThrow();
  expect(() => refuse(gpu(cpu.memory, "nvidia"), 2 * total)).not.toThrow();
  for (const shared of [cpu, gpu(cpu.memory, "apple")]) {
    expect(() => refuse(shared, 35.9e9)).toThrow(
      expect.objectContaining({
        code: "memory",
        message: "about 35900 MB of memory are needed, and this machine has 25000 MB",
        hint: "give a smaller rank or shorter samples, or choose a GPU with --device",
      }),
    );
  }
  for (const device of [limited, gpu(limited.memory, "nvidia")]) {
    expect(() => refuse(device, 8e9)).not.toThrow();
    expect(() => refuse(device, 8.1e9)).toThrow(
      expect.objectContaining({
        code: "memory",
        message: "about 8100 MB of memory are needed, and --memory allows 8000 MB",
        hint: "give a smaller rank or shorter samples, or raise --memory",
      }),
    );
  }
});

const smaller = "a smaller --batch-size";

test("a full device that computes on the processor is spoken of as such", () => {
  const resume = { step: 7, path: "runs/a", checkpointing: false };
  expect(hintOfFullDevice({ software: true }, { smaller, resume: undefined })).toBe(
    "close other programs that take memory, or give a smaller --batch-size",
  );
  expect(hintOfFullDevice({ software: true }, { smaller, resume })).toStartWith(
    "close other programs that take memory, then go on from step 7: --resume runs/a --checkpoint-activations; ",
  );
  expect(hintOfFullDevice({ software: false }, { smaller, resume: undefined })).toBe(
    "close other programs that use the GPU, choose another device with --device, or give a smaller --batch-size",
  );
  expect(hintOfFullDevice({ software: false }, { smaller, resume: { ...resume, checkpointing: true } })).toContain(
    "that use the GPU, then go on from step 7: --resume runs/a; ",
  );
});
