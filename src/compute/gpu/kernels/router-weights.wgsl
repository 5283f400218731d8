// The softmax of each row of logits at the columns of its experts, over all columns or over those: PASS "weights"; and the gradient
// by the logits, PASS "gradient": q · (g − Σ g · weight), where q is an expert's share, and g is zero of those not chosen. Where it
// is logistic, weights are 1 / (1 + exp(−logit)), among those chosen divided by their sum + 1e-6. A workgroup takes a row.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
#if PASS == "weights"
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
#else
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dlogits: array<f32>;
#end

#include reduce

const THREADS = ${THREADS}u;
const LEAST = -3.4028234e38;

fn id_at(row: u32, i: u32) -> u32 {
  return min(ids[p.ids_at + row * p.ids_pitch + i], p.experts - 1u);
}

fn logit_of(row: u32, expert: u32) -> f32 {
  return logits[p.logits_at + row * p.logits_pitch + expert];
}

// The expert number i of those that the sum is over.
fn counted(row: u32, i: u32) -> u32 {
  if (p.among_chosen == 1u) {
    return id_at(row, i);
  }
  return i;
}

// Of an expert, before it is divided by the total.
fn share_of(row: u32, expert: u32, top: f32) -> f32 {
  let logit = logit_of(row, expert);
  if (p.logistic == 1u) {
    return 1.0 / (1.0 + exp(-logit));
  }
  return exp(logit - top);
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.x;
  let count = select(p.experts, p.chosen, p.among_chosen == 1u);
  var most = LEAST;
  for (var i = thread; i < count; i += THREADS) {
    most = max(most, logit_of(row, counted(row, i)));
  }
  let top = max_of_all(most, thread);
  var sum = 0.0; // every thread adds up few terms, and reductions are trees
  for (var i = thread; i < count; i += THREADS) {
    sum += share_of(row, counted(row, i), top);
  }
  var total = sum_of_all(sum, thread);
  if (p.logistic == 1u) {
    total = select(1.0, total + 1e-6, p.among_chosen == 1u);
  }
#if PASS == "weights"
  for (var i = thread; i < (p.chosen + 3u) / 4u * 4u; i += THREADS) {
    var weight = 0.0;
    if (i < p.chosen) {
      weight = share_of(row, id_at(row, i), top) / total;
    }
    y[p.y_at + row * p.y_pitch + i] = weight;
  }
#else
  var products = 0.0;
  for (var i = thread; i < p.chosen; i += THREADS) {
    products += dy[p.dy_at + row * p.dy_pitch + i] * share_of(row, id_at(row, i), top) / total;
  }
  // Logistic weights depend on each other through their sum alone.
  let mean = sum_of_all(products, thread) * select(1.0, 0.0, p.logistic == 1u && p.among_chosen == 0u);
  for (var expert = thread; expert < (p.experts + 3u) / 4u * 4u; expert += THREADS) {
    var gradient = 0.0;
    var is_chosen = false;
    for (var i = 0u; i < p.chosen; i++) {
      if (id_at(row, i) == expert) {
        gradient = dy[p.dy_at + row * p.dy_pitch + i];
        is_chosen = true;
      }
    }
    var value = 0.0;
    if (expert < p.experts && (is_chosen || p.among_chosen == 0u)) {
      let share = share_of(row, expert, top);
      value = share / total * (gradient - mean) * select(1.0, 1.0 - share, p.logistic == 1u);
    }
    dlogits[p.dlogits_at + row * p.dlogits_pitch + expert] = value;
  }
#end
}
