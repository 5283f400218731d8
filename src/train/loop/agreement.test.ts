import { expect, test } from "bun:test";
import { RandloraError } from "../../files/errors.ts";
import { EndedByOther, type Processes } from "../../mpi/processes.ts";
import { together } from "../../mpi/testing/together.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import { settingsFor } from "../testing/runs.ts";
import { allOrNone, refuseOtherSettings } from "./agreement.ts";

/** What becomes of work on each of three processes, where the second one throws. */
async function outcomes(thrown: Error) {
  const one = async (processes: Processes) => {
    const work = async () => {
      if (processes.rank === 1) throw thrown;
    };
    return await allOrNone(processes, work).catch((failure: unknown) => processes.failed(failure));
  };
  return await Promise.all(together(3).map(one));
}

test("where memory does not suffice on one process, all may try again", async () => {
  const full = new RandloraError("memory", "the device is full");
  const other = { code: "memory", message: "another process has not enough memory" };
  const one = async (processes: Processes) => {
    const work = async () => {
      if (processes.rank === 1) throw full;
    };
    const failure: unknown = await allOrNone(processes, work).catch((thrown: unknown) => thrown);
    await allOrNone(processes, async () => {});
    return failure;
  };
  expect(await Promise.all(together(3).map(one))).toMatchObject([other, { message: full.message }, other]);
});

test("where something else fails on one, all end", async () => {
  const wrong = new RandloraError("file", "a shard is missing");
  expect(await outcomes(wrong)).toEqual([expect.any(EndedByOther), wrong, expect.any(EndedByOther)]);
});

test("processes that were told otherwise are refused, but for paths", async () => {
  const outcome = async (second: Partial<AskedSettings>) => {
    const one = async (processes: Processes, at: number) => {
      const settings = await settingsFor({ data: "chats.jsonl", learningRate: 1e-3, ...(at === 1 ? second : {}) });
      return await refuseOtherSettings(processes, settings).catch((thrown: unknown) => thrown);
    };
    return await Promise.all(together(2).map(one));
  };
  const refusal = { code: "usage", message: "--learning-rate: process 1 has 0.5, process 0 0.001" };
  expect(await outcome({ learningRate: 0.5 })).toMatchObject([refusal, refusal]);
  expect(await outcome({ data: "/scratch/chats.jsonl" })).toEqual([undefined, undefined]);
});
