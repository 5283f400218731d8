import { expect, test } from "bun:test";
import { hintOfFullDevice } from "./full-device.ts";

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
