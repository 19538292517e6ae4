package dev.octet.core.cpu;

import org.jspecify.annotations.Nullable;

/**
 * How the CPU path is configured: each value is resolved once, when this class is first used.
 *
 * <table>
 * <caption>System properties</caption>
 * <tr><th>property</th><th>values</th><th>default</th></tr>
 * <tr><td>{@code octet.vector.bits}</td><td>128, 256, 512, or 0 for the scalar code</td><td>the width that the
 * JVM prefers on this CPU, at most 512; 0 when the module {@code jdk.incubator.vector} is not there</td></tr>
 * <tr><td>{@code octet.threads}</td><td>1 to 1024</td><td>the physical cores that this process may run on</td></tr>
 * </table>
 *
 * <p>A width that the machine has not is still correct, and slow; see {@link PerformanceCliff}. A property with any
 * other value makes the method that returns it, and all that needs it, throw {@link IllegalArgumentException}.
 */
public final class CpuConfig {
    private static final String BITS = "octet.vector.bits";
    private static final String THREADS = "octet.threads";

    private static final boolean MODULE = ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
    private static final @Nullable String BITS_SET = System.getProperty(BITS);
    private static final @Nullable String THREADS_SET = System.getProperty(THREADS);
    private static final boolean BITS_VALID = BITS_SET == null || BITS_SET.matches("0|128|256|512");
    private static final boolean THREADS_VALID = THREADS_SET == null
            || THREADS_SET.matches("[1-9][0-9]{0,3}") && Integer.parseInt(THREADS_SET) <= 1024;
    private static final int VECTOR_BITS = BITS_VALID ? resolveBits() : 0;
    private static final int CPU_THREADS = THREADS_VALID ? resolveThreads() : 0;

    private CpuConfig() {}

    /**
     * {@return the vector width in bits that kernels use: 128, 256 or 512; 0 means scalar code}
     *
     * @throws IllegalArgumentException if the property {@code octet.vector.bits} has a value that it does not take
     */
    public static int vectorBits() {
        if (!BITS_VALID) {
            throw new IllegalArgumentException(BITS + " is '" + BITS_SET + "', it takes 0, 128, 256 or 512");
        }
        return VECTOR_BITS;
    }

    /** {@return whether the module {@code jdk.incubator.vector} was found, configured or not} */
    public static boolean vectorModulePresent() {
        return MODULE;
    }

    /**
     * {@return how many threads the shared pool has, the caller included}
     *
     * @throws IllegalArgumentException if the property {@code octet.threads} has a value that it does not take
     */
    public static int threads() {
        if (!THREADS_VALID) {
            throw new IllegalArgumentException(THREADS + " is '" + THREADS_SET + "', it takes 1 to 1024");
        }
        return CPU_THREADS;
    }

    /** {@return why {@link #vectorBits()} is what it is} */
    public static String vectorReason() {
        if (BITS_SET != null && BITS_SET.equals("0")) {
            return BITS + "=0";
        }
        if (!MODULE) {
            return "module jdk.incubator.vector is missing: start the JVM with --add-modules jdk.incubator.vector";
        }
        return BITS_SET != null ? BITS + "=" + BITS_SET : "the width that the JVM prefers on this CPU";
    }

    private static int resolveBits() {
        int set = BITS_SET == null ? -1 : Integer.parseInt(BITS_SET);
        if (set == 0) {
            return 0; // asked for, so no cliff
        }
        if (!MODULE) {
            PerformanceCliff.VECTOR_MODULE_MISSING.report();
            return 0;
        }
        if (lacksC2(System.getProperty("java.vm.info", ""))) {
            PerformanceCliff.NO_C2.report();
        }
        int preferred = PreferredSpecies.bits();
        if (set > preferred) {
            PerformanceCliff.VECTOR_WIDER_THAN_CPU.report();
        }
        return set > 0 ? set : Math.min(512, preferred);
    }

    /** What HotSpot says of itself under -Xint and under -XX:TieredStopAtLevel=1. */
    static boolean lacksC2(String vmInfo) {
        return vmInfo.contains("interpreted mode") || vmInfo.contains("emulated-client");
    }

    private static int resolveThreads() {
        return THREADS_SET == null ? PhysicalCores.count() : Integer.parseInt(THREADS_SET);
    }

    /** Apart, so that this class loads without the Vector API. */
    private static final class PreferredSpecies {
        static int bits() {
            return jdk.incubator.vector.FloatVector.SPECIES_PREFERRED.vectorBitSize();
        }
    }
}
