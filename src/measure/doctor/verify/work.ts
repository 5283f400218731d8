import { writeSync } from "node:fs";
import { RandloraError } from "../../../files/errors.ts";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import type { Device } from "../../../compute/device/device.ts";
import { type DeviceOptions, openDevice } from "../../../compute/open-device.ts";
import { formatMeasure } from "../../../terminal/format.ts";
import { DeltaTrial, type DeltaTrialSpec } from "../delta-trial.ts";
import { type Check, CheckedDevice, type Finding } from "./check.ts";
import type { DeviceFacts, Message } from "./messages.ts";
import { trainingChecks } from "./training-checks.ts";
import { compareCase, type Comparison, isRight } from "../../../compute/tensor/cases/compare.ts";
import { compareFamily, FAMILY_CASES } from "../../../compute/tensor/cases/families/index.ts";
import type { OpCase, Operand } from "../../../compute/tensor/cases/case.ts";
import { visitOps } from "../../../compute/tensor/cases/every-op.ts";
import { visitLargeOps } from "../../../compute/tensor/cases/large.ts";
import { entries } from "../../../compute/tensor/cases/placed.ts";
import type { Op, Roles } from "../../../compute/tensor/op.ts";
import { showShape } from "../../../compute/tensor/tensor.ts";

/** Bytes of a binding at most, where matrices are to be taken in blocks of rows. */
const SMALL_BINDING = 2 ** 20;

/** Every op of the registry on its cases, results and gradients; families that are no op; then matrices above a row block. */
export function opChecks(): Check[] {
  const checks: Check[] = [];
  visitOps((op, cases) => {
    for (const one of cases) checks.push(checkOf(op, one, (devices) => devices.get()));
  });
  for (const one of FAMILY_CASES) {
    const { family: op, format, name: size } = one;
    checks.push({
      op,
      format,
      size,
      run: async (devices) => ({ wrong: wordsOf(await compareFamily(one, await devices.get())) }),
    });
  }
  visitLargeOps(SMALL_BINDING, (op, cases) => {
    for (const one of cases) checks.push(checkOf(op, one, (devices) => devices.binding(SMALL_BINDING)));
  });
  return checks;
}

function checkOf<I extends Roles, A, O extends Roles>(
  op: Op<I, A, O>,
  one: OpCase<I, A>,
  open: (devices: CheckedDevice) => Promise<Device>,
): Check {
  const operands = entries<I, Operand>(one.inputs);
  const formats = new Set(operands.map(([, { dtype }]) => dtype).filter((dtype) => dtype !== "U32"));
  return {
    op: op.name,
    // Activations are F32 beside any stored matrix.
    format: [...formats].findLast((dtype) => dtype !== "F32") ?? "F32",
    size: operands.map(([name, { matrix }]) => `${name} ${showShape(matrix.shape)}`).join(", "),
    run: async (devices) => ({ wrong: wordsOf(await compareCase(op, one, await open(devices))) }),
  };
}

/** What is wrong, in one line. */
function wordsOf(found: readonly Comparison[]): string | undefined {
  const words = found
    .filter((one) => !isRight(one))
    .map(({ of, error, tolerance, isPadded }) => {
      if (error <= tolerance) return isPadded ? of : `${of}: its rows do not end with zeros`;
      const off = Number.isFinite(error) ? `differs by ${formatMeasure(error)} of the largest` : "has no number";
      return `${of} ${off} (allowed: ${formatMeasure(tolerance)})`;
    });
  return words.length === 0 ? undefined : words.join("; ");
}

/** Wide, tall and square layers whose rows and columns end within tiles; one of several tiles. */
const SHAPES = [
  { out: 96, in: 80, r: 6 },
  { out: 40, in: 132, r: 6 },
  { out: 2, in: 37, r: 2 },
  { out: 300, in: 300, r: 16 },
] as const;

/** What bases are stored as, and what makes them so. */
const FORMATS: readonly (readonly [format: string, bases: Omit<DeltaTrialSpec, "out" | "in" | "r">])[] = [
  ["bases BF16", { generator: "torch-mt19937-bf16-v2", sparsity: "dense" }],
  ["bases F32", { generator: "torch-mt19937-f32", sparsity: "dense" }],
  ["bases sparse", { generator: "torch-mt19937-ternary", sparsity: "sparse" }],
  ["bases very sparse", { generator: "torch-mt19937-ternary", sparsity: "very-sparse" }],
  ["bases philox", { generator: "philox-v1", sparsity: "dense" }],
  ["bases philox, BF16", { generator: "philox-v1", sparsity: "dense", grid: "bf16" }],
];

/** ΔW of RandLoRA as a merge computes it, by what the bases are stored as. */
function deltaChecks(): Check[] {
  return FORMATS.flatMap(([format, bases]) =>
    SHAPES.map((shape) => ({
      op: "ΔW",
      format,
      size: `${shape.out}×${shape.in}, r = ${shape.r}`,
      async run(devices) {
        using trial = await DeltaTrial.create(await devices.get(), { ...shape, ...bases });
        const { correct, maxRelativeError } = await trial.check();
        return { wrong: correct ? undefined : `differs by ${formatMeasure(maxRelativeError)} of the largest element` };
      },
    })),
  );
}

/** All checks of a device, in their order. */
function allChecks(options: DeviceOptions): Check[] {
  return [...opChecks(), ...deltaChecks(), ...trainingChecks(options)];
}

/**
 * Runs checks on a device and tells of each before and after; ends where the device fails, since nothing more is to be
 * expected of it.
 * @param from the first of them
 * @param faults what the device has said since the last check of machine code that it does not use
 */
export async function work(
  open: () => Promise<Device>,
  checks: readonly Check[],
  from: number,
  tell: (message: Message) => void,
  signal: AbortSignal,
  faults: string[] = [],
): Promise<void> {
  using devices = new CheckedDevice(open);
  try {
    tell({ kind: "open", device: factsOf(await devices.get()), checks: checks.length });
    for (const [at, check] of checks.entries()) {
      if (at < from) continue;
      signal.throwIfAborted();
      const { op, format, size } = check;
      tell({ kind: "begin", at, op, format, size });
      const begun = performance.now();
      const finding = await findingOf(check, devices, signal);
      const unused = faults.splice(0).map((fault) => `machine code is not used: ${fault}`);
      const wrong = [...(finding.wrong === undefined ? [] : [finding.wrong]), ...unused].join("; ");
      const seconds = (performance.now() - begun) / 1000;
      tell({ kind: "end", at, seconds, ...finding, wrong: wrong === "" ? undefined : wrong });
    }
    tell({ kind: "done" });
  } catch (thrown) {
    if (!(thrown instanceof RandloraError)) throw thrown;
    const { code, message, hint } = thrown;
    tell({ kind: "failure", code, message, hint });
  }
}

/** What is found to be wrong by numbers is a finding; anything else that is thrown is a failure of the device. */
async function findingOf(check: Check, devices: CheckedDevice, signal: AbortSignal): Promise<Finding> {
  try {
    return await check.run(devices, signal);
  } catch (thrown) {
    if (!(thrown instanceof RandloraError) || thrown.code !== "numeric") throw thrown;
    return { wrong: thrown.message };
  }
}

function factsOf(device: Device): DeviceFacts {
  const { name, vendor, architecture, driver, software } = device.info;
  const code = device instanceof CpuDevice ? device.code.code : null;
  return { name, vendor, architecture, driver, software, code };
}

/** Writes a line at once: a driver may hang, and nothing after it would be written. */
export function say(message: Message): void {
  writeSync(1, `${JSON.stringify(message)}\n`);
}

/** The process that checks: tells on standard output, and ends with the one that watches it. */
export async function serveChecks(options: DeviceOptions, from: number, signal: AbortSignal): Promise<void> {
  process.stdin.on("end", () => process.kill(process.pid, "SIGKILL")).resume();
  const faults: string[] = [];
  const told = { ...options, onFault: (fault: string) => void faults.push(fault) };
  await work(() => openDevice(told), allChecks(told), from, say, signal, faults);
  process.stdin.pause();
}
