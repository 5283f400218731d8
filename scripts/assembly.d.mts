/** @returns whether the module is there and current */
export function compileAssembly(root: string): boolean;
