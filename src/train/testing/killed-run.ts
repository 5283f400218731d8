// Runs in processes of their own, which may be killed, and what an uninterrupted one comes to.
import { expect } from "bun:test";
import { readdirSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { start } from "../../files/testing/process.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { outcomeOf, writeTexts } from "./runs.ts";

/** When a signal is sent: some milliseconds after the process began, or after a line of its output, or when a file is there. */
export interface Moment {
  readonly signal: "SIGKILL" | "SIGTERM";
  /** How many lines come before it; or the text that one of them has. */
  readonly after: number | string;
  readonly delay?: number;
  /** Then waits for something like this in the run's folder. */
  readonly until?: RegExp;
}

export class KilledRuns implements AsyncDisposable {
  private constructor(
    readonly folder: TemporaryFolder,
    /** The command line, but for the run's folder and the data. */
    readonly script: readonly string[],
    readonly data: string,
  ) {}

  /** What an uninterrupted run comes to. */
  whole: Record<string, string> = {};

  static async create(): Promise<KilledRuns> {
    const folder = await TemporaryFolder.create();
    const data = await writeTexts(folder.at("train.jsonl"), 20);
    const runs = new KilledRuns(folder, [process.execPath, join(import.meta.dir, "run.ts")], data);
    await runs.finish("whole");
    runs.whole = await runs.outcome("whole");
    return runs;
  }

  /** Trains in a process of its own, which may get a signal. @returns the lines of its output */
  async run(name: string, send?: Moment): Promise<string[]> {
    const child = start([...this.script, this.folder.at(name), this.data]);
    const problems = child.stderr.text();
    let text = "";
    let isSent = false;
    const look = () => {
      if (send === undefined || isSent) return;
      const { after, delay = 0, until } = send;
      if (typeof after === "string" ? !text.includes(after) : text.split("\n").length - 1 < after) return;
      isSent = true;
      if (until === undefined) setTimeout(() => child.kill(send.signal), delay);
      else void this.#killWhen(child, name, until);
    };
    look();
    for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
      text += piece;
      look();
    }
    await child.exited;
    return `${text}${await problems}`.trim().split("\n");
  }

  /** Kills a process as soon as its run's folder has a path like this one. */
  async #killWhen(child: ReturnType<typeof start>, name: string, wanted: RegExp): Promise<void> {
    while (child.exitCode === null && child.signalCode === null) {
      const paths = readdirSync(this.folder.at(name), { recursive: true });
      if (paths.some((path) => wanted.test(String(path)))) child.kill("SIGKILL");
      await Bun.sleep(0);
    }
  }

  /** Trains to the end. */
  async finish(name: string): Promise<void> {
    const lines = await this.run(name);
    if (lines.at(-1) !== "finished") throw new Error(lines.join("\n"));
  }

  outcome(name: string): Promise<Record<string, string>> {
    return outcomeOf(this.folder.at(name));
  }

  /** A run that is killed when something like `until` is in its folder goes on as if nothing had happened. */
  async expectSameAfterKill(after: number | string, until: RegExp): Promise<void> {
    const name = `while-${until.source.replaceAll(/\W/g, "")}`;
    await mkdir(this.folder.at(name), { recursive: true });
    expect((await this.run(name, { signal: "SIGKILL", after, until })).at(-1)).not.toBe("finished");
    await this.finish(name);
    expect(await this.outcome(name)).toEqual(this.whole);
    const left = ["adapter", "best", "metrics.csv", "metrics.jsonl", "run.json", "state"];
    expect((await readdir(this.folder.at(name))).toSorted()).toEqual(left);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.folder[Symbol.asyncDispose]();
  }
}
