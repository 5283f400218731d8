import { openBase } from "../../adapters/base/named-base.ts";
import type { ModuleShape } from "../../adapters/method/method.ts";
import type { AdapterSettings } from "../../adapters/method/settings.ts";
import { findTargets } from "../../adapters/base/target-modules.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";

/** The layers of a model that targets mean, by their shapes. @throws RandloraError `usage` when nothing is matched */
export type FindShapes = (wanted: Pick<AdapterSettings, "targets" | "layers">) => readonly ModuleShape[];

/** Reads the headers of a model: what finds its layers needs no more. @throws RandloraError `file`, `format` */
export async function readShapes({ folder, weights }: ModelLocation): Promise<FindShapes> {
  await using opened = await openBase(weights ?? folder, folder);
  const { base } = opened;
  return (wanted) => findTargets(base, wanted, { parameters: true }).modules;
}
