/*
 * Compiles the CPU device's kernels, AssemblyScript in src/compute/cpu/assembly, into src/compute/cpu/kernels.wasm. Plain JavaScript, as
 * set-up runs it; does nothing where the module was made from the same sources by the same compiler.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(import.meta.url);

const OPTIONS =
  "-O3 --noAssert --enable simd,threads --runtime stub --disableWarning " +
  "--importMemory --sharedMemory --initialMemory 1 --maximumMemory 65536";

/** The file beside the module that says what it was made from. */
const MARK = ".made-from";

/** A digest of the sources, of this script, and of the compiler's package, which names its version and Binaryen's. */
function inputsOf(root, folder) {
  const compiler = join(root, "node_modules/assemblyscript/package.json");
  const sources = readdirSync(folder)
    .toSorted()
    .map((name) => join(folder, name));
  const hash = createHash("sha256");
  for (const path of [...sources, HERE, compiler]) {
    hash
      .update(`${basename(path)}\0`)
      .update(existsSync(path) ? readFileSync(path) : "")
      .update("\0");
  }
  return hash.digest("hex");
}

/** @returns whether the module is there and current */
export function compileAssembly(root) {
  const folder = join(root, "src/compute/cpu/assembly");
  const target = join(root, "src/compute/cpu/kernels.wasm");
  const mark = `${target}${MARK}`;
  const inputs = inputsOf(root, folder);
  if (existsSync(target) && existsSync(mark) && readFileSync(mark, "utf8") === inputs) return true;
  // The kit for other machines has the module, and no compiler.
  if (existsSync(target) && !existsSync(join(root, "node_modules/assemblyscript"))) return true;
  const partial = `${target}.${process.pid}.part`;
  const compiler = join(root, "node_modules/assemblyscript/bin/asc.js");
  const { status } = spawnSync(
    process.execPath,
    // No relaxed SIMD: its sums differ from processor to processor.
    [compiler, join(folder, "index.ts"), "--outFile", partial].concat(OPTIONS.split(" ")),
    { cwd: root, stdio: ["ignore", "inherit", "inherit"] },
  );
  if (status !== 0) return false;
  renameSync(partial, target);
  writeFileSync(mark, inputs);
  return true;
}

if (process.argv[1] === HERE) {
  process.exit(compileAssembly(join(dirname(HERE), "..")) ? 0 : 1);
}
