import { cp } from "node:fs/promises";
import { join } from "node:path";
import { writeImages } from "../cmd/testing/labeled-images.ts";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { writeArchitecture } from "../src/models/testing/architectures.ts";
import { writePackedExperts } from "../src/models/testing/packed-experts.ts";
import { writeClip, writeDinov2 } from "../src/models/vision/testing/folder.ts";
import { ARCHITECTURES, embedded, type Inputs } from "./same-bytes-case.ts";

/** The tokens of the stories, for models of random weights. */
const SIZES = { vocab_size: 512 };

/** Writes what {@link Inputs} promises. */
export async function writeInputs(inputs: Inputs): Promise<void> {
  const at = (name: string) => join(inputs.made, name);
  await writeClip(at("clip"));
  await writeDinov2(at("dinov2"));
  await writeImages(at("images"), "train", 8);
  await writeImages(at("images"), "test", 2, 30);
  for (const [name, [type, settings]] of Object.entries(ARCHITECTURES)) {
    await writeArchitecture(at(name), type, 2, { ...SIZES, ...settings });
  }
  await writePackedExperts(at("packed"), 2, SIZES);
  for (const name of [...Object.keys(ARCHITECTURES), "packed"]) {
    for (const file of ["tokenizer.json", "tokenizer_config.json"]) await cp(join(STORIES, file), join(at(name), file));
  }
  const { model, valid } = embedded(inputs);
  await cp(model, at("tools"), { recursive: true });
  await cp(join(inputs.fixtures, "chat/chatml-tools.jinja"), join(at("tools"), "chat_template.jinja"));
  const samples = await Bun.file(valid).text();
  const lines = samples.trimEnd().split("\n");
  await Bun.write(at("text.txt"), samples.replaceAll(/[{}"[\]]/g, ""));
  await Bun.write(at("texts.jsonl"), lines.map((text) => `${JSON.stringify({ text })}\n`).join(""));
}
