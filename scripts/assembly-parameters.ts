import { join } from "node:path";
import { fieldsOf, isMembers } from "../src/compute/cpu/parameters.ts";

const FAMILIES = join(import.meta.dir, "../src/compute/cpu/families");

/** A class of the assembly, or another name of one. */
interface Declared {
  readonly name: string;
  /** What the host declares; what is the same object is the same class. */
  readonly of: object;
  readonly fields: readonly string[];
}

/** Everything that families declare: kernels by their names, parts of what they take by those of their constants. */
async function declared(): Promise<Declared[]> {
  const found = new Map<string, Declared>();
  const paths = [...new Bun.Glob("*.ts").scanSync(FAMILIES)].filter((path) => !path.endsWith(".test.ts"));
  for (const path of paths.toSorted()) {
    const exported = (await import(join(FAMILIES, path))) as Readonly<Record<string, unknown>>;
    for (const [constant, value] of Object.entries(exported)) {
      const kernel =
        typeof value === "object" && value !== null && "members" in value && "name" in value ? value : undefined;
      const members = kernel === undefined ? value : kernel.members;
      if (!isMembers(members)) continue;
      const name =
        kernel === undefined
          ? constant.toLowerCase().replaceAll(/(?:^|_)(\w)/g, (_, first: string) => first.toUpperCase())
          : className(String(kernel.name));
      const fields = fieldsOf(members).map(([field, type]) => `  ${field}: ${type};`);
      found.set(name, { name, of: members, fields });
    }
  }
  return [...found.values()];
}

/** The class of what a kernel takes. */
export function className(kernel: string): string {
  return kernel.charAt(0).toUpperCase() + kernel.slice(1);
}

/** Classes as AssemblyScript; one whose fields begin with all of another's extends it. */
export async function parameterClasses(): Promise<string> {
  const all = await declared();
  const texts = all.map(({ name, of, fields }) => {
    const same = all.find((other) => other.of === of);
    if (same !== undefined && same.name !== name) return `export type ${name} = ${same.name};`;
    const [parent] = all
      .filter((other) => other.fields.length < fields.length && other.fields.every((field, at) => field === fields[at]))
      .toSorted((one, other) => other.fields.length - one.fields.length);
    const own = fields.slice(parent?.fields.length ?? 0);
    const head = parent === undefined ? name : `${name} extends ${parent.name}`;
    return `@unmanaged\nexport class ${head} {\n${own.join("\n")}\n}`;
  });
  return `// Made by scripts/assembly-parameters.ts from what families declare.\n${texts.join("\n\n")}\n`;
}

if (import.meta.main) process.stdout.write(await parameterClasses());
