import { join } from "node:path";
import { replaceSynced } from "../../src/files/whole-file.ts";
import { spreadOf } from "../../src/measure/compare/statistics.ts";
import { tradeOf } from "../../src/measure/compare/curves.ts";
import { tradeSvg } from "../../src/measure/compare/svg.ts";
import { formatDuration, formatNumber } from "../../src/terminal/format.ts";
import { bySeed, CONFIGURATIONS, type ForgettingRecord, forgettingRecords } from "./forgetting-record.ts";
import { type Finding, findingsList, interval, plus, table, UNDECIDED } from "./findings.ts";
import { commandBlock, EVIDENCE_FOLDER, writeSection } from "./section.ts";

/** What was expected of one configuration beside another: less forgetting at the same loss, or more. */
const CLAIMS: readonly {
  readonly one: string;
  readonly other: string;
  readonly less?: true;
  readonly claim: string;
}[] = [
  { one: "randlora-20", other: "lora", claim: "As PEFT sets it, α = 20 r, RandLoRA forgets more than LoRA" },
  { one: "randlora-2", other: "randlora-20", less: true, claim: "With α = 2 r and higher rates RandLoRA forgets less" },
  { one: "randlora-0.2", other: "lora", less: true, claim: "With α = 0.2 r it forgets less than LoRA" },
  { one: "randlora-slow", other: "randlora-20", less: true, claim: "With γ at a tenth of the rate it forgets less" },
  { one: "lora-20", other: "lora", claim: "LoRA at RandLoRA's scale forgets more" },
  { one: "randlora-20-decay", other: "randlora-20", less: true, claim: "Weight decay makes RandLoRA forget less" },
  { one: "lora-decay", other: "lora", less: true, claim: "Weight decay makes LoRA forget less" },
];

const signed = (value: number) => value.toFixed(2).replace("-", "−");

function findings(record: ForgettingRecord): readonly Finding[] {
  return CLAIMS.flatMap(({ one, other, less, claim }) => {
    const ranges = record.at.flatMap((loss) => {
      const than = bySeed(record, other, loss, "forgetting");
      const differences = bySeed(record, one, loss, "forgetting").map(
        (value = NaN, seed) => value - (than[seed] ?? NaN),
      );
      const range = differences.every(Number.isFinite) ? interval(differences, 0.05) : undefined;
      return range === undefined ? [] : [{ loss, low: range[0], high: range[1] }];
    });
    if (ranges.length === 0) return [];
    const isMore = ranges.every(({ low }) => low > 0);
    const isLess = ranges.every(({ high }) => high < 0);
    const holds = less ? isLess : isMore;
    const verdict = holds ? "holds" : isMore || isLess ? `does not: ${isMore ? "more" : "less"}` : UNDECIDED;
    const measured = ranges.map(({ loss, low, high }) => `${signed(low)} … ${signed(high)} at loss ${loss}`).join(", ");
    return [{ claim, verdict, measured }];
  });
}

function tableOf(record: ForgettingRecord): string {
  const used = Object.entries(CONFIGURATIONS).filter(([name]) =>
    record.runs.some(({ configuration }) => configuration === name),
  );
  const rows = used.map(([name, { title }]) => {
    const own = record.runs.filter(({ configuration }) => configuration === name);
    const all = new Set(own.map(({ seed }) => seed)).size;
    const at = (loss: number, of: "forgetting" | "change") => {
      const found = bySeed(record, name, loss, of).filter((value) => value !== undefined);
      return found.length < all ? undefined : spreadOf(found);
    };
    const change = at(record.at[0] ?? NaN, "change")?.mean.toFixed(2) ?? "–";
    return [title, change, ...record.at.map((loss) => plus(at(loss, "forgetting"), 2))];
  });
  const head = [`‖ΔW‖/‖W‖ at ${record.at[0]}`, ...record.at.map((loss) => `KL at ${loss}`)];
  return table(["", ...head], `lr${"r".repeat(record.at.length)}`, rows);
}

/** The part of the section that one model has. @param name of the record */
function modelPart(name: string, record: ForgettingRecord): string {
  const { noise, runs, before } = record;
  const seeds = new Set(runs.map(({ seed }) => seed)).size;
  const countOf = (method: string) =>
    formatNumber(runs.find(({ configuration }) => CONFIGURATIONS[configuration]?.method === method)?.parameters ?? NaN);
  const [first] = noise;
  const title = first && CONFIGURATIONS[first.configuration]?.title;
  const told =
    first === undefined
      ? ""
      : ` Noise: ${title} at ${first.rate}, ${noise.length} seeds: loss ${plus(spreadOf(noise.map(({ loss }) => loss)), 3)}, KL ${plus(spreadOf(noise.map(({ forgetting }) => forgetting)), 3)}.`;
  return `### ${record.title}

${record.steps} steps of ${record.batch} samples, ${seeds} seeds; LoRA trains ${countOf("lora")} parameters, RandLoRA ${countOf("randlora")}. Held-out loss before training:
${before.toFixed(3)}.${told}

${tableOf(record)}

${findingsList(findings(record))}

![forgetting by held-out loss](evidence/forgetting-${name}.svg)

${commandBlock(record.command)}

${record.date}, commit ${record.commit}, ${record.machine}: ${formatDuration(record.processor)} of processor time beside other work.
[All runs](evidence/forgetting-${name}.json).`;
}

/** Forgetting against held-out loss: a curve a configuration through its rates, as `compare` draws them. */
export function forgettingChart({ title, runs }: ForgettingRecord): string {
  const points = [...Map.groupBy(runs, ({ configuration, rate }) => `${configuration} ${rate}`).values()].flatMap(
    (own) => {
      const [loss, forgetting] = [spreadOf(own.map((run) => run.loss)), spreadOf(own.map((run) => run.forgetting))];
      const [{ configuration = "", rate = NaN } = {}] = own;
      const curve = CONFIGURATIONS[configuration]?.title ?? configuration;
      if (loss === undefined || forgetting === undefined) return [];
      return [{ curve, name: `${curve}, learning rate ${rate}`, value: rate, loss, forgetting }];
    },
  );
  return tradeSvg(tradeOf("held-out loss", points), `forgetting and held-out loss: ${title}`);
}

/** The section `forgetting` of docs/evidence.md. */
export function forgettingPage(records: Readonly<Record<string, ForgettingRecord>>): string {
  return `## Why RandLoRA forgets

Forgetting is KL(base ‖ adapted) on ${Object.values(records)[0]?.texts ?? 0} texts of 256 tokens that the base wrote (\`eval forgetting\`); the loss is that of held-out
commonsense questions. Configurations are compared at equal loss, between two learning rates in proportion: mean ± deviation over
seeds, 95 % intervals of differences by seed. AdamW's steps do not depend on α: a tenth of it at ten times the rate is γ trained ten
times as fast beside λ. So α decides more than the bases do: 20 r holds γ back. ‖ΔW‖ does not: at equal loss RandLoRA's is two
to four times LoRA's. No setting of
RandLoRA forgot less than LoRA with both, so defaults stay.

${Object.entries(records)
  .map(([name, record]) => modelPart(name, record))
  .join("\n\n")}
`;
}

/** Writes the section and its figures from the records. */
export async function writeForgetting(): Promise<void> {
  const records = await forgettingRecords();
  for (const [name, record] of Object.entries(records)) {
    await replaceSynced(join(EVIDENCE_FOLDER, `forgetting-${name}.svg`), forgettingChart(record));
  }
  await writeSection("forgetting", forgettingPage(records));
}
