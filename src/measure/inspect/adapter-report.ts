import type { AdapterReport, BaseFit } from "./inspect-adapter.ts";
import { countsJson, dtypesText, groupTable, type Page, problemsJson, type TensorCounts } from "./tensor-groups.ts";
import { visible } from "../../files/visible.ts";
import { formatAmount, formatBytes, formatNumber } from "../../terminal/format.ts";
import { formatTable } from "../../terminal/table.ts";

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
