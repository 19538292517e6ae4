package dev.octet.core.cpu;

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
 * <p>A width that the machine has not is still correct, and slow.
 */
public final class CpuConfig {
    private static final String BITS = "octet.vector.bits";
    private static final String THREADS = "octet.threads";

    private static final boolean MODULE = ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
    private static final int VECTOR_BITS = resolveBits();
    private static final int CPU_THREADS = resolveThreads();

    private CpuConfig() {}

    /** {@return the vector width in bits that kernels use: 128, 256 or 512; 0 means scalar code} */
    public static int vectorBits() {
        return VECTOR_BITS;
    }

    /** {@return whether the module {@code jdk.incubator.vector} was found, configured or not} */
    public static boolean vectorModulePresent() {
        return MODULE;
    }

    /** {@return how many threads the shared pool has, the caller included} */
    public static int threads() {
        return CPU_THREADS;
    }

    /** {@return why {@link #vectorBits()} is what it is} */
    public static String vectorReason() {
        if (!MODULE) {
            return "module jdk.incubator.vector is missing: start the JVM with --add-modules jdk.incubator.vector";
        }
        String set = System.getProperty(BITS);
        return set != null ? BITS + "=" + set : "the width that the JVM prefers on this CPU";
    }

    private static int resolveBits() {
        String set = System.getProperty(BITS);
        if (set != null && !set.matches("0|128|256|512")) {
            throw new IllegalArgumentException(BITS + " is '" + set + "', it takes 0, 128, 256 or 512");
        }
        if (!MODULE) {
            PerformanceCliff.VECTOR_MODULE_MISSING.report();
            return 0;
        }
        return set != null ? Integer.parseInt(set) : Math.min(512, PreferredSpecies.bits());
    }

    private static int resolveThreads() {
        String set = System.getProperty(THREADS);
        if (set == null) {
            return PhysicalCores.count();
        }
        if (!set.matches("[1-9][0-9]{0,3}") || Integer.parseInt(set) > 1024) {
            throw new IllegalArgumentException(THREADS + " is '" + set + "', it takes 1 to 1024");
        }
        return Integer.parseInt(set);
    }

    /** Apart, so that this class loads without the Vector API. */
    private static final class PreferredSpecies {
        static int bits() {
            return jdk.incubator.vector.FloatVector.SPECIES_PREFERRED.vectorBitSize();
        }
    }
}
