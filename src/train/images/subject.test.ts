import { expect, test } from "bun:test";
import { fileSet } from "../../data/images/datasets/files.ts";
import { parsePreprocessing } from "../../data/images/preprocessing.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { together } from "../../mpi/testing/together.ts";
import { resolveSettings } from "../settings/resolve-settings.ts";
import { ImageSubject } from "./subject.ts";

test("bad images of all processes are counted once, and those of others are named as well", async () => {
  await using folder = await TemporaryFolder.create();
  const samples = ["none", "good", "neither", "other"].map((name, label) => ({
    file: folder.at(`${name}.ppm`),
    label,
  }));
  for (const { file } of samples) {
    const isImage = file.endsWith("good.ppm") || file.endsWith("other.ppm");
    await Bun.write(file, isImage ? new Blob(["P6\n1 1\n255\n", new Uint8Array(3)]) : "nothing");
  }
  const classes = samples.map(({ label }) => String(label));
  const train = fileSet(folder.path, { classes, texts: classes, upright: true }, samples);
  const preprocessing = parsePreprocessing({ size: 1, crop_size: 1 }, "settings");
  const data = { train, valid: undefined, preprocessing, texts: [], hashes: { data: "" } };
  const asked = {
    model: "m",
    data: "d",
    targets: "q_proj",
    skipBadImages: true,
    batchSize: 4,
    shards: 2,
    shuffle: false,
  };
  const settings = resolveSettings(asked, { modelType: "dinov2", contextLength: 0, images: { texts: false } });
  const told: string[][] = [];
  const count = async (processes: ReturnType<typeof together>[number]) => {
    const lines: string[] = [];
    told.push(lines);
    using subject = new ImageSubject(data, (line) => lines.push(line));
    const step = await subject.plan(settings, processes).steps.step(0);
    expect(step.targets).toBe(2);
    return await subject.countBad(processes);
  };
  expect(await Promise.all(together(2).map(count))).toEqual([2, 2]);
  expect(told[0]).toMatchObject([expect.stringContaining("none.ppm"), expect.stringContaining("neither.ppm")]);
});
