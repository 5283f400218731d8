import { dirname } from "node:path";
import { classesBeside } from "../../adapters/merge/heads.ts";
import type { MethodDefinition } from "../../adapters/method/method.ts";
import { isAdapterMethod, methodOfAdapter, METHODS } from "../../adapters/methods.ts";
import { stat } from "node:fs/promises";
import { openAdapter } from "../../adapters/formats/open.ts";
import type { AdapterSettings } from "../../adapters/method/settings.ts";
import type { Adapter } from "../../adapters/files/adapter.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import { stringifyLossless } from "../../files/lossless-json.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { FlatSettings, InitialSettings, TrainSettings } from "../settings/settings.ts";
import { newestState } from "../../models/folder/run-states.ts";

/**
 * Reads what an adapter to go on from decides of a run's settings; of what it leaves open, `asked` decides.
 * Throws `RandloraError` "file", "format" or "adapter".
 */
export async function initialSettings(path: string, asked: Partial<FlatSettings> = {}): Promise<InitialSettings> {
  await using adapter = await openAdapter(path);
  const own = methodOfAdapter(adapter);
  const beginning = METHODS.filter(isAdapterMethod).find(({ name, beginsWith }) => {
    return name === asked.method && beginsWith?.includes(own) === true;
  });
  const { name: method, training } = beginning ?? own;
  const head = headOf(adapter)?.kind;
  const settings = { method, ...training.initial(adapter, asked), initSha256: await adapterFingerprint(adapter) };
  return head === undefined ? settings : { ...settings, head };
}

/**
 * The settings of a run that is resumed, once it has a state: what it needs beside that (bases, targets, configuration)
 * its own adapter has, whatever became of the one that it began with.
 */
export async function withOwnAdapter(settings: TrainSettings, folder: RunFolder): Promise<TrainSettings> {
  const { adapter } = settings;
  if (adapter === null || adapter.initAdapter === null || (await newestState(folder.states)) === undefined) {
    return settings;
  }
  const own = folder.last("adapter");
  // Killed between its first state and its first adapter, it has none yet.
  if (!(await stat(own).then(Boolean, () => false))) return settings;
  return { ...settings, adapter: { ...adapter, initAdapter: own, initCommit: null, initSha256: null } };
}

/**
 * Opens the adapter that a run goes on from.
 * @param others methods beside the run's own whose adapters it can begin with
 * @throws RandloraError `file`, `format`; `adapter` when it is not the one that the run began with, or of another method
 */
export async function openInitial(
  path: string,
  { method, initSha256 }: Pick<FlatSettings, "method" | "initSha256">,
  others: readonly MethodDefinition[] = [],
): Promise<Adapter> {
  const adapter = await openAdapter(path);
  try {
    await refuseChanged(adapter, { initSha256 });
    requireMethod(adapter, [method, ...others.map(({ name }) => name)]);
    return adapter;
  } catch (thrown) {
    await adapter.close();
    throw thrown;
  }
}

/** Throws `RandloraError` "adapter" where the adapter is not the one that the run began with. */
async function refuseChanged(adapter: Adapter, { initSha256 }: Pick<AdapterSettings, "initSha256">): Promise<void> {
  if (initSha256 === null || (await adapterFingerprint(adapter)) === initSha256) return;
  const cause = "not the adapter that the run began with (--init-adapter)";
  throw new RandloraError("adapter", `${oneLine(adapter.path)}: ${cause}`, "put the old one back, or start a new run");
}

/** Throws `RandloraError` "adapter" for an adapter of another method than these: the run's, and what that can begin with. */
function requireMethod(adapter: Adapter, methods: readonly string[]): void {
  const { name } = methodOfAdapter(adapter);
  if (methods.includes(name)) return;
  const cause = `${oneLine(adapter.path)}: its method is ${name}, which is not the run's`;
  throw new RandloraError("adapter", cause, `give --method ${name}`);
}

/** The module that transformers calls a head. */
export const HEAD = "classifier";

/** The head that an adapter brings: `linear` has a bias, `cls` none. */
interface BroughtHead {
  readonly kind: "linear" | "cls";
  readonly classes: number;
}

/** Undefined for an adapter without a head. */
export function headOf({ tensors }: Adapter): BroughtHead | undefined {
  const weight = tensors.get(`${HEAD}.weight`);
  if (weight === undefined) return undefined;
  return { kind: tensors.has(`${HEAD}.bias`) ? "linear" : "cls", classes: itemAt(weight.shape, 0) };
}

/**
 * The names of the classes that an adapter's head knows, in the order of its rows; undefined without a head, and where
 * nothing names them.
 * @throws RandloraError `file`, `format`: names that do not fit the head among them
 */
export async function classesOf(path: string): Promise<readonly string[] | undefined> {
  await using adapter = await openAdapter(path);
  const head = headOf(adapter);
  return head && (await classesBeside(dirname(adapter.file), head.classes));
}

/** Bytes read at a time. */
const PORTION = 8 << 20;

/**
 * SHA-256 of what an adapter is made of: configuration, what it records of its bases, and every byte of its tensors in
 * the order of the file. Where it lies does not matter.
 * @throws RandloraError `file`
 */
export async function adapterFingerprint({ config, bases, tensors }: Adapter): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  hash.update(`${stringifyLossless([config, bases ?? null], 0)}\n`);
  for (const { name, dtype, shape, bytes, read } of tensors.values()) {
    hash.update(`${JSON.stringify([name, dtype, shape])}\n`);
    for (let start = 0; start < bytes; start += PORTION) {
      const portion = new Uint8Array(Math.min(PORTION, bytes - start));
      await read(portion, start);
      hash.update(portion);
    }
  }
  return hash.digest("hex");
}
