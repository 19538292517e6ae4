package dev.octet.mla;

/** Models that keep the dimensions of DeepSeek's and have fewer of everything that only costs time. */
final class Configs {
    private Configs() {}

    /** {@return a model with other heads and another hidden size; 0 leaves the hidden size as it is} */
    static MlaConfig small(MlaConfig c, int heads, int hiddenSize) {
        return new MlaConfig(hiddenSize == 0 ? c.hiddenSize() : hiddenSize, 1, heads, c.qLoraRank(), c.kvLoraRank(),
                c.qkNopeHeadDim(), c.qkRopeHeadDim(), c.vHeadDim(), c.rmsNormEps(), c.rope());
    }

    /** {@return dimensions for which kernels take the same ways as for real ones} */
    static MlaConfig tiny(int heads, int qLoraRank) {
        return new MlaConfig(128, 1, heads, qLoraRank, 256, 64, 32, 64, 1e-6f, RopeConfig.deepSeek(1.0));
    }

    /** {@return dimensions of which none is a multiple of 128 where it need not be} */
    static MlaConfig odd(int heads, int qLoraRank) {
        return new MlaConfig(200, 1, heads, qLoraRank, 128, 24, 12, 40, 1e-6f, RopeConfig.deepSeek(1.0));
    }
}
