// What the tests of fine-tuning on images share.
import { expect } from "bun:test";
import { parseMetrics } from "../../src/train/run/metrics.ts";
import { writeClip, writeDinov2 } from "../../src/models/vision/testing/folder.ts";
import { writeImages } from "./labeled-images.ts";
import { randlora } from "./images.ts";
import { readFile } from "node:fs/promises";
import { TemporaryFolder } from "../../src/files/testing/folder.ts";

/** A short way to train. */
export const LORA = ["--method", "lora", "--targets", "q_proj,v_proj", "--batch-size", "6"] as const;

/** A folder with small models (`clip`, `dinov2`) and images (`data`) for the tests of one file. */
export class ImageFolder {
  readonly path: string;
  readonly at: TemporaryFolder["at"];

  private constructor(folder: TemporaryFolder) {
    this.path = folder.path;
    this.at = folder.at.bind(folder);
  }

  static async forTests(): Promise<ImageFolder> {
    const folder = new ImageFolder(await TemporaryFolder.forTests());
    await writeClip(folder.at("clip"));
    await writeDinov2(folder.at("dinov2"));
    await writeImages(folder.at("data"), "train", 8);
    await writeImages(folder.at("data"), "valid", 3, 20);
    await writeImages(folder.at("data"), "test", 2, 30);
    return folder;
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
