import { expect, test } from "bun:test";
import { launched } from "./launcher.ts";

test.each([
  ["a process alone", {}, undefined],
  ["Open MPI", { OMPI_COMM_WORLD_SIZE: "4", PMIX_RANK: "1" }, { by: "mpirun", size: 4 }],
  ["MPICH", { PMI_SIZE: "2", PMI_RANK: "0" }, { by: "mpiexec", size: 2 }],
  [
    "MPICH in a job of Slurm, which starts one proxy a node",
    { PMI_SIZE: "8", SLURM_STEP_NUM_TASKS: "2" },
    { by: "mpiexec", size: 8 },
  ],
  ["srun", { SLURM_STEP_NUM_TASKS: "3", SLURM_PROCID: "2", PMIX_RANK: "2" }, { by: "srun", size: 3 }],
  ["a launcher that does not say how many", { PMIX_RANK: "0" }, { by: "mpirun", size: undefined }],
  ["one process of a launcher", { PMI_SIZE: "1" }, undefined],
  ["a batch script of a job of several tasks", { SLURM_NTASKS: "4", SLURM_PROCID: "0" }, undefined],
  ["processes that are to work each by itself", { OMPI_COMM_WORLD_SIZE: "4", RANDLORA_MPI: "0" }, undefined],
  ["a variable that is no number", { PMI_SIZE: "two" }, undefined],
])("%s", (_, environment, expected) => {
  expect(launched(environment)).toEqual(expected);
});
