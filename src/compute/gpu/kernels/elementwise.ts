import { plain } from "../../rows/functions.ts";
import { gatedActivation } from "../../rows/gates.ts";
import { type Node, reached, type RowKernel } from "../../rows/language.ts";
import { kernelFamily } from "./family.ts";
import { type GpuKernel, type UniformMembers, uniformStruct } from "./parameters.ts";

/** Vectors of 4 elements that one workgroup handles. */
export const ELEMENTWISE_WIDTH = 64;

const ofBits = (operator: string) => (x: string, bits: string) =>
  `bitcast<vec4<f32>>(bitcast<vec4<u32>>(${x}) ${operator} ${bits})`;

const OPERATIONS: Readonly<Record<string, (...args: readonly string[]) => string>> = {
  add: (a, b) => `${a} + ${b}`,
  sub: (a, b) => `${a} - ${b}`,
  mul: (a, b) => `${a} * ${b}`,
  div: (a, b) => `${a} / ${b}`,
  min: (a, b) => `min(${a}, ${b})`,
  max: (a, b) => `max(${a}, ${b})`,
  abs: (x) => `abs(${x})`,
  exp: (x) => `exp(${x})`,
  tanh: (x) => `safe_tanh(${x})`,
  unless: (x, a, b) => `select(${x}, vec4<f32>(0), ${a} < ${b})`,
  and: ofBits("&"),
  or: (a, b) => ofBits("|")(a, `bitcast<vec4<u32>>(${b})`),
};

/** A graph in WGSL: a line for each of its numbers, and what its roots are called. */
function written(roots: readonly Node[], loaded: (operand: string) => string) {
  const names = new Map<Node, string>();
  const lines: string[] = [];
  const values = plain(roots, (op) => op in OPERATIONS);
  for (const node of reached(values)) {
    const { op, args, data } = node;
    if (op === "number") names.set(node, `vec4<f32>(${Object.is(data, -0) ? "-0.0" : data})`);
    else if (op === "bits") names.set(node, `vec4<u32>(${data}u)`);
    else if (op === "parameter") names.set(node, `vec4<f32>(p.${data})`);
    else {
      const write = op === "load" ? () => loaded(String(data)) : OPERATIONS[op];
      if (write === undefined) throw new Error(`there is no WGSL for ${op}`);
      const name = `v${lines.length}`;
      lines.push(`  let ${name} = ${write(...args.map((arg) => names.get(arg) ?? ""))};`);
      names.set(node, name);
    }
  }
  return { lines, values: values.map((value) => names.get(value) ?? "") };
}

/** A row kernel as a GPU computes it. */
interface GpuRows {
  readonly kernel: GpuKernel<UniformMembers>;
  /** In the order of its bindings. */
  readonly operands: readonly string[];
}

const known = new Map<string, GpuRows>();

/**
 * The kernel of some targets of a row kernel.
 * @param inOne they are regions of one buffer, which the last binding is
 */
export function elementwiseKernel(rows: RowKernel, targets: readonly string[], inOne: boolean): GpuRows {
  const key = [rows.name, ...targets, ...(inOne ? ["in one"] : [])].join("/");
  const made = known.get(key) ?? write(rows, key, targets, inOne);
  known.set(key, made);
  return made;
}

function write(rows: RowKernel, key: string, targets: readonly string[], inOne: boolean): GpuRows {
  const place = (operand: string) =>
    `p.${operand}_at + ${rows.shared.includes(operand) ? "" : `id.y * p.${operand}_pitch + `}id.x`;
  const nodes = targets.flatMap((target) => rows.targets[target] ?? []);
  const { lines, values } = written(nodes, (operand) => `${operand}[${place(operand)}]`);
  const [result = ""] = targets;
  const read = rows.reads.filter((operand) => !targets.includes(operand));
  const bound = [...read, ...(inOne ? [result] : targets)];
  const operands = [...read, ...targets];
  const bindings = bound.map(
    (operand, at) =>
      `@group(0) @binding(${at + 1}) var<storage, ${read.includes(operand) ? "read" : "read_write"}> ${operand}: array<vec4<f32>>;`,
  );
  const stores = targets.map((target, at) => `  ${inOne ? result : target}[${place(target)}] = ${values[at]};`);
  const text = `#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
${bindings.join("\n")}

#include safe_tanh

@compute @workgroup_size(${ELEMENTWISE_WIDTH})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.width) {
    return;
  }
${[...lines, ...stores].join("\n")}
}
`;
  const parameters = uniformStruct<UniformMembers>({
    width: "u32", // vectors of 4 in a row
    ...Object.fromEntries(operands.map((operand) => [operand, "vectors"] as const)),
    ...Object.fromEntries(rows.parameters.map((parameter) => [parameter, "f32"] as const)),
  });
  return { kernel: kernelFamily(key, text, parameters)({}), operands };
}

/** Gates by their numbers, as other kernels gate what they compute. */
export function gates(): string {
  const { kinds = [] } = gatedActivation;
  const cases = kinds.map((kind, at) => {
    const { lines, values } = written(Object.values(gatedActivation.kernel(kind).targets), (operand) => operand);
    return `${at === 0 ? "default" : `case ${at}u`}: {\n${lines.join("\n")}\n  return ${values[0]};\n}`;
  });
  return `#include safe_tanh\nfn gated(kind: u32, gate: vec4<f32>, up: vec4<f32>) -> vec4<f32> {\nswitch kind {\n${cases.join("\n")}\n}\n}`;
}
