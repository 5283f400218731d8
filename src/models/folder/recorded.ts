import { isAbsolute } from "node:path";
import { type HubName, parseHubName, parseRepository } from "../../files/hub/name.ts";
import { EMBEDDED } from "./embedded-name.ts";

/**
 * A model or an adapter as a run recorded it: an absolute path, `embedded`, or `org/name` on the Hub. What lies beside the
 * working directory by now does not change what it means.
 */
export interface Recorded {
  readonly name: string;
  /** That of a name on the Hub when the run began; null for others, and in runs of earlier versions. */
  readonly commit: string | null;
}

/** Where on the Hub an argument or what was recorded is; undefined for what is on this machine. */
export function hubNameOf(place: string | Recorded): HubName | undefined {
  if (typeof place === "string") return parseHubName(place);
  const { name, commit } = place;
  if (isAbsolute(name) || name === EMBEDDED) return undefined;
  const found = parseRepository(name);
  return found && { repo: found.repo, revision: commit ?? found.revision };
}
