// Sums and maxima over all threads of a workgroup; every thread gets the result. Call in uniform control flow.
var<workgroup> reduced: array<f32, ${THREADS}>;

fn sum_of_all(value: f32, thread: u32) -> f32 {
  workgroupBarrier(); // the result before this one may still be read
  reduced[thread] = value;
  for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      reduced[thread] += reduced[thread + half];
    }
  }
  workgroupBarrier();
  return reduced[0];
}

fn max_of_all(value: f32, thread: u32) -> f32 {
  workgroupBarrier();
  reduced[thread] = value;
  for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      reduced[thread] = max(reduced[thread], reduced[thread + half]);
    }
  }
  workgroupBarrier();
  return reduced[0];
}
