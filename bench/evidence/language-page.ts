import { pairedP, spreadOf } from "../../src/train/compare/statistics.ts";
import { formatCount, formatDuration } from "../../src/terminal/format.ts";
import { differenceText, type Finding, findingsTable, plus, table } from "./findings.ts";
import type { LanguageRecord } from "./language-record.ts";

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
const UNDECIDED = "not decided by these seeds";
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

${record.model}, fine-tuned by \`randlora finetune --prompt commonsense\` on LLM-Adapters' data for the eight commonsense tasks: q, k, v, up and down are
adapted, each method has about ${formatCount(compared.budgets[0] ?? NaN)} numbers, \`full\` trains every weight. A run has ${steps} steps of ${protocol.batch} of ${protocol.training} samples, at most
256 tokens each; the loss is that of ${protocol.heldOut} samples that none was trained on. Seeds ${seeds.join(", ")}; mean ± sample deviation.
${beginning(record, steps)}
${lossTable(record)}

![loss by step](evidence/language-loss.svg)

${rateText(record)}

### Answers

${answerTable(record)}

${answerText(record)}

### Beside the model that was trained whole

${alikeText(record)}

![CKA by depth](evidence/language-cka.svg)

${planeText(record)}

![the plane](evidence/language-plane.svg)

### What of the paper holds here

${findingsTable(findings(record))}

### How it was made

\`${command}\`, ${date}, commit ${commit}, ${machine}: ${hours("seconds")} by the clock beside other work, ${hours("processor")} of processor time, for the commands that came to their end. The defaults of the script are the field's
protocol, which takes weeks on two cores: ${scale(record, steps)}. DIR holds \`train.json\` and \`TASK/test.json\` of
[LLM-Adapters](https://github.com/AGI-Edgerunners/LLM-Adapters) (commit 8166572): \`ft-training_set/commonsense_170k.json\` and \`dataset/TASK/test.json\`, or parts of them. The numbers are in
[evidence/language.json](evidence/language.json).
`;
}

/** What a short run is worth. */
function beginning({ protocol }: LanguageRecord, steps: number): string {
  const seen = steps * protocol.batch;
  if (seen >= protocol.training) return "";
  return `**Each run saw ${seen} samples: this is the beginning of training, and says little of where methods end.**\n`;
}

function scale({ protocol, answered }: LanguageRecord, steps: number): string {
  const asked = Object.values(answered["base"]?.tasks ?? {}).map(({ total }) => total);
  const questions = asked.reduce((sum, count) => sum + count, 0);
  const seen = steps * protocol.batch;
  const search = protocol.beams === 1 ? "greedily" : `with ${protocol.beams} beams`;
  return `here a run saw ${seen} samples instead of 170,000, and ${questions} questions were answered ${search} instead of 22,419 with four beams`;
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
  const tried = [...new Set(rates.map(({ rate }) => rate))];
  const methods = [...new Set(rates.map(({ method }) => method))];
  const rows = methods.map((method) => {
    const lossAt = (rate: number) => {
      const found = rates.find((one) => one.method === method && one.rate === rate);
      return found === undefined ? "" : (found.loss?.toFixed(3) ?? "diverged");
    };
    return [nameOf(method), ...tried.map(lossAt)];
  });
  const edges = compared.methods.flatMap(({ method, learning_rate: rate }) => {
    const own = rates.filter((one) => one.method === method).map((one) => one.rate);
    return rate === Math.min(...own) || rate === Math.max(...own) ? [`${nameOf(method)} (${rate})`] : [];
  });
  const edge =
    edges.length === 0
      ? ""
      : `\n\nFor ${edges.join(", ")} the best one lies at an end of what was tried: there may be a better one beyond.`;
  return `Rates were chosen by ${protocol.rateSteps} steps with another seed, each higher one as long as it helped; held-out losses:

${table(["", ...tried.map(String)], `l${"r".repeat(tried.length)}`, rows)}${edge}`;
}

function answerTable({ answered }: LanguageRecord): string {
  const tasks = Object.keys(answered["base"]?.tasks ?? {});
  const rows = Object.entries(answered).map(([who, { tasks: of, mean }]) => [
    nameOf(who),
    ...tasks.map((task) => percent(of[task]?.accuracy ?? NaN, 0)),
    percent(mean),
  ]);
  const totals = tasks.map((task) => String(answered["base"]?.tasks[task]?.total ?? 0));
  const guess = ["guessing", ...tasks.map((task) => percent(CHANCE[task] ?? NaN, 0)), percent(chance(tasks))];
  const head = ["with the first seed", ...tasks, "mean"];
  return table(head, `l${"r".repeat(tasks.length + 1)}`, [...rows, guess, ["questions", ...totals, ""]]);
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
  const who = above.map(([name]) => nameOf(name)).join(", ");
  const verdict =
    above.length === 0
      ? "No method is more than two of them above guessing: at this scale accuracy says nothing about methods, and the loss has to."
      : `More than two of them above guessing: ${who}.`;
  return `The standard error of a mean is up to ${percent(error)}. ${verdict}`;
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

function alikeText(record: LanguageRecord): string {
  const means = alikeMeans(record).map(({ method, mean }) => `${nameOf(method)} ${mean.toFixed(4)}`);
  const { samples, layers } = record.alike;
  return `\`randlora analyze cka\`, ${samples} held-out samples (minibatch estimator), mean over ${layers.length} outputs of attention and MLP: ${means.join(", ")}.`;
}

function planeText({ plane }: LanguageRecord): string {
  const { A, B, C } = plane.corners;
  const points = plane.loss.flatMap((row, at) =>
    row.flatMap((loss, column) => (loss === null ? [] : [{ loss, x: plane.x[column] ?? NaN, y: plane.y[at] ?? NaN }])),
  );
  const [lowest] = points.toSorted((a, b) => a.loss - b.loss);
  const where =
    lowest === undefined ? "" : `; the lowest of the grid is ${lowest.loss.toFixed(4)} at (${lowest.x}, ${lowest.y})`;
  const show = (loss: number | null) => loss?.toFixed(4) ?? "too large";
  return `\`randlora analyze plane\`, ${plane.x.length} × ${plane.y.length} points, ${plane.samples} samples: RandLoRA (0, 0) ${show(A)}, all weights (0.5, 1) ${show(B)}, LoRA (1, 0) ${show(C)}${where}.`;
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
      claim: "At equal numbers RandLoRA comes further than LoRA (tables 2 and 3)",
      measured: `held-out loss: ${differenceText(better)}`,
      verdict: pairedP(better) < 0.05 ? (mean(better) < 0 ? "holds" : "does not") : UNDECIDED,
    },
    {
      claim: "Sparse bases cost nothing (table 4)",
      measured: `held-out loss, sparse − dense: ${differenceText(cost)}; training gained ${gained.toFixed(3)}`,
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
    {
      claim: "RandLoRA's representations are nearer to those of the fully trained model than LoRA's (figure 4a)",
      measured: `CKA ${ofDense?.mean.toFixed(4)} against ${ofLora?.mean.toFixed(4)}; nearer in ${nearer} of ${record.alike.layers.length}`,
      verdict:
        (ofDense?.mean ?? NaN) > (ofLora?.mean ?? NaN)
          ? `holds${few(record.alike.samples)}`
          : `does not${few(record.alike.samples)}`,
    },
    {
      claim: "In the plane through the three, RandLoRA lies deeper than LoRA (figure 4b)",
      measured: `${A?.toFixed(4) ?? "too large"} against ${C?.toFixed(4) ?? "too large"}`,
      verdict:
        (A ?? Infinity) < (C ?? Infinity)
          ? `holds${few(record.plane.samples)}`
          : `does not${few(record.plane.samples)}`,
    },
  ];
}
