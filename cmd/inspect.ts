import type { DeltaChoice } from "../src/measure/inspect/deltas.ts";
import { choice, type Context, defineCommand, flag, required, text } from "../src/terminal/options/command.ts";
import { GENERATOR_NAMES } from "../src/compute/random/names.ts";
import type { Progress } from "../src/terminal/progress.ts";
import { adapterOrModel } from "../src/measure/analyze/adapter-or-model.ts";
import { beginFigure } from "../src/terminal/charts/begin-figure.ts";
import { layersOption } from "../src/train/settings/readers.ts";
import { weightsIn } from "../src/measure/inputs.ts";

/** `randlora inspect PATH`. */
export const command = defineCommand({
  name: "inspect",
  otherNames: ["info", "show", "describe"],
  summary: "Show what an adapter or a checkpoint holds",
  example: "randlora inspect my-adapter",
  arguments: {
    path: required("PATH", "an adapter or a checkpoint: a folder, a file, a run, org/name on the Hub, or embedded"),
  },
  options: {
    base: text({
      value: "MODEL",
      topic: "Adapter",
      help: "base model of the adapter",
      defaultText: "the one that it names, where that is on this machine",
    }),
    spectrum: flag({ topic: "ΔW", help: "show the singular values and the rank of each ΔW" }),
    svg: text({ value: "FILE", topic: "ΔW", help: "SVG file for a figure of the singular values" }),
    force: flag({ topic: "ΔW", help: "replace an existing figure" }),
    against: text({ value: "OTHER", topic: "ΔW", help: "adapter to measure the distance to, by module and in all" }),
    layers: layersOption({ topic: "ΔW", help: "layers to look at: indices and ranges" }),
    generator: choice(GENERATOR_NAMES, {
      value: "NAME",
      topic: "ΔW",
      help: "random generator of the bases, if the adapter does not record it",
    }),
  },
  async run({ path: given }, options, context) {
    const { Contradiction, RandloraError } = await import("../src/files/errors.ts");
    const { findKind } = await import("../src/measure/inspect/find-kind.ts");
    const { kind, path } = await findKind(await adapterOrModel(given, "config", context));
    const page = await import("../src/measure/inspect/report.ts");
    if (kind === "checkpoint") {
      const foreign = Object.entries(options).find(([, value]) => value !== undefined && value !== false);
      if (foreign !== undefined) {
        const name = `--${foreign[0]}`;
        const cause = `${name}: ${given} is a checkpoint, no adapter`;
        throw new Contradiction([foreign[0]], cause, `leave ${name} out`);
      }
      const { inspectCheckpoint } = await import("../src/measure/inspect/inspect-checkpoint.ts");
      const report = await inspectCheckpoint(path);
      context.result(page.checkpointJson(report), () => page.checkpointText(report, context));
      return;
    }
    const { inspectAdapter } = await import("../src/measure/inspect/inspect-adapter.ts");
    const { openBase, openNamedBase } = await import("../src/measure/inspect/open-base.ts");
    const { localPath } = await import("../src/models/folder/places.ts");
    const { base, spectrum, svg, against } = options;
    if (!spectrum && against === undefined && (svg ?? options.layers ?? options.generator) !== undefined) {
      const idle = svg !== undefined ? "--svg" : options.layers !== undefined ? "--layers" : "--generator";
      throw new RandloraError("usage", `${idle}: of what?`, "give --spectrum or --against OTHER as well");
    }
    if (svg !== undefined && !spectrum) throw new RandloraError("usage", "--svg: of what?", "give --spectrum as well");
    const report = await inspectAdapter(path, async (named) => {
      return base === undefined
        ? await openNamedBase(path, named)
        : await openBase(await localPath(base, "model", context), base);
    });
    for (const { message } of report.problems) context.log.warn(message);
    if (!spectrum && against === undefined) {
      context.result(page.adapterJson(report), () => page.adapterText(report, context));
      return;
    }
    const { openBase: open } = await import("../src/measure/inspect/open-base.ts");
    const deltas = await import("../src/measure/inspect/spectrum-report.ts");
    await using resources = new AsyncDisposableStack();
    // Before the work: that it cannot be written is found out first.
    const other = against === undefined ? undefined : await localPath(against, "adapter", context);
    const ofBase = base === undefined ? undefined : await localPath(base, "model", context);
    const inputs = weightsIn([path, other, ofBase].filter((one) => one !== undefined));
    const figure = svg === undefined ? undefined : resources.use(await beginFigure(svg, options.force, inputs));
    const found = await lookAtDeltas(path, { spectrum, other }, context, {
      generator: options.generator,
      layers: options.layers ?? [],
      base: base === undefined || ofBase === undefined ? undefined : () => open(ofBase, base),
    });
    const { spectra, distance } = found;
    if (figure !== undefined && spectra !== undefined) {
      const { spectrumSvg } = await import("../src/measure/inspect/spectrum-svg.ts");
      await figure.write(spectrumSvg(spectra, `singular values of ΔW: ${given}`));
    }
    const json = {
      ...page.adapterJson(report),
      ...(spectra && { spectrum: deltas.spectrumJson(spectra) }),
      ...(distance && { against: deltas.distanceJson(distance, against ?? "") }),
    };
    context.result(json, () => {
      const parts = [
        page.adapterText(report, context),
        spectra === undefined ? "" : deltas.spectrumText(spectra, context),
        distance === undefined ? "" : deltas.distanceText(distance, against ?? "", context),
      ];
      return parts.join("");
    });
  },
});

/** The singular values of each ΔW, and its distance from another adapter's: what was asked for. */
async function lookAtDeltas(
  path: string,
  { spectrum, other }: { readonly spectrum: boolean; readonly other: string | undefined },
  context: Context,
  chosen: DeltaChoice,
) {
  const { openDeltas, openPair } = await import("../src/measure/inspect/deltas.ts");
  const { spectra: spectraOf, spectrumWork } = await import("../src/measure/inspect/spectrum.ts");
  const { compareDeltas } = await import("../src/measure/inspect/distance.ts");
  const { openDevice } = await import("../src/compute/open-device.ts");
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
    let spectra;
    if (spectrum) {
      // So many operations tell how long it will take; modules are too different.
      const GIGA = 1e9;
      bar = context.progress({ title: "singular values", items: spectrumWork(one) / GIGA, unit: "Gflop" });
      const showing = bar;
      const observer = {
        module: (name: string) => showing.label(name),
        work: (operations: number) => showing.add({ items: operations / GIGA }),
      };
      spectra = await spectraOf(one, observer, signal);
      bar.close();
    }
    if (second === undefined) return { spectra, distance: undefined };
    bar = context.progress({ title: "comparing", items: one.chosen.length, unit: "modules" });
    const showing = bar;
    const onModule = (name: string) => {
      showing.label(name);
      showing.add({ items: 1 });
    };
    return { spectra, distance: await compareDeltas(one, second, onModule, signal) };
  } finally {
    bar?.close();
    gpu.close();
  }
}
