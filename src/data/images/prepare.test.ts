import { describe, expect, test } from "bun:test";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { decodeImage } from "./decode.ts";
import { normalizationTable, normalizeInto } from "./loader.ts";
import { prepare } from "./job.ts";
import { parsePreprocessing, readPreprocessing } from "./preprocessing.ts";
import { bytesOf, digest, expected } from "./testing/expected.ts";

describe.each(Object.entries(expected.prepared))("settings %s", (_, { settings, pixels }) => {
  const preprocessing = parsePreprocessing(settings, "preprocessor_config.json");

  test.each(Object.entries(pixels))("give transformers' numbers for %s", async (name, { shape, values }) => {
    const image = await decodeImage(bytesOf(name), name, { upright: true });
    const { width, height, data } = prepare(image, preprocessing);
    expect([3, height, width]).toEqual(shape);
    expect([preprocessing.height, preprocessing.width]).toEqual([height, width]);
    const batch = new Float32Array(2 * data.length).fill(7);
    normalizeInto(data, normalizationTable(preprocessing), batch, data.length);
    expect(digest(batch.subarray(data.length))).toBe(values);
    expect(batch.subarray(0, data.length).every((value) => value === 7)).toBe(true);
  });
});

describe("preprocessor_config.json", () => {
  test("is read from a model's folder, and goes behind what processor_config.json holds", async () => {
    await using folder = await TemporaryFolder.create();
    const refusal = await refusalOf(() => readPreprocessing(folder.path));
    expect([refusal.code, refusal.message.includes("preprocessor_config.json")]).toEqual(["file", true]);
    await Bun.write(folder.at("preprocessor_config.json"), JSON.stringify({ crop_size: 30 }));
    expect((await readPreprocessing(folder.path)).width).toBe(30);
    await Bun.write(folder.at("processor_config.json"), JSON.stringify({ processor_class: "CLIPProcessor" }));
    expect((await readPreprocessing(folder.path)).width).toBe(30);
    await Bun.write(folder.at("processor_config.json"), JSON.stringify({ image_processor: { crop_size: 31 } }));
    expect((await readPreprocessing(folder.path)).width).toBe(31);
  });

  test("has transformers' defaults", () => {
    expect(parsePreprocessing({ resample: null }, "x")).toEqual({
      resize: { shortest: 224 },
      filter: "bicubic",
      crop: { width: 224, height: 224 },
      rescale: 1 / 255,
      normalize: { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] },
      width: 224,
      height: 224,
    });
  });

  test.each([
    [{ image_processor_type: "ViTImageProcessor" }, "ViTImageProcessor"],
    [{ do_center_crop: false }, "sizes of their own"],
    [{ resample: 5 }, "resample 5"],
    [{ do_pad: true }, "padded"],
    [{ size: { longest_edge: 3 } }, "size: it must be"],
    [{ size: { shortest_edge: 1e9 } }, "size"],
    [{ crop_size: 0 }, "crop_size"],
    [{ crop_size: 9000 }, "crop_size"],
    [{ image_mean: [1, 2] }, "image_mean"],
    [{ image_std: [1, 0, 1] }, "image_std is 0"],
    [{ rescale_factor: "1" }, "rescale_factor"],
    [[], ""],
    ["text", ""],
  ])("refuses %j", async (json, told) => {
    const refusal = await refusalOf(() => parsePreprocessing(json, "preprocessor_config.json"));
    expect(refusal.message).toStartWith("preprocessor_config.json: ");
    expect(refusal.message).toContain(told);
  });
});
