/*
 * Compiles the CPU device's kernels, AssemblyScript in src/cpu/assembly, into src/cpu/kernels.wasm. Plain JavaScript, as
 * set-up runs it; does nothing where the module is newer than its sources.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, renameSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(import.meta.url);

const OPTIONS =
  "-O3 --noAssert --enable simd,threads --runtime stub --disableWarning " +
  "--importMemory --sharedMemory --initialMemory 1 --maximumMemory 65536";

/** @returns whether the module is there and current */
export function compileAssembly(root) {
  const folder = join(root, "src/cpu/assembly");
  const target = join(root, "src/cpu/kernels.wasm");
  const inputs = [...readdirSync(folder).map((name) => join(folder, name)), HERE];
  if (existsSync(target) && inputs.every((path) => statSync(path).mtimeMs <= statSync(target).mtimeMs)) return true;
  const partial = `${target}.${process.pid}.part`;
  const compiler = join(root, "node_modules/assemblyscript/bin/asc.js");
  const { status } = spawnSync(
    process.execPath,
    // No relaxed SIMD: its sums differ from processor to processor.
    [compiler, join(folder, "index.ts"), "--outFile", partial].concat(OPTIONS.split(" ")),
    { cwd: root, stdio: ["ignore", "inherit", "inherit"] },
  );
  if (status === 0) renameSync(partial, target);
  return status === 0;
}

if (process.argv[1] === HERE) {
  process.exit(compileAssembly(join(dirname(HERE), "..")) ? 0 : 1);
}
