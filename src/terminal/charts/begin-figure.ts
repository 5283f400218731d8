import { Publication } from "../../files/publish.ts";
import { naming } from "../../files/failure.ts";
import { writeFile } from "node:fs/promises";
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
  const publication = await Publication.begin(path, { kind: "file", force, inputs });
  return {
    async write(svg) {
      await naming(publication.partPath, "write", writeFile(publication.partPath, svg));
      await publication.commit();
    },
    [Symbol.asyncDispose]: () => publication[Symbol.asyncDispose](),
  };
}
