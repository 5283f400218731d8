// Causal convolutions of columns, each by itself, over rows that a token sees.
//   KIND "forward":  y[t] = gate[t] · (bias + Σ_back weight[taps − 1 − back] · x[last[t] − back])
//   KIND "rows":     y[s] = Σ_back weight[taps − 1 − back] · dy[s + back] · gate[s + back], of the tokens that see s
//   KIND "taps":     y[col, tap] = Σ_t dy[t] · gate[t] · x[t − (taps − 1 − tap)], of the tokens that see that row
#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
#if KIND == "forward"
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gate: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> firsts: array<u32>;
@group(0) @binding(6) var<storage, read> lasts: array<u32>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;
#else
#if KIND == "rows"
@group(0) @binding(1) var<storage, read> weight: array<f32>;
#else
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
#end
@group(0) @binding(2) var<storage, read> gate: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> firsts: array<u32>;
@group(0) @binding(4) var<storage, read> dy: array<vec4<f32>>;
#if KIND == "rows"
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;
#else
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
#end
#end

// A number of y or dy, times the gate.
fn gated(token: u32, at: u32, value: vec4<f32>) -> vec4<f32> {
  if ((p.flags & HAS_GATE) == 0u) {
    return value;
  }
  return value * gate[p.gate_at + token * p.gate_pitch + at];
}

fn first_of(token: u32) -> u32 {
  if ((p.flags & HAS_FIRSTS) == 0u) {
    return 0u;
  }
  return firsts[p.firsts_at + token];
}

#if KIND != "taps"
// A tap of the four columns from `col` on; 0 behind the last one.
fn weight_of(col: u32, tap: u32) -> vec4<f32> {
  var four = vec4<f32>(0.0);
  for (var lane = 0u; lane < min(4u, p.cols - col); lane++) {
    four[lane] = weight[p.weight_at + (col + lane) * p.taps + tap];
  }
  return four;
}
#end

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.width) {
    return;
  }
  let col = id.x * 4u;
#if KIND == "forward"
  let token = id.y;
  var last = p.first_position + token;
  if ((p.flags & HAS_LASTS) != 0u) {
    last = lasts[p.lasts_at + token];
  }
  var sum = vec4<f32>(0.0);
  if ((p.flags & HAS_BIAS) != 0u) {
    for (var lane = 0u; lane < min(4u, p.cols - col); lane++) {
      sum[lane] = bias[p.bias_at + col + lane];
    }
  }
  let seen = min(p.taps, last + 1u - first_of(token));
  for (var back = 0u; back < seen; back++) {
    sum += weight_of(col, p.taps - 1u - back) * x[p.x_at + (last - back) * p.x_pitch + id.x];
  }
  y[p.y_at + token * p.y_pitch + id.x] = gated(token, id.x, sum);
#else
#if KIND == "rows"
  let row = id.y;
  var sum = vec4<f32>(0.0);
  for (var back = 0u; back < min(p.taps, p.tokens - row); back++) {
    let token = row + back;
    if (first_of(token) > row) {
      break;
    }
    let by = gated(token, id.x, dy[p.dy_at + token * p.dy_pitch + id.x]);
    sum += weight_of(col, p.taps - 1u - back) * by;
  }
  y[p.y_at + row * p.y_pitch + id.x] = sum;
#else
  let tap = id.y;
  let back = p.taps - 1u - tap;
  var total = vec4<f32>(0.0);
  for (var begin = 0u; begin < p.tokens; begin += MOST_TERMS) {
    var sum = vec4<f32>(0.0);
    for (var token = begin; token < min(begin + MOST_TERMS, p.tokens); token++) {
      if (token < first_of(token) + back) {
        continue;
      }
      let by = gated(token, id.x, dy[p.dy_at + token * p.dy_pitch + id.x]);
      sum += by * x[p.x_at + (token - back) * p.x_pitch + id.x];
    }
    total += sum;
  }
  for (var lane = 0u; lane < min(4u, p.cols - col); lane++) {
    y[p.y_at * 4u + (col + lane) * p.taps + tap] = total[lane];
  }
  // What is behind the last one stays zero.
  if (tap == 0u && col + 4u >= p.cols) {
    for (var pad = p.cols * p.taps; pad % 4u != 0u; pad++) {
      y[p.y_at * 4u + pad] = 0.0;
    }
  }
#end
#end
}
