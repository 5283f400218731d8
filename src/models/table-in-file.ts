import { closeSync, openSync, readSync } from "node:fs";
import { RandloraError } from "../files/errors.ts";
import { naming, oneLine } from "../files/failure.ts";
import type { Checkpoint } from "../files/safetensors/checkpoint.ts";
import type { BlockDtype } from "../compute/device/dtype.ts";
import { dtypeBytes, type FloatDtype, isFloat } from "../files/safetensors/dtype.ts";
import { widenToF32 } from "../files/safetensors/numbers.ts";
import { blockBytes, unpackBlocks } from "./read-weights.ts";
import type { PlannedMatrix } from "./tensor-plan.ts";

/**
 * A table that stays in the checkpoint's file, of which rows are read as they are wanted. Gemma 4 E2B's embeddings of each layer
 * are 4.7 GB in bf16, of which a token reads 18 kB.
 */
export class TableInFile {
  readonly cols: number;
  /** Of the file. */
  readonly bytes: number;
  readonly #path: string;
  readonly #offset: number;
  readonly #dtype: FloatDtype;
  readonly #blocks: BlockDtype | undefined;
  /** Undefined: it has not been opened; its rows are zeros then, as a device's memory is that nobody filled. */
  #file: number | undefined;

  /** @param planned one tensor of the checkpoint, which has it (`checkTensors`) */
  constructor(checkpoint: Checkpoint, { cols, parts }: PlannedMatrix) {
    const { file, info } = checkpoint.get(parts[0]?.name ?? "");
    if (!isFloat(info.dtype) || info.packed !== undefined) throw new TypeError(`${info.name}: rows of ${info.dtype}`);
    this.cols = cols;
    this.bytes = info.blocks?.bytes ?? info.bytes;
    this.#path = file.path;
    this.#offset = info.offset;
    this.#dtype = info.dtype;
    this.#blocks = info.blocks?.dtype;
  }

  /** Opens the file, whose rows can be read until `close`. @throws RandloraError `file` */
  async open(): Promise<void> {
    const opening = Promise.try(() => this.#file ?? openSync(this.#path, "r"));
    this.#file = await naming(this.#path, "read", opening);
  }

  /**
   * These rows, one behind the other, times `scale`.
   * @param ids each below the table's rows
   * @throws RandloraError `file`
   */
  rows(ids: ArrayLike<number>, scale: number): Float32Array<ArrayBuffer> {
    const values = new Float32Array(ids.length * this.cols);
    const file = this.#file;
    if (file === undefined) return values;
    const blocks = this.#blocks;
    const bytes = blocks === undefined ? this.cols * dtypeBytes(this.#dtype) : blockBytes(this.cols, blocks);
    const row = new Uint8Array(bytes);
    for (let at = 0; at < ids.length; at++) {
      const position = this.#offset + (ids[at] ?? NaN) * bytes;
      for (let done = 0; done < bytes;) {
        const read = readSync(file, row, done, bytes - done, position + done);
        if (read === 0) throw this.#shorter(position + done);
        done += read;
      }
      const to = values.subarray(at * this.cols, (at + 1) * this.cols);
      if (blocks === undefined) widenToF32(row, this.#dtype, to);
      else to.set(unpackBlocks(row, blocks));
      for (let col = 0; col < to.length; col++) to[col] = (to[col] ?? NaN) * scale;
    }
    return values;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #shorter(position: number): RandloraError {
    const cause = `the file ended at byte ${position}, it has become shorter since it was opened`;
    return new RandloraError("file", `cannot read ${oneLine(this.#path)}: ${cause}`, "do not write to it meanwhile");
  }
}
