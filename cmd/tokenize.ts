import { defineCommand, flag, optional, required, text } from "../src/terminal/options/command.ts";

/** `randlora tokenize`: shows how a model's tokenizer cuts a text. */
export const command = defineCommand({
  name: "tokenize",
  summary: "Show the token ids of a text; needs no weights",
  example: 'randlora tokenize HuggingFaceTB/SmolLM2-135M-Instruct "Once upon a time"',
  arguments: {
    model: required("MODEL", "the model: a folder or one of its files, org/name on the Hub, or embedded"),
    text: optional("TEXT", "text to tokenize"),
  },
  options: {
    prompt: text({
      short: "p",
      topic: "Text",
      help: "text to tokenize",
      defaultText: "what comes on stdin",
    }),
    file: text({ short: "f", value: "FILE", topic: "Text", help: "UTF-8 text file; - is stdin" }),
    noSpecial: flag({ topic: "Text", help: "do not add special tokens" }),
  },
  async run({ model, text: given }, options, context) {
    const { tokenize } = await import("../src/measure/inspect/tokenize-command.ts");
    await tokenize(model, given, options, context);
  },
});
