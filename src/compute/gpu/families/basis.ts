import { BASIS_FORMATS, type DeltaBasis } from "../../device/families/delta.ts";
import type { PhiloxStorage } from "../../device/matrix-storage.ts";
import type { Pair } from "../kernels/parameters.ts";
import { type OnGpu, rowBlocks, type RowBlock } from "../bindings.ts";

/** Some rows of a basis that can be bound; `place`: as matrix.wgsl counts. */
export interface BasisBlock extends Pick<RowBlock, "first" | "rows" | "binding"> {
  readonly place: Pair;
}

/** Rows `from` … `from + rows − 1` of a basis in blocks that the GPU can bind; `first` counts from there. */
export function basisBlocks(on: OnGpu, basis: DeltaBasis, from: number, rows: number): readonly BasisBlock[] {
  const { buffer, storage, stride: pitch, philox } = basis;
  if (storage === "philox") return [{ first: 0, rows, binding: buffer, place: [from, philox?.pitch ?? pitch] }];
  const matrix = { shape: [rows, pitch], dtype: BASIS_FORMATS[storage], buffer, offset: from * pitch, pitch } as const;
  return rowBlocks(on, matrix).map((block) => ({ ...block, place: [block.offset / 4, pitch / 4] }));
}

type Drawn = Pick<PhiloxStorage, "key" | "sparsity" | "threshold">;

/** How the elements of a basis are drawn, as draw.wgsl takes it; zeros where they are stored. */
export function drawing(philox: Drawn | undefined) {
  return {
    key: philox?.key ?? ([0, 0] as const),
    threshold: philox?.threshold ?? 0,
    dense: philox?.sparsity === "dense",
  };
}
