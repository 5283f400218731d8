import type { BaseModel, Within } from "../../adapters/base/base.ts";
import type { Trainable } from "../../adapters/method/training.ts";
import type { SavedModule } from "../../adapters/method/train.ts";
import type { Adapter } from "../../adapters/files/adapter.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";

/** @throws RandloraError `adapter` for one to go on from that adapts what the task leaves as it is */
export function refuseOutside({ modules }: Trainable, { parts, adapted }: Within, adapter: Adapter | undefined): void {
  const isIn = (some: readonly string[] | undefined, name: string) =>
    some === undefined || some.some((begin) => name.startsWith(begin));
  const outside = modules.find(({ name }) => !isIn(parts, name) || !isIn(adapted, name));
  if (adapter === undefined || outside === undefined) return;
  const cause = `${oneLine(adapter.path)}: it adapts ${quote(outside.name)}, which this task leaves as it is`;
  throw new RandloraError("adapter", cause, "give --task contrastive with all --towers, or train a new adapter");
}

/** @throws RandloraError `model` where the head's place is taken by one of another shape, or with more tensors */
export function refuseOtherHead(saved: readonly SavedModule[], { tensors, path }: BaseModel): void {
  const hint = "name the model without its head, or give --method full";
  for (const module of saved) {
    const names = new Set(module.tensors.map(({ name }) => name));
    const left = [...tensors.keys()].find((name) => name.startsWith(`${module.name}.`) && !names.has(name));
    if (left === undefined) continue;
    const cause = `${oneLine(path)}: its own ${quote(left)} would stay beside a head that has none`;
    throw new RandloraError("model", cause, hint);
  }
  for (const { name, stored } of saved.flatMap((module) => module.tensors)) {
    const shape = tensors.get(name)?.shape;
    if (shape === undefined || shape.join() === stored.join()) continue;
    const cause = `${oneLine(path)}: its own ${quote(name)} is [${shape.join(", ")}], and the data need [${stored.join(", ")}]`;
    const why = "an adapter's head, new or not, takes the place of one of its own shape only";
    throw new RandloraError("model", cause, `${why}: ${hint}`);
  }
}
