/*
 * `bun scripts/readme.ts`: README's charts, and what it says of speed and of what was verified, from committed records:
 * docs/evidence/language.json (`bun bench/evidence/language.ts`), bench/results/readme.json (`npm run bench:records`) and
 * src/measure/inspect/verified.json (`bun interop/verified.ts`); the list of models in docs/guide/models.md.
 */
import { join } from "node:path";
import * as v from "valibot";
import { filled, withSection } from "../bench/evidence/section.ts";
import { LANGUAGE_RECORD } from "../bench/evidence/language-record.ts";
import { median } from "../bench/peers/measure.ts";
import { type Figure, IDLE, README_RECORD, RECORD_FILE, type ReadmeRecord } from "../bench/readme-record.ts";
import { ARCHITECTURES } from "../src/models/decoder/architectures/index.ts";
import { type Check, CHECKS, type ModelKind, modelsJson, RANDOM } from "../src/measure/inspect/models.ts";
import { formatNumber } from "../src/terminal/format.ts";
import { barChart, type ChartRow } from "./readme-chart.ts";

const ROOT = join(import.meta.dir, "..");
const METHODS = {
  lora: "LoRA",
  randlora: "RandLoRA",
  "randlora+sparse": "RandLoRA, sparse",
  full: "all weights",
} as const;
const NAMES: Readonly<Record<string, string>> = {
  lora: "LoRA",
  randlora: "RandLoRA",
  dense: "RandLoRA",
  sparse: "RandLoRA, sparse",
};

/** Files of this repository by their paths, as the records have them. */
export async function generated(): Promise<ReadonlyMap<string, string>> {
  const language = v.parse(LANGUAGE_RECORD, await Bun.file(join(ROOT, "docs/evidence/language.json")).json());
  const record = v.parse(README_RECORD, await Bun.file(RECORD_FILE).json());
  const models = await Bun.file(join(ROOT, "docs/guide/models.md")).text();
  const readme = await Bun.file(join(ROOT, "README.md")).text();
  return new Map([
    ["docs/why.svg", whyChart(language)],
    ["docs/speed.svg", speedChart(record)],
    ["docs/guide/models.md", withSection(models, "models", titles())],
    ["README.md", withSection(withSection(readme, "verified", verifiedText()), "speed", speedText(record))],
  ]);
}

/** The text of a model with images has a model_type of its own, and the same title. */
function titles(): string {
  return filled(`${[...new Set(ARCHITECTURES.map(({ title }) => title))].join("; ")}.`);
}

/** What was verified of models is the record's; of devices and systems, what .ci/run runs. */
function verifiedText(): string {
  const { models } = modelsJson();
  const names = (wanted: (model: ModelKind) => boolean) => models.filter(wanted).map(({ type }) => `\`${type}\``);
  const published = models.flatMap(({ type, verified }) =>
    verified
      .filter(({ weights }) => weights !== RANDOM)
      .map(({ weights, checks }) => `\`${type}\`: ${weights}; ${Object.keys(checks).join(", ")}`),
  );
  const never = names(({ verified }) => verified.length === 0);
  const counted = (Object.keys(CHECKS) as Check[]).flatMap((check) => {
    const count = names(({ verified }) => verified.some((one) => one.weights === RANDOM && check in one.checks)).length;
    return count === 0 ? [] : [`${check} ${count}`];
  });
  const rows = [
    ["verified with", "what"],
    ["---", "---"],
    ["published weights", published.join("; ") || "no model"],
    ["random weights", `small versions of ${models.length} model types: ${counted.join(", ") || "none"}`],
    ["all tests", EVERY_TEST],
    ["numeric tests", COMPUTES],
    ["never run", [...(never.length === 0 ? [] : [`${never.length} model types`]), NEVER_RUN].join("; ")],
  ];
  return rows.map((row) => `| ${row.join(" | ")} |`).join("\n");
}

const EVERY_TEST = "CPU device on Linux, x64, with AVX-512";
const COMPUTES =
  "CPU device with AVX2 and WebAssembly; WebGPU on software GPUs: Mesa's llvmpipe, SwiftShader (kernels)";
const NEVER_RUN = "WebGPU on cards; binaries for macOS, Windows and arm64; the Docker image";

/** Held-out losses of equally many parameters, by the seeds of a comparison. */
function whyChart({ compared, model, protocol }: v.InferOutput<typeof LANGUAGE_RECORD>): string {
  const runs = (method: string) => compared.results.filter((one) => one.method === method);
  const rows = Object.entries(METHODS).map(([method, name], kind): ChartRow => {
    const losses = runs(method).map((one) => one.valid_loss ?? NaN);
    const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
    const [low, high] = [Math.min(...losses), Math.max(...losses)];
    const parameters = (runs(method)[0]?.parameters ?? 0) / 1e6;
    const size = formatNumber(parameters, parameters < 100 ? 2 : 0);
    return { name: `${name} (${size} M parameters)`, value: mean, low, high, shown: formatNumber(mean, 3), kind };
  });
  const [first] = compared.results;
  const seeds = new Set(compared.results.map(({ seed }) => seed)).size;
  return barChart({
    title: "Loss on held-out commonsense questions: lower is better",
    rows,
    from: 0,
    to: Math.max(...rows.map(({ high }) => high)),
    caption: `${model}, ${first?.steps ?? 0} steps of ${protocol.batch} samples, each method at its best learning rate; mean and range of ${seeds} seeds`,
  });
}

/** The ratio of medians, and between what those of single rounds lie. */
function ratioOf({ peft, ours }: Figure, key: "seconds" | "bytes") {
  const rounds = ours[key].map((value, index) => value / (peft[key][index] ?? NaN));
  return { value: median(ours[key]) / median(peft[key]), low: Math.min(...rounds), high: Math.max(...rounds) };
}

function titleOf({ task, name }: Figure): string {
  return `${task}, ${NAMES[name] ?? name}`;
}

function speedChart({ figures, peft }: ReadmeRecord): string {
  const tasks = [...new Set(figures.map(({ task }) => task))];
  const rows = figures.map((figure): ChartRow => {
    const ratio = ratioOf(figure, "seconds");
    return { name: titleOf(figure), ...ratio, shown: formatNumber(ratio.value, 2), kind: tasks.indexOf(figure.task) };
  });
  return barChart({
    title: `Time as a part of PEFT's: shorter is better`,
    rows,
    from: 0,
    to: Math.max(1, ...rows.map(({ high }) => high)),
    reference: { value: 1, name: `PEFT ${peft}` },
    caption: "whiskers: the fastest and the slowest round",
  });
}

function speedText(record: ReadmeRecord): string {
  const { machine, figures, model, date, command } = record;
  const rounds = figures[0]?.ours.seconds.length ?? 0;
  const tasks = [...new Set(figures.map(({ task }) => task))].map((task) => {
    const times = figures
      .filter((figure) => figure.task === task)
      .map(({ name, peft, ours }) => `${NAMES[name] ?? name} ${shownSeconds(ours)} s (${shownSeconds(peft)})`);
    return `${capitalized(task)}: ${times.join("; ")}.`;
  });
  const memory = figures.filter(({ ours }) => ours.bytes.length > 0).map((figure) => ratioOf(figure, "bytes").value);
  const share = memory.map((value) => formatNumber(value, 2)).join(" and ");
  const on = `${machine.cpu}, ${machine.cores} cores (${machine.driver.replace(/^randlora's own, /, "")})`;
  return filled(
    `![time beside PEFT's](docs/speed.svg)

With ${model}, medians of ${rounds} rounds in turn, PEFT's in brackets. ${tasks.join(" ")} Merges are whole processes, with ${share} of PEFT's peak memory. \`${command}\`, ${date}, commit ${machine.commit}, on ${on}${machine.load > IDLE ? `, load average ${formatNumber(machine.load, 1)}: not idle` : ", idle"}.`,
  );
}

function shownSeconds({ seconds }: Figure["ours"]): string {
  return formatNumber(median(seconds), 2);
}

function capitalized(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

if (import.meta.main) {
  for (const [path, text] of await generated()) await Bun.write(join(ROOT, path), text);
}
