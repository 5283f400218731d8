/*
 * Writes THIRD_PARTY_NOTICES.txt: the licenses of everything that the binary contains. `randlora licenses` shows it. Run it
 * after a dependency changed: `bun scripts/notices.ts`.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";

const ROOT = join(import.meta.dir, "..");
/** AssemblyScript's standard library is compiled into the CPU device's kernels. */
const BUILT_IN = ["assemblyscript"];

const Lock = v.object({
  packages: v.record(
    v.string(),
    v.object({
      version: v.optional(v.string()),
      dependencies: v.optional(v.record(v.string(), v.string())),
    }),
  ),
});

/** What of the lock file is in the binary: dependencies and what they depend on; Bun and the library of the compiler, but not what the two depend on. */
export async function shippedPackages(): Promise<readonly { readonly name: string; readonly version: string }[]> {
  const { packages } = v.parse(Lock, JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8")));
  const names = new Set([...BUILT_IN, "bun"]);
  const add = (path: string): void => {
    for (const name of Object.keys(packages[path]?.dependencies ?? {})) {
      if (names.has(name)) continue;
      names.add(name);
      add(`node_modules/${name}`);
    }
  };
  add("");
  return [...names].toSorted().map((name) => {
    const { version = "" } = packages[`node_modules/${name}`] ?? {};
    return { name, version };
  });
}

async function textsOf(name: string): Promise<string> {
  if (name === "bun") return (await readFile(join(import.meta.dir, "notices/bun.txt"), "utf8")).trim();
  const folder = join(ROOT, "node_modules", name);
  const files = (await readdir(folder)).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file)).toSorted();
  if (files.length === 0) throw new Error(`${name}: its package has no license text`);
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), "utf8")));
  return texts
    .map((text) =>
      text
        .replaceAll("\r\n", "\n")
        .replaceAll(/[ \t]+$/gm, "")
        .trim(),
    )
    .join("\n\n");
}

export async function notices(): Promise<string> {
  const byText = new Map<string, string[]>();
  for (const { name, version } of await shippedPackages()) {
    const text = await textsOf(name);
    byText.set(text, [...(byText.get(text) ?? []), `${name} ${version}`]);
  }
  const dawn = (await readFile(join(import.meta.dir, "notices/dawn.txt"), "utf8")).trim();
  byText.set(dawn, ["webgpu: what Dawn contains"]);
  const line = "-".repeat(80);
  const parts = [...byText].map(([text, names]) => `${line}\n${names.join("\n")}\n${line}\n\n${text}\n`);
  return `randlora is licensed under the Apache License 2.0. It contains the following.\n\n${parts.join("\n")}`;
}

if (import.meta.main) await Bun.write(join(ROOT, "THIRD_PARTY_NOTICES.txt"), await notices());
