// A template for a command: copy it to `cmd/COMMAND.ts`, change what it says, and list it in `cmd/main.ts`.
import { defineCommand, flag, required } from "../command.ts";

/** `sample count FILE [--empty]`. */
export const command = defineCommand({
  name: "count",
  summary: "Count the lines of a file",
  example: "sample count data.jsonl --empty",
  arguments: { file: required("FILE", "the text file") },
  // Keys in camelCase: `maxShardSize` is `--max-shard-size` and `RANDLORA_MAX_SHARD_SIZE`. values.ts has the other kinds.
  options: { empty: flag({ topic: "Counting", help: "count empty lines, too" }) },
  async run({ file }, { empty }, context) {
    // Imported here, so that --help stays fast. A command of any size is one lazy import and a call.
    const { readText } = await import("../../../files/read-text.ts");
    const all = (await readText(file)).trimEnd().split("\n");
    const lines = all.filter((line) => empty || line !== "").length;
    if (lines < all.length) context.log.info(`${all.length - lines} empty lines left out`);
    // --json prints the object, a person gets the text.
    context.result({ file, lines }, () => `${lines} lines\n`);
  },
});
