// Sums and maxima over all threads of a workgroup; every thread gets the result. Call in uniform control flow. When one returns, every
// thread has read it, and the next may begin.
var<workgroup> reduced: array<f32, ${THREADS}>;

fn sum_of_all(value: f32, thread: u32) -> f32 {
  reduced[thread] = value;
  for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      reduced[thread] += reduced[thread + half];
    }
  }
  return workgroupUniformLoad(&reduced[0]);
}

fn max_of_all(value: f32, thread: u32) -> f32 {
  reduced[thread] = value;
  for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      reduced[thread] = max(reduced[thread], reduced[thread + half]);
    }
  }
  return workgroupUniformLoad(&reduced[0]);
}
