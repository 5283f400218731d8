// The gradient of a table whose rows were gathered by id. No two workgroups write to one row, so nothing is atomic:
//   PASS "link": links[t] = (the next position with the id of t, or none; 1 when no position before t has it)
//   PASS "sum":  the first position of an id adds up the gradients of all its positions, in ascending order, and
//                adds them to the row of the table's gradient.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
const NONE = 0xffffffffu;

#if PASS == "link"
@group(0) @binding(1) var<storage, read> ids: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> links: array<vec2<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) invocation: vec3<u32>) {
  let t = invocation.x;
  if (t >= p.tokens) {
    return;
  }
  let id = ids[p.ids_at / 4u + t / 4u][t % 4u];
  var next = vec4<u32>(NONE);
  var earlier = vec4<bool>(false);
  for (var at = 0u; at < p.tokens; at += 4u) {
    let others = vec4<u32>(at) + vec4<u32>(0u, 1u, 2u, 3u);
    let equal = ids[(p.ids_at + at) / 4u] == vec4<u32>(id);
    earlier = earlier | (equal & (others < vec4<u32>(t)));
    let later = equal & (others > vec4<u32>(t)) & (others < vec4<u32>(p.tokens));
    next = min(next, select(vec4<u32>(NONE), others, later));
  }
  links[t] = vec2<u32>(min(min(next.x, next.y), min(next.z, next.w)), u32(!any(earlier)));
}
#else
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> links: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dtable: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let token = ids[p.ids_at + id.y];
  if (id.x >= p.width || links[id.y].y == 0u || token < p.first || token >= p.first + p.count) {
    return;
  }
  var total = vec4<f32>(0.0);
  for (var t = id.y; t != NONE;) {
    var sum = vec4<f32>(0.0);
    for (var terms = 0u; terms < 256u && t != NONE; terms++) {
      sum += dy[p.dy_at + t * p.dy_pitch + id.x];
      t = links[t].x;
    }
    total += sum;
  }
  dtable[p.table_at + (token - p.first) * p.table_pitch + id.x] += p.scale * total;
}
#end
