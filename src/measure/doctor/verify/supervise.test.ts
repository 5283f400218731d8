import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, utimes } from "node:fs/promises";
import { homedir, hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import { createStyle } from "../../../terminal/style.ts";
import { RecordingStream } from "../../../terminal/testing/terminal.ts";
import { failureOf, renderVerification, verificationJson, withoutOwner } from "./report.ts";
import { supervise, type Verification } from "./supervise.ts";

setDefaultTimeout(60_000);

const PLAIN = createStyle(new RecordingStream(200), { NO_COLOR: "1" });
const show = (verification: Verification) => renderVerification(verification, Infinity, PLAIN);

/** Checks of products with Q8_0 weights in a process of its own. */
async function checked(mode: string, patience = 60, signal = new AbortController().signal, onCheck = () => {}) {
  const verification = await supervise({
    command: [process.execPath, join(import.meta.dir, "testing/checking.ts"), mode],
    signal,
    patience,
    onStart() {},
    onCheck,
    onEnd() {},
  });
  return { verification };
}

test("a wrong kernel: op, format and size in one line each, and a failure", async () => {
  const { verification } = await checked("break");
  const { problems, checks, done } = verification;
  expect(done).toBe(checks);
  const sizes = ["x 1×32, weight 51×32", "x 5×32, weight 51×32", "x 65×64, weight 129×64"];
  expect(problems.map(({ size }) => size)).toEqual(sizes.map((size) => expect.stringContaining(size)));
  const lines = show(verification).split("\n");
  for (const { kind, op, format, size, what } of problems) {
    expect([kind, op, format]).toEqual(["wrong", "linear", "Q8_0"]);
    expect(what).toMatch(/^y differs by 0\.\d+ of the largest/);
    const ofIt = lines.filter(
      (line) => /^wrong +linear +Q8_0/.test(line) && line.includes(size) && line.includes(what),
    );
    expect(ofIt).toHaveLength(1);
  }
  // Whatever is no wrong usage has exit status 1.
  expect(failureOf(verification)).toMatchObject({ code: "gpu", message: expect.stringContaining("3 wrong") });
});

test.each([
  ["hang", "hung", /^no answer for 20 seconds$/],
  ["crash", "crashed", /^the process ended \(.+\)$/],
  ["lose", "failed", /^the GPU was lost/],
] as const)("a driver that fails is reported, and the checks behind are done: %s", async (mode, kind, what) => {
  const { verification } = await checked(mode, mode === "hang" ? 20 : 60);
  const { problems, checks, done } = verification;
  expect(problems).toEqual([
    expect.objectContaining({ kind, op: "linear", format: "Q8_0", what: expect.stringMatching(what) }),
  ]);
  expect(done).toBe(checks - 1);
  expect(failureOf(verification)).toMatchObject({ code: "gpu" });
  const json = JSON.stringify(verificationJson(verification));
  expect(json).toContain(`"kind":"${kind}"`);
  for (const secret of ["somebody", "driver.so"]) expect(json).not.toContain(secret);
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

test("no kernel is above the peak, which another moment gave", () => {
  const device = { name: "cpu", vendor: "", architecture: "", driver: "", software: true, code: null };
  const speeds = [
    { name: "peak", gflops: null, gigabytes: 10 },
    { name: "one row", gflops: 5, gigabytes: 12.5 },
    { name: "two rows", gflops: 50, gigabytes: 5 },
  ];
  const verification = { device, checks: 1, done: 1, problems: [], times: [], measured: [], speeds };
  expect(show(verification)).toMatch(/one row .* 100\.0 %\ntwo rows .* 40\.0 %\nmeasured peak: .* 12\.5/);
  expect(verificationJson(verification)).toMatchObject({
    speeds: [
      { name: "peak", gflops: null, gb_per_s: 12.5 },
      { name: "one row", share_of_peak: 1 },
      { name: "two rows", share_of_peak: 0.4 },
    ],
  });
});

test("the report names no file, folder, user or host", () => {
  const told = `${join(tmpdir(), "x.json")}: cannot be read (${join(homedir(), "driver.so")}) on ${hostname()}, F32/BF16`;
  const what = withoutOwner(`${told}: ${process.cwd()}`);
  expect(what).toBe("… cannot be read (…) on …, F32/BF16: …");
  expect(withoutOwner("C:\\Users\\Ann Lee\\driver.dll: no such file", ["Ann Lee"])).toBe("… no such file");
});
