import { RandloraError } from "../../files/errors.ts";
import { readConfig } from "../../models/folder/config-json.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { DataHashes, TrainingSource } from "./subject.ts";

/** What tells a base from others of the same name: its fingerprint, and that of its config.json. */
export interface BaseHashes {
  readonly base: string;
  readonly config: string;
}

/** What tells the data and the base of a run from others. States of earlier versions know less of the base. */
export interface SourceHashes extends DataHashes {
  readonly base?: string | undefined;
  readonly config?: string | undefined;
}

/** @throws RandloraError `file`, `format` */
export async function baseHashes(
  source: Pick<TrainingSource<unknown>, "fingerprint">,
  { folder }: ModelLocation,
): Promise<BaseHashes> {
  return { base: await source.fingerprint(), config: await configFingerprint(folder) };
}

/** @throws RandloraError `data` for other data than `what` (the run, the comparison) began with */
export function refuseOtherData(began: DataHashes, now: DataHashes, { data }: TrainSettings, what: string): void {
  if (began.data === now.data) return;
  const hint = `put the old data back, or start a new ${what}`;
  throw new RandloraError("data", `${data}: not the data that the ${what} began with`, hint);
}

/** @throws RandloraError `model` for another base than `what` began with */
export function refuseOtherBase(began: SourceHashes, now: BaseHashes, { model }: TrainSettings, what: string): void {
  for (const [key, named] of [
    ["base", "its weights are not those"],
    ["config", "its config.json is not the one"],
  ] as const) {
    if (began[key] === undefined || began[key] === now[key]) continue;
    const hint = `put the old model back, or start a new ${what}`;
    throw new RandloraError("model", `${model}: ${named} that the ${what} began with`, hint);
  }
}

/** Keys that say who wrote the file, and from where: they decide nothing of what the model computes. */
const OF_WRITERS: ReadonlySet<string> = new Set(["_name_or_path", "transformers_version"]);

/**
 * SHA-256 of what a model's config.json says, whatever the order of its keys and its white space. Weights that are the
 * same make another function with, say, another `rope_theta`.
 * @param folder the model's
 * @throws RandloraError `file`, `format`
 */
async function configFingerprint(folder: string): Promise<string> {
  const config = await readConfig(folder);
  return new Bun.CryptoHasher("sha256").update(JSON.stringify(sorted(config?.value ?? null))).digest("hex");
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => !OF_WRITERS.has(key));
  // Pairs, because objects put keys that look like numbers first.
  return entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, sorted(inner)]);
}
