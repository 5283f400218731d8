/*
 * `npm run release -- --repository OWNER/NAME [PLATFORM…]`: the files of a release, in dist/release. The same commit gives the
 * same bytes. An archive a platform: it is a third of the binary's size, keeps the right to execute, and brings the licenses.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { version } from "../package.json";
import { build } from "./build.ts";
import { shippedPackages } from "./notices.ts";
import { isTarget, type Target, TARGETS } from "./runtimes.ts";
import { workFolder } from "./work-folder.ts";

const ROOT = join(import.meta.dir, "..");
const WITH_EACH = ["LICENSE", "THIRD_PARTY_NOTICES.txt", "README.md", "CHANGELOG.md"];

/** One entry of a tar archive (POSIX ustar), with nothing in it of the time, the user or the machine. */
function tarEntry(path: string, content: Uint8Array, mode: number): Uint8Array {
  const entry = new Uint8Array(512 + Math.ceil(content.length / 512) * 512);
  const put = (at: number, text: string) => entry.set(new TextEncoder().encode(text), at);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  put(0, path);
  put(100, octal(mode, 7) + octal(0, 7) + octal(0, 7) + octal(content.length, 11) + octal(0, 11));
  put(148, "        0");
  put(257, "ustar\x0000");
  const sum = entry.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  put(148, `${octal(sum, 6)} `);
  entry.set(content, 512);
  return entry;
}

/** Builds for a platform and packs it with its licenses; the archive's name. */
async function packRelease(folder: string, target: Target): Promise<string> {
  const name = `${releaseName(target)}.tar.gz`;
  using work = workFolder(folder);
  const program = target === "windows-x64" ? "randlora.exe" : "randlora";
  await build(join(work.path, program), target);
  const entries = (await readdir(work.path)).toSorted().map((file) => join(work.path, file));
  const parts: Uint8Array[] = [];
  for (const path of [...entries, ...WITH_EACH.map((file) => join(ROOT, file))]) {
    const file = basename(path);
    parts.push(tarEntry(`${releaseName(target)}/${file}`, await readFile(path), file === program ? 0o755 : 0o644));
  }
  await Bun.write(join(folder, name), Bun.gzipSync(Buffer.concat([...parts, new Uint8Array(1024)])));
  return name;
}

function releaseName(target: Target): string {
  return `randlora-${version}-${target}`;
}

interface Bom {
  serialNumber?: string;
  metadata: { timestamp?: string; component: { name: string; type: string } };
  components: { "bom-ref": string; name: string }[];
  dependencies: { ref: string; dependsOn?: string[] }[];
}

/** What the binary contains as CycloneDX: npm's own, less what only serves development, and less what differs each time. */
async function sbom(): Promise<string> {
  const command = ["npm", "sbom", "--sbom-format", "cyclonedx", "--package-lock-only"];
  const { stdout, stderr, success } = Bun.spawnSync(command, { cwd: ROOT });
  if (!success) throw new Error(`${command.join(" ")}: ${stderr.toString()}`);
  const bom: Bom = JSON.parse(stdout.toString());
  delete bom.serialNumber;
  delete bom.metadata.timestamp;
  // npm takes it from the folder.
  Object.assign(bom.metadata.component, { name: "randlora", type: "application" });
  const shipped = await shippedPackages();
  const refs = new Set(["randlora", ...shipped.map(({ name }) => name)].map(refOf));
  function refOf(name: string): string {
    return `${name}@${name === "randlora" ? version : (shipped.find((one) => one.name === name)?.version ?? "")}`;
  }
  bom.components = bom.components.filter((component) => refs.has(component["bom-ref"]));
  bom.dependencies = bom.dependencies
    .filter(({ ref }) => refs.has(ref))
    .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((other) => refs.has(other)) }));
  return `${JSON.stringify(bom, undefined, 2)}\n`;
}

async function sha256(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

/** Fills in `@NAME@`. @throws {Error} where a name has no value */
async function fillIn(template: string, values: Readonly<Record<string, string>>): Promise<string> {
  const text = await readFile(join(import.meta.dir, "release", template), "utf8");
  return text.replaceAll(/@([\w-]+)@/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`${template}: nothing to put for @${name}@`);
    return value;
  });
}

/** Writes a release's files into a new folder: SHA256SUMS names all others. */
export async function release(folder: string, repository: string, targets: readonly Target[]): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const home = `https://github.com/${repository}/releases`;
  const hashes: Record<string, string> = {};
  for (const target of targets) hashes[target] = await sha256(join(folder, await packRelease(folder, target)));
  await Bun.write(join(folder, "randlora.cdx.json"), await sbom());
  await Bun.write(join(folder, "install.sh"), await fillIn("install.sh", { BASE: `${home}/latest/download` }));
  if (Object.keys(TARGETS).every((target) => target in hashes)) {
    const values = { ...hashes, BASE: `${home}/download/v${version}`, REPOSITORY: repository, VERSION: version };
    await Bun.write(join(folder, "randlora.rb"), await fillIn("randlora.rb", values));
  }
  const files = (await readdir(folder)).toSorted();
  const sums = await Promise.all(files.map(async (file) => `${await sha256(join(folder, file))}  ${file}\n`));
  await Bun.write(join(folder, "SHA256SUMS"), sums.join(""));
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({ options: { repository: { type: "string" } }, allowPositionals: true });
  const repository = values.repository ?? process.env["GITHUB_REPOSITORY"];
  if (repository === undefined) throw new Error("whose release? --repository OWNER/NAME, or GITHUB_REPOSITORY");
  const unknown = positionals.find((target) => !isTarget(target));
  if (unknown !== undefined) throw new Error(`${unknown}: not one of ${Object.keys(TARGETS).join(", ")}`);
  const targets = (positionals.length > 0 ? positionals : Object.keys(TARGETS)).filter(isTarget);
  await release(join(ROOT, "dist/release"), repository, targets);
  process.stdout.write(await readFile(join(ROOT, "dist/release/SHA256SUMS"), "utf8"));
}
