import { expect, test } from "bun:test";
import { command as chat } from "../../../cmd/chat.ts";
import { command as finetune } from "../../../cmd/finetune.ts";
import { command as merge } from "../../../cmd/merge.ts";
import { RandloraError } from "../../files/errors.ts";
import { flagName } from "./names.ts";
import { parse } from "./parse.ts";
import { program } from "../../../cmd/main.ts";
import { argumentOfOthers, optionOfOthers } from "./other-flags.ts";

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

test("so do options of other programs that are arguments of ours", () => {
  const named = ({ arguments: all }: typeof chat) => Object.values(all).map(({ value }) => value);
  expect(argumentOfOthers("--model", named(chat))).toBe("MODEL");
  expect(argumentOfOthers("-m", named(finetune))).toBe("MODEL");
  expect(argumentOfOthers("--model_name_or_path", named(merge))).toBe("BASE");
  expect(argumentOfOthers("--lora", named(merge))).toBe("ADAPTER");
  expect(argumentOfOthers("--lora", named(chat))).toBeUndefined();
  expect(argumentOfOthers("--constructor", named(chat))).toBeUndefined();
});

test("commands of other programs lead to what we have in their place", () => {
  const style = { columns: 100, bold: (text: string) => text, dim: (text: string) => text };
  const hint = (word: string) => {
    try {
      return parse(program, [word], style).kind;
    } catch (error) {
      return error instanceof RandloraError ? error.hint : error;
    }
  };
  expect(hint("export-lora")).toBe("did you mean merge?");
  expect(hint("quantize")).toContain("--quantize q8 or q4");
  expect(hint("bench")).toContain("randlora doctor");
  expect(hint("version")).toBe("write randlora --version");
  expect(hint("constructor")).toStartWith("one of: ");
});
