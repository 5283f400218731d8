/** A figure that will be written. */
export interface Figure extends AsyncDisposable {
  /** Makes it appear. @throws RandloraError `file` */
  write(svg: string): Promise<void>;
}

/**
 * Finds out before the work that a figure cannot be written.
 * @param inputs what the work reads: it is not replaced, not even with `force`
 * @throws RandloraError `file`
 */
export async function beginFigure(path: string, force: boolean, inputs: readonly string[]): Promise<Figure> {
  const { writeFile } = await import("node:fs/promises");
  const { naming } = await import("../../files/failure.ts");
  const { Publication } = await import("../../files/publish.ts");
  const publication = await Publication.begin(path, { kind: "file", force, inputs });
  return {
    async write(svg) {
      await naming(publication.partPath, "write", writeFile(publication.partPath, svg));
      await publication.commit();
    },
    [Symbol.asyncDispose]: () => publication[Symbol.asyncDispose](),
  };
}
