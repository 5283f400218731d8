/** A module of the story model's layer. */
export const layer = (index: number, name: string): string => `model.layers.${index}.${name}`;

/** Parts of joined matrices, whole ones, tall and wide, and one whose rows are no whole blocks. */
export const MODULES = {
  [layer(0, "self_attn.q_proj")]: [64, 64],
  [layer(0, "self_attn.v_proj")]: [32, 64],
  [layer(2, "mlp.down_proj")]: [64, 172],
  [layer(3, "mlp.up_proj")]: [172, 64],
} as const;
