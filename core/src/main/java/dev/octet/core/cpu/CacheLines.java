package dev.octet.core.cpu;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import org.jspecify.annotations.Nullable;

/**
 * Where cache lines begin in Java arrays. The JVM aligns objects to 8 bytes, so that a 512-bit load from an array takes
 * two lines unless the array happens to lie well: on a Zen 5 a GEMM whose packed operands and sums are Java arrays was
 * seen to lose up to 8 % by that, or nothing, from one run of the JVM to the next.
 */
public final class CacheLines {
    private static final int LINE = 64;
    private static final @Nullable MethodHandle MEMSET = find();

    private CacheLines() {}

    // memset() of no bytes does nothing but return the address it was given.
    @SuppressWarnings("restricted") // the module is run with --enable-native-access
    private static @Nullable MethodHandle find() {
        try {
            Linker linker = Linker.nativeLinker();
            return linker.defaultLookup().find("memset").map(f -> linker.downcallHandle(f,
                    FunctionDescriptor.of(JAVA_LONG, ADDRESS, JAVA_INT, JAVA_LONG), Linker.Option.critical(true)))
                    .orElse(null);
        } catch (RuntimeException e) { // a JVM without native access
            return null;
        }
    }

    /**
     * {@return the index of the first element that begins a cache line of 64 bytes, 0 to 15; 0 if the platform does not
     * tell} It takes some 10 ns. The garbage collector may move the array at any time: that costs speed, no more, until
     * the next question.
     *
     * @param array all of a {@code float[]} or {@code int[]}
     */
    public static int firstIn(MemorySegment array) {
        MethodHandle memset = MEMSET;
        if (memset == null || array.byteSize() == 0) {
            return 0;
        }
        try {
            long address = (long) memset.invokeExact(array, 0, 0L);
            return (int) (-address & LINE - 1) / Integer.BYTES;
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
