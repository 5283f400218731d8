import type { KernelDtype } from "./dtype.ts";
import type {
  Attention,
  AttentionGradient,
  CacheFilling,
  Rope,
  RopeGradient,
  Sinks,
  SinksGradient,
} from "./families/attention.ts";
import type {
  BasisGradient,
  BasisGradientShape,
  DrawUnits,
  LambdaOrder,
  ScaledA,
  Unpack,
  Widen,
} from "./families/bilinear.ts";
import type { Convolution, ConvolutionGradient, TailConvolution } from "./families/convolution.ts";
import type { Delta, DeltaVariant } from "./families/delta.ts";
import type { ColumnSums, Dropout, Elementwise } from "./families/elementwise.ts";
import type {
  ExpertRows,
  GroupBias,
  GroupedGemm,
  GroupSums,
  MixFactors,
  MixRows,
  RouterWeights,
  RouterWeightsGradient,
  SpreadRows,
} from "./families/experts.ts";
import type { GatedDelta, GatedDeltaGradient, Regroup } from "./families/gated-delta.ts";
import type { Finish } from "./families/finish.ts";
import type { AdamWStep, GradientNorm, LossSum } from "./families/optimizer.ts";
import type { Gemm, Linear, NormedLinear } from "./families/products.ts";
import type { Embedding, EmbeddingGradient, Nll, NllGradient, Rows, TopK } from "./families/tokens.ts";
import type { ColumnSquares, Magnitudes, Rescale, RowSquares } from "./families/magnitude.ts";
import type { ThetaDelta, ThetaGradient } from "./families/theta.ts";
import type { StridedProduct } from "./families/strided-sums.ts";

/**
 * Everything that a device can compute, by family: a record of what is computed on which tensors, and nothing of how.
 * All sums are f32, in partial sums of at most 256 terms whose order does not change from run to run.
 */
export interface Families {
  readonly adamw: AdamWStep;
  readonly attention: Attention;
  readonly attentionGradient: AttentionGradient;
  readonly basisGradient: BasisGradient;
  readonly columnSquares: ColumnSquares;
  readonly columnSums: ColumnSums;
  readonly convolution: Convolution;
  readonly convolutionGradient: ConvolutionGradient;
  readonly delta: Delta;
  readonly drawUnits: DrawUnits;
  readonly dropout: Dropout;
  readonly elementwise: Elementwise;
  readonly embedding: Embedding;
  readonly embeddingGradient: EmbeddingGradient;
  readonly expertRows: ExpertRows;
  readonly fillCache: CacheFilling;
  readonly finish: Finish;
  readonly gatedDelta: GatedDelta;
  readonly gatedDeltaGradient: GatedDeltaGradient;
  readonly gemm: Gemm;
  readonly gradientNorm: GradientNorm;
  readonly groupBias: GroupBias;
  readonly groupedGemm: GroupedGemm;
  readonly groupSums: GroupSums;
  readonly lambdaOrder: LambdaOrder;
  readonly linear: Linear;
  readonly lossSum: LossSum;
  readonly magnitudes: Magnitudes;
  readonly mixFactors: MixFactors;
  readonly mixRows: MixRows;
  readonly nll: Nll;
  readonly nllGradient: NllGradient;
  readonly normedLinear: NormedLinear;
  readonly regroup: Regroup;
  readonly rescale: Rescale;
  readonly rope: Rope;
  readonly ropeGradient: RopeGradient;
  readonly routerWeights: RouterWeights;
  readonly routerWeightsGradient: RouterWeightsGradient;
  readonly rowSquares: RowSquares;
  readonly rows: Rows;
  readonly scaledA: ScaledA;
  readonly sinks: Sinks;
  readonly sinksGradient: SinksGradient;
  readonly spreadRows: SpreadRows;
  readonly stridedSums: StridedProduct;
  readonly tailConvolution: TailConvolution;
  readonly thetaDelta: ThetaDelta;
  readonly thetaGradient: ThetaGradient;
  readonly topK: TopK;
  readonly unpack: Unpack;
  readonly widen: Widen;
}

/** Families whose first command would wait for a compiler where merges begin, and what decides about their kernels. */
export interface Preparations {
  readonly delta: DeltaVariant;
  readonly finish: object;
  readonly thetaDelta: object;
  readonly magnitudes: { readonly dtype: KernelDtype };
}

/**
 * Buffers that callers of a family hold for it, because they are planned or read back: what their sizes follow from, and
 * their bytes.
 */
export interface ScratchSizes {
  readonly basisGradient: {
    readonly of: BasisGradientShape;
    readonly bytes: { readonly lambdaParts: number; readonly gammaParts: number };
  };
  readonly finish: { readonly of: Pick<Finish, "rows" | "cols">; readonly bytes: { readonly statistics: number } };
  readonly thetaGradient: { readonly of: { readonly bases: number }; readonly bytes: { readonly parts: number } };
}
