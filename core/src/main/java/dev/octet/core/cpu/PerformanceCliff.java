package dev.octet.core.cpu;

import java.util.concurrent.atomic.AtomicBoolean;

/**
 * The ways in which an operation can be much slower than it should be. Each is reported once in the life of the JVM:
 * one WARNING on the System.Logger {@code dev.octet} that names the remedy, and one JFR event
 * {@code dev.octet.PerformanceCliff}.
 */
public enum PerformanceCliff {
    /** The Vector API module was not resolved, so scalar code runs. */
    VECTOR_MODULE_MISSING("module jdk.incubator.vector is not there, so Octet's CPU kernels run as scalar code, many"
            + " times slower; start the JVM with --add-modules jdk.incubator.vector"),
    /** The configured vector width is wider than the CPU's, so vectors are emulated. */
    VECTOR_WIDER_THAN_CPU("octet.vector.bits asks for wider vectors than this CPU has, so they are emulated, many times"
            + " slower; remove the property"),
    /** An operand of a GEMM has no unit stride, so it is copied first. */
    GEMM_OPERAND_COPIED("an operand of an FP8 GEMM has no dimension of stride 1 and is copied first; make it contiguous"
            + " with Tensor.copy()"),
    /** The C2 compiler is off, without which the Vector API boxes every vector. */
    NO_C2("the JVM runs without its optimising compiler, so the Vector API is emulated; remove -Xint or"
            + " -XX:TieredStopAtLevel");

    private final String remedy;
    private final AtomicBoolean reported = new AtomicBoolean();

    PerformanceCliff(String remedy) {
        this.remedy = remedy;
    }

    /** {@return what happened and what helps} */
    public String remedy() {
        return remedy;
    }

    /** {@return whether it has been reported in this JVM} */
    public boolean wasReported() {
        return reported.get();
    }

    /** Reports the cliff unless it was reported before. Any thread may call it. */
    public void report() {
        if (reported.compareAndSet(false, true)) {
            PerformanceCliffEvent event = new PerformanceCliffEvent();
            event.cliff = name();
            event.remedy = remedy;
            event.commit();
            System.getLogger("dev.octet").log(System.Logger.Level.WARNING, remedy);
        }
    }
}
