import { MODEL_ARGUMENT } from "../src/chat/options.ts";
import { CHATS_OPTIONS } from "../src/measure/eval/options.ts";
import { defineCommand } from "../src/terminal/options/command.ts";

/** `randlora eval chats`. */
export const chatsCommand = defineCommand({
  name: "chats",
  summary: "Measure loss and right answers on held-out chats",
  example: "randlora eval chats runs/my-run --data test.jsonl --match json",
  arguments: { model: MODEL_ARGUMENT },
  options: CHATS_OPTIONS,
  async run({ model }, options, context) {
    const { evalChats } = await import("../src/measure/eval/chats-command.ts");
    await evalChats(model, options, context);
  },
});
