// The mean of a row of x and 1 / √(variance + ε), in every thread of its workgroup; needs reduce. Differences from the
// mean are squared, not x itself: E[x²] − mean² would lose what a row of large numbers has in common.
const THREADS = ${THREADS}u;

fn inside(vector: u32) -> vec4<bool> {
  return vec4<u32>(vector * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
}

fn row_statistics(source: u32, thread: u32) -> vec2<f32> {
  var sums = vec4<f32>(0.0); // every thread adds up few terms, and reductions are trees
  for (var c = thread; c < p.width; c += THREADS) {
    sums += x[source + c];
  }
  let mean = sum_of_all(dot(sums, vec4<f32>(1.0)), thread) / f32(p.cols);
  var squares = vec4<f32>(0.0);
  for (var c = thread; c < p.width; c += THREADS) {
    let difference = select(vec4<f32>(0.0), x[source + c] - mean, inside(c));
    squares = fma(difference, difference, squares);
  }
  let variance = sum_of_all(dot(squares, vec4<f32>(1.0)), thread) / f32(p.cols);
  return vec2<f32>(mean, 1.0 / sqrt(variance + p.epsilon));
}
