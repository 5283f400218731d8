import { extname, join } from "node:path";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { type LabeledFile, listFolder } from "./files.ts";
import { KNOWN_CLASSES } from "./labels.ts";

/** What is looked for in a class folder: by name, because there may be anything beside the images. */
const IMAGES = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".ppm", ".pgm"];

export interface ClassFolders {
  /** The folders' names, in code-point order. */
  readonly classes: readonly string[];
  /** By class, then by name. */
  readonly samples: readonly LabeledFile[];
}

/**
 * Finds the images of a folder that has one folder a class, as torchvision's ImageFolder does; names that begin with a
 * dot are ignored.
 *
 * @param classes the names and order of the classes, where they are known already
 * @throws {RandloraError} `file` when it cannot be read, `data` without class folders, and for one that is not in `classes`
 */
export async function readClassFolders(root: string, classes?: readonly string[]): Promise<ClassFolders> {
  const folders = await listFolder(root, "folders");
  if (folders.length === 0) {
    throw new RandloraError(
      "data",
      `${oneLine(root)}: no class folders in it`,
      "each class has a folder of its images",
    );
  }
  const known = classes ?? folders;
  const labels = new Map(known.map((name, label) => [name, label]));
  const samples: LabeledFile[] = [];
  for (const folder of folders) {
    const label = labels.get(folder);
    if (label === undefined) {
      throw new RandloraError(
        "data",
        `${oneLine(root)}: ${quote(folder)} is none of the ${known.length} known classes`,
        KNOWN_CLASSES,
      );
    }
    for (const name of await listFolder(join(root, folder), "files")) {
      if (IMAGES.includes(extname(name).toLowerCase())) samples.push({ file: join(root, folder, name), label });
    }
  }
  return { classes: known, samples };
}
