import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { countNotFinite } from "../../adapters/merge/stored-weight.ts";
import { removeAll, syncFolder } from "../../files/disk.ts";
import { writeSynced } from "../../files/whole-file.ts";
import { fileError, oneLine, quote } from "../../files/failure.ts";
import { SafetensorsFile } from "../../files/safetensors/file.ts";
import { SafetensorsWriter } from "../../files/safetensors/writer.ts";
import type { ParameterRole, Parameters } from "../../adapters/method/parameters.ts";
import {
  DONE,
  isComplete,
  type Progress,
  replaceProgress,
  stateFolder,
  stateFolders,
} from "../../models/folder/run-states.ts";

/** Which file holds which tensors, under which names: those of torch's optimizer state. */
const FILES = [
  { file: "parameters.safetensors", roles: [["value", ""]] },
  {
    file: "optimizer.safetensors",
    roles: [
      ["mean", ".exp_avg"],
      ["square", ".exp_avg_sq"],
    ],
  },
] as const satisfies readonly { file: string; roles: readonly (readonly [ParameterRole, string])[] }[];

/**
 * Writes `states/step-N`: it counts once `DONE` is in it, which is written last. Older states beyond `keep` are then
 * removed. Killed at any moment, the newest complete state is usable.
 *
 * @param addTo writes what else belongs to it into its folder
 * @throws RandloraError `file` (a full disk), `numeric` for parameters that are NaN or infinite: the older states are as
 *   they were
 */
export async function saveState(
  states: string,
  parameters: Parameters,
  progress: Progress,
  keep: number,
  addTo: (folder: string) => Promise<void> = async () => {},
): Promise<string> {
  const folder = stateFolder(states, progress.step);
  if (await isComplete(folder)) return folder;
  try {
    await removeAll(folder);
    await mkdir(folder, { recursive: true });
    for (const { file, roles } of FILES) await writeTensors(join(folder, file), parameters, roles);
    await replaceProgress(folder, progress);
    await addTo(folder);
    await syncFolder(folder);
    await writeSynced(join(folder, DONE), "");
    await syncFolder(folder);
    await syncFolder(states);
  } catch (thrown) {
    await removeAll(folder).catch(() => {});
    throw fileError(thrown, folder, "write");
  }
  await pruneStates(states, progress.step, keep);
  return folder;
}

/** Removes states older than the one of `step`, so that `keep` remain with it; of older ones that are not complete all. */
export async function pruneStates(states: string, step: number, keep: number): Promise<void> {
  let kept = 1;
  for (const state of await stateFolders(states)) {
    if (state.step >= step) continue;
    if (kept < keep && (await isComplete(state.path))) kept++;
    else await removeState(state.path);
  }
}

/** Reads parameters and moments back. @throws RandloraError `file`, `format` when the state is of another model */
export async function loadParameters(folder: string, parameters: Parameters): Promise<void> {
  for (const { file, roles } of FILES) {
    const path = join(folder, file);
    await using tensors = await SafetensorsFile.open(path);
    const byName = new Map(tensors.header.byOffset.map((info) => [info.name, info]));
    for (const { name, shape } of parameters.all) {
      for (const [role, suffix] of roles) {
        const info = byName.get(name + suffix);
        if (info === undefined || info.dtype !== "F32" || info.shape.join() !== shape.join()) {
          const cause = `no F32 tensor ${quote(name + suffix)} of shape [${shape.join(", ")}]`;
          throw new RandloraError(
            "format",
            `${oneLine(path)}: ${cause}`,
            "was the model replaced since the run began?",
          );
        }
        const numbers = new Float32Array(shape[0] * shape[1]);
        await tensors.read(info, new Uint8Array(numbers.buffer), 0);
        parameters.write(name, role, numbers);
      }
    }
  }
}

async function writeTensors(
  path: string,
  parameters: Parameters,
  roles: readonly (readonly [ParameterRole, string])[],
): Promise<void> {
  const tensors = parameters.all.flatMap(({ name, shape }) =>
    roles.map(([role, suffix]) => ({ name, shape, role, suffix })),
  );
  const planned = tensors.map(({ name, suffix, shape }) => ({ name: name + suffix, dtype: "F32" as const, shape }));
  await using writer = await SafetensorsWriter.create(path, planned);
  for (const { name, role, suffix } of tensors) {
    const numbers = await parameters.read(name, role);
    const wrong = role === "value" ? countNotFinite(numbers) : 0;
    if (wrong > 0) throw new RandloraError("numeric", `${quote(name)}: ${wrong} of its values are NaN or infinite`);
    await writer.append(name + suffix, new Uint8Array(numbers.buffer));
  }
  await writer.finish();
}

/** A state is complete, or gone, at any moment: DONE goes first. */
export async function removeState(path: string): Promise<void> {
  await removeAll(join(path, DONE));
  await removeAll(path);
}
