export type Split = "train" | "valid" | "test";

/** Where one image is. It can be sent to a thread. */
export interface Source {
  /** For errors, fit to be printed: a path, or a file and a row. */
  readonly name: string;
  readonly from: { readonly file: string } | { readonly bytes: Uint8Array };
}

/** Labeled images, none of which has been read. */
export interface ImageSet {
  /** The folder or file that it came from, fit to be printed. */
  readonly path: string;
  /** By label, from 0. */
  readonly classes: readonly string[];
  /** What prompts call the classes. */
  readonly texts: readonly string[];
  /** The label of each image. */
  readonly labels: Uint32Array;
  /** Images are turned as their EXIF data say. */
  readonly upright: boolean;
  /** The files that its images lie in, where each is a file or a part of one that is read when it is asked for. */
  readonly files: readonly string[];
  /** Bytes of images that memory has no room for: what is read of them is kept on the disk, in the cache folder. */
  readonly spilled?: number;
  /** Where image `index` is. @throws {RandloraError} where that has to be read, and cannot */
  source(index: number): Source | Promise<Source>;
}

/** Some of a set's images. @param indices which, in this order */
export function subsetOf(set: ImageSet, indices: ArrayLike<number>): ImageSet {
  const chosen = Uint32Array.from(indices);
  return {
    ...set,
    labels: chosen.map((i) => set.labels[i] ?? 0),
    ...(set.files.length === set.labels.length && { files: Array.from(chosen, (i) => set.files[i] ?? "") }),
    source: (index) => set.source(chosen[index] ?? 0),
  };
}

/** Class names as texts, for sets whose names are those of folders and columns. */
export function textsOf(classes: readonly string[]): string[] {
  return classes.map((name) => name.replaceAll("_", " "));
}
