// The operands of a product of matrices, as product_sums includes them, by ORDER: `a` by a_line, `b` by b_line or b_col, and in NN and TN from row
// b_first on; `terms` of them.
#if ORDER == "TN"
    let left4 = select(vec4<f32>(0.0), a[a_line + min(term + ty, terms - 1u) * p.a_pitch], term + ty < terms);
#else
    let inside = term + vector * 4u < terms;
    let left4 = select(vec4<f32>(0.0), a[a_line + min(term / 4u + vector, (terms - 1u) / 4u)], inside);
#end
#if ORDER == "NT"
    let right4 = load4_b(&b_line, min(term / 4u + vector, (terms - 1u) / 4u));
#else
    var b_line = line_b(b_first + min(term + ty, terms - 1u));
    let right4 = load4_b(&b_line, b_col);
#end
