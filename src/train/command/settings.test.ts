import { expect, test } from "bun:test";
import { randlora } from "../../../cmd/testing/program.ts";

/** The adapted modules that a dry run of `randlora finetune` on the embedded model counts. */
async function adapted(targets: string): Promise<unknown> {
  const { status, stdout, stderr } = await randlora(["finetune", "-q", "--targets", targets, "--dry-run", "--json"]);
  expect([status, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout);
}

test("--targets all-linear is itself in any case, as in PEFT", async () => {
  expect(await adapted("ALL-Linear")).toEqual(await adapted("all-linear"));
});
