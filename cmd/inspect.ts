import { type Context, defineCommand, required, text } from "../src/options/command.ts";

/** `randlora inspect PATH`. */
export const command = defineCommand({
  name: "inspect",
  otherNames: ["info", "show", "describe"],
  summary: "Show what an adapter or a checkpoint holds",
  example: "randlora inspect my-adapter",
  arguments: {
    path: required("PATH", "an adapter or a checkpoint: a folder, a file, a run, org/name on the Hub, or embedded"),
  },
  options: {
    base: text({
      value: "MODEL",
      topic: "Adapter",
      help: "the model that the adapter is for",
      defaultText: "the one that it names, where that is on this machine",
    }),
  },
  async run({ path: given }, options, context) {
    const { RandloraError } = await import("../src/errors.ts");
    const { findKind } = await import("../src/analysis/find-kind.ts");
    const { kind, path } = await findKind(await placeOf(given, context));
    const page = await import("../src/report/inspect.ts");
    if (kind === "checkpoint") {
      if (options.base !== undefined) {
        throw new RandloraError("usage", `--base: ${given} is a checkpoint, no adapter`, "leave --base out");
      }
      const { inspectCheckpoint } = await import("../src/analysis/inspect-checkpoint.ts");
      const report = await inspectCheckpoint(path);
      context.result(page.checkpointJson(report), () => page.checkpointText(report, context));
      return;
    }
    const { inspectAdapter } = await import("../src/analysis/inspect-adapter.ts");
    const { openBase, openNamedBase } = await import("../src/analysis/open-base.ts");
    const { localPath } = await import("../src/options/places.ts");
    const { base } = options;
    const report = await inspectAdapter(path, async (named) => {
      return base === undefined
        ? await openNamedBase(path, named)
        : await openBase(await localPath(base, "model", context), base);
    });
    for (const { message } of report.problems) context.log.warn(message);
    context.result(page.adapterJson(report), () => page.adapterText(report, context));
  },
});

/** PATH on this machine. Of a model on the Hub that is not in the cache config.json is fetched, and no weights. */
async function placeOf(path: string, context: Context): Promise<string> {
  const { localPath } = await import("../src/options/places.ts");
  const { parseHubName } = await import("../src/hub/name.ts");
  const name = parseHubName(path);
  if (name === undefined) return await localPath(path, "model", context);
  const { HubFailure } = await import("../src/hub/failure.ts");
  const { resolveModel } = await import("../src/hub/resolve.ts");
  try {
    return await localPath(path, "adapter", context);
  } catch (thrown) {
    // No adapter, as far as the list of its files goes.
    if (thrown instanceof HubFailure) throw thrown;
    const cached = await resolveModel(name, { offline: true }).catch(() => undefined);
    return (
      cached ??
      (await localPath(path, "config", context).catch(() => {
        throw thrown;
      }))
    );
  }
}
