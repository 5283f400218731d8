import { existsSync } from "node:fs";
import { formatHubName, parseHubName } from "../hub/name.ts";
import type { Display } from "../hub/report.ts";
import { EMBEDDED } from "../models/embedded-name.ts";

/** The part of a command's context that shows what is fetched, and says where things are. */
interface PlacesDisplay extends Display {
  readonly log: Display["log"] & { verbose(line: string): void };
}

/**
 * A MODEL or ADAPTER argument as a path on this machine: a path stays what it is, `org/name[@revision]` is looked up in
 * the Hub's cache and fetched as far as it is missing, with a bar; the model `embedded` is the one that this program
 * carries with it.
 *
 * @param kind `config`: a model of which config.json suffices
 * @throws RandloraError `file` when the Hub has no such repository, or cannot be reached and nothing is cached
 */
export async function localPath(
  text: string,
  kind: "model" | "config" | "adapter",
  display: PlacesDisplay,
): Promise<string> {
  const name = parseHubName(text);
  if (name === undefined) {
    if (kind === "adapter" || text !== EMBEDDED || existsSync(text)) return text;
    const { embeddedModel } = await import("../models/embedded.ts");
    return await embeddedModel();
  }
  const { resolveAdapter, resolveConfig, resolveModel } = await import("../hub/resolve.ts");
  const { showingDownloads } = await import("../hub/report.ts");
  const resolve = { model: resolveModel, config: resolveConfig, adapter: resolveAdapter }[kind];
  const path = await showingDownloads(display, (options) => resolve(name, options));
  display.log.verbose(`${text}: ${path}`);
  return path;
}

/** The last part of a Hub name, for outputs named after a model; undefined for a path. */
export function hubBaseName(text: string): string | undefined {
  const name = parseHubName(text);
  return name === undefined ? undefined : formatHubName(name).replace(/@.*/, "").split("/").at(-1);
}
