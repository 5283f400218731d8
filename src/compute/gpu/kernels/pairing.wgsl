// Row q of Ŝ is λ[k, j]·A[k]⊙γ[j], and meets column q of B̂: k = rank_of(q), j = basis_of(q). As pairing.ts has it.
#if PAIRING == "peft"
fn rank_of(q: u32) -> u32 { return q / p.bases; }
fn basis_of(q: u32) -> u32 { return q % p.bases; }
#else
fn rank_of(q: u32) -> u32 { return q % p.rank; }
fn basis_of(q: u32) -> u32 { return q / p.rank; }
#end
