// The npm package "safetensors" 0.0.1 brings no types: what the tests use of it to cross-check our files.
declare module "safetensors" {
  export class SafeTensor {
    /** A whole file without `__metadata__`, which this package cannot read. */
    constructor(file: Uint8Array);
    readonly metadata: ReadonlyMap<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
    getTensor(name: string): Uint8Array;
  }
}
