package dev.octet.mla;

/**
 * The frequencies of a rotary embedding for one number of dimensions: {@code theta^(-2j/dim)} for pair {@code j},
 * stretched by YaRN if there is one.
 */
public final class Rope {
    private final int dim;
    private final float[] frequencies;
    private final float factor;

    private Rope(int dim, float[] frequencies, float factor) {
        this.dim = dim;
        this.frequencies = frequencies;
        this.factor = factor;
    }

    /** {@return values of a head that are turned} */
    public int dim() {
        return dim;
    }

    /** {@return the angle that each pair is turned by for one position, {@code dim / 2} of them} */
    public float[] frequencies() {
        return frequencies.clone();
    }

    /** {@return what cosines and sines are multiplied by} */
    public float factor() {
        return factor;
    }
}
