import type { Device } from "../../../compute/device/device.ts";
import { pitchOf, type Tensor } from "../../../compute/tensor/tensor.ts";

/** The sizes of a factor. */
export interface FactorShape {
  readonly rows: number;
  readonly cols: number;
}

/** Factors of one shape, one after another in memory: what is drawn for one of them serves all of them. */
export interface FactorStack extends FactorShape {
  /** Whose they are, in the order in which they lie: indices among the shapes that were stacked. */
  readonly modules: readonly number[];
  /** (modules, rows · pitch) F32: each row is a factor, whose own rows are padded to whole vectors. */
  readonly tensor: Tensor;
}

/** Groups factors by shape, in the order in which shapes appear first. */
export function groupFactors(shapes: readonly FactorShape[]): (FactorShape & { readonly modules: number[] })[] {
  const groups = new Map<string, FactorShape & { readonly modules: number[] }>();
  for (const [index, { rows, cols }] of shapes.entries()) {
    const key = `${rows}×${cols}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { rows, cols, modules: [index] });
    else group.modules.push(index);
  }
  return [...groups.values()];
}

/** Allocates stacks for factors of these shapes; their content is undefined. @throws RandloraError `memory` */
export function allocateStacks(gpu: Device, label: string, shapes: readonly FactorShape[]): FactorStack[] {
  return groupFactors(shapes).map(({ rows, cols, modules }) => {
    const width = rows * pitchOf(cols, "F32");
    const buffer = gpu.memory.allocate(`${label} (${rows}, ${cols})`, modules.length * width * 4);
    const tensor = { shape: [modules.length, width], dtype: "F32", buffer, offset: 0, pitch: width } as const;
    return { rows, cols, modules, tensor };
  });
}

/** The factors (rows, cols) of stacks by module. */
export function factorsOf(stacks: readonly FactorStack[]): Tensor[] {
  const factors: Tensor[] = [];
  for (const { rows, cols, modules, tensor } of stacks) {
    for (const [at, module] of modules.entries()) {
      const pitch = pitchOf(cols, "F32");
      factors[module] = { ...tensor, shape: [rows, cols], offset: tensor.offset + at * tensor.pitch, pitch };
    }
  }
  return factors;
}

/** Row `row`, columns `first` … `first + width − 1`, of `count` factors from number `at` on: a matrix (count, width). */
export function rowAcross(
  { cols, tensor }: FactorStack,
  { at, count }: { readonly at: number; readonly count: number },
  { row, first, width }: { readonly row: number; readonly first: number; readonly width: number },
): Tensor {
  const offset = tensor.offset + at * tensor.pitch + row * pitchOf(cols, "F32") + first;
  return { ...tensor, shape: [count, width], offset };
}
