import { type FindBase, openModel, openNamedBase } from "../../adapters/base/named-base.ts";
import { type DeltaChoice, openDeltas, openPair } from "../../adapters/merge/in-memory/deltas.ts";
import { openDevice } from "../../compute/open-device.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { modelTitle } from "../../files/run-names.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { beginFigure } from "../../terminal/charts/svg-chart.ts";
import type { Context } from "../../terminal/options/command.ts";
import { ModulesBar, type Progress } from "../../terminal/progress.ts";
import { adapterOrModel, findKind } from "../../adapters/formats/open.ts";
import { weightsIn } from "../inputs.ts";
import { compareDeltas, spectra, spectrumWork } from "./spectrum.ts";
import { type AdapterReport, inspectAdapter, type AdapterJson, adapterJson, adapterText } from "./inspect-adapter.ts";
import { inspectCheckpoint } from "./inspect-checkpoint.ts";
import { checkpointJson, checkpointText } from "./checkpoint-report.ts";
import type { InspectFlags } from "./options.ts";
import {
  type DeltasJson,
  distanceJson,
  distanceText,
  spectrumJson,
  spectrumSvg,
  spectrumText,
} from "./spectrum-report.ts";

/** Shows what an adapter or a checkpoint holds. @param given its path, a run, or a name on the Hub */
export async function inspect(given: string, options: InspectFlags, context: Context): Promise<void> {
  const { kind, path } = await findKind(await adapterOrModel(given, "config", context));
  if (kind === "checkpoint") {
    const foreign = Object.entries(options).find(([, value]) => value !== undefined && value !== false);
    if (foreign !== undefined) {
      const name = `--${foreign[0]}`;
      const cause = `${name}: ${given} is a checkpoint, no adapter`;
      throw new Contradiction([foreign[0]], cause, `leave ${name} out`);
    }
    const report = await inspectCheckpoint(path);
    context.result(checkpointJson(report), () => checkpointText(report, context));
    return;
  }
  const { base, spectrum, intruders, svg, against } = options;
  if (!spectrum && against === undefined && (svg ?? options.layers ?? options.generator) !== undefined) {
    const idle = svg !== undefined ? "--svg" : options.layers !== undefined ? "--layers" : "--generator";
    throw new RandloraError("usage", `${idle}: of what?`, "give --spectrum or --against OTHER as well");
  }
  if ((svg !== undefined || intruders) && !spectrum) {
    throw new RandloraError("usage", `${intruders ? "--intruders" : "--svg"}: of what?`, "give --spectrum as well");
  }
  const findBase: FindBase | undefined =
    base === undefined ? undefined : async () => await openModel(await localPath(base, "model", context), base);
  const report = await inspectAdapter(path, findBase ?? ((named) => openNamedBase(path, named)));
  for (const { message } of report.problems) context.log.warn(message);
  if (spectrum || against !== undefined) return await showDeltas({ given, path, report }, findBase, options, context);
  context.result(adapterJson(report), () => adapterText(report, context));
}

/** What was found out of an adapter, and where things are on this machine. */
interface Inspected {
  /** As it was named. */
  readonly given: string;
  readonly path: string;
  readonly report: AdapterReport;
}

/** Shows the singular values of ΔW, and its distance from another adapter's, below what the files say. */
async function showDeltas(
  { given, path, report }: Inspected,
  findBase: FindBase | undefined,
  { base, spectrum, intruders, svg, force, against, layers = [], generator }: InspectFlags,
  context: Context,
): Promise<void> {
  await using resources = new AsyncDisposableStack();
  // Before the work: that it cannot be written is found out first.
  const other = against === undefined ? undefined : await localPath(against, "adapter", context);
  const ofBase = base === undefined ? undefined : await localPath(base, "model", context);
  const inputs = weightsIn([path, other, ofBase].filter((one) => one !== undefined));
  const figure = svg === undefined ? undefined : resources.use(await beginFigure(svg, force, inputs));
  const chosen = { generator, layers, base: findBase };
  const { spectra: found, distance } = await lookAtDeltas(path, { spectrum, intruders, other }, context, chosen);
  if (figure !== undefined && found !== undefined) {
    await figure.write(spectrumSvg(found, `singular values of ΔW: ${modelTitle(given)}`));
  }
  const json: AdapterJson & DeltasJson = {
    ...adapterJson(report),
    ...(found && { spectrum: spectrumJson(found) }),
    ...(distance && { against: distanceJson(distance, against ?? "") }),
  };
  context.result(json, () => {
    const parts = [
      adapterText(report, context),
      found === undefined ? "" : spectrumText(found, context),
      distance === undefined ? "" : distanceText(distance, against ?? "", context),
    ];
    return parts.join("");
  });
}

/** The singular values of each ΔW, and its distance from another adapter's: what was asked for. */
async function lookAtDeltas(
  path: string,
  { spectrum, intruders, other }: Pick<InspectFlags, "spectrum" | "intruders"> & { readonly other: string | undefined },
  context: Context,
  chosen: DeltaChoice,
) {
  const { device, signal } = context;
  const gpu = await openDevice(device);
  let bar: Progress | undefined;
  try {
    await using resources = new AsyncDisposableStack();
    const [one, second] =
      other === undefined
        ? [await openDeltas(gpu, path, chosen, signal), undefined]
        : await openPair(gpu, [path, other], chosen, signal);
    resources.use(one);
    if (second !== undefined) resources.use(second);
    for (const note of new Set([one, ...(second ? [second] : [])].flatMap(({ plan }) => plan.notes)))
      context.log.warn(note);
    let found;
    if (spectrum) {
      if (intruders && one.isAlone) {
        throw new RandloraError("usage", "--intruders: the base is not at hand", "name it with --base");
      }
      const total = { modules: one.chosen.length, operations: spectrumWork(one, intruders) };
      using showing = new ModulesBar(context, "singular values", total);
      found = await spectra(one, showing, { intruders, signal });
    }
    if (second === undefined) return { spectra: found, distance: undefined };
    bar = context.progress({ title: "comparing", items: one.chosen.length, unit: "modules" });
    const showing = bar;
    const onModule = (name: string) => {
      showing.label(name);
      showing.add({ items: 1 });
    };
    return { spectra: found, distance: await compareDeltas(one, second, onModule, signal) };
  } finally {
    bar?.close();
    gpu.close();
  }
}
