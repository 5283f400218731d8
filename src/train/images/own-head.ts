import { readImageConfig } from "../../models/vision/index.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { isFloat } from "../../files/safetensors/dtype.ts";
import { widenToF32 } from "../../files/safetensors/numbers.ts";
import type { SavedModule } from "../../adapters/method/train.ts";

/** Do the names say nothing? transformers calls classes that nobody named LABEL_0 and so on. */
function areNumbered(labels: readonly string[]): boolean {
  return labels.every((label, index) => label === `LABEL_${index}`);
}

/** Are the data's classes those of the model's own head, row by row? Without names, as many are enough. */
export function isOfClasses(labels: readonly string[], classes: readonly string[]): boolean {
  return labels.length === classes.length && (areNumbered(labels) || labels.every((label, i) => label === classes[i]));
}

/** The order that the model's own head has the data's classes in; undefined where it has others, or another number. */
export async function ownOrder(
  location: ModelLocation,
  classes: readonly string[],
): Promise<readonly string[] | undefined> {
  const { labels } = await readImageConfig(location);
  const isSame = Bun.deepEquals(labels.toSorted(), classes.toSorted());
  return isSame ? labels : undefined;
}

/** The same modules, which begin with the checkpoint's own numbers; undefined where its tensors are of other shapes. */
export async function withOwnValues(
  saved: readonly SavedModule[],
  checkpoint: Checkpoint,
): Promise<SavedModule[] | undefined> {
  const names = new Set(saved.flatMap((module) => module.tensors.map(({ name }) => name)));
  const isOther = (name: string) => saved.some((module) => name.startsWith(`${module.name}.`)) && !names.has(name);
  if ([...checkpoint.tensors.keys()].some(isOther)) return undefined;
  const modules: SavedModule[] = [];
  for (const module of saved) {
    const tensors = [];
    for (const tensor of module.tensors) {
      const info = checkpoint.tensors.get(tensor.name)?.info;
      if (info?.shape.join() !== tensor.stored.join() || !isFloat(info.dtype)) return undefined;
      const bytes = new Uint8Array(info.bytes);
      await checkpoint.read(tensor.name, bytes);
      const values = new Float32Array(tensor.values.length);
      widenToF32(bytes, info.dtype, values);
      tensors.push({ ...tensor, values });
    }
    modules.push({ ...module, tensors });
  }
  return modules;
}
