/*
 * `npm run pack:npm [PLATFORM…]`: the npm packages as dist/npm/*.tgz. One holds a launcher in plain JavaScript and the library's
 * types, and one a platform the binary and the library; npm installs the one that `os`, `cpu` and `libc` fit, so no install
 * script is needed.
 */
import { cp, mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import packageJson from "../package.json";
import { build } from "./build.ts";
import { bundleLibrary } from "./library-bundle.ts";
import { declareLibrary, LIBRARY_TYPES } from "./library-types.ts";
import { execute, isTarget, type Target, TARGETS } from "./runtimes.ts";
import { workFolder } from "./work-folder.ts";

const ROOT = join(import.meta.dir, "..");
/** npm's registry has taken larger ones, but proxies and mirrors refuse them. */
const LARGEST = 185_000_000;

/** The package that people name: its command, its library, and what both find their platform's package by. */
const LAUNCHER = ["randlora.mjs", "library.mjs", "needs-bun.mjs", "platform.mjs"];

const { name, version, description, license, engines } = packageJson;
const [npmOs, npmCpu] = [
  (target: Target) => target.replace(/-.*/, "").replace("windows", "win32"),
  (target: Target) => target.replace(/.*-/, ""),
];

/** The package that holds a platform's binary: `randlora-linux-x64`, as the launcher finds it by Node's names. */
export function platformPackage(target: Target): string {
  return `${name}-${npmOs(target)}-${npmCpu(target)}`;
}

function common() {
  const { GITHUB_REPOSITORY: repository } = process.env;
  // Where npm proves what a package was built from, this must name the repository that builds it.
  const origin =
    repository === undefined ? {} : { repository: { type: "git", url: `git+https://github.com/${repository}.git` } };
  return { version, license, ...origin };
}

/** package.json of the launcher, with the exact version of every platform's package. */
export function launcherManifest() {
  const platforms = Object.keys(TARGETS)
    .filter(isTarget)
    .map((target) => [platformPackage(target), version]);
  return {
    name,
    ...common(),
    description,
    type: "module",
    bin: { [name]: "randlora.mjs" },
    exports: {
      ".": { types: `./types/${LIBRARY_TYPES}`, default: "./library.mjs" },
      "./package.json": "./package.json",
    },
    engines,
    optionalDependencies: Object.fromEntries(platforms),
  };
}

/** package.json of a platform's package. */
export function platformManifest(target: Target) {
  return {
    name: platformPackage(target),
    ...common(),
    description: `The binary and the library of ${name} for ${npmOs(target)} on ${npmCpu(target)}`,
    os: [npmOs(target)],
    cpu: [npmCpu(target)],
    ...(npmOs(target) === "linux" ? { libc: ["glibc"] } : {}),
    // Yarn would keep it in a zip archive, where it cannot be started.
    preferUnplugged: true,
  };
}

/**
 * Writes the packages of these platforms, and the launcher, into a folder; their paths, the launcher's last.
 * @param onPackage told the name of each before it is made, which takes up to a minute
 */
export async function packNpm(
  folder: string,
  targets: readonly Target[],
  onPackage: (name: string) => void = () => {},
): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  using work = workFolder(folder);
  const pack = async (manifest: { readonly name: string }): Promise<string> => {
    const place = join(work.path, manifest.name);
    await Bun.write(join(place, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
    for (const file of ["LICENSE", "THIRD_PARTY_NOTICES.txt"]) await cp(join(ROOT, file), join(place, file));
    await execute(["npm", "pack", "--silent", "--pack-destination", folder], place);
    const path = join(folder, `${manifest.name}-${version}.tgz`);
    const { size } = await stat(path);
    if (size > LARGEST) throw new Error(`${path}: ${size} bytes, and registries take ${LARGEST}`);
    return path;
  };
  const paths: string[] = [];
  for (const target of targets) {
    const manifest = platformManifest(target);
    onPackage(manifest.name);
    await build(join(work.path, manifest.name, "bin", target === "windows-x64" ? "randlora.exe" : "randlora"), target);
    await bundleLibrary(join(work.path, manifest.name, "library"), target);
    paths.push(await pack(manifest));
  }
  const place = join(work.path, name);
  for (const file of LAUNCHER) await cp(join(import.meta.dir, "npm", file), join(place, file));
  await declareLibrary(join(place, "types"));
  await cp(join(ROOT, "README.md"), join(place, "README.md"));
  onPackage(name);
  return [...paths, await pack(launcherManifest())];
}

if (import.meta.main) {
  // The library's comments name its sources as they are seen from here.
  process.chdir(ROOT);
  const named = process.argv.slice(2);
  const unknown = named.find((target) => !isTarget(target));
  if (unknown !== undefined) throw new Error(`${unknown}: not one of ${Object.keys(TARGETS).join(", ")}`);
  const targets = (named.length > 0 ? named : Object.keys(TARGETS)).filter(isTarget);
  const paths = await packNpm(join(ROOT, "dist/npm"), targets, (name) => process.stderr.write(`packing ${name}\n`));
  process.stdout.write(paths.map((path) => `${path.slice(ROOT.length + 1)}\n`).join(""));
}
