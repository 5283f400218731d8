import { expect, test } from "bun:test";
import { RandloraError } from "../../files/errors.ts";
import { EndedByOther, type Processes } from "../../mpi/processes.ts";
import { together } from "../../mpi/testing/together.ts";
import { allOrNone } from "./agreement.ts";

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
