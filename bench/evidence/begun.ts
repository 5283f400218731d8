import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { replaceSynced } from "../../src/files/whole-file.ts";
import { machine } from "../harness.ts";

const Begun = v.object({ machine: v.string(), commit: v.string() });

/** The machine and the commit that the first start of a script found: what is measured later is the page's affair alone. */
export async function begun(work: string): Promise<v.InferOutput<typeof Begun>> {
  const file = join(work, "begun.json");
  if (!existsSync(file)) {
    const { cpu, cores, device, commit } = await machine();
    await replaceSynced(file, JSON.stringify({ machine: `${cpu}, ${cores} cores; ${device}`, commit }));
  }
  return v.parse(Begun, JSON.parse(await readFile(file, "utf8")));
}
