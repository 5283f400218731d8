import { fileError } from "../../files/failure.ts";
import { Publication } from "../../files/publish.ts";

/**
 * Makes the folder `target` hold exactly what `write` puts into the empty folder it is given: the old and the new one are
 * exchanged whole, once the new one is on the disk.
 *
 * @throws RandloraError `file`; `target` is then as it was
 */
export async function refreshFolder(target: string, write: (folder: string) => Promise<void>): Promise<void> {
  await using output = await Publication.begin(target, { kind: "folder", force: true });
  try {
    await write(output.partPath);
  } catch (thrown) {
    throw fileError(thrown, target, "write");
  }
  await output.commit();
}
