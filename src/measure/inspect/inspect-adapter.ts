import type { MethodDefinition } from "../../adapters/method/method.ts";
import { methodOf, planAdapter } from "../../adapters/methods.ts";
import { openAdapter } from "../../adapters/formats/open.ts";
import { isShared, type Tolerate, tolerating } from "../../adapters/files/tensors.ts";
import type { Adapter, PlainConfig } from "../../adapters/files/adapter.ts";
import type { RandloraError } from "../../files/errors.ts";
import { SafetensorsFile } from "../../files/safetensors/file.ts";
import type { FindBase } from "../../adapters/base/named-base.ts";
import {
  countTensors,
  type TensorCounts,
  countsJson,
  dtypesText,
  groupTable,
  type Page,
  problemsJson,
} from "./tensor-groups.ts";
import { visible } from "../../files/visible.ts";
import { formatAmount, formatBytes, formatNumber } from "../../terminal/format.ts";
import { formatTable } from "../../terminal/table.ts";

/** What an adapter's files say of it. */
export interface AdapterReport {
  readonly path: string;
  readonly format: Adapter["format"];
  readonly peftType: string | undefined;
  /** Undefined for one that this program does not know. */
  readonly method: Pick<MethodDefinition, "name" | "title"> | undefined;
  readonly rank: number | undefined;
  readonly alpha: number | undefined;
  readonly targets: string | readonly string[] | undefined;
  /** The layers that its targets are limited to; empty: none are left out. */
  readonly layers: readonly number[];
  /** What it calls its base. */
  readonly base: string | undefined;
  readonly bases: {
    /** `saved`: in the file; `drawn`: from the seed; `none`: the method has none. */
    readonly origin: "saved" | "drawn" | "none";
    readonly generator: string | undefined;
    readonly seed: string | undefined;
  };
  /** Settings that the method alone has. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** All but the random bases; undefined where the weights cannot be read. */
  readonly trained: TensorCounts | undefined;
  readonly shared: TensorCounts | undefined;
  /** How often the file stores the bases: PEFT writes them once for each module. */
  readonly copies: number;
  /** Undefined where no base is at hand, or it does not fit. */
  readonly fit: BaseFit | undefined;
  /** Why it cannot be applied, as far as is known; one line each. */
  readonly problems: readonly RandloraError[];
}

/** How an adapter fits a base. */
export interface BaseFit {
  readonly base: string;
  /** Number of modules that it adapts. */
  readonly modules: number;
  /** Tensors that it replaces. */
  readonly replaced: readonly string[];
}

/** Settings that have a place of their own in the report, or say nothing of an adapter that is there. */
const COMMON: ReadonlySet<string> = new Set([
  "rank",
  "alpha",
  "targets",
  "layers",
  "dropout",
  "basisSeed",
  "generator",
  "initAdapter",
  "initCommit",
  "initSha256",
]);

/**
 * Describes an adapter, also one that cannot be applied: as far as its files can be read.
 *
 * @throws RandloraError `file`, `format` where not even the configuration can be read; what `findBase` throws
 */
export async function inspectAdapter(path: string, findBase: FindBase): Promise<AdapterReport> {
  const problems: RandloraError[] = [];
  const tolerate: Tolerate = (problem) => {
    if (!problems.some(({ message }) => message === problem.message)) problems.push(problem);
  };
  await using adapter = await openAdapter(path, tolerate);
  const { config, configFile, settings, tensors, format } = adapter;
  const unheard: Tolerate = () => {};
  const method = tolerating(unheard, () => methodOf(config, configFile));
  const readable = problems.length === 0;
  const meant: PlainConfig =
    (method !== undefined && readable && tolerating(tolerate, () => method.training.initial(adapter, {}))) ||
    plainSettings(settings);
  const isBasis = (name: string) => method !== undefined && isShared(name, method);
  const all = [...tensors.values()];
  const shared = countTensors(all.filter(({ name }) => isBasis(name)));
  const hasWeights = tensors.size > 0 || readable;
  const named = text(config["base_model_name_or_path"]);
  await using base = await findBase(named);
  const plan = base && readable ? tolerating(tolerate, () => planAdapter(adapter, base.base)) : undefined;
  const drawnBy = plan && !["saved", "none"].includes(plan.bases) ? plan.bases : undefined;
  return {
    path,
    format,
    peftType: text(config["peft_type"]),
    method,
    rank: number(meant["rank"]),
    alpha: number(meant["alpha"]),
    targets: targetsOf(meant["targets"]),
    layers: Array.isArray(meant["layers"]) ? meant["layers"].filter((one) => typeof one === "number") : [],
    base: named,
    bases: {
      origin: shared.tensors > 0 ? "saved" : hasBases(method, adapter) ? "drawn" : "none",
      generator: text(meant["generator"]) ?? text(adapter.bases?.["generator"]) ?? drawnBy,
      seed: text(meant["basisSeed"]),
    },
    settings: Object.fromEntries(Object.entries(meant).filter(([key]) => !COMMON.has(key))),
    trained: hasWeights ? countTensors(all.filter(({ name }) => !isBasis(name))) : undefined,
    shared: hasWeights ? shared : undefined,
    copies: format === "peft" && shared.tensors > 0 ? (await countStored(adapter, isBasis)) / shared.tensors : 0,
    fit: base &&
      plan && {
        base: base.base.path,
        modules: plan.layers.length,
        replaced: plan.replacements.map(({ tensor }) => tensor),
      },
    problems,
  };
}

/** Tensors of a kind in the file itself, with the copies that are not read. */
async function countStored({ file }: Adapter, isOne: (name: string) => boolean): Promise<number> {
  await using stored = await SafetensorsFile.open(file);
  return stored.header.tensors.filter(({ name }) => isOne(name)).length;
}

function hasBases(method: MethodDefinition | undefined, { bases }: Adapter): boolean {
  return bases !== undefined || (method?.shared.length ?? 0) > 0;
}

/** What a configuration says under the names that PEFT's methods share, where nothing understands it. */
function plainSettings(settings: PlainConfig): PlainConfig {
  const alpha = Object.keys(settings).find((key) => /(?:^|_)alpha$/.test(key));
  const seed = settings["projection_prng_key"];
  return {
    rank: settings["r"],
    alpha: alpha === undefined ? undefined : settings[alpha],
    targets: settings["target_modules"] ?? undefined,
    layers: settings["layers_to_transform"],
    basisSeed: typeof seed === "number" || typeof seed === "bigint" ? String(seed) : undefined,
  };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function targetsOf(value: unknown): string | readonly string[] | undefined {
  if (!Array.isArray(value)) return text(value);
  return value.filter((one) => typeof one === "string");
}

/**
 * An adapter, for `--json`. What is not known is null.
 * @json inspect (adapter)
 */
export interface AdapterJson {
  readonly kind: "adapter";
  readonly path: string;
  readonly format: "peft" | "json";
  readonly peft_type: string | null;
  readonly method: string | null;
  readonly rank: number | null;
  readonly alpha: number | null;
  readonly targets: string | readonly string[] | null;
  /** Layers that targets are limited to. */
  readonly only_layers: readonly number[];
  /** As it names it. */
  readonly base: string | null;
  readonly generator: string | null;
  readonly seed: string | null;
  /** saved, drawn, none. */
  readonly bases: "saved" | "drawn" | "none";
  /** Of the method only. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Without the bases. */
  readonly parameters: number | null;
  /** Of all tensors. */
  readonly bytes: number | null;
  readonly bases_bytes: number | null;
  readonly tensors: number | null;
  /** By format: parameters, bytes. */
  readonly dtypes?: object;
  /** name, dtype, shape, tensors, parameters, bytes. */
  readonly groups?: readonly object[];
  /** layer, parameters. */
  readonly layers?: readonly object[];
  /** The base that was at hand. */
  readonly fits?: string;
  /** Adapted in it. */
  readonly modules?: number;
  /** Tensors of it. */
  readonly replaced?: readonly string[];
  readonly applicable: boolean;
  /** Why it cannot be applied. */
  readonly problems: readonly string[];
}

export function adapterJson(report: AdapterReport): AdapterJson {
  const { method, bases, trained, shared, fit } = report;
  return {
    kind: "adapter",
    path: report.path,
    format: report.format,
    peft_type: report.peftType ?? null,
    method: method?.name ?? null,
    rank: report.rank ?? null,
    alpha: report.alpha ?? null,
    targets: report.targets ?? null,
    only_layers: report.layers,
    base: report.base ?? null,
    generator: bases.generator ?? null,
    seed: bases.seed ?? null,
    bases: bases.origin,
    settings: report.settings,
    parameters: trained?.parameters ?? null,
    bytes: trained && shared ? trained.bytes + shared.bytes : null,
    bases_bytes: shared?.bytes ?? null,
    tensors: trained && shared ? trained.tensors + shared.tensors : null,
    ...(trained && countsJson(trained)),
    ...(fit && { fits: fit.base, modules: fit.modules, replaced: fit.replaced }),
    applicable: report.problems.length === 0,
    ...problemsJson(report.problems),
  };
}

/** The same for people. */
export function adapterText(report: AdapterReport, page: Page): string {
  const { method, rank, alpha, targets, layers, bases, trained, shared, copies, fit, settings } = report;
  const name = method?.title ?? visible(report.peftType ?? "unknown");
  const size = [rank !== undefined && `rank ${rank}`, alpha !== undefined && `α ${alpha}`].filter(Boolean).join(", ");
  const drawn = [bases.generator, bases.seed === undefined ? undefined : `seed ${bases.seed}`].filter(
    (one) => one !== undefined,
  );
  const origin = { saved: "saved in the file", drawn: "drawn", none: "" }[bases.origin];
  const own = Object.entries(settings).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
  const rows = [
    ["adapter", page.style.bold(name)],
    ["size", size],
    ["targets", visible(typeof targets === "string" ? targets : (targets ?? []).join(", "))],
    ["only layers", layers.join(", ")],
    ["base", visible(report.base ?? "")],
    ["bases", bases.origin === "none" ? "" : visible([origin, ...drawn].join(", "))],
    ["settings", own.map(([key, value]) => visible(`${key} ${String(value)}`)).join(", ")],
    ["parameters", trained === undefined ? "unknown" : formatNumber(trained.parameters)],
    ["stored", trained === undefined ? "" : storedText(trained, shared)],
    [
      "file",
      copies > 1 ? `stores the bases ${formatNumber(copies)} times: randlora convert --to peft stores them once` : "",
    ],
    ["fits", fit === undefined ? "" : fitText(fit)],
    ...report.problems.map(({ message }) => ["cannot be applied", message]),
  ];
  const table = trained === undefined || trained.tensors === 0 ? "" : `\n${groupTable(trained, page)}`;
  return `${formatTable(
    rows.filter(([, value]) => value !== ""),
    { columns: page.columns },
  )}${table}`;
}

function fitText({ base, modules, replaced }: BaseFit): string {
  const whole = replaced.length === 0 ? "" : `, replaces ${visible(replaced.slice(0, 3).join(", "))}`;
  const more = replaced.length > 3 ? ` and ${replaced.length - 3} more` : "";
  return `${base}: adapts ${formatAmount(modules, "module")}${whole}${more}`;
}

function storedText(trained: TensorCounts, shared: TensorCounts | undefined): string {
  const bases = (shared?.bytes ?? 0) === 0 ? "" : `, and ${formatBytes(shared?.bytes ?? 0)} of bases`;
  return `${formatBytes(trained.bytes)} in ${formatAmount(trained.tensors, "tensor")} (${dtypesText(trained)})${bases}`;
}
