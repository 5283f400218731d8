import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { RandloraError } from "../src/files/errors.ts";

/** The Python side of the suite: scripts and the packages they need. */
export const PYTHON_FOLDER = join(import.meta.dir, "python");
const OLDEST = [3, 10] as const;

// Suites run side by side, one a core; torch's threads take more time to wait for each other than small models take to compute.
process.env["OMP_NUM_THREADS"] ??= "1";

/** The root of what this project keeps between runs, outside the repository. */
export function cacheFolder(): string {
  return process.env["RANDLORA_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "randlora");
}

/** The interpreter of {@link pythonWith} the judges: torch, transformers, PEFT (1 GB). */
export async function pythonWithPeft(): Promise<string> {
  return await pythonWith("requirements.txt");
}

/**
 * The interpreter of a private virtual environment that holds exactly what a file of requirements names, made on the first
 * call (some minutes) and found again later. Its folder is named after the hash of the requirements and appears only
 * when complete. Throws a RandloraError when there is no usable python3, or when pip fails.
 */
export async function pythonWith(requirements: "requirements.txt" | "clients.txt"): Promise<string> {
  const file = join(PYTHON_FOLDER, requirements);
  const hash = new Bun.CryptoHasher("sha256")
    .update(await readFile(file))
    .digest("hex")
    .slice(0, 16);
  const parent = join(cacheFolder(), "python");
  const folder = join(parent, hash);
  const interpreter = join(folder, "bin", "python");
  if (existsSync(interpreter)) return interpreter;

  process.stderr.write(`interop: making a Python environment in ${folder} (once, some minutes)\n`);
  const scratch = join(parent, `${hash}.part-${process.pid}`);
  await mkdir(parent, { recursive: true });
  await removeAbandoned(parent);
  try {
    // An environment may be moved as long as it is entered through its interpreter, never through bin/pip.
    const pip = [await makeEnvironment(scratch), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"];
    await run([...pip, "--requirement", file]);
    // What is there without an interpreter lost its system Python; what is there with one was made by a faster run.
    if (!existsSync(interpreter)) await rm(folder, { recursive: true, force: true });
    await rename(scratch, folder).catch((error: unknown) => {
      if (!existsSync(interpreter)) throw error;
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return interpreter;
}

/** Makes an empty virtual environment and returns its interpreter. Throws a RandloraError when there is no usable python3. */
export async function makeEnvironment(folder: string): Promise<string> {
  await run([await systemPython(), "-m", "venv", folder]);
  return join(folder, "bin", "python");
}

/** Remove what killed runs left half-made; pip is done within the hour, or never. */
async function removeAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const path = join(parent, name);
    if (name.includes(".part-") && Date.now() - (await stat(path)).mtimeMs > 3_600_000) {
      await rm(path, { recursive: true, force: true });
    }
  }
}

/** A python3 on PATH that is new enough and can make virtual environments. */
async function systemPython(): Promise<string> {
  const hint = "on Debian or Ubuntu: apt install python3 python3-venv";
  const python = Bun.which("python3");
  if (python === null) throw new RandloraError("file", "python3 is not on PATH", hint);
  const probe = "import sys, ensurepip, venv; print(*sys.version_info[:2])";
  const child = Bun.spawnSync([python, "-c", probe], { stderr: "ignore" });
  const [major = 0, minor = 0] = child.stdout.toString().trim().split(" ").map(Number);
  if (child.exitCode !== 0) throw new RandloraError("file", `${python} cannot make virtual environments`, hint);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new RandloraError(
      "file",
      `${python} is Python ${major}.${minor}; ${OLDEST.join(".")} is the oldest that will do`,
      hint,
    );
  }
  return python;
}

/** Run a command to its end; its output becomes the error when it fails. */
export async function run(
  command: string[],
  options: { readonly cwd?: string; readonly env?: Record<string, string | undefined> } = {},
): Promise<string> {
  const child = Bun.spawn(command, { ...options, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (status !== 0) {
    throw new RandloraError("file", `${command.join(" ")} ended with status ${status}:\n${stderr || stdout}`.trim());
  }
  return stdout;
}

// Before tests that would each make it, side by side.
if (import.meta.main) await pythonWithPeft();
