import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, utimes } from "node:fs/promises";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import { checked } from "./testing/checked.ts";

setDefaultTimeout(60_000);

test("a driver that hangs is reported, and the checks behind are done", async () => {
  const { problems, checks, done } = (await checked("hang", 20)).verification;
  const what = "no answer for 20 seconds";
  expect(problems).toEqual([expect.objectContaining({ kind: "hung", op: "linear", format: "Q8_0", what })]);
  expect(done).toBe(checks - 1);
});

test("what a driver writes on standard output is passed over", async () => {
  const { problems, checks, done } = (await checked("chatter")).verification;
  expect([problems, done]).toEqual([[], checks]);
});

test("a process that opens no device", async () => {
  const refusal = await refusalOf(() => checked("refuse"));
  expect(refusal).toMatchObject({ code: "gpu", message: expect.stringContaining("the device cannot be opened") });
});

test("a stop ends the process that checks and removes its files, and what killed ones left a day ago; it throws", async () => {
  await using folder = await TemporaryFolder.create();
  const before = process.env["TMPDIR"];
  process.env["TMPDIR"] = folder.path;
  try {
    for (const name of ["randlora-verify-old", "randlora-verify-new", "another"]) await mkdir(folder.at(name));
    const days = (count: number) => new Date(Date.now() - count * 86_400_000);
    await utimes(folder.at("randlora-verify-old"), days(2), days(2));
    await utimes(folder.at("another"), days(2), days(2));
    const stop = new AbortController();
    let begun = 0;
    const hanging = (): void => {
      begun++;
      if (begun === 2) stop.abort();
    };
    await expect(checked("hang", 600, stop.signal, hanging)).rejects.toMatchObject({ name: "AbortError" });
    expect((await readdir(folder.path)).toSorted()).toEqual(["another", "randlora-verify-new"]);
  } finally {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
  }
});
