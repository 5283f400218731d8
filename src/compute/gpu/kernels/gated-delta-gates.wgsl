// Gates of the delta rule, of a token and a head.
fn beta_of(token: u32, head: u32) -> f32 {
  return 1.0 / (1.0 + exp(-gates[p.gates_at + token * p.gates_pitch + head]));
}

fn decay_input(token: u32, head: u32) -> f32 {
  return gates[p.gates_at + token * p.gates_pitch + p.heads + head] + decays[p.decays_at + p.heads + head];
}

fn rate_of(head: u32) -> f32 {
  return exp(decays[p.decays_at + head]);
}

// What is left of a state: exp(−A · softplus(x)).
fn left_of(token: u32, head: u32) -> f32 {
  let x = decay_input(token, head);
  return exp(-rate_of(head) * (max(x, 0.0) + log(1.0 + exp(-abs(x)))));
}
