import { readConfig } from "../../models/folder/config-json.ts";

/** Keys that say who wrote the file, and from where: they decide nothing of what the model computes. */
const OF_WRITERS: ReadonlySet<string> = new Set(["_name_or_path", "transformers_version"]);

/**
 * SHA-256 of what a model's config.json says, whatever the order of its keys and its white space. Weights that are the
 * same make another function with, say, another `rope_theta`.
 * @param folder the model's
 * @throws RandloraError `file`, `format`
 */
export async function configFingerprint(folder: string): Promise<string> {
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
