import { HubFailure } from "../files/hub/failure.ts";
import { parseHubName } from "../files/hub/name.ts";
import { resolveModel } from "../files/hub/resolve.ts";
import { localPath } from "../models/folder/local-path.ts";
import type { Context } from "../terminal/options/command.ts";

/**
 * An adapter or a model as a path on this machine. What is on the Hub is fetched: an adapter whole, of a model what
 * `kind` asks for; where that is all that it takes, one that is in the cache serves as it is.
 * @throws RandloraError `file` when it is not there
 */
export async function adapterOrModel(text: string, kind: "model" | "config", context: Context): Promise<string> {
  const name = parseHubName(text);
  if (name === undefined) return await localPath(text, "model", context);
  try {
    return await localPath(text, "adapter", context);
  } catch (thrown) {
    // No adapter, as far as the list of its files goes.
    if (thrown instanceof HubFailure) throw thrown;
    const cached = await resolveModel(name, { offline: true }).catch(() => undefined);
    return (
      cached ??
      (await localPath(text, kind, context).catch(() => {
        throw thrown;
      }))
    );
  }
}
