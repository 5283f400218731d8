import { choice, defineCommand, flag, required, text } from "../src/terminal/options/command.ts";

/** `randlora convert ADAPTER --to peft|json --out PATH`. */
export const command = defineCommand({
  name: "convert",
  otherNames: ["export"],
  summary: "Write an adapter as a PEFT folder or as one adapter.json, losing nothing",
  example: "randlora convert my-adapter --to json --out my-adapter.json",
  arguments: {
    adapter: required("ADAPTER", "a PEFT folder, an adapter.json, a run folder, or a name on the Hub"),
  },
  options: {
    to: choice(["peft", "json"], { topic: "Output", help: "format to write" }),
    out: text({ value: "PATH", short: "o", topic: "Output", help: "output: a folder (peft) or a file (json)" }),
    projections: choice(["yes", "no"], {
      topic: "Output",
      help: "save the random bases, or leave them to be generated again",
      defaultText: "yes for peft; for json only when nothing can draw them again",
    }),
    force: flag({ topic: "Output", help: "replace an existing output" }),
  },
  async run({ adapter: name }, { to, out, projections, force }, context) {
    const { RandloraError } = await import("../src/files/errors.ts");
    if (to === undefined) throw new RandloraError("usage", "--to is missing", "write --to peft or --to json");
    if (out === undefined)
      throw new RandloraError("usage", "--out is missing", "name a folder (peft) or a file (json)");
    const { localPath } = await import("../src/models/folder/local-path.ts");
    const { openAdapter } = await import("../src/adapters/open.ts");
    const { methodOfAdapter } = await import("../src/adapters/methods.ts");
    const { convertAdapter } = await import("../src/adapters/convert.ts");
    await using adapter = await openAdapter(await localPath(name, "adapter", context));
    const result = await convertAdapter(adapter, {
      to,
      out,
      projections: projections === undefined ? undefined : projections === "yes",
      force,
      signal: context.signal,
    }).catch((thrown: unknown) => {
      if (context.signal.aborted) context.log.info("cancelled; nothing written");
      throw thrown;
    });
    for (const note of result.notes) context.log.warn(note);
    const { tensors, generator } = result;
    const hasBases = methodOfAdapter(adapter).shared.length > 0;
    const data = {
      out: result.out,
      to,
      tensors,
      generator: generator ?? null,
      projections: result.projections,
    };
    context.result(data, () => {
      const drawn = `bases drawn by ${generator ?? "an unknown generator"}`;
      const bases = !hasBases ? "no bases" : result.projections ? "bases included" : drawn;
      return `${result.out}: ${tensors} tensors, ${bases}\n`;
    });
  },
});
