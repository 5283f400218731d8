import { pairedP, spreadOf } from "../../src/measure/compare/statistics.ts";
import { formatCount, formatDuration } from "../../src/terminal/format.ts";
import { differenceText, type Finding, findingsList, plus, table, UNDECIDED } from "./findings.ts";
import type { LanguageRecord } from "./language-record.ts";
import { commandBlock } from "./section.ts";

/** What guessing gets, by task. */
const CHANCE: Readonly<Record<string, number>> = {
  boolq: 1 / 2,
  piqa: 1 / 2,
  social_i_qa: 1 / 3,
  hellaswag: 1 / 4,
  winogrande: 1 / 2,
  "ARC-Easy": 1 / 4,
  "ARC-Challenge": 1 / 4,
  openbookqa: 1 / 4,
};
const NAMES: Readonly<Record<string, string>> = {
  base: "before training",
  randlora: "RandLoRA",
  "randlora+sparse": "RandLoRA, sparse",
  lora: "LoRA",
  full: "all weights",
};
const nameOf = (method: string) => NAMES[method] ?? method;
const percent = (share: number, digits = 1) => `${(100 * share).toFixed(digits)} %`;

/** The section of docs/evidence.md, all of it a function of the record. */
export function languagePage(record: LanguageRecord): string {
  const { protocol, compared, machine, commit, date, command, costs } = record;
  const seeds = [...new Set(compared.results.map(({ seed }) => seed))];
  const steps = Math.max(...compared.results.map((one) => one.steps));
  const all = Object.values(costs);
  const hours = (of: "seconds" | "processor") => formatDuration(all.reduce((sum, cost) => sum + cost[of], 0));
  return `## Language: commonsense tasks

${record.model} on LLM-Adapters' eight commonsense tasks: q, k, v, up and down are
adapted with about ${formatCount(compared.budgets[0] ?? NaN)} parameters, or all weights trained. A run has ${steps} steps of ${protocol.batch} of ${protocol.training} samples, at most
256 tokens each; the loss is that of ${protocol.heldOut} held-out samples. Seeds ${seeds.join(", ")}; mean ± sample deviation.
${beginning(record, steps)}
${lossTable(record)}

![loss by step](evidence/language-loss.svg)

${rateText(record)} ${answerText(record)}

${findingsList(findings(record))}

${analysesText(record)}${commandBlock(command)}

${date}, commit ${commit}, ${machine}: ${hours("seconds")} by the clock beside other work, ${hours("processor")} of processor time. The script's defaults are the field's
protocol. DIR holds \`train.json\` and \`TASK/test.json\` of [LLM-Adapters](https://github.com/AGI-Edgerunners/LLM-Adapters) (commit 8166572).
[All measurements](evidence/language.json).
`;
}

/** What a short run is worth. */
function beginning({ protocol }: LanguageRecord, steps: number): string {
  const seen = steps * protocol.batch;
  if (seen >= protocol.training) return "";
  return `**Each run saw ${seen} samples: the beginning of training, not where methods end.**\n`;
}

/** Last validation losses of a method, by seed. */
function lossesOf({ compared }: LanguageRecord, method: string): readonly number[] {
  return compared.results
    .filter((one) => one.method === method)
    .toSorted((a, b) => a.seed - b.seed)
    .map((one) => one.valid_loss ?? NaN);
}

function lossTable(record: LanguageRecord): string {
  const rows = record.compared.methods.map(({ method, rank, parameters, learning_rate: rate }) => [
    nameOf(method),
    rank === undefined ? "" : String(rank),
    formatCount(parameters ?? NaN),
    String(rate),
    plus(spreadOf(lossesOf(record, method))),
  ]);
  const before = [nameOf("base"), "", "", "", record.before.toFixed(4)];
  return table(["", "rank", "trainable parameters", "learning rate", "held-out loss"], "lrrrr", [before, ...rows]);
}

function rateText({ rates, protocol, compared }: LanguageRecord): string {
  const edges = compared.methods.flatMap(({ method, learning_rate: rate }) => {
    const own = rates.filter((one) => one.method === method).map((one) => one.rate);
    return rate === Math.min(...own) || rate === Math.max(...own) ? [`${nameOf(method)} (${rate})`] : [];
  });
  const edge = edges.length === 0 ? "" : ` For ${edges.join(", ")} the best one lies at an end of what was tried.`;
  return `Learning rates were chosen by ${protocol.rateSteps} steps with another seed.${edge}`;
}

function chance(tasks: readonly string[]): number {
  return tasks.reduce((sum, task) => sum + (CHANCE[task] ?? NaN), 0) / tasks.length;
}

/** Of a mean over tasks, each of so many questions. */
function standardError(counts: readonly { readonly total: number; readonly accuracy: number }[]): number {
  const variance = counts.reduce((sum, { total, accuracy: p }) => sum + (p * (1 - p)) / total, 0);
  return Math.sqrt(variance) / counts.length;
}

function answerText({ answered }: LanguageRecord): string {
  const trained = Object.entries(answered).filter(([who]) => who !== "base");
  const tasks = Object.keys(answered["base"]?.tasks ?? {});
  const guess = chance(tasks);
  const above = trained.filter(([, { tasks: of, mean }]) => mean > guess + 2 * standardError(Object.values(of)));
  const error = Math.max(...trained.map(([, { tasks: of }]) => standardError(Object.values(of))));
  if (above.length === 0) return "";
  const means = Object.entries(answered).map(([who, { mean }]) => `${nameOf(who)} ${percent(mean)}`);
  return `Answers that are right, with the first seed: ${means.join(", ")}, guessing ${percent(guess)} (standard error up to ${percent(error)}): clearly above guessing: ${above.map(([name]) => nameOf(name)).join(", ")}.`;
}

/** Means over blocks of the CKA with the full model. */
function alikeMeans({ alike }: LanguageRecord) {
  const keys = Object.keys(alike.layers[0]?.cka ?? {});
  const methodOf = (key: string) => key.replace(/^runs\//, "").replace(/-seed-\d+$/, "");
  return keys.map((key) => {
    const values = alike.layers.map(({ cka }) => cka[key] ?? NaN);
    return { method: methodOf(key), values, mean: values.reduce((sum, value) => sum + value, 0) / values.length };
  });
}

/** Samples from which the analyses, which have one seed, are told. */
const LEAST_SAMPLES = 100;

function analysesText(record: LanguageRecord): string {
  if (record.alike.samples < LEAST_SAMPLES) return "";
  return `CKA is the minibatch estimator's mean over ${record.alike.layers.length} outputs of attention and MLP. ${planeText(record)}

![CKA by depth](evidence/language-cka.svg)

![the plane](evidence/language-plane.svg)

`;
}

function planeText({ plane }: LanguageRecord): string {
  const points = plane.loss.flatMap((row, at) =>
    row.flatMap((loss, column) => (loss === null ? [] : [{ loss, x: plane.x[column] ?? NaN, y: plane.y[at] ?? NaN }])),
  );
  const [lowest] = points.toSorted((a, b) => a.loss - b.loss);
  const where =
    lowest === undefined ? "" : `; its lowest loss is ${lowest.loss.toFixed(4)} at (${lowest.x}, ${lowest.y})`;
  return `The plane has ${plane.x.length} × ${plane.y.length} points, RandLoRA at (0, 0), LoRA at (1, 0), all weights at (0.5, 1)${where}.`;
}

function findings(record: LanguageRecord): readonly Finding[] {
  const [dense, sparse, lora, full] = ["randlora", "randlora+sparse", "lora", "full"].map((of) => lossesOf(record, of));
  const less = (one: readonly number[] = [], other: readonly number[] = []) =>
    one.map((loss, seed) => loss - (other[seed] ?? NaN));
  const mean = (values: readonly number[] = []) => spreadOf(values)?.mean ?? NaN;
  const better = less(dense, lora);
  const cost = less(sparse, dense);
  const gained = record.before - mean(dense);
  const [gap, left] = [mean(lora) - mean(full), mean(dense) - mean(full)];
  return [
    {
      claim: "At equal parameters RandLoRA is below LoRA's loss (tables 2 and 3)",
      measured: `Held-out loss: ${differenceText(better)}`,
      verdict: pairedP(better) < 0.05 ? (mean(better) < 0 ? "holds" : "does not") : UNDECIDED,
    },
    {
      claim: "Sparse bases cost nothing (table 4)",
      measured: `Held-out loss, sparse − dense: ${differenceText(cost)}; training gained ${gained.toFixed(3)}`,
      verdict: mean(cost) < 0.05 * gained ? "holds: less than 5 % of what was gained" : "does not",
    },
    {
      claim: "RandLoRA closes much of the gap between LoRA and training all weights (section 5)",
      measured: `LoRA is ${gap.toFixed(3)} above all weights, RandLoRA ${left.toFixed(3)}`,
      verdict:
        gap <= 0
          ? "no gap here"
          : pairedP(better) >= 0.05
            ? UNDECIDED
            : left < gap / 2
              ? "holds: less than half is left"
              : "does not: over half is left",
    },
    ...(record.alike.samples < LEAST_SAMPLES ? [] : analysed(record)),
  ];
}

function analysed(record: LanguageRecord): readonly Finding[] {
  const alike = alikeMeans(record);
  const [ofDense, ofLora] = [
    alike.find((one) => one.method === "randlora"),
    alike.find((one) => one.method === "lora"),
  ];
  const nearer = (ofDense?.values ?? []).filter((value, at) => value > (ofLora?.values[at] ?? NaN)).length;
  const { A, C } = record.plane.corners;
  const few = (samples: number) => `, with one seed and ${samples} samples`;
  return [
    {
      claim: "RandLoRA's representations are nearer to the fully trained model's than LoRA's (figure 4a)",
      measured: `CKA ${ofDense?.mean.toFixed(4)} against ${ofLora?.mean.toFixed(4)}; nearer in ${nearer} of ${record.alike.layers.length}`,
      verdict:
        (ofDense?.mean ?? NaN) > (ofLora?.mean ?? NaN)
          ? `holds${few(record.alike.samples)}`
          : `does not${few(record.alike.samples)}`,
    },
    {
      claim: "In the plane through the three, RandLoRA lies deeper than LoRA (figure 4b)",
      measured: `Loss ${A?.toFixed(4) ?? "too large"} against ${C?.toFixed(4) ?? "too large"}`,
      verdict:
        (A ?? Infinity) < (C ?? Infinity)
          ? `holds${few(record.plane.samples)}`
          : `does not${few(record.plane.samples)}`,
    },
  ];
}
