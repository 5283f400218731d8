import { expect, test } from "bun:test";
import { appendFile, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { readEvents } from "../../files/testing/event-file.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import type { Metrics } from "../types.ts";
import { CSV, eventFile, EVENTS, MetricsFile, refuseOtherEvents } from "./metrics.ts";

const stepOf = (step: number): Metrics => ({
  step,
  loss: 1 / step,
  learning_rate: 1e-4,
  grad_norm: 2.5,
  tokens: 300,
  seconds: 0.25,
});

test("copies hold what metrics.jsonl holds after a cut, a crash, and where they are new", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("metrics.jsonl");
  const [table, events] = [folder.at("metrics.csv"), eventFile(folder.at("log"))];
  const copies = { [table]: CSV, [events]: EVENTS };
  const valid = { step: 2, valid_loss: 0.75, valid_accuracy: 0.5 };
  const write = async (state: Parameters<typeof MetricsFile.open>[1], some: typeof copies, ...lines: Metrics[]) => {
    await using file = await MetricsFile.open(path, state, some);
    for (const line of lines) await file.append(line);
  };
  const rows = async () =>
    (await readFile(table, "utf8"))
      .trimEnd()
      .split("\n")
      .map((row) => row.replace(/[^,]*$/, ""));
  const steps = async () =>
    (await readEvents(events)).slice(1).map(({ step, scalars }) => [step, Object.keys(scalars)]);

  await write(undefined, copies, stepOf(1), stepOf(2), valid, stepOf(3));
  const whole = [
    "step,loss,learning_rate,grad_norm,tokens,seconds,valid_loss,valid_accuracy,",
    "1,1,0.0001,2.5,300,0.25,,,",
    "2,0.5,0.0001,2.5,300,0.25,,,",
    "2,,,,,,0.75,0.5,",
    "3,0.3333333333333333,0.0001,2.5,300,0.25,,,",
  ];
  const train = ["loss", "learning_rate", "grad_norm", "tokens", "seconds"].map((tag) => `train/${tag}`);
  const logged = [
    [1, train],
    [2, train],
    [2, ["eval/loss", "eval/accuracy"]],
    [3, train],
  ];
  expect([await rows(), await steps()]).toEqual([whole, logged]);
  const [first] = (await readEvents(events)).slice(1);
  expect(first).toMatchObject({ scalars: { "train/loss": 1, "train/grad_norm": 2.5 } });
  expect(Math.abs((first?.time ?? 0) - Date.now() / 1000)).toBeLessThan(600);

  // Cut in place, to bytes that were there.
  const { ino } = await stat(events);
  const before = await readFile(events);
  await write({ step: 2, evaluated: 2 }, copies);
  expect([await rows(), await steps()]).toEqual([whole.slice(0, 4), logged.slice(0, 3)]);
  const after = await readFile(events);
  expect([before.subarray(0, after.length).equals(after), (await stat(events)).ino]).toEqual([true, ino]);

  // One that a crash left half a record in, and one that is something else.
  await appendFile(events, after.subarray(0, 30));
  await writeFile(table, "other");
  await write({ step: 2, evaluated: 2 }, copies, stepOf(3));
  expect([await rows(), await steps()]).toEqual([whole, logged]);
  // Not written for a while, and for the first time late.
  await write({ step: 3, evaluated: 2 }, { [table]: CSV }, stepOf(4));
  const late = eventFile(folder.at("late"));
  await write({ step: 4, evaluated: 2 }, { ...copies, [late]: EVENTS });
  expect(await steps()).toEqual([...logged, [4, train]]);
  expect(await readFile(late)).toEqual(await readFile(events));

  // Another run's, whatever it was named for.
  const others = Buffer.concat([EVENTS.head, EVENTS.record(stepOf(7))]);
  await writeFile(late, others);
  const mixed = write({ step: 4, evaluated: 2 }, { [late]: EVENTS });
  await expect(mixed).rejects.toThrow("there are events of another run");
  expect(await readFile(late)).toEqual(others);
  await expect(refuseOtherEvents(folder.at("log"))).rejects.toThrow("there are events of another run");
  await refuseOtherEvents(folder.at("none"));
  await writeFile(events, EVENTS.head);
  await refuseOtherEvents(folder.at("log"));
});

test("a link in the place of metrics, or of a copy, leads the writing nowhere", async () => {
  await using folder = await TemporaryFolder.create();
  const [other, path, table] = ["mine.txt", "metrics.jsonl", "metrics.csv"].map((name) => folder.at(name)) as [
    string,
    string,
    string,
  ];
  await writeFile(other, "mine");
  await symlink(other, path);
  await expect(MetricsFile.open(path)).rejects.toMatchObject({
    code: "file",
    message: `${path} is a link, or no file`,
  });
  await symlink(other, table);
  await expect(MetricsFile.open(folder.at("own.jsonl"), undefined, { [table]: CSV })).rejects.toMatchObject({
    message: `${table} is a link, or no file`,
  });
  expect(await readFile(other, "utf8")).toBe("mine");
});
