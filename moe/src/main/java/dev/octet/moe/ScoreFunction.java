package dev.octet.moe;

/** How an expert's logit becomes its score. */
public enum ScoreFunction {
    /** {@code exp(x_e) / SUM exp(x_i)} over all experts. DeepSeek-V2, Mixtral. */
    SOFTMAX,
    /** {@code 1 / (1 + exp(-x_e))}. DeepSeek-V3. */
    SIGMOID,
    /** {@code sqrt(ln(1 + exp(x_e)))}. */
    SQRT_SOFTPLUS
}
