import { copyFile, cp, link, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { GENERATOR_NAMES } from "../../../compute/random/names.ts";
import { RandloraError } from "../../../files/errors.ts";
import { found, removeAll } from "../../../files/disk.ts";
import { naming, oneLine, systemCode } from "../../../files/failure.ts";
import { outputTarget, Publication, type PublicationOptions, removeLeftovers } from "../../../files/publish.ts";
import { MAX_SETTINGS_BYTES, readJson } from "../../../files/read-whole.ts";
import { modelFolderObjection } from "../../../files/model-files.ts";
import type { PlannedShard } from "../../../files/safetensors/shards.ts";
import { COMBINATIONS } from "../combine/names.ts";
import type { ShardFigures } from "./shard-writer.ts";
import type { MergeSummary } from "./types.ts";

/*
 * A merge that several tasks share. `OUT.parts` beside the output has `plan.json`, which says what all of them write, `files/`
 * with everything but the weights, and each shard that is done, with its figures in a `.json` beside it. Each of these appears
 * whole, and has the same bytes whoever writes it: tasks need no locks, may be killed, and may run twice. When all shards are
 * there they become the output in one step, and plan.json is kept to say so to tasks that are started again.
 */

const PLAN_FILE = "plan.json";
const FILES = "files";
const DAMAGED = "remove the folder, and run all parts again";

/** What is known of the whole merge before its weights are written. */
type PartsSummary = Pick<MergeSummary, "tensors" | "merged" | "bytes" | "combine" | "bases">;

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const amount = v.pipe(v.number(), v.finite(), v.minValue(0));
const shardName = v.pipe(v.string(), v.regex(/^model(-\d{5,9}-of-\d{5,9})?\.safetensors$/));

const PLAN = v.strictObject({
  format: v.literal("randlora-merge-parts"),
  version: v.literal(1),
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  shards: v.pipe(v.array(shardName), v.minLength(1)),
  tensors: count,
  merged: count,
  bytes: count,
  combine: v.picklist(COMBINATIONS),
  bases: v.array(v.picklist([...GENERATOR_NAMES, "saved", "none"])),
  /** The finished output: what its folder is called on its disk. */
  finished: v.optional(v.string()),
});

const FIGURES = v.strictObject({
  reports: v.array(
    v.strictObject({ name: v.string(), elements: count, maxAbsDelta: amount, sumOfSquares: amount, changed: count }),
  ),
  maxErrorUlp: v.optional(amount),
});

type Plan = v.InferOutput<typeof PLAN>;

/** The parts of one output. */
export class MergeParts {
  /** Absolute, without symbolic links. */
  readonly out: string;
  readonly #plan: Plan;

  private constructor(out: string, plan: Plan) {
    this.out = out;
    this.#plan = plan;
  }

  /**
   * Begins the parts of an output, or joins others that write it.
   * @param sha256 of all that decides about the output's bytes
   * @throws RandloraError as `Publication.begin`; `usage` where parts of another merge are there
   */
  static async join(
    path: string,
    options: PublicationOptions,
    { sha256, shards, summary }: { sha256: string; shards: readonly PlannedShard[]; summary: PartsSummary },
  ): Promise<MergeParts> {
    const out = await outputTarget(path, { ...options, alike: true });
    const { tensors, merged, bytes, combine, bases } = summary;
    const wanted: Plan = {
      format: "randlora-merge-parts",
      version: 1,
      sha256,
      shards: shards.map(({ file }) => file),
      tensors,
      merged,
      bytes,
      combine,
      bases: [...bases],
    };
    const parts = new MergeParts(out, wanted);
    const known = await readPlan(out);
    const isReplaced = options.force === true && known?.finished !== undefined;
    const isThere = known !== undefined && (known.finished === undefined || (await parts.isFinished()));
    if (isThere && !isReplaced && known.sha256 !== sha256) {
      const cause = `${oneLine(partsFolder(out))}: there are parts of another merge: other inputs or options`;
      throw new RandloraError(
        "usage",
        cause,
        "end that with its own options, remove the folder, or name another --out",
      );
    }
    if (known?.sha256 === sha256 && (await parts.isFinished())) return parts;
    await MergeParts.check(path, options);
    // An output that was finished and is gone, or replaced by now, is made again.
    if (known === undefined || known.finished !== undefined) await parts.#writePlan(wanted);
    return parts;
  }

  /** Refuses an output that may not be begun. @throws RandloraError as `Publication.begin` */
  static async check(path: string, options: PublicationOptions): Promise<void> {
    await outputTarget(path, options);
  }

  /** Opens the parts of an output to put them together. @throws RandloraError `file`, `format` */
  static async open(path: string): Promise<MergeParts> {
    const out = await outputTarget(path, { kind: "folder", alike: true });
    const plan = await readPlan(out);
    if (plan !== undefined) return new MergeParts(out, plan);
    const cause = `${oneLine(partsFolder(out))}: no ${PLAN_FILE}: no part was written`;
    throw new RandloraError("file", cause, "randlora merge BASE ADAPTER --out PATH --part 1/8 writes the first of 8");
  }

  get summary(): PartsSummary {
    return this.#plan;
  }

  /** Is the output there, made of these parts by whatever process? */
  async isFinished(): Promise<boolean> {
    const plan = await readPlan(this.out);
    return plan?.finished !== undefined && plan.finished === (await identityOf(this.out));
  }

  /** Names of the shards that are not there yet. */
  async missing(): Promise<readonly string[]> {
    const there = new Set(await namesIn(partsFolder(this.out)));
    return this.#plan.shards.filter((file) => !there.has(file));
  }

  /** Writes everything but the weights, where nobody has. @param write fills a folder */
  async putFiles(write: (folder: string) => Promise<void>): Promise<void> {
    if (await found(this.#at(FILES))) return;
    await using files = await Publication.begin(this.#at(FILES), { kind: "folder", alike: true });
    await write(files.partPath);
    await files.commit();
  }

  /** Begins a shard, which `commit` makes appear. */
  async begin(shard: string): Promise<Publication> {
    return await Publication.begin(this.#at(shard), { kind: "file", alike: true });
  }

  /** Records what a shard came to. Before the shard appears, so that it is never without. */
  async putFigures(shard: string, { reports, maxErrorUlp }: ShardFigures): Promise<void> {
    const text = JSON.stringify({ reports, maxErrorUlp });
    await using file = await Publication.begin(this.#at(`${shard}.json`), { kind: "file", alike: true, force: true });
    await naming(file.partPath, "write", Bun.write(file.partPath, text));
    await file.commit();
  }

  /**
   * Puts the output together, in one step, and removes the parts. Several processes may do so at a time.
   * @returns the figures of all shards, in their order
   * @throws RandloraError `file` naming a shard that is missing; as `Publication`
   */
  async finish(force: boolean): Promise<ShardFigures> {
    const missing = await this.missing();
    const [first] = missing;
    if (first !== undefined) {
      const cause = `${missing.length} of ${this.#plan.shards.length} shards are missing, ${first} among them`;
      const hint = "run the parts that did not end (--part I/N) again: they go on";
      throw new RandloraError("file", `${oneLine(partsFolder(this.out))}: ${cause}`, hint);
    }
    try {
      return await this.#finish(force);
    } catch (thrown) {
      // Another process was faster, and has removed what was being linked.
      if (!(await this.isFinished())) throw thrown;
      return { reports: [] };
    }
  }

  async #finish(force: boolean): Promise<ShardFigures> {
    const figures = await Promise.all(this.#plan.shards.map((file) => this.#figures(file)));
    const files = this.#at(FILES);
    const names = await naming(files, "read", readdir(files));
    await using output = await Publication.begin(this.out, {
      kind: "folder",
      force,
      alike: true,
      objection: (entries) => modelFolderObjection(entries, names),
    });
    await naming(output.partPath, "write", cp(this.#at(FILES), output.partPath, { recursive: true }));
    for (const shard of this.#plan.shards) {
      await naming(shard, "write", linkOrCopy(this.#at(shard), join(output.partPath, shard)));
    }
    await output.commit();
    await this.#writePlan({ ...this.#plan, finished: await identityOf(this.out) });
    await this.removeAll();
    const errors = figures.flatMap(({ maxErrorUlp }) => maxErrorUlp ?? []);
    return {
      reports: figures.flatMap(({ reports }) => reports),
      maxErrorUlp: errors.length === 0 ? undefined : Math.max(...errors),
    };
  }

  /** Removes all but the plan, once the output is finished; what a running process writes it removes itself. */
  async removeAll(): Promise<void> {
    const { shards } = this.#plan;
    for (const name of [FILES, ...shards, ...shards.map((shard) => `${shard}.json`)]) {
      await removeLeftovers(this.#at(name), true);
      await removeAll(this.#at(name));
    }
  }

  async #figures(shard: string): Promise<ShardFigures> {
    const file = this.#at(`${shard}.json`);
    const read = v.safeParse(FIGURES, await readJson(file, MAX_SETTINGS_BYTES, DAMAGED));
    if (!read.success) throw damaged(file);
    return read.output;
  }

  async #writePlan(plan: Plan): Promise<void> {
    await using file = await Publication.begin(this.#at(PLAN_FILE), { kind: "file", alike: true, force: true });
    await naming(file.partPath, "write", Bun.write(file.partPath, `${JSON.stringify(plan, undefined, 2)}\n`));
    await file.commit();
  }

  #at(name: string): string {
    return join(partsFolder(this.out), name);
  }
}

function partsFolder(out: string): string {
  return `${out}.parts`;
}

async function readPlan(out: string): Promise<Plan | undefined> {
  const file = join(partsFolder(out), PLAN_FILE);
  if ((await found(file)) === undefined) return undefined;
  const read = v.safeParse(PLAN, await readJson(file, MAX_SETTINGS_BYTES, DAMAGED));
  if (!read.success) throw damaged(file);
  return read.output;
}

/** What tells a folder from others that had its name; undefined for nothing. */
async function identityOf(path: string): Promise<string | undefined> {
  const there = await stat(path, { bigint: true }).catch(() => undefined);
  return there && `${there.ino}-${there.mtimeNs}`;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch((thrown: unknown) => {
    if (systemCode(thrown) === "ENOENT") return [];
    throw thrown;
  });
}

/** A name costs nothing; some file systems have only one for each file. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  await link(from, to).catch(() => copyFile(from, to));
}

function damaged(file: string): RandloraError {
  return new RandloraError("format", `${oneLine(file)}: randlora did not write it`, DAMAGED);
}
