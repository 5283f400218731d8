import { Contradiction, RandloraError } from "../../../files/errors.ts";
import { mapped, text } from "../option.ts";
import { InvalidValue } from "../values.ts";

/** Which of several tasks that share a command's work this one is. */
export interface Job {
  /** From 1 to `of`. */
  readonly number: number;
  readonly of: number;
}

/** Tasks of one command at most; the largest array that Slurm can be set to has 4 million. */
const MOST = 4_000_001;

/** `--job i/n` and `--jobs N|auto`. */
export function jobOptions(topic: string) {
  return {
    job: mapped(text({ value: "I/N", topic, help: "part I of N of the work, for one task of a job array" }), readJob),
    jobs: mapped(
      text({
        value: "N|auto",
        topic,
        help: "number of tasks of the job array, which says which part this is",
      }),
      (value) => (value === "auto" ? value : readCount(value)),
    ),
  };
}

/** What was given of {@link jobOptions}. */
export interface JobFlags {
  readonly job: Job | undefined;
  readonly jobs: number | "auto" | undefined;
}

/** What was given of {@link partOptions}. */
export interface PartFlags extends JobFlags {
  readonly parts: string | undefined;
}

/** `--job`, `--jobs` and `--parts`, of a command whose work processes can share. */
export function partOptions() {
  return {
    ...jobOptions("Jobs"),
    parts: text({ value: "DIR", topic: "Jobs", help: "folder that the tasks of --job share" }),
  };
}

/** `3/8`. */
export function jobText({ number, of }: Job): string {
  return `${number}/${of}`;
}

/** Is item `index`, from 0, this task's? Items are dealt out in turn. */
export function isOwn({ number, of }: Job, index: number): boolean {
  return index % of === number - 1;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Which task this is; undefined where the command is to do everything. A scheduler's variables count only where `--jobs` asks
 * for them: an array over models or seeds runs whole commands, and must not get a part of each.
 *
 * @throws RandloraError `usage` where both are given, or the environment does not say which task this is
 */
export function jobOf({ job, jobs }: JobFlags, environment: Environment = process.env): Job | undefined {
  if (jobs === undefined) return job;
  if (job !== undefined) {
    throw new Contradiction(["job", "jobs"], "--job and --jobs: both say which part is done", "give one of them");
  }
  const slurm = environment["SLURM_ARRAY_TASK_ID"];
  const index = environment["JOB_COMPLETION_INDEX"];
  if (slurm !== undefined) return slurmTask(slurm, jobs, environment);
  if (index !== undefined) return indexedTask(index, jobs, environment);
  const cause = "neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set: this is no task of a job array";
  throw new RandloraError("usage", `--jobs ${jobs}: ${cause}`, "without a scheduler, --job 1/8 says which part");
}

/** Slurm counts from wherever `--array` begins. */
function slurmTask(id: string, jobs: number | "auto", environment: Environment): Job {
  const [min = "1", max, count] = ["MIN", "MAX", "COUNT"].map((name) => environment[`SLURM_ARRAY_TASK_${name}`]);
  const of = count === undefined ? jobs : readVariable("SLURM_ARRAY_TASK_COUNT", count);
  const first = readVariable("SLURM_ARRAY_TASK_MIN", min);
  const number = readVariable("SLURM_ARRAY_TASK_ID", id) - first + 1;
  const isWhole = max === undefined || readVariable("SLURM_ARRAY_TASK_MAX", max) - first + 1 === of;
  if (of !== "auto" && isWhole && (jobs === "auto" || jobs === of))
    return inArray({ number, of }, "SLURM_ARRAY_TASK_ID");
  // Where some tasks are submitted again, the array has others than it had.
  const cause = `the array has ${count ?? "an unknown number of"} tasks, from ${min} to ${max ?? "?"}: its tasks are not the parts`;
  const hint = "say which part this is: sbatch --array=1-N, and --job $SLURM_ARRAY_TASK_ID/N";
  throw new RandloraError("usage", `--jobs ${jobs}: ${cause}`, hint);
}

/** Kubernetes counts from 0, and does not tell a container how many completions there are. */
function indexedTask(index: string, jobs: number | "auto", environment: Environment): Job {
  const completions = environment["JOB_COMPLETIONS"];
  const of = jobs === "auto" && completions !== undefined ? readVariable("JOB_COMPLETIONS", completions) : jobs;
  if (of === "auto") {
    const cause = "JOB_COMPLETION_INDEX is set, and nothing says how many tasks there are";
    throw new RandloraError("usage", `--jobs auto: ${cause}`, "give spec.completions: --jobs 8, or JOB_COMPLETIONS=8");
  }
  return inArray({ number: readVariable("JOB_COMPLETION_INDEX", index) + 1, of }, "JOB_COMPLETION_INDEX");
}

function readVariable(name: string, value: string): number {
  if (/^\d{1,9}$/.test(value)) return Number(value);
  throw new RandloraError("usage", `${name}=${value.slice(0, 40)}: not a whole number`, "the scheduler sets it");
}

function inArray(job: Job, name: string): Job {
  if (job.number >= 1 && job.number <= job.of && job.of <= MOST) return job;
  const cause = `${name} says part ${job.number}, and there are ${job.of}`;
  throw new RandloraError("usage", `--jobs: ${cause}`, "give as many parts as the array has tasks");
}

function readJob(value: string): Job {
  const [, number, of] = /^(\d{1,7})\/(\d{1,7})$/.exec(value) ?? [];
  if (number === undefined || of === undefined) throw new InvalidValue("is not a part such as 3/8");
  const job = { number: Number(number), of: readCount(of) };
  if (job.number < 1 || job.number > job.of) throw new InvalidValue(`must be from 1/${job.of} to ${job.of}/${job.of}`);
  return job;
}

function readCount(value: string): number {
  const count = /^\d{1,7}$/.test(value) ? Number(value) : 0;
  if (count < 1 || count > MOST) throw new InvalidValue(`must be a whole number from 1 to ${MOST}, or auto`);
  return count;
}
