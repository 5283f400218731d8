import { RandloraError } from "../files/errors.ts";
import { oneLine } from "../files/failure.ts";
import type { TensorReader } from "../files/safetensors/checkpoint.ts";
import type { Shape } from "../compute/tensor/tensor.ts";

/** One tensor of the checkpoint: rows of a matrix on the GPU, or a part of a vector. */
export interface PlannedPart {
  readonly name: string;
  /**
   * Its shape in the checkpoint, of any number of axes; elements lie in the matrix as they do there. A convolution of
   * patches, [out, in, height, width], is a matrix of out rows; [] is one number.
   */
  readonly stored: readonly number[];
  /** Rows of the matrix; elements of the vector. */
  readonly rows: number;
}

/**
 * A matrix on the GPU: one tensor of the checkpoint, or several of equal width one below the other, so that one
 * product serves q, k and v. Weights of linear layers may be quantized, and tables with a row for each token (the embedding,
 * the output matrix), other matrices are not. Vectors (norms, biases) have one row and are held in F32.
 */
export interface PlannedMatrix {
  readonly kind: "linear" | "table" | "matrix" | "vector";
  readonly cols: number;
  readonly parts: readonly PlannedPart[];
  /** Each of its parts is (cols, rows) in the checkpoint: a Conv1D's of GPT-2, each expert's of gpt-oss. */
  readonly transposed?: boolean;
  /** Rows of zeros follow each of its parts up to a multiple of 4, so that the columns of a product can be viewed by themselves. */
  readonly padded?: boolean;
  /** The same rows by the names that other files have for them, or that they are read by; see `asStored`. */
  readonly otherwise?: readonly (readonly PlannedPart[])[];
  /** The checkpoint has one number of it, which stands in each column. No method trains it. */
  readonly spread?: boolean;
  /** It stays in the file, of which rows are read as they are wanted; see `TableInFile`. No method trains it. */
  readonly inFile?: boolean;
  /** No checkpoint has it, nor parts of it: this number stands in each column. */
  readonly constant?: number;
}

/** Does a method that trains all weights train it? */
export function isTrained({ spread = false, inFile = false }: PlannedMatrix): boolean {
  return !spread && !inFile;
}

/** A tensor's name and its shape in the checkpoint. */
export type Stored = readonly [name: string, shape: readonly number[]];

/**
 * A matrix with rows of `cols` elements of these tensors, whose last axes make a row.
 * @throws RandloraError `model` for sizes that no matrix has: config.json says them
 */
export function plannedMatrix(cols: number, ...tensors: readonly Stored[]): PlannedMatrix {
  const parts = tensors.map(([name, stored]): PlannedPart => {
    const rows = elements(stored) / cols;
    if (!Number.isSafeInteger(rows)) {
      const cause = `${name}: [${stored.join(", ")}] has no rows of ${cols}`;
      throw new RandloraError("model", cause, "config.json says sizes that no model has: fetch it again");
    }
    return { name, stored, rows };
  });
  return { kind: "matrix", cols, parts };
}

/** The same for the weights of linear layers. */
export function plannedLinear(cols: number, ...tensors: readonly Stored[]): PlannedMatrix {
  return { ...plannedMatrix(cols, ...tensors), kind: "linear" };
}

/** The same for a table with a row for each token of the vocabulary. */
export function plannedTable(cols: number, table: Stored): PlannedMatrix {
  return { ...plannedMatrix(cols, table), kind: "table" };
}

/**
 * The same for a table that stays in the file, which must stay as it is while the model is in use: a pass reads the rows of its
 * tokens, as they are stored, and --quantize leaves it.
 */
export function tableInFile(cols: number, table: Stored): PlannedMatrix {
  return { ...plannedMatrix(cols, table), inFile: true };
}

/** The same matrix of parts that a checkpoint stores transposed, along their last two axes. */
export function storedTransposed(planned: PlannedMatrix): PlannedMatrix {
  const parts = planned.parts.map((part) => ({ ...part, stored: turned(part.stored) }));
  return { ...planned, parts, transposed: true };
}

/** A shape whose last two axes change places. */
export function turned(shape: readonly number[]): readonly number[] {
  return [...shape.slice(0, -2), ...shape.slice(-2).toReversed()];
}

/** All elements of these tensors in one row. */
export function plannedVector(...tensors: readonly Stored[]): PlannedMatrix {
  const parts = tensors.map(([name, stored]): PlannedPart => ({ name, stored, rows: elements(stored) }));
  return { kind: "vector", cols: parts.reduce((sum, { rows }) => sum + rows, 0), parts };
}

/** One number of a checkpoint in each of so many columns. */
export function spreadNumber(name: string, cols: number): PlannedMatrix {
  return { kind: "vector", cols, parts: [{ name, stored: [1], rows: cols }], spread: true };
}

/** A vector that is in no checkpoint: weights of a norm that has none. */
export function constantVector(cols: number, constant: number): PlannedMatrix {
  return { kind: "vector", cols, parts: [], constant };
}

/** A matrix that some files have as one, and others as another: the same rows, by other names. */
export function eitherOf(usual: PlannedMatrix, ...others: readonly PlannedMatrix[]): PlannedMatrix {
  return { ...usual, otherwise: others.map(({ parts }) => parts) };
}

/** The matrix by the names that these tensors have for it; its usual ones where they have neither. */
export function storedIn(tensors: ReadonlyMap<string, unknown>, planned: PlannedMatrix): PlannedMatrix {
  const { otherwise, ...usual } = planned;
  if (otherwise === undefined) return planned;
  const parts = [usual.parts, ...otherwise].find((some) => some.some(({ name }) => tensors.has(name)));
  return parts === undefined ? usual : { ...usual, parts };
}

/**
 * The matrix in the parts that are adapted and trained: those of each expert, however files have them.
 * @param stored a part that a file has, whose layers' names begin as theirs do; left out: the usual ones
 */
export function inParts({ otherwise = [], ...usual }: PlannedMatrix, stored = ""): PlannedMatrix {
  const all = [usual.parts, ...otherwise];
  const most = all.reduce((count, { length }) => Math.max(count, length), 0);
  const divided = all.filter(({ length }) => length === most);
  const begin = (name: string) => name.slice(0, name.indexOf(".layers."));
  const like = divided.find(([first]) => first !== undefined && begin(first.name) === begin(stored));
  return { ...usual, parts: like ?? divided[0] ?? usual.parts };
}

/** The names of its parts, of many the first and the last: one no other matrix has. */
export function matrixLabel({ parts }: PlannedMatrix): string {
  const names = parts.map(({ name }) => name);
  return names.length > 4 ? `${names[0]} to ${names.at(-1)}` : names.join(" + ");
}

/** Rows and columns. */
export function matrixShape(planned: PlannedMatrix): Shape {
  const { kind, cols, parts } = planned;
  return [kind === "vector" ? 1 : parts.reduce((sum, part) => sum + rowsTaken(planned, part), 0), cols];
}

/** Rows of a part with the zeros that follow it. */
export function rowsTaken({ padded = false }: PlannedMatrix, { rows }: PlannedPart): number {
  return padded ? Math.ceil(rows / 4) * 4 : rows;
}

/** What a checkpoint is expected to hold besides what is planned, and for whom. */
export interface Expected {
  /** `model_type` of config.json. */
  readonly architecture: string;
  /** Is this a tensor that checkpoints carry and nobody needs? */
  isSuperfluous(name: string): boolean;
}

/**
 * Does the checkpoint hold exactly these tensors, in these shapes and in floating types that can be widened?
 * @throws RandloraError `model` naming what is missing, left over or of another shape
 */
export function checkTensors(
  matrices: readonly PlannedMatrix[],
  checkpoint: TensorReader,
  { architecture, isSuperfluous }: Expected,
): void {
  const missing: string[] = [];
  const planned = new Set<string>();
  for (const { name, stored } of matrices.flatMap(({ parts }) => parts)) {
    planned.add(name);
    const tensor = checkpoint.tensors.get(name);
    if (tensor === undefined) {
      missing.push(name);
      continue;
    }
    const { shape, dtype } = tensor.info;
    if (shape.length !== stored.length || shape.some((size, axis) => size !== stored[axis])) {
      const shapes = `its shape is [${shape.join(", ")}], by config.json it is [${stored.join(", ")}]`;
      throw new RandloraError(
        "model",
        `${oneLine(tensor.file.path)}: ${name}: ${shapes}`,
        "do both belong to one model?",
      );
    }
    if (!["F64", "F32", "F16", "BF16"].includes(dtype)) {
      const hint = "use the model's original checkpoint, in f32, f16 or bf16";
      throw new RandloraError(
        "model",
        `${oneLine(tensor.file.path)}: ${name}: weights in ${dtype} cannot be run`,
        hint,
      );
    }
  }
  if (missing.length > 0) {
    const hint = "the checkpoint is incomplete, or config.json is another model's";
    throw new RandloraError("model", `${checkpoint.folder}: missing weights: ${some(missing)}`, hint);
  }
  const left = [...checkpoint.tensors.keys()].filter((name) => !planned.has(name) && !isSuperfluous(name));
  if (left.length > 0) {
    const what = `weights that a ${architecture} model of this config.json does not have: ${some(left)}`;
    throw new RandloraError("model", `${checkpoint.folder}: ${what}`, "running without them would be another model");
  }
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(", ");
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
