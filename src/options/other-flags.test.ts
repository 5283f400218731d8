import { expect, test } from "bun:test";
import { command as chat } from "../../cmd/chat.ts";
import { command as finetune } from "../../cmd/finetune.ts";
import { flagName } from "./names.ts";
import { optionOfOthers } from "./other-flags.ts";

const flags = (options: object) => Object.keys(options).map(flagName);

test("names of other programs lead to ours, in any of their spellings, where the command has the option", () => {
  for (const [theirs, ours] of [
    ["--lr", "learning-rate"],
    ["--lora_r", "rank"],
    ["--target-modules", "targets"],
    ["--num_train_epochs", "epochs"],
    ["--iters", "steps"],
  ] as const) {
    expect(optionOfOthers(theirs, flags(finetune.options))).toBe(ours);
  }
  expect(optionOfOthers("--n-predict", flags(chat.options))).toBe("max-tokens");
  expect(optionOfOthers("--temp", flags(chat.options))).toBe("temperature");
  expect(optionOfOthers("--lr", flags(chat.options))).toBeUndefined();
  expect(optionOfOthers("--nonsense", flags(finetune.options))).toBeUndefined();
});
