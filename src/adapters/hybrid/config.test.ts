import { expect, test } from "bun:test";
import { joinConfigs } from "./config.ts";

test("of a key that both parts have RandLoRA's stands under its name, and LoRA's rank under one of its own", () => {
  const randlora = { r: 6, randlora_alpha: 60, sparse: true, peft_type: "RANDLORA", bias: "randlora_only" };
  const lora = { r: 2, lora_alpha: 4, peft_type: "LORA", bias: "none" };
  expect(joinConfigs(randlora, lora, "peft")).toEqual({
    bias: "none",
    lora_alpha: 4,
    lora_r: 2,
    peft_type: "RANDLORA_HYBRID",
    r: 6,
    randlora_alpha: 60,
    randlora_variant: "peft",
    sparse: true,
  });
});
