import { expect, test } from "bun:test";
import { lora } from "../lora/method.ts";
import { PEFT_TYPES } from "../randlora/config.ts";
import { randlora } from "../randlora/method.ts";
import { numbers } from "../testing/adapters.ts";
import { peftReadme } from "./convert.ts";
import { memoryTensor } from "../files/tensors.ts";

const BASES = ["base_model.randlora_A", "base_model.randlora_B"];
const FACTORS = ["q.lora_A.weight", "q.lora_B.weight"];

const content = (type: string, names: readonly string[]) => ({
  config: { peft_type: type },
  bases: undefined,
  tensors: names.map((name) => memoryTensor(name, "F32", [1], new Uint8Array(numbers([1]).data))),
  metadata: new Map(),
});

// PEFT 0.21.2 holds a reference to the bases in each layer, and misses those; what it computes is right.
test("a folder says which of PEFT's warnings are none of its own", () => {
  const warns = (readme: string) => readme.includes("PEFT warns that `randlora_A.default`");
  expect(warns(peftReadme(content(PEFT_TYPES.peft, BASES), randlora))).toBe(true);
  expect(warns(peftReadme(content(PEFT_TYPES.peft, ["q.randlora_lambda"]), randlora))).toBe(false);
  expect(warns(peftReadme(content(PEFT_TYPES.paper, BASES), randlora))).toBe(false);
  expect(warns(peftReadme(content("LORA", FACTORS), lora))).toBe(false);
});
