// Columns of groups, sorted by part, or what was sorted as it was.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// Columns that a part of a group takes among what is sorted.
fn wide(size: u32) -> u32 {
  return select(size, (size + 3u) / 4u * 4u, p.padded != 0u);
}

// Where a column of groups goes, and how many zeros follow it there.
fn sorted(col: u32) -> vec2<u32> {
  let width = p.size0 + p.size1 + p.size2 + p.size3;
  let others = p.cols - p.groups * width;
  if (col >= p.groups * width) {
    return vec2<u32>(p.groups * p.size0 + col - p.groups * width, 0u);
  }
  let group = col / width;
  var rest = col % width;
  var begin = 0u;
#for part in 0..4
  if (rest < p.size${part}) {
    let zeros = select(0u, wide(p.size${part}) - p.size${part}, rest + 1u == p.size${part});
    return vec2<u32>(begin + group * wide(p.size${part}) + rest, zeros);
  }
  rest -= p.size${part};
  begin += p.groups * wide(p.size${part});
#if part == 0
  begin += others;
#end
#end
  return vec2<u32>(0u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let source = p.x_at + id.y * p.x_pitch;
  let to = p.y_at + id.y * p.y_pitch;
  if (id.x < p.cols) {
    let at = sorted(id.x);
    if (p.inverse != 0u) {
      y[to + id.x] = x[source + at.x];
    } else {
      y[to + at.x] = x[source + id.x];
      for (var zero = 1u; zero <= at.y; zero++) {
        y[to + at.x + zero] = 0.0;
      }
    }
  } else if (id.x < (p.cols + 3u) / 4u * 4u && (p.padded == 0u || p.inverse != 0u)) {
    y[to + id.x] = 0.0;
  }
}
