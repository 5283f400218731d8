// The rows of an operand called NAME, whatever its format DTYPE is, stored (stored.wgsl) or drawn where it is read (draw.wgsl):
//
//   var line = line_NAME(row);    a row, which is best read forwards
//   load4_NAME(&line, at)         its elements 4 · at … 4 · at + 3, in f32
//
// Parameters: NAME_at and NAME_pitch, the vectors of 4 elements before the first one, and from row to row; of what is drawn,
// rows before the first one, and elements from row to row in the order of drawing. It is drawn from stream STREAM.
#if DTYPE == "PHILOX"
@group(0) @binding(${BINDING}) var<storage, read> stored_${NAME}: array<u32>; // never read
#use draw
fn line_${NAME}(row: u32) -> Line { return drawn_line(p.${NAME}_at + row, p.${NAME}_pitch); }
fn load4_${NAME}(line: ptr<function, Line>, at: u32) -> vec4<f32> { return draw4(line, ${STREAM}, at); }
#else
#include stored
fn line_${NAME}(row: u32) -> u32 { return p.${NAME}_at + row * p.${NAME}_pitch; }
fn load4_${NAME}(line: ptr<function, u32>, at: u32) -> vec4<f32> { return stored4_${NAME}(*line + at); }
#end
