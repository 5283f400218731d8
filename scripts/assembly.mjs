/*
 * Compiles the CPU device's kernels, AssemblyScript in src/compute/cpu/assembly, into src/compute/cpu/kernels.wasm, with
 * the classes of their parameters as families declare them. Plain JavaScript, as set-up runs it; does nothing where the module was made from the same sources by the same compiler.
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

/** The file beside the module that says what it was made from: a digest of that, and one of what declares parameters. */
const MARK = ".made-from";

function digestOf(paths) {
  const hash = createHash("sha256");
  for (const path of paths) {
    hash
      .update(`${basename(path)}\0`)
      .update(existsSync(path) ? readFileSync(path) : "")
      .update("\0");
  }
  return hash.digest("hex");
}

function filesOf(folder) {
  const names = readdirSync(folder);
  // Node 18 has no toSorted.
  names.sort();
  return names.map((name) => join(folder, name));
}

/** Writes the classes of kernels' parameters. Bun runs what makes them, since Node reads no TypeScript. */
function writeParameters(root, path) {
  const bun = process.versions.bun === undefined ? join(root, "node_modules/.bin/bun") : process.execPath;
  const options = {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    shell: bun.includes(".bin") && process.platform === "win32",
  };
  const { status, stdout } = spawnSync(bun, [join(root, "scripts/assembly-parameters.ts")], options);
  if (status !== 0) return false;
  writeFileSync(`${path}.${process.pid}.part`, stdout);
  renameSync(`${path}.${process.pid}.part`, path);
  return true;
}

/** @returns whether the module is there and current */
export function compileAssembly(root) {
  const cpu = join(root, "src/compute/cpu");
  const [folder, target] = [join(cpu, "assembly"), join(cpu, "kernels.wasm")];
  const mark = `${target}${MARK}`;
  const compiler = join(root, "node_modules/assemblyscript");
  // The kit for other machines has the module, and no compiler.
  if (existsSync(target) && !existsSync(compiler)) return true;
  const [madeFrom, declaredBy] = existsSync(mark) ? readFileSync(mark, "utf8").split("\n") : [];
  const generator = join(root, "scripts/assembly-parameters.ts");
  const declared = digestOf([
    ...filesOf(join(cpu, "families")),
    join(cpu, "parameters.ts"),
    join(cpu, "pieces.ts"),
    generator,
  ]);
  const parameters = join(folder, "parameters.ts");
  const isDeclared = declared === declaredBy && existsSync(parameters);
  if (!isDeclared && !writeParameters(root, parameters)) return false;
  // The compiler's package names its version and Binaryen's.
  const inputs = digestOf([...filesOf(folder), HERE, join(compiler, "package.json")]);
  if (!existsSync(target) || madeFrom !== inputs) {
    const partial = `${target}.${process.pid}.part`;
    const { status } = spawnSync(
      process.execPath,
      // No relaxed SIMD: its sums differ from processor to processor.
      [join(compiler, "bin/asc.js"), join(folder, "index.ts"), "--outFile", partial].concat(OPTIONS.split(" ")),
      { cwd: root, stdio: ["ignore", "inherit", "inherit"] },
    );
    if (status !== 0) return false;
    renameSync(partial, target);
  }
  if (madeFrom !== inputs || !isDeclared) writeFileSync(mark, `${inputs}\n${declared}`);
  return true;
}

if (process.argv[1] === HERE) {
  process.exit(compileAssembly(join(dirname(HERE), "..")) ? 0 : 1);
}
