import { expect, test } from "bun:test";
import { randlora } from "../../../cmd/testing/program.ts";
import { settledOptions } from "../../library/options.ts";
import { FINETUNE_OPTIONS } from "../settings/options.ts";
import { askedSettings } from "./settings.ts";

/** The adapted modules that a dry run of `randlora finetune` on the embedded model counts. */
async function adapted(targets: string): Promise<unknown> {
  const { status, stdout, stderr } = await randlora(["finetune", "-q", "--targets", targets, "--dry-run", "--json"]);
  expect([status, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout);
}

test("--targets all-linear is itself in any case, as in PEFT", async () => {
  expect(await adapted("ALL-Linear")).toEqual(await adapted("all-linear"));
});

test("--no-shuffle and --sparse are settings of other names; a flag that was not given is none", () => {
  const asked = (given: object) => askedSettings(undefined, settledOptions(FINETUNE_OPTIONS, given));
  expect(asked({ noShuffle: true, sparse: true })).toMatchObject({ shuffle: false, sparsity: "sparse" });
  expect(asked({ steps: 3 })).toEqual({ steps: 3 });
  expect(() => asked({ sparse: true, verySparse: true })).toThrow("bases are one or the other");
});
