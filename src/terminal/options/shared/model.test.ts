import { expect, test } from "bun:test";
import { command as chat } from "../../../../cmd/chat.ts";
import { command as evaluate } from "../../../../cmd/eval.ts";
import { command as serve } from "../../../../cmd/serve.ts";

test("--context reads the same texts in every command, and is -c in each", () => {
  const all = [chat, serve, ...evaluate.commands].filter(({ options }) => options["context"] !== undefined);
  expect(all.map(({ options }) => options["context"]?.short)).toEqual(["c", "c", "c", "c"]);
  for (const { options } of all) {
    expect(options["context"]?.read(["4K"])).toBe(4000);
    expect(options["context"]?.read(["4096"])).toBe(4096);
    expect(() => options["context"]?.read(["1"])).toThrow("must be at least 2");
  }
});
