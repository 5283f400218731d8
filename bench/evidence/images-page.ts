import { line } from "d3-shape";
import { pairedP, spreadOf } from "../../src/measure/compare/statistics.ts";
import { escape, PALETTE, round, svgChart } from "../../src/terminal/charts/svg-chart.ts";
import { formatNumber } from "../../src/terminal/format.ts";
import type { ImagesRecord } from "./images-record.ts";
import { differenceText, type Finding, findingsList, NO_DIFFERENCE, plus, table, UNDECIDED } from "./findings.ts";
import { along, barrier, type Corner } from "./path.ts";
import { commandBlock } from "./section.ts";

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

/** How far one method is above another, in points, by seed. */
function above(record: ImagesRecord, one: string, other: string, amount: string): number[] {
  const others = accuracies(record, other, amount);
  return accuracies(record, one, amount).map((value, at) => 100 * (value - (others[at] ?? NaN)));
}

const meanOf = (values: readonly number[]) => spreadOf(values)?.mean ?? NaN;

/** `1.2 ± 0.3 (p = 0.03) with 100 %`, for each amount with which it is no chance. */
function differences(record: ImagesRecord, one: string, other: string): string {
  return record.amounts
    .map(({ name }) => ({ name, found: above(record, one, other, name) }))
    .filter(({ found }) => pairedP(found) < LEVEL)
    .map(({ name, found }) => `${differenceText(found, 1)} with ${name}`)
    .join(", ");
}

/** Is one above the other with many images? */
function verdict(record: ImagesRecord, one: string, other: string): string {
  const found = record.amounts.slice(-2).map(({ name }) => above(record, one, other, name));
  const certain = found.filter((values) => pairedP(values) < LEVEL);
  if (certain.length === 0) return UNDECIDED;
  if (certain.every((values) => meanOf(values) > 0)) return certain.length === found.length ? "holds" : "holds in part";
  return certain.every((values) => meanOf(values) < 0) ? "does not" : UNDECIDED;
}

function accuracyTable(record: ImagesRecord): string {
  const head = ["method", "trained", "learning rate: few, many", ...record.amounts.map(({ name }) => name)];
  const rows = record.methods.map(({ name, flags, parameters, rates }) => {
    const cells = record.amounts.map(({ name: amount }) => {
      const shares = accuracies(record, name, amount).map((share) => 100 * share);
      return plus(spreadOf(shares), 1);
    });
    const rank = flags[flags.indexOf("--rank") + 1];
    const called = flags.includes("--rank") ? `${name}, rank ${rank ?? ""}` : name;
    return [called, formatNumber(parameters), `${rates.few}, ${rates.many}`, ...cells];
  });
  return table(head, `lrr${"r".repeat(record.amounts.length)}`, rows);
}

/** Methods whose learning rate is the lowest or the highest of those tried: another one might have been better. */
function edges({ methods, protocol: { rates } }: ImagesRecord): string {
  const ends = [Math.min(...rates), Math.max(...rates)];
  const at = methods.flatMap(({ name, rates: { few, many } }) => [
    ...(ends.includes(few) ? [`${name} (few)`] : []),
    ...(ends.includes(many) ? [`${name} (many)`] : []),
  ]);
  return at.length === 0 ? "" : ` At an end of the rates that were tried: ${at.join(", ")}.`;
}

/** What the paper says of CLIP and DINOv2, beside what was measured. */
function findings(record: ImagesRecord): Finding[] {
  const { alike, plane, methods } = record;
  const keys = Object.keys(alike.layers[0]?.cka ?? {});
  // In the order in which the adapters were named.
  const adapters = methods.filter(({ name }) => name !== "all weights").map(({ name }) => name);
  const values = (name: string) => alike.layers.map(({ cka }) => cka[keys[adapters.indexOf(name)] ?? ""] ?? NaN);
  const [ofRandlora, ofLora] = [values("RandLoRA"), values("LoRA")];
  const nearer = ofRandlora.filter((value, at) => value > (ofLora[at] ?? NaN)).length;
  const { A, B, C } = plane.corners;
  const rise = (from: Corner, to: Corner) => barrier(along(plane, from, to)).toFixed(4);
  return [
    {
      claim: "At equal parameters RandLoRA is above LoRA where images are many (figure 2)",
      measured: `RandLoRA − LoRA: ${differences(record, "RandLoRA", "LoRA")}`,
      verdict: verdict(record, "RandLoRA", "LoRA"),
    },
    {
      claim: "VeRA is below LoRA where images are many (figure 2)",
      measured: `LoRA − VeRA: ${differences(record, "LoRA", "VeRA")}`,
      verdict: verdict(record, "LoRA", "VeRA"),
    },
    {
      claim: "RandLoRA is near to all weights (figure 2)",
      measured: `all weights − RandLoRA: ${differences(record, "all weights", "RandLoRA")}`,
      verdict: near(record, "all weights", "RandLoRA"),
    },
    {
      claim: "Sparse bases cost nothing",
      measured: `dense − sparse: ${differences(record, "RandLoRA", "RandLoRA, sparse")}`,
      verdict: near(record, "RandLoRA", "RandLoRA, sparse"),
    },
    {
      claim: "RandLoRA's representations are nearer to the fully trained model's than LoRA's (figure 4a)",
      measured: `CKA, mean over ${alike.layers.length} layers: ${adapters.map((name) => `${name} ${meanOf(values(name)).toFixed(4)}`).join("; ")}; RandLoRA nearer in ${nearer}`,
      verdict: `${meanOf(ofRandlora) > meanOf(ofLora) ? "holds" : "does not"}, with one seed`,
    },
    {
      claim:
        "In the plane through the three, RandLoRA lies deeper than LoRA, and no barrier is between it and all weights (figure 4b)",
      measured: `Losses: RandLoRA ${show(A)}, all weights ${show(B)}, LoRA ${show(C)}; the barrier is ${rise("A", "B")} to all weights, ${rise("A", "C")} to LoRA`,
      verdict: `${(A ?? Infinity) < (C ?? Infinity) ? "deeper holds" : "deeper does not"}, with one seed`,
    },
  ];
}

/** Of a claim that one is not above the other, however many images there are. */
function near(record: ImagesRecord, one: string, other: string): string {
  const certain = record.amounts.filter(({ name }) => pairedP(above(record, one, other, name)) < LEVEL);
  const against = certain.filter(({ name }) => meanOf(above(record, one, other, name)) > 0);
  if (against.length === record.amounts.length) return "does not";
  if (against.length > 0) return `not with ${against.map(({ name }) => name).join(", ")}`;
  return certain.length > 0 ? "holds" : NO_DIFFERENCE;
}

const show = (loss: number | null) => (loss === null ? "too large" : loss.toFixed(4));

/** The section `images` of docs/evidence.md. */
export function imagesPage(record: ImagesRecord): string {
  const { protocol, model } = record;
  const { pretraining, training, choosing, test, batch, shotSteps, epochs, pretrainingEpochs, seeds, rates } = protocol;
  const costs = Object.values(record.costs);
  const minutes = (of: "seconds" | "processor") => formatNumber(costs.reduce((sum, cost) => sum + cost[of], 0) / 60);
  const whole = training === 6000 ? "" : ` (${formatNumber(training)} images of each class; the set has 6,000)`;
  return [
    "## Images",
    "",
    `A vision transformer of ${formatNumber(model.parameters)} parameters is trained on six classes of Fashion-MNIST (${formatNumber(pretraining)} images of each,`,
    `${pretrainingEpochs} epochs, ${percent(model.accuracy)} % of test images right) and adapted to the other four by adapters on every linear layer, with about as`,
    `many parameters as a LoRA of rank 4 (${formatNumber(protocol.budget)}), and by all its weights, each with a new head.`,
    `Few images: ${shotSteps} steps; 50 and 100 %${whole}: ${epochs} epochs; batches of ${batch}. The best learning rates of ${rates.join(", ")} on ${choosing} other`,
    `images of each class are used. Accuracy on ${formatNumber(test)} test images of each class in %, mean ± deviation over ${seeds} seeds, which draw images,`,
    `head, bases and order:`,
    "",
    accuracyTable(record),
    "",
    "![accuracy by the number of images](evidence/images-accuracy.svg)",
    "",
    `Differences are in points, p that of the paired t test.${edges(record)}`,
    "",
    findingsList(findings(record)),
    "",
    "![similarity of representations](evidence/images-cka.svg)",
    "",
    "![losses in the plane through the three results](evidence/images-plane.svg)",
    "",
    commandBlock(record.command),
    "",
    `${record.date}, commit ${record.commit}, ${record.machine}: ${minutes("processor")} minutes of processor time.`,
    "[All measurements](evidence/images.json).",
  ].join("\n");
}

/** Accuracy by the number of images: means, with the lowest and the highest seed. */
export function imagesImage(record: ImagesRecord): string {
  const all = record.results.map(({ accuracy }) => accuracy);
  const [low, high] = [Math.floor(20 * Math.min(...all)) / 20, Math.ceil(20 * Math.max(...all)) / 20];
  const ticks = Array.from({ length: Math.round((high - low) / 0.05) + 1 }, (_, at) => low + at * 0.05);
  const images = record.amounts.map((amount) => amount.images);
  const [from = 1, to = 2] = [images[0], images.at(-1)];
  const named = (count: number) => record.amounts.find((amount) => amount.images === count)?.name ?? "";
  const axes = {
    x: { from, to, ticks: images, isLog: true, format: named },
    y: { from: low, to: high, ticks, format: (tick: number) => `${percent(tick, 0)} %` },
  };
  const curves = record.methods.map(({ name }, at) => ({ name, color: PALETTE[at % PALETTE.length] ?? "" }));
  const legend = curves.map(({ name, color }) => ({ text: name, color }));
  const names = { x: "training images", y: "accuracy" };
  return svgChart({ title: "four new classes of Fashion-MNIST", axes, names, legend }, (x, y) =>
    curves.flatMap(({ name, color }) => {
      const spots = record.amounts.map((amount) => {
        const values = accuracies(record, name, amount.name);
        const mean = spreadOf(values)?.mean ?? NaN;
        return { x: round(x(amount.images)), mean, low: Math.min(...values), high: Math.max(...values), amount };
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
