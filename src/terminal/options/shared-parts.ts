import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { version } from "../../../package.json";
import { RandloraError } from "../../files/errors.ts";
import { naming, oneLine } from "../../files/failure.ts";
import { Publication } from "../../files/publish.ts";
import type { Processes } from "../../mpi/processes.ts";
import type { Context } from "./command.ts";
import { type Job, jobOf, jobText, type PartFlags } from "./shared/job.ts";
import { shared } from "./shared-work.ts";

/**
 * {@link shared}, also among tasks of a job array. What a process would give the others is a file in `--parts`, and a task that
 * is there with all of these does the work of the first process without measuring anything: it is given what is known.
 *
 * @param asked the command, its arguments and options: all that decides about what is measured. Tasks and processes that were
 *   asked otherwise are refused
 * @param files that are read, by their content
 * @throws RandloraError `usage`
 */
export async function sharedByTasks(
  context: Context,
  flags: PartFlags,
  asked: Readonly<Record<string, unknown>>,
  files: readonly string[],
  work: (processes: Processes, own: Context) => Promise<void>,
): Promise<void> {
  const job = jobOf(flags);
  const { parts: folder } = flags;
  if ((job === undefined) !== (folder === undefined)) {
    const cause = job === undefined ? "--parts: of which job?" : `--job ${jobText(job)}: --parts is missing`;
    throw new RandloraError(
      "usage",
      cause,
      "give all tasks --parts DIR, on a disk that they share, and each its --job I/N",
    );
  }
  if (job === undefined || folder === undefined) return await shared(context, asked, work);
  const parts = new Parts(folder, job);
  await parts.begin([asked, await Promise.all(files.map(hashOf))]);
  // Nothing is shown of what others have not measured yet.
  const quiet = { ...context, result: () => undefined, print: () => undefined };
  const count = await parts.measure((processes) => work(processes, quiet));
  const left = parts.left(count);
  if (left === 0) return await work(parts.known(), context);
  const json: PartsJson = { parts: folder, job: jobText(job), jobs_left: left };
  context.result(json, () => `job ${jobText(job)} is done; ${left} of ${job.of} are left\n`);
}

/**
 * What a task prints that is not the last one.
 * @json several
 */
interface PartsJson {
  /** Of a task of eval that is not the last. */
  readonly parts: string;
  /** I/N. */
  readonly job: string;
  readonly jobs_left: number;
}

class Parts {
  readonly #folder: string;
  readonly #job: Job;

  constructor(folder: string, job: Job) {
    this.#folder = folder;
    this.#job = job;
  }

  /** @throws RandloraError `usage` where tasks that were asked otherwise have begun */
  async begin(asked: unknown): Promise<void> {
    const identity = createHash("sha256")
      .update(JSON.stringify([version, this.#job.of, asked]))
      .digest("hex");
    const file = join(this.#folder, "plan");
    if (!existsSync(file)) await put(file, identity);
    if ((await readFile(file, "utf8")) === identity) return;
    const cause = `${oneLine(this.#folder)}: tasks with other options or data, or another number of them, have begun there`;
    throw new RandloraError("usage", cause, "give all tasks the same ones, or name another --parts");
  }

  /** @returns how many values each task has to give */
  async measure(work: (processes: Processes) => Promise<void>): Promise<number> {
    const { number, of } = this.#job;
    let count = 0;
    await work({
      ...this.#process(number - 1),
      recall: async () => await this.#read(count, number - 1),
      gather: async (own) => {
        const at = count++;
        if (!existsSync(this.#file(at, number - 1))) await put(this.#file(at, number - 1), sealed(own));
        // The others' values are not known; what is made of these is not shown.
        return Array.from({ length: of }, () => own);
      },
    });
    return count;
  }

  /** How many tasks have not given all of their values yet. */
  left(count: number): number {
    const values = Array.from({ length: count }, (_, at) => at);
    const tasks = Array.from({ length: this.#job.of }, (_, rank) => rank);
    return tasks.filter((rank) => !values.every((at) => existsSync(this.#file(at, rank)))).length;
  }

  /** The first process, to which all values are known. */
  known(): Processes {
    let count = 0;
    return {
      ...this.#process(0),
      recall: async () => await this.#read(count, 0),
      gather: async () => {
        const at = count++;
        const ranks = Array.from({ length: this.#job.of }, (_, rank) => rank);
        const all = await Promise.all(ranks.map((rank) => this.#read(at, rank)));
        return all.map((bytes, rank) => {
          if (bytes !== undefined) return bytes;
          throw new RandloraError("file", `${oneLine(this.#file(at, rank))}: it is gone`, "run that job again");
        });
      },
    };
  }

  #process(rank: number): Pick<Processes, "rank" | "size" | "local" | "each" | "failed"> {
    const { of: size } = this.#job;
    return {
      rank,
      size,
      local: { rank: 0, size: 1, sharing: 1 },
      each: async (own) => Array.from({ length: size }, () => own),
      failed: async (thrown) => thrown,
    };
  }

  #file(value: number, rank: number): string {
    return join(this.#folder, `${value}-of-job-${rank + 1}`);
  }

  async #read(value: number, rank: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const file = this.#file(value, rank);
    if (!existsSync(file)) return undefined;
    const found = new Uint8Array(await naming(file, "read", readFile(file)));
    const own = found.slice(SEAL_BYTES);
    if (Buffer.compare(sealed(own), found) === 0) return own;
    throw new RandloraError("format", `${oneLine(file)}: damaged`, "remove it, and run that job again");
  }
}

/** SHA-256 of what follows: a disk that many share may lose something. */
const SEAL_BYTES = 32;

function sealed(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([createHash("sha256").update(bytes).digest(), bytes]);
}

/** Makes a file appear whole, once: a task that is started twice has the same bytes. */
async function put(path: string, bytes: string | Uint8Array): Promise<void> {
  await using file = await Publication.begin(path, { kind: "file", alike: true });
  await naming(file.partPath, "write", Bun.write(file.partPath, bytes));
  await file.commit();
}

async function hashOf(path: string): Promise<string> {
  return createHash("sha256")
    .update(await naming(path, "read", readFile(path)))
    .digest("hex");
}
