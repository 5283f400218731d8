import { join } from "node:path";
import { modelTitle } from "../../files/run-names.ts";
import { writeWhole } from "../../files/whole-file.ts";
import type { Context } from "../../terminal/options/command.ts";
import { splitToMeasure } from "../../train/images/split-to-measure.ts";
import { methodCurves, sizeFigure, tradeFigure } from "./curves.ts";
import type { ComparisonFolder } from "./folder.ts";
import { comparePage, FIGURES } from "./page.ts";
import { plannedRuns } from "./plan.ts";
import type { ComparisonRecord } from "./record.ts";
import { compareJson, compareText } from "./result.ts";
import { metricsOf } from "./measure.ts";
import { curvesSvg, sizesSvg, tradeSvg } from "./svg.ts";
import { curvesPlot } from "./terminal.ts";

/** The plot and the table, also as figures and a page in the comparison's folder. */
export async function showComparison(
  folder: ComparisonFolder,
  record: ComparisonRecord,
  context: Context,
): Promise<void> {
  const { signal, columns, style } = context;
  const runs = plannedRuns(record.comparison);
  const compared = {
    ...record,
    out: folder.path,
    ending: record.results.length < runs.length && signal.aborted ? "interrupted" : "finished",
  } as const;
  const [first] = record.comparison.contenders;
  const split = first && (await splitToMeasure(first.settings));
  const curves = methodCurves(record, await Promise.all(runs.map((run) => metricsOf(folder, run))));
  const figure = sizeFigure(record);
  const trade = tradeFigure(record);
  const title = `${modelTitle(first?.settings.model ?? "")}: methods at equal parameters`;
  const files = {
    "README.md": comparePage(compared, split),
    [FIGURES.curves]: curvesSvg(curves, title),
    ...(figure.methods.length === 0 ? {} : { [FIGURES.sizes]: sizesSvg(figure, title) }),
    ...(trade === undefined ? {} : { [FIGURES.trade]: tradeSvg(trade, title) }),
  };
  try {
    for (const [name, text] of Object.entries(files)) await writeWhole(join(folder.path, name), text);
  } catch (thrown) {
    // The results are safe on the disk: a figure is not worth failing for.
    context.log.warn(thrown instanceof Error ? thrown.message : String(thrown));
  }
  context.result(compareJson(compared), () =>
    compareText(compared, curvesPlot(curves, columns, style), columns, style),
  );
}
