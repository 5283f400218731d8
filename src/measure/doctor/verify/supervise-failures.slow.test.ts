import { expect, setDefaultTimeout, test } from "bun:test";
import { homedir, hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { createStyle } from "../../../terminal/style.ts";
import { RecordingStream } from "../../../terminal/testing/terminal.ts";
import { failureOf, renderVerification, verificationJson, withoutOwner } from "./verify.ts";
import type { Verification } from "./supervise.ts";
import { checked } from "./testing/checked.ts";

setDefaultTimeout(60_000);

const PLAIN = createStyle(new RecordingStream(200), { NO_COLOR: "1" });
const show = (verification: Verification) => renderVerification(verification, Infinity, PLAIN);

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
  ["crash", "crashed", /^the process ended \(.+\)$/],
  ["lose", "failed", /^the GPU was lost/],
] as const)("a driver that fails is reported, and the checks behind are done: %s", async (mode, kind, what) => {
  const { verification } = await checked(mode);
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

test("the report names no file, folder, user or host", () => {
  const told = `${join(tmpdir(), "x.json")}: cannot be read (${join(homedir(), "driver.so")}) on ${hostname()}, F32/BF16`;
  const what = withoutOwner(`${told}: ${process.cwd()}`);
  expect(what).toBe("… cannot be read (…) on …, F32/BF16: …");
  expect(withoutOwner("C:\\Users\\Ann Lee\\driver.dll: no such file", ["Ann Lee"])).toBe("… no such file");
});
