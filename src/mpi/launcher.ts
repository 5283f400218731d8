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

/** Who started this process beside others; undefined for a process alone. */
export function launched(environment: Readonly<Record<string, string | undefined>>): Launched | undefined {
  for (const [variable, by] of SIZES) {
    const size = Number(environment[variable] ?? NaN);
    if (Number.isSafeInteger(size)) return size > 1 ? { by, size } : undefined;
  }
  return environment["PMIX_RANK"] === undefined ? undefined : { by: "mpirun", size: undefined };
}
