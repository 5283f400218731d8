import { readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";

/** What the launcher of this process says of it. */
export interface Launched {
  /** The program that starts processes: `mpirun`, `mpiexec`, `srun`. */
  readonly by: string;
  /** How many it started; undefined where it does not say. */
  readonly size: number | undefined;
}

/**
 * Variables that launchers set in each process: Open MPI's, MPICH's and Intel MPI's (Hydra; Slurm's PMI-2 as well), Slurm's.
 * Slurm's own are set by `srun` alone, and not in a batch script, which is one process whatever the job has.
 */
const SIZES = [
  ["OMPI_COMM_WORLD_SIZE", "mpirun"],
  ["PMI_SIZE", "mpiexec"],
  ["SLURM_STEP_NUM_TASKS", "srun"],
] as const;

/** At 0 each process works by itself, as those of a task farm do. */
export const ALONE_VARIABLE = "RANDLORA_MPI";

/** Who started this process beside others; undefined for a process alone. */
export function launched(environment: Readonly<Record<string, string | undefined>>): Launched | undefined {
  if (environment[ALONE_VARIABLE] === "0") return undefined;
  for (const [variable, by] of SIZES) {
    const size = Number(environment[variable] ?? NaN);
    if (Number.isSafeInteger(size)) return size > 1 ? { by, size } : undefined;
  }
  return environment["PMIX_RANK"] === undefined ? undefined : { by: "mpirun", size: undefined };
}

/** A process above this one. */
export interface Above {
  readonly id: number;
  /** Its program's file. */
  readonly path: string;
}

/** What MPIs call the programs that start processes, on this machine and for another one. */
const LAUNCHERS = /^(mpi|hydra|orte|prte)/;
/** Scripts that set up something, npx, npm's launcher of this program. */
const MOST_BETWEEN = 8;

/**
 * The launcher of this process, be it its parent or beyond scripts between them; the parent where none is called like one.
 * Undefined where the system does not say.
 */
export function launcherAbove(): Above | undefined {
  const above: Above[] = [];
  try {
    for (let id = process.ppid; id > 1 && above.length < MOST_BETWEEN; id = parentOf(id)) {
      above.push({ id, path: readlinkSync(`/proc/${id}/exe`) });
    }
  } catch {
    // Not Linux, or one is another user's.
  }
  return above.find(({ path }) => LAUNCHERS.test(basename(path))) ?? above[0];
}

function parentOf(id: number): number {
  return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${id}/status`, "utf8"))?.[1] ?? 0);
}
