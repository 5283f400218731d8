import { line } from "d3-shape";
import { pairedP, spreadOf } from "../../src/compare/statistics.ts";
import { PALETTE, svgChart } from "../../src/report/svg-chart.ts";
import { escape, round } from "../../src/report/svg.ts";
import { formatNumber } from "../../src/terminal/format.ts";
import type { ImagesRecord } from "./images-record.ts";
import { along, barrier } from "./path.ts";

/** What is no chance at this level, of the paired t test over the seeds. */
const LEVEL = 0.05;

const percent = (share: number, digits = 1) => (100 * share).toFixed(digits);

/** Accuracies of a method with an amount, by seed. */
function accuracies({ results }: ImagesRecord, method: string, amount: string): number[] {
  return results
    .filter((one) => one.method === method && one.amount === amount)
    .toSorted((a, b) => a.seed - b.seed)
    .map(({ accuracy }) => accuracy);
}

/** How far one method is above another, over the seeds, in points. */
function above(record: ImagesRecord, one: string, other: string, amount: string) {
  const others = accuracies(record, other, amount);
  const differences = accuracies(record, one, amount).map((value, at) => value - (others[at] ?? NaN));
  const { mean = NaN } = spreadOf(differences) ?? {};
  return { mean, p: pairedP(differences) };
}

const points = (difference: number) => `${difference < 0 ? "−" : "+"}${percent(Math.abs(difference))}`;

/** `+1.2 points with 100 % (p 0.03)`, for each amount. */
function differences(record: ImagesRecord, one: string, other: string): string {
  return record.amounts
    .map(({ name }) => {
      const { mean, p } = above(record, one, other, name);
      return `${points(mean)} with ${name} (p ${p < 0.001 ? "< 0.001" : p.toFixed(p < 0.1 ? 3 : 2)})`;
    })
    .join(", ");
}

/** Is one above the other with many pictures? */
function verdict(record: ImagesRecord, one: string, other: string): string {
  const found = record.amounts.slice(-2).map(({ name }) => above(record, one, other, name));
  if (found.every(({ mean, p }) => mean > 0 && p < LEVEL)) return "**seen**";
  if (found.every(({ mean, p }) => mean < 0 && p < LEVEL)) return "**the contrary is seen**";
  if (found.some(({ p }) => p < LEVEL)) return "**seen in part**";
  return "**not decided**: the seeds differ as much";
}

function table(record: ImagesRecord): string[] {
  const head = ["method", "trained", "learning rate (few, many)", ...record.amounts.map(({ name }) => name)];
  const rows = record.methods.map(({ name, flags, parameters, rates }) => {
    const cells = record.amounts.map(({ name: amount }) => {
      const { mean = NaN, deviation } = spreadOf(accuracies(record, name, amount)) ?? {};
      return deviation === null || deviation === undefined ? percent(mean) : `${percent(mean)} ± ${percent(deviation)}`;
    });
    const rank = flags[flags.indexOf("--rank") + 1];
    const called = flags.includes("--rank") ? `${name}, rank ${rank ?? ""}` : name;
    return [called, formatNumber(parameters), `${rates.few}, ${rates.many}`, ...cells];
  });
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
}

/** Mean over the layers, and in how many of them one is nearer to fine-tuning than the other. */
function alike(record: ImagesRecord): string[] {
  const { layers } = record.alike;
  const names = [...new Set(layers.flatMap(({ cka }) => Object.keys(cka)))];
  const adapters = record.methods.filter(({ name }) => name !== "all weights").map(({ name }) => name);
  const values = (adapter: number) => layers.map(({ cka }) => cka[names[adapter] ?? ""] ?? NaN);
  const means = adapters.map((name, at) => `${name} ${(spreadOf(values(at))?.mean ?? NaN).toFixed(4)}`);
  const [rand, lora] = [values(adapters.indexOf("RandLoRA")), values(adapters.indexOf("LoRA"))];
  const nearer = rand.filter((value, at) => value > (lora[at] ?? NaN)).length;
  const called =
    nearer > layers.length / 2
      ? "**seen**"
      : nearer < layers.length / 2
        ? "**the contrary is seen**"
        : "**not decided**";
  return [
    `- *RandLoRA's representations are nearer to fine-tuning's than LoRA's* (figure 4a): ${called}, in ${nearer} of ${layers.length} layers`,
    `  (one seed, all pictures); CKA with the model all of whose weights were trained, mean over the layers: ${means.join(", ")}.`,
  ];
}

function plane({ plane: found }: ImagesRecord): string[] {
  const { corners } = found;
  const [toFull, toLora, between] = [along(found, "A", "B"), along(found, "A", "C"), along(found, "C", "B")];
  const text = (losses: readonly number[]) => barrier(losses).toFixed(4);
  const lower = (corners.A ?? NaN) < (corners.C ?? NaN) ? "**seen**" : "**the contrary is seen**";
  return [
    `- *RandLoRA ends in a deeper part of the loss than LoRA* (figure 4b): ${lower}: the loss of ${found.samples} test pictures is ${show(corners.A)} with`,
    `  RandLoRA, ${show(corners.B)} with all weights, ${show(corners.C)} with LoRA. On the straight way between two of them it rises above the worse end by`,
    `  ${text(toFull)} (RandLoRA, all weights), ${text(between)} (LoRA, all weights) and ${text(toLora)} (RandLoRA, LoRA).`,
  ];
}

const show = (loss: number | null) => (loss === null ? "none" : loss.toFixed(4));

/** The section `images` of docs/evidence.md. */
export function imagesPage(record: ImagesRecord): string {
  const { protocol, model } = record;
  const { pretraining, training, choosing, test, batch, shotSteps, epochs, pretrainingEpochs, seeds, rates } = protocol;
  const costs = Object.values(record.costs);
  const minutes = (of: "seconds" | "processor") => formatNumber(costs.reduce((sum, cost) => sum + cost[of], 0) / 60);
  const whole = training === 6000 ? "" : ` (${formatNumber(training)} pictures of each class; the set has 6,000)`;
  return [
    "## Pictures",
    "",
    `A vision transformer of ${formatNumber(model.parameters)} parameters learns six classes of Fashion-MNIST with all its weights (${formatNumber(pretraining)} pictures of each,`,
    `${pretrainingEpochs} epochs; ${percent(model.accuracy)} % of their test pictures are then right). It is adapted to the other four (pullover, dress, coat, shirt) by adapters of as`,
    `many numbers as a LoRA of rank 4 (${formatNumber(protocol.budget)}), as near as a method comes to that, on every linear layer, and by all its weights, each with a new head.`,
    `Few pictures: ${shotSteps} steps; 50 and 100 %${whole}: ${epochs} epochs; batches of ${batch}. Learning rates are the best of ${rates.join(", ")} on ${choosing} other`,
    `pictures of each class with a seed of its own, once with 16 shots and once with all pictures. Accuracy on ${formatNumber(test)} test pictures of each class in %, mean and`,
    `deviation over ${seeds} seeds, which draw the pictures, the head, the bases and the order:`,
    "",
    ...table(record),
    "",
    "![accuracy by the number of pictures](evidence/images-accuracy.svg)",
    "",
    "What the paper says of CLIP and DINOv2, and what of it is seen at this scale (differences in points, p of the paired t test):",
    "",
    `- *RandLoRA is better than LoRA of equal size where pictures are many* (figure 2): ${verdict(record, "RandLoRA", "LoRA")}: ${differences(record, "RandLoRA", "LoRA")}.`,
    `- *VeRA falls behind LoRA where pictures are many*: ${verdict(record, "LoRA", "VeRA")}: LoRA is ${differences(record, "LoRA", "VeRA")} above it.`,
    `- *RandLoRA comes near to all weights*: they are ${differences(record, "all weights", "RandLoRA")} above it.`,
    `- *Sparse bases cost little*: they are ${differences(record, "RandLoRA, sparse", "RandLoRA")} above dense ones.`,
    ...alike(record),
    ...plane(record),
    "",
    "![similarity of representations](evidence/images-cka.svg)",
    "",
    "![losses in the plane through the three results](evidence/images-plane.svg)",
    "",
    "The model is a hundredth of the paper's, and so are pictures and classes; where all methods come to the same accuracy the task leaves nothing to tell them apart by.",
    "",
    `\`${record.command}\`, ${record.date}, commit ${record.commit}, ${record.machine}: ${minutes("processor")} minutes of processor time, ${minutes("seconds")} of`,
    "the clock on a machine that others used. Everything measured is in [images.json](evidence/images.json).",
  ].join("\n");
}

/** Accuracy by the number of pictures: means, with the lowest and the highest seed. */
export function imagesPicture(record: ImagesRecord): string {
  const all = record.results.map(({ accuracy }) => accuracy);
  const [low, high] = [Math.floor(20 * Math.min(...all)) / 20, Math.ceil(20 * Math.max(...all)) / 20];
  const ticks = Array.from({ length: Math.round((high - low) / 0.05) + 1 }, (_, at) => low + at * 0.05);
  const pictures = record.amounts.map((amount) => amount.pictures);
  const [from = 1, to = 2] = [pictures[0], pictures.at(-1)];
  const named = (count: number) => record.amounts.find((amount) => amount.pictures === count)?.name ?? "";
  const axes = {
    x: { from, to, ticks: pictures, isLog: true, format: named },
    y: { from: low, to: high, ticks, format: (tick: number) => `${percent(tick, 0)} %` },
  };
  const curves = record.methods.map(({ name }, at) => ({ name, color: PALETTE[at % PALETTE.length] ?? "" }));
  const legend = curves.map(({ name, color }) => ({ text: name, color }));
  const names = { x: "pictures to learn from", y: "accuracy" };
  return svgChart({ title: "four new classes of Fashion-MNIST", axes, names, legend }, (x, y) =>
    curves.flatMap(({ name, color }) => {
      const spots = record.amounts.map((amount) => {
        const values = accuracies(record, name, amount.name);
        const mean = spreadOf(values)?.mean ?? NaN;
        return { x: round(x(amount.pictures)), mean, low: Math.min(...values), high: Math.max(...values), amount };
      });
      const path = line<(typeof spots)[number]>(
        (spot) => spot.x,
        (spot) => y(spot.mean),
      ).digits(1);
      const marks = spots.flatMap((spot) => [
        `<line x1="${spot.x}" x2="${spot.x}" y1="${round(y(spot.low))}" y2="${round(y(spot.high))}" stroke="${color}" stroke-width="1"/>`,
        `<circle cx="${spot.x}" cy="${round(y(spot.mean))}" r="3" fill="${color}"><title>${escape(`${name}, ${spot.amount.name}: ${percent(spot.mean)} %`)}</title></circle>`,
      ]);
      return [`<path d="${path(spots) ?? ""}" fill="none" stroke="${color}" stroke-width="2"/>`, ...marks];
    }),
  );
}
