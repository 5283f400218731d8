// Folders of pictures that a small model can tell apart: each class has a colour, each picture a pattern of its own.
import { afterAll, beforeAll, expect } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseMetrics } from "../../src/report/metrics.ts";
import { writeClip, writeDinov2 } from "../../src/models/vision/testing/folder.ts";
import { randlora } from "./pictures.ts";

const COLOURS = { cat: [220, 60, 40], dog: [40, 200, 60], owl: [50, 60, 210] } as const;
const SIDE = 16;

/** A PPM of a colour. */
function ppm(colour: readonly number[], number: number): Blob {
  const pixels = new Uint8Array(SIDE * SIDE * 3).map((_, at) => {
    const value = (colour[at % 3] ?? 0) + 40 * Math.sin(at * (number + 1) + number);
    return Math.max(0, Math.min(255, value));
  });
  return new Blob([`P6\n${SIDE} ${SIDE}\n255\n`, pixels]);
}

/** Writes a folder with a split, of so many pictures a class. */
async function writePictures(folder: string, split: string, count: number, first = 0): Promise<void> {
  for (const [name, colour] of Object.entries(COLOURS)) {
    for (let i = first; i < first + count; i++) {
      await Bun.write(join(folder, split, name, `${i}.ppm`), ppm(colour, i));
    }
  }
}

/** A short way to train. */
export const LORA = ["--method", "lora", "--targets", "q_proj,v_proj", "--batch-size", "6"] as const;

/** A folder with small models (`clip`, `dinov2`) and pictures (`data`) for the tests of one file. */
export class PictureFolder {
  path = "";

  /** Makes it before the file's first test, and removes it after the last. */
  static forTests(): PictureFolder {
    const folder = new PictureFolder();
    beforeAll(async () => {
      folder.path = await mkdtemp(join(tmpdir(), "randlora-finetune-pictures-"));
      await writeClip(folder.at("clip"));
      await writeDinov2(folder.at("dinov2"));
      await writePictures(folder.at("data"), "train", 8);
      await writePictures(folder.at("data"), "valid", 3, 20);
      await writePictures(folder.at("data"), "test", 2, 30);
    });
    afterAll(() => rm(folder.path, { recursive: true }));
    return folder;
  }

  at(...names: readonly string[]): string {
    return join(this.path, ...names);
  }

  /** `randlora finetune`, on the folder's data unless others are named. */
  async finetune(model: string, ...args: readonly string[]) {
    const where = args.includes("--data") ? [] : ["--data", this.at("data")];
    return await randlora("finetune", this.at(model), ...where, ...args);
  }

  /** Trains into a folder of this name, which must work without a warning; what was answered, and the run's files. */
  async train(name: string, model: string, ...args: readonly string[]) {
    return await this.trainWith("", name, model, ...args);
  }

  /** The same with what stderr must say. */
  async trainWith(warning: string, name: string, model: string, ...args: readonly string[]) {
    const { stdout, stderr, status } = await this.finetune(model, ...args, "--out", this.at(name), "--json", "-q");
    expect([stderr, status]).toEqual([warning, 0]);
    const metrics = parseMetrics(await readFile(this.at(name, "metrics.jsonl"), "utf8"));
    return { json: JSON.parse(stdout), metrics, run: await Bun.file(this.at(name, "run.json")).json() };
  }

  /** What `randlora eval images` answers of a model of the folder, and of its data. */
  async evaluate(model: string, ...args: readonly string[]) {
    const words = ["eval", "images", this.at(model), "--data", this.at("data"), ...args, "--json", "-q"];
    const { stdout, stderr, status } = await randlora(...words);
    expect([stderr, status]).toEqual(["", 0]);
    return JSON.parse(stdout);
  }
}
