import { UNPACKED_BYTES } from "../../compute/gpu/doctor-folders.ts";
import { RandloraError } from "../../files/errors.ts";
import { formatAmount, formatBytes, formatDuration, formatMeasure, formatNumber } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
import type { ProductTrial } from "./delta-trial.ts";
import { type CpuFacts, type Diagnosis, type GpuFacts, TRIAL, wordsOf } from "./doctor.ts";

type Folder = Diagnosis["caches"]["hub"];

/** Words for what is well, and for what is not. */
type Good = (is: boolean, yes: string, no: string) => string;

/** A diagnosis for people. */
export function renderDiagnosis(diagnosis: Diagnosis, columns: number, style: Style): string {
  const { versions, platform, gpus, unlisted, chosen, gpu, cpu, cpuFailure, trial, vulkan, temp, caches } = diagnosis;
  const good: Good = (is, yes, no) => (is ? style.green(yes) : style.red(no));
  const section = (title: string, rows: readonly (readonly string[])[], align = ""): string => {
    const table = formatTable(rows, { columns: columns - 2, align })
      .replace(/^/gm, "  ")
      .trimEnd();
    return `\n${style.bold(title)}\n${table}\n`;
  };
  const mark = (is: boolean): string => (is ? style.green("chosen") : "");
  const own =
    cpu === undefined
      ? ["cpu", style.red("does not work here"), "", "", ""]
      : ["cpu", cpu.name, "randlora", formatAmount(cpu.threads, "thread"), mark(chosen === "cpu")];
  const others = gpus.map(({ name, backend, software }, at) => [
    `${at}`,
    name,
    backend,
    software ? "software" : "",
    mark(at === chosen),
  ]);
  const unknown = unlisted === undefined ? [] : [["GPUs", style.red("not known"), "", "", ""]];
  const parts = [
    `randlora ${versions.randlora}, Bun ${versions.bun}, webgpu (Dawn) ${versions.webgpu}, ${platform}\n`,
    section("Devices", [own, ...others, ...unknown]),
  ];
  const cpuState = cpu === undefined ? [["not used", wordsOf(cpuFailure) ?? ""]] : cpuRows(cpu, good);
  parts.push(section("The CPU device", cpuState));
  if (gpu !== undefined) parts.push(section("The chosen GPU", gpuRows(gpu)));
  if (trial !== undefined) {
    const share = formatMeasure(trial.maxRelativeError);
    const found = `${formatNumber(trial.sampled)} elements against f64: at most ${share} of the largest off`;
    parts.push(
      section(`ΔW, ${TRIAL.out} × ${TRIAL.in}, r = ${TRIAL.r}`, [
        ["result", `${good(trial.correct, "right", "wrong")} (${found})`],
        ["speed", `${style.bold(`${formatNumber(trial.gflops, 1)} GFLOP/s`)} (${formatDuration(trial.seconds)} each)`],
        ["kernel", trial.kernel],
        ...(chosen === "cpu" || gpu?.software === true ? [["CPU", busy(diagnosis)]] : []),
      ]),
    );
  }
  const room = ({ freeBytes }: Folder): string => (freeBytes === undefined ? "" : `, ${formatBytes(freeBytes)} free`);
  const state = (folder: Folder): string => {
    const usable = folder.exists ? "writable" : "made when it is needed";
    return good(folder.writable, usable, "not writable") + room(folder);
  };
  const runs = temp.writable ? `, ${good(temp.executable, "libraries can be loaded", "mounted noexec")}` : "";
  parts.push(
    section("Folders", [
      ["temporary files", temp.path, state(temp) + runs],
      ["cache", caches.randlora.path, state(caches.randlora)],
      ["models", caches.hub.path, state(caches.hub)],
    ]),
  );
  if (vulkan !== undefined) parts.push(section("Vulkan", vulkanRows(vulkan, good)));
  return parts.join("");
}

function busy({ cores, load }: Diagnosis): string {
  const others = load > cores * 0.75 ? ": others use it, and the speed suffers" : "";
  return `${cores} cores, load ${formatNumber(load, 1)}${others}`;
}

const CODES: Readonly<Record<CpuFacts["code"], string>> = {
  wasm: "WebAssembly with 128-bit SIMD",
  neon: "machine code with NEON",
  avx2: "machine code with AVX2 and FMA",
  avx512: "machine code with AVX-512",
};

function cpuRows({ code, passed, product, vectorProduct }: CpuFacts, good: Good): string[][] {
  const row = (trial: ProductTrial, speed: string): string => {
    const { rows, cols, terms } = trial;
    const off = `at most ${formatMeasure(trial.maxRelativeError)} of the largest off`;
    return `${good(trial.correct, "right", "wrong")} (${rows} × ${cols}, ${terms} terms; ${off}), ${speed}`;
  };
  return [
    ["code", `${CODES[code]} (${code})`],
    ...passed.map((reason) => ["not used", reason]),
    ["product", row(product, `${formatNumber(product.gflops, 1)} GFLOP/s`)],
    ["vector product", row(vectorProduct, `${formatNumber(vectorProduct.gigabytes, 1)} GB/s of weights`)],
  ];
}

function gpuRows(gpu: GpuFacts): string[][] {
  const { limits, subgroupMinSize: least, subgroupMaxSize: most } = gpu;
  const yes = (is: boolean): string => (is ? "yes" : "no");
  const size = (name: string): string => formatBytes(limits[name] ?? 0);
  const count = (name: string): string => formatNumber(limits[name] ?? 0);
  const lanes = least === most ? `${least} lanes` : `${least} to ${most} lanes`;
  return [
    ["name", gpu.name + (gpu.software ? " (a CPU that plays a GPU)" : "")],
    ["driver", gpu.driver],
    ["vendor", [gpu.vendor, gpu.architecture].filter((text) => text !== "").join(", ")],
    ["subgroups", gpu.subgroups ? lanes : "no"],
    ["subgroup matrices", yes(gpu.subgroupMatrices)],
    ["f16", yes(gpu.f16)],
    ["integer dot products", yes(gpu.integerDots)],
    ["timestamps", yes(gpu.timestamps)],
    ["largest buffer", size("maxBufferSize")],
    ["largest binding", size("maxStorageBufferBindingSize")],
    ["storage buffers", count("maxStorageBuffersPerShaderStage")],
    ["workgroup memory", size("maxComputeWorkgroupStorageSize")],
    ["workgroup threads", count("maxComputeInvocationsPerWorkgroup")],
  ];
}

function vulkanRows({ loader, overriddenBy, manifests }: NonNullable<Diagnosis["vulkan"]>, good: Good): string[][] {
  const rows = [["loader", good(loader, "libvulkan.so.1", "libvulkan.so.1 cannot be loaded")]];
  if (overriddenBy !== undefined) rows.push(["searched", `only what ${overriddenBy} names`]);
  for (const { path, library, problem } of manifests) {
    rows.push(["driver", path, problem === undefined ? (library ?? "") : good(false, "", problem)]);
  }
  if (manifests.length === 0) rows.push(["driver", good(false, "", "none found")]);
  return rows;
}

/** What works now and will fail later, a line each. */
export function warningsOf({
  temp,
  caches,
  unlisted,
  cpuFailure,
  failure,
}: Pick<Diagnosis, "temp" | "caches" | "unlisted" | "cpuFailure" | "failure">): string[] {
  const lines: string[] = [];
  // Where the chosen device fails, that is told as the error.
  const others = failure === undefined ? [unlisted, cpuFailure] : [];
  for (const other of others) if (other instanceof RandloraError) lines.push(other.message);
  const move = "set BUN_TMPDIR to another folder";
  const { path, freeBytes = Infinity } = temp;
  if (!temp.writable) lines.push(`${path}: temporary files cannot be written; ${move}`);
  else if (!temp.executable) lines.push(`${path} is mounted noexec: the GPU library cannot be loaded from it; ${move}`);
  else if (freeBytes < UNPACKED_BYTES) {
    lines.push(`${path}: ${formatBytes(freeBytes)} free are too few for the GPU library; ${move}`);
  }
  if (!caches.randlora.writable) lines.push(`${caches.randlora.path}: nothing can be cached; set RANDLORA_CACHE`);
  if (!caches.hub.writable) lines.push(`${caches.hub.path}: no model can be fetched; set HF_HOME`);
  return lines;
}

/** Why this machine cannot be used, with the most precise advice there is; undefined when it can. */
export function explainFailure({ failure, gpus, gpu, cpu, chosen, trial, vulkan }: Diagnosis): unknown {
  if (failure === undefined) {
    const device = chosen === "cpu" ? cpu?.name : gpu?.name;
    const wrong = [
      ...(trial?.correct === false ? [`${device ?? "the device"} computes ΔW wrong`] : []),
      ...(cpu?.product.correct === false || cpu?.vectorProduct.correct === false
        ? [`${cpu.name} computes products wrong`]
        : []),
    ];
    if (wrong.length === 0) return undefined;
    const cause = `${wrong.join(", ")}: its results cannot be trusted`;
    const hint = chosen === "cpu" ? "please report this" : "update the driver, or choose another device with --device";
    return new RandloraError("gpu", cause, hint);
  }
  if (!(failure instanceof RandloraError) || failure.code !== "gpu") return failure;
  if (vulkan?.overriddenBy === undefined || gpus.length > 0) return failure;
  if (!vulkan.loader || vulkan.manifests.some(({ problem }) => problem === undefined)) return failure;
  const hint = `${vulkan.overriddenBy} names no usable driver: unset it, or point it to a driver's .json file`;
  return new RandloraError(failure.code, failure.message, hint, { cause: failure });
}
