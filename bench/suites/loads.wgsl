// What a load costs: each thread adds up VECTORS vectors of 4 from SOURCE and does nothing else.
//
//   "storage"    its own row of a matrix
//   "same"       the row that all threads read
//   "uniform"    a uniform buffer of 64 KB, each thread beginning elsewhere
//   "texture"    its own row of a texture
//   "workgroup"  workgroup memory, each thread beginning elsewhere
const VECTORS = ${VECTORS}u;

#if SOURCE == "texture"
@group(0) @binding(0) var numbers: texture_2d<f32>;
#else
#if SOURCE == "uniform"
@group(0) @binding(0) var<uniform> numbers: array<vec4<f32>, 4096>;
#else
@group(0) @binding(0) var<storage, read> numbers: array<vec4<f32>>;
#end
#end
@group(0) @binding(1) var<storage, read_write> sums: array<vec4<f32>>;

#if SOURCE == "workgroup"
var<workgroup> tile: array<vec4<f32>, 1024>;
#end

@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = id.x;
#if SOURCE == "workgroup"
  for (var i = thread; i < 1024u; i += ${THREADS}u) {
    tile[i] = numbers[i];
  }
  workgroupBarrier();
#end
  var sum = vec4<f32>(0.0);
  for (var i = 0u; i < VECTORS; i++) {
#if SOURCE == "storage"
    sum += numbers[row * VECTORS + i];
#end
#if SOURCE == "same"
    sum += numbers[i];
#end
#if SOURCE == "uniform"
    sum += numbers[(row * 64u + i) % 4096u];
#end
#if SOURCE == "texture"
    sum += textureLoad(numbers, vec2<u32>(i, row), 0);
#end
#if SOURCE == "workgroup"
    sum += tile[(row * 64u + i) % 1024u];
#end
  }
  sums[row] = sum;
}
