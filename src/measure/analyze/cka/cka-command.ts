import { openDevice } from "../../../compute/open-device.ts";
import { Contradiction, RandloraError } from "../../../files/errors.ts";
import { isOfImages } from "../../../models/vision/index.ts";
import { beginFigure } from "../../../terminal/charts/svg-chart.ts";
import type { Context } from "../../../terminal/options/command.ts";
import { showProfiled } from "../../../terminal/profile.ts";
import type { Progress } from "../../../terminal/progress.ts";
import { dataIn, weightsIn } from "../../inputs.ts";
import { adapterOrModel } from "../../../adapters/formats/open.ts";
import { openPlan } from "../plan-variants.ts";
import { type CkaFlags, refuseForeign } from "../options.ts";
import { compareLayers, samplesUsed } from "./cka.ts";
import { outputsForImages, outputsForTexts } from "./outputs.ts";
import { ckaJson, ckaSvg, ckaText } from "./report.ts";

/** Compares representations with a reference's. @throws RandloraError `usage` for flags that contradict each other; as `openPlan` */
export async function analyzeCka(model: string, options: CkaFlags, context: Context): Promise<void> {
  const { reference, adapter: adapters, estimator, batchSize, svg } = options;
  const { data, dataset, split, samples: most, maxLength } = options;
  if (reference === undefined) throw new RandloraError("usage", "--reference is missing", "name what to compare with");
  if (adapters.length === 0) throw new RandloraError("usage", "--adapter is missing", "name what to compare");
  const twice = adapters.find((name, at) => adapters.indexOf(name) < at);
  if (twice !== undefined) throw new RandloraError("usage", `--adapter ${twice} is given twice`, "give it once");
  if (data === undefined) throw new RandloraError("usage", "--data is missing", "name the file with samples");
  if (estimator === "full" && batchSize !== undefined) {
    const cause = "--batch-size: --estimator full has no batches";
    throw new Contradiction(["batchSize", "estimator"], cause, "leave it out");
  }
  await using resources = new AsyncDisposableStack();
  const paths: string[] = [];
  for (const name of [reference, ...adapters]) paths.push(await adapterOrModel(name, "model", context));
  const plan = await openPlan(model, paths, options.generator, context);
  const { location } = plan;
  const inputs = [location.weights ?? location.folder, ...weightsIn(paths), ...(await dataIn(data, dataset))];
  const figure = svg === undefined ? undefined : resources.use(await beginFigure(svg, options.force, inputs));
  const ofImages = await isOfImages(plan.location.folder);
  refuseForeign(ofImages, { texts: { maxLength }, images: { dataset, split } });
  const outputsFor = ofImages ? outputsForImages : outputsForTexts;
  const outputs = await outputsFor(plan, { data, samples: most, maxLength, dataset, split }, context);
  const { signal, device } = context;
  const settings = { estimator, batchSize: batchSize ?? 64, signal };
  const { length, unit } = outputs;
  const samples = samplesUsed(outputs, settings);
  if (samples < length) {
    context.log.info(`the last ${length - samples} of ${length} ${unit} are no batch of 4, and left out`);
  }
  const gpu = resources.use(await openDevice(device));
  using bar: Progress = context.progress({ title: "comparing", items: length * paths.length, unit });
  const collect = await outputs.begin(gpu, resources, (items) => bar.add({ items }));
  const [first, ...others] = plan.variants;
  if (first === undefined) throw new RangeError("no reference");
  const layers = await compareLayers(collect, first, others, settings);
  bar.close();
  const report = { reference, adapters, layers, samples, estimator };
  await figure?.write(ckaSvg(report));
  await showProfiled(gpu, context, ckaJson(report), () => ckaText(report, context));
}
