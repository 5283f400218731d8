import { CpuDevice } from "../../../../compute/cpu/cpu.ts";
import { type Family, readGolden } from "../../../../data/text/testing/families.ts";
import { TemporaryFolder } from "../../../../files/testing/folder.ts";
import type { Checkpoint } from "../../../../files/safetensors/checkpoint.ts";
import { isFloat } from "../../../../files/safetensors/dtype.ts";
import { widenToF32 } from "../../../../files/safetensors/numbers.ts";
import { loadDecoder } from "../../../../models/folder/load-decoder.ts";
import { locateModel } from "../../../../models/folder/locate.ts";
import { writeArchitecture } from "../../../../models/testing/architectures.ts";
import type { Outtype } from "../../to-files/options.ts";
import { Notes, OPTIONS } from "../../testing/merge.ts";
import { merge } from "../../to-files/run.ts";
import { logitsAfter } from "../../../../models/testing/logits.ts";

/** Where models are written, merged into GGUF files and loaded: a device, a folder, and the program's cache in it. */
export class Workplace implements AsyncDisposable {
  readonly #cacheBefore = process.env["RANDLORA_CACHE"];
  readonly gpu: CpuDevice;
  readonly folder: TemporaryFolder;

  private constructor(gpu: CpuDevice, folder: TemporaryFolder) {
    this.gpu = gpu;
    this.folder = folder;
    process.env["RANDLORA_CACHE"] = folder.at("cache");
  }

  static async open(): Promise<Workplace> {
    return new Workplace(await CpuDevice.open({ threads: 2 }), await TemporaryFolder.create());
  }

  /** A folder with a model of an architecture, and a tokenizer. */
  async model(name: string, type: string, layers: number, settings: object, family: Family = "gpt2"): Promise<void> {
    await writeArchitecture(this.folder.at(name), type, layers, settings);
    const { tokenizer } = await readGolden(family);
    await Bun.write(this.folder.at(name, "tokenizer.json"), JSON.stringify(tokenizer));
  }

  /** A merge into a file of the folder. */
  async written(base: string, out: string, outtype: Outtype, adapters: readonly string[] = []): Promise<string> {
    const options = { ...OPTIONS, force: true, adapters, base, out: this.folder.at(out), outtype };
    return (await merge(options, new Notes(), new AbortController().signal)).out;
  }

  /** Those of the last of some tokens. */
  async logits(path: string): Promise<Float32Array> {
    const { folder: settings, weights } = await locateModel(path);
    using decoder = await loadDecoder(this.gpu, settings, { weights });
    const logits = await logitsAfter(decoder, [1, 300, 7, 420, 33]);
    return Float32Array.from(logits);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.gpu.close();
    if (this.#cacheBefore === undefined) delete process.env["RANDLORA_CACHE"];
    else process.env["RANDLORA_CACHE"] = this.#cacheBefore;
    await this.folder[Symbol.asyncDispose]();
  }
}

/** The numbers of a tensor. */
export async function valuesOf(checkpoint: Checkpoint, name: string): Promise<Float32Array<ArrayBuffer>> {
  const { info } = checkpoint.get(name);
  const bytes = new Uint8Array(info.bytes);
  await checkpoint.read(name, bytes);
  const values = new Float32Array(info.elements);
  if (!isFloat(info.dtype)) throw new TypeError(info.dtype);
  widenToF32(bytes, info.dtype, values);
  return values;
}
