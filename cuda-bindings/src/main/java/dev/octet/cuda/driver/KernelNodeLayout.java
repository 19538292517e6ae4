package dev.octet.cuda.driver;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A kernel node's parameters as the driver reads them, {@code CUDA_KERNEL_NODE_PARAMS} of version 2.
 *
 * <pre>
 *   0  kernel             pointer
 *   8  grid x, y, z       u32
 *  20  block x, y, z      u32
 *  32  dynamic shared     u32
 *  40  parameters         pointer to an array of pointers
 *  48  extra              pointer
 *  56  kernel of a library, where the first is null
 *  64  context
 * </pre>
 */
final class KernelNodeLayout {
    static final long BYTES = 72;

    private static final long FUNCTION = 0;
    private static final long GEOMETRY = 8;
    private static final long PARAMETERS = 40;
    private static final long LIBRARY_KERNEL = 56;
    /** Grid, block and shared memory lie in the same order in a launch configuration, from its first byte. */
    private static final long GEOMETRY_BYTES = 28;

    private KernelNodeLayout() {}

    static long function(MemorySegment params) {
        long function = params.get(ValueLayout.JAVA_LONG, FUNCTION);
        return function != 0 ? function : params.get(ValueLayout.JAVA_LONG, LIBRARY_KERNEL);
    }

    @SuppressWarnings("restricted") // the configuration's size is known
    static void write(MemorySegment params, long config, long function, long parameters) {
        params.set(ValueLayout.JAVA_LONG, FUNCTION, function);
        MemorySegment.copy(MemorySegment.ofAddress(config).reinterpret(LaunchLayout.BYTES), 0, params, GEOMETRY,
                GEOMETRY_BYTES);
        params.set(ValueLayout.JAVA_LONG, PARAMETERS, parameters);
    }
}
