// A kernel that tests of dispatches use.

export const DOUBLE = {
  key: "test/double",
  code: `
    struct Parameters { count: u32, factor: f32 }
    @group(0) @binding(0) var<uniform> parameters: Parameters;
    @group(0) @binding(1) var<storage, read> source: array<f32>;
    @group(0) @binding(2) var<storage, read_write> target_: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      if (id.x < parameters.count) { target_[id.x] = source[id.x] * parameters.factor; }
    }`,
};

/** Its parameters. */
export function factorOf(count: number, factor: number): DataView {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint32(0, count, true);
  view.setFloat32(4, factor, true);
  return view;
}
