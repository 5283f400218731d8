import { type CheckpointTensor, shapeElements, type WholeTensor } from "./header.ts";

/**
 * A tensor as several: its rows, one after another.
 * @param parts in the order of their rows, which are all of it, and whole blocks where it has some
 */
export function dividedTensor(
  { file, info: whole }: CheckpointTensor,
  parts: readonly WholeTensor[],
): CheckpointTensor[] {
  const { name, shape: all, dtype, elements: count, offset, blocks, packed } = whole;
  let begin = 0;
  const divided = parts.map(({ name: own, shape }): CheckpointTensor => {
    const elements = shapeElements(shape);
    // Bytes of a number are exact in blocks, too: 256ths.
    const placed = (bytes: number) => ({ first: (bytes / count) * begin, bytes: (bytes / count) * elements });
    const [numbers, stored] = [placed(whole.bytes), placed(blocks?.bytes ?? 0)];
    begin += elements;
    const from = (of: typeof numbers, out: Uint8Array, start: number) => {
      if (start >= 0 && start + out.length <= of.bytes) return of.first + start;
      throw new RangeError(`bytes ${start} to ${start + out.length} of ${own}, which has ${of.bytes}`);
    };
    return {
      file: {
        path: file.path,
        read: async (_, out, start = 0) => await file.read(whole, out, from(numbers, out, start)),
        readBlocks: async (_, out, start = 0) => {
          if (file.readBlocks === undefined) throw new TypeError(`${name} has no blocks`);
          await file.readBlocks(whole, out, from(stored, out, start));
        },
      },
      info: {
        name: own,
        dtype,
        shape,
        elements,
        offset: offset + numbers.first,
        bytes: numbers.bytes,
        ...(blocks && { blocks: { dtype: blocks.dtype, bytes: stored.bytes } }),
        whole: { name, shape: all },
        ...(packed && { packed }),
      },
    };
  });
  if (begin !== count) throw new RangeError(`${name} has ${count} elements, and its parts ${begin}`);
  return divided;
}
