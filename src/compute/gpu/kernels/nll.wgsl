// One block of columns of logits (tokens, vocabulary) enters each row's running state: its maximum, the sum of
// exp(logit − maximum), and the target's logit. The last block turns the state into lse = log Σ exp(logit) and
// nll = lse − logit[target]; both are single numbers in rows of a vector.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>; // maximum, sum, target's logit, -
@group(0) @binding(4) var<storage, read_write> nll: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> lse: array<vec4<f32>>;

#include reduce
#include safe_tanh

const THREADS = ${THREADS}u;
const NEVER = -3.0e38;

fn load(row: u32, vector: u32) -> vec4<f32> {
  var value = logits[p.logits_at + row * p.logits_pitch + vector];
  if (p.cap != 0.0) {
    value = p.cap * safe_tanh(value / p.cap);
  }
  let inside = vec4<u32>(vector * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
  return select(vec4<f32>(NEVER), value, inside);
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.x;
  let width = (p.cols + 3u) / 4u;
  var before = state[row];
  if (p.is_first == 1u) {
    before = vec4<f32>(NEVER, 0.0, 0.0, 0.0);
  }
  var most = vec4<f32>(NEVER);
  for (var c = thread; c < width; c += THREADS) {
    most = max(most, load(row, c));
  }
  let top = max(before.x, max_of_all(max(max(most.x, most.y), max(most.z, most.w)), thread));
  // A thread's four sums take cols / THREADS / 4 terms each: blocks are chosen so that these are at most 256.
  var sums = vec4<f32>(0.0);
  for (var c = thread; c < width; c += THREADS) {
    sums += exp(load(row, c) - top);
  }
  let sum = before.y * exp(before.x - top) + sum_of_all(dot(sums, vec4<f32>(1.0)), thread);
  let wanted = targets[p.targets_at + row] - p.first; // wraps for a target before this block
  var found = before.z;
  if (wanted < p.cols) {
    found = load(row, wanted / 4u)[wanted % 4u];
  }
  storageBarrier(); // every thread has read the state
  if (thread == 0u) {
    state[row] = vec4<f32>(top, sum, found, 0.0);
    if (p.is_last == 1u) {
      nll[p.nll_at + row * p.nll_pitch] = vec4<f32>(top - found + log(sum), 0.0, 0.0, 0.0);
      lse[p.lse_at + row * p.lse_pitch] = vec4<f32>(top + log(sum), 0.0, 0.0, 0.0);
    }
  }
}
