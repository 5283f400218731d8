import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";

/** A token of a SentencePiece model: its kind by llama.cpp's numbers, which are sentencepiece's. */
export interface Piece {
  readonly text: string;
  readonly score: number;
  readonly kind: number;
}

/**
 * The pieces of a tokenizer.model: field 1 of sentencepiece's ModelProto, each of a text (1), a score (2) and a type (3).
 * @throws RandloraError `format`
 */
export function readPieces(bytes: Uint8Array, path: string): Piece[] {
  try {
    const pieces: Piece[] = [];
    for (const [field, value] of fields(bytes)) {
      if (field !== 1 || !(value instanceof Uint8Array)) continue;
      const piece = { text: "", score: 0, kind: 1 };
      for (const [part, content] of fields(value)) {
        if (part === 1 && content instanceof Uint8Array) {
          piece.text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
        } else if (part === 2 && content instanceof Uint8Array) {
          piece.score = new DataView(content.buffer, content.byteOffset, 4).getFloat32(0, true);
        } else if (part === 3 && typeof content === "number") piece.kind = content;
      }
      pieces.push(piece);
    }
    return pieces;
  } catch (cause) {
    const hint = "fetch the model again";
    throw new RandloraError("format", `${oneLine(path)}: not a SentencePiece model`, hint, { cause });
  }
}

/** The fields of a protocol buffer: numbers of varints, bytes of everything else. @throws RangeError */
function* fields(bytes: Uint8Array): Generator<[field: number, value: number | Uint8Array]> {
  let at = 0;
  const take = (count: number): Uint8Array => {
    if (count > bytes.length - at) throw new RangeError("incomplete");
    at += count;
    return bytes.subarray(at - count, at);
  };
  const varint = (): number => {
    let value = 0;
    for (let power = 1; ; power *= 128) {
      const [byte = 0] = take(1);
      value += (byte & 127) * power;
      if (byte < 128) return value;
      if (power > 2 ** 60) throw new RangeError("not a number");
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const [field, wire] = [Math.floor(key / 8), key % 8];
    if (wire === 0) yield [field, varint()];
    else if (wire === 1) yield [field, take(8)];
    else if (wire === 2) yield [field, take(varint())];
    else if (wire === 5) yield [field, take(4)];
    else throw new RangeError(`wire type ${wire}`);
  }
}
