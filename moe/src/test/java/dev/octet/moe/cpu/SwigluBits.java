package dev.octet.moe.cpu;

/** The arithmetic of the CPU backends, one value at a time, for tests in other packages. */
public final class SwigluBits {
    private SwigluBits() {}

    /** {@return the activation of one value} */
    public static float swiglu(float g, float u, float weight) {
        return ScalarSwigluKernels.swiglu(g, u, weight);
    }
}
