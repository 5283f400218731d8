// Columns of groups, sorted by part, or what was sorted as it was.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// Where a column of groups goes.
fn sorted(col: u32) -> u32 {
  let width = p.size0 + p.size1 + p.size2 + p.size3;
  let others = p.cols - p.groups * width;
  if (col >= p.groups * width) {
    return p.groups * p.size0 + col - p.groups * width;
  }
  let group = col / width;
  var rest = col % width;
  var begin = 0u;
#for part in 0..4
  if (rest < p.size${part}) {
    return begin + group * p.size${part} + rest;
  }
  rest -= p.size${part};
  begin += p.groups * p.size${part};
#if part == 0
  begin += others;
#end
#end
  return 0u;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let source = p.x_at + id.y * p.x_pitch;
  let to = p.y_at + id.y * p.y_pitch;
  if (id.x < p.cols) {
    if (p.inverse != 0u) {
      y[to + id.x] = x[source + sorted(id.x)];
    } else {
      y[to + sorted(id.x)] = x[source + id.x];
    }
  } else if (id.x < (p.cols + 3u) / 4u * 4u) {
    y[to + id.x] = 0.0;
  }
}
