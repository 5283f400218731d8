// Causal convolutions of columns, each by itself, that go on behind the last inputs of a text. An invocation walks its columns of a text,
// since it overwrites the inputs that it began with.
#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> firsts: array<u32>;
@group(0) @binding(4) var<storage, read> rows: array<u32>;
@group(0) @binding(5) var<storage, read_write> tails: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;

fn tap_of(col: u32, tap: u32) -> vec4<f32> {
  let at = p.weight_at + col * p.taps + tap;
  return vec4<f32>(weight[at], weight[at + p.taps], weight[at + 2u * p.taps], weight[at + 3u * p.taps]);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.width) {
    return;
  }
  let text = id.y;
  var begin = p.first_position;
  if ((p.flags & HAS_LASTS) != 0u) {
    begin = rows[p.rows_at + text];
  }
  var before = begin;
  if ((p.flags & HAS_FIRSTS) != 0u) {
    before -= firsts[p.firsts_at + text];
  }
  let kept = p.taps - 1u;
  var old = p.tails_at + id.x;
  if (before > 0u) {
    old += (begin - 1u) / p.block * p.tails_pitch;
  }
  let source = p.x_at + text * p.x_pitch + id.x;
  for (var token = 0u; token < p.tokens; token++) {
    var sum = vec4<f32>(0.0);
    for (var back = 0u; back < min(p.taps, before + token + 1u); back++) {
      let tap = tap_of(id.x * 4u, kept - back);
      if (back <= token) {
        sum += tap * x[source + (token - back) * p.x_pitch];
      } else {
        sum += tap * tails[old + (kept + token - back) * p.width];
      }
    }
    y[p.y_at + (text + token) * p.y_pitch + id.x] = sum;
  }
  // What follows needs the last inputs. From the oldest on: they may move up within their row.
  for (var token = 0u; token < p.tokens; token++) {
    let row = begin + token;
    if (token + 1u < p.tokens && (row + 1u) % p.block != 0u) {
      continue;
    }
    let to = p.tails_at + row / p.block * p.tails_pitch + id.x;
    for (var entry = 0u; entry < kept; entry++) {
      let back = kept - 1u - entry;
      if (back <= token) {
        tails[to + entry * p.width] = x[source + (token - back) * p.x_pitch];
      } else if (back <= before + token) {
        tails[to + entry * p.width] = tails[old + (kept + token - back) * p.width];
      }
    }
  }
}
