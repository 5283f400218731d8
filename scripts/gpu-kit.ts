/*
 * `npm run bench:gpu`: packs `.gpu-kit/`, one folder for an x86-64 Linux machine that has a card and nothing else: the
 * compiled binary, which is Bun as well, the tests with the packages that they need, and a Vulkan loader. There,
 * `sh .gpu-kit/run OUT` verifies the card first (`doctor --verify`), then measures it (`bun run bench`) and runs the tests; everything
 * it prints goes to the folder OUT.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "./build.ts";
import { COMPUTING } from "./gpu-tests.ts";

const ROOT = join(import.meta.dir, "..");
const KIT = join(ROOT, ".gpu-kit");
const SOURCES = "src cmd bench fixtures scripts interop package.json bunfig.toml tsconfig.json".split(" ");
/** What tests import beside the program's own dependencies. */
const TEST_PACKAGES = ["fast-check", "wgsl_reflect"];
/** The kit has what they make: the program is Bun as well, and the kernels are compiled. */
const BUILDERS = new Set(["assemblyscript", "bun"]);

/** Runs a command; its output is an error's text. @throws Error where it fails */
function run(command: readonly string[], cwd = ROOT): string {
  const { success, stdout, stderr } = Bun.spawnSync([...command], { cwd, stdout: "pipe", stderr: "pipe" });
  if (!success) throw new Error(`${command.join(" ")}: ${stderr.toString().trim()}`);
  return stdout.toString();
}

/** A package and all that it depends on, by name. */
async function closure(name: string, known: Set<string>): Promise<void> {
  if (known.has(name)) return;
  known.add(name);
  const text = await readFile(join(ROOT, "node_modules", name, "package.json"), "utf8");
  const { dependencies = {} } = JSON.parse(text) as { readonly dependencies?: Readonly<Record<string, string>> };
  for (const other of Object.keys(dependencies)) await closure(other, known);
}

/** The packages' folders, without what drives other platforms. */
async function packages(): Promise<string[]> {
  const { dependencies } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  const names = new Set<string>();
  for (const name of [...Object.keys(dependencies), ...TEST_PACKAGES]) {
    if (!BUILDERS.has(name)) await closure(name, names);
  }
  const foreign = (await readdir(join(ROOT, "node_modules/webgpu/dist"))).filter((name) =>
    /^(?!linux-x64).+-.+$/.test(name),
  );
  const excluded = foreign.map((name) => `--exclude=node_modules/webgpu/dist/${name}`);
  return [...excluded, ...[...names].map((name) => `node_modules/${name}`)];
}

const RUN = `#!/bin/sh
# Usage: sh .gpu-kit/run OUT
set -u
kit=$(cd "$(dirname "$0")" && pwd)
out=\${1:-gpu-results}
mkdir -p "$out" && out=$(cd "$out" && pwd)
work=$(mktemp -d)
tar -xJf "$kit/files.tar.xz" -C "$work" && cd "$work" || exit 1
# The loader is unpacked beside the program: nothing is installed, and nothing of the machine's is overwritten.
ldconfig -p | grep -q 'libvulkan\\.so\\.1' || for deb in "$kit"/loader/*.deb; do dpkg -x "$deb" "$work/loader"; done
LD_LIBRARY_PATH="$work/loader/usr/lib/x86_64-linux-gnu\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
./randlora doctor >"$out/doctor.txt" 2>&1 || { cat "$out/doctor.txt"; exit 1; }
./randlora doctor --verify --force --out "$out/doctor.json" >>"$out/doctor.txt" 2>&1
failed=$?
cat "$out/doctor.txt"
export BUN_BE_BUN=1 RANDLORA_TEST_DEVICE=gpu
./randlora bench/main.ts peak memory gemm quantized delta attention >"$out/bench.txt" 2>&1 || failed=1
cat "$out/bench.txt"
./randlora test --timeout 400000 ${COMPUTING.join(" ")} >"$out/tests.txt" 2>&1
tests=$?
tail -n 6 "$out/tests.txt"
exit $((failed | tests))
`;

await rm(KIT, { recursive: true, force: true });
await mkdir(join(KIT, "loader"), { recursive: true });
const work = await mkdtemp(join(tmpdir(), "randlora-kit-"));
try {
  await build(join(work, "randlora"));
  const tracked = run(["git", "ls-files", "-z", ...SOURCES])
    .split("\0")
    .filter(Boolean);
  const list = join(work, "files");
  await writeFile(list, [...tracked, "src/compute/cpu/kernels.wasm"].join("\n"));
  const parts = [...(await packages()), "--files-from", list, "-C", work, "randlora"];
  run(["tar", "-cJf", join(KIT, "files.tar.xz"), "--dereference", ...parts]);
  try {
    run(["apt-get", "download", "-q", "libvulkan1"], join(KIT, "loader"));
  } catch {
    process.stderr.write("note: no Vulkan loader was fetched; the other machine must have one\n");
  }
  await writeFile(join(KIT, "run"), RUN);
  process.stdout.write(run(["du", "-sh", ".gpu-kit"]));
} finally {
  await rm(work, { recursive: true, force: true });
}
