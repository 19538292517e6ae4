package dev.octet.moe;

/** Where in an expert its routing weight comes in. Equal in exact arithmetic; rounding differs. */
public enum RoutingWeight {
    /**
     * The expert's output is multiplied, in the sum over a token's experts: what published inference code does
     * (DeepSeek-V3's {@code model.py}).
     */
    AFTER_DOWN,
    /**
     * The activations are multiplied before they are quantised for the down projection: what training code does, whose
     * combine step is then a plain sum.
     */
    BEFORE_DOWN
}
