import { cacheFolder } from "../../files/cache-folder.ts";
import { oneLine } from "../../files/failure.ts";
import type { Processes } from "../../mpi/processes.ts";
import type { Context } from "../../terminal/options/command.ts";
import { formatBytes } from "../../terminal/format.ts";
import type { ImageBatch } from "../images/batch.ts";
import type { MicroBatch } from "../../data/text/samples/types.ts";
import type { RunEstimate } from "../loop/finetune.ts";
import type { Subject } from "../model/subject.ts";
import type { RunSources } from "./settings.ts";

/** The data of a run, read or found, and how they are shown. */
export interface Loaded<Batch> extends Disposable {
  readonly subject: Subject<Batch>;
  /** What was lost on the way to the model, and where data are kept: one line each. */
  readonly losses: readonly string[];
  /** Images that processes left out because they cannot be read, where that was asked for. */
  readonly badImages: (processes: Processes) => Promise<number | undefined>;
  /** The result of `--dry-run`. */
  show(estimate: RunEstimate): void;
}

/** Reads and tokenizes texts, with a bar. */
export async function loadTexts({ local, location }: RunSources, context: Context): Promise<Loaded<MicroBatch>> {
  const { loadRunData } = await import("../text/data.ts");
  const { textSubject } = await import("../text/model.ts");
  const { dryRunJson, dryRunText, lossesText } = await import("../report/dry-run.ts");
  using bar = context.progress({ title: "reading", unit: "samples" });
  let shown = 0;
  const onProgress = (samples: number): void => {
    // Training and validation data are counted apart.
    bar.add({ items: samples >= shown ? samples - shown : samples });
    shown = samples;
  };
  const { data, tokenizer } = await loadRunData(local, location.folder, { onProgress, signal: context.signal });
  return {
    subject: textSubject(data),
    losses: lossesText(data).split("\n").slice(0, -1),
    badImages: async () => undefined,
    show(estimate) {
      const found = { data, tokenizer, estimate };
      context.result(dryRunJson(found), () => dryRunText(found, context.columns, context.style));
    },
    [Symbol.dispose]() {},
  };
}

/** Finds images. */
export async function loadImages({ local, location }: RunSources, context: Context): Promise<Loaded<ImageBatch>> {
  const { loadImageData } = await import("../images/data.ts");
  const { ImageSubject } = await import("../images/subject.ts");
  const { imageDryRunJson, imageDryRunText } = await import("../report/image-dry-run.ts");
  const data = await loadImageData(local, location, context.signal);
  const subject = new ImageSubject(data, (line) => context.log.warn(line));
  const spilled = [data.train, data.valid].reduce((sum, set) => sum + (set?.spilled ?? 0), 0);
  const onDisk = `up to ${formatBytes(spilled)} of images are kept in ${oneLine(cacheFolder())} while they are read`;
  return {
    subject,
    losses: spilled === 0 ? [] : [`${onDisk}: memory has no room for them`],
    badImages: async (processes) =>
      local.images?.skipBadImages === true ? await subject.countBad(processes) : undefined,
    show(estimate) {
      const found = { data, estimate };
      context.result(imageDryRunJson(found), () => imageDryRunText(found, context.columns, context.style));
    },
    [Symbol.dispose]: () => subject[Symbol.dispose](),
  };
}
