package dev.octet.core;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * Memory between two pages that nobody may touch: who reads or writes a byte beside it ends the JVM. That is how a test
 * sees what kernels that take addresses read and do not use.
 */
public final class GuardedMemory implements AutoCloseable {
    private static final long PAGE = 65536; // or a part of it
    private static final int NONE = 0;
    private static final int READ_WRITE = 3;
    private static final int PRIVATE_ANONYMOUS = 0x22;

    private final Arena arena = Arena.ofShared();

    private static MethodHandle find(String name, FunctionDescriptor type) {
        Linker linker = Linker.nativeLinker();
        return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), type);
    }

    /** {@return whether there is such memory here} */
    public static boolean isThere() {
        return System.getProperty("os.name").equals("Linux");
    }

    /**
     * {@return a tensor that ends where the memory ends, or begins where it begins}
     *
     * @param t what it holds
     * @param atEnd which
     */
    public Tensor copy(Tensor t, boolean atEnd) {
        Tensor copy = Tensor.wrap(allocate(t.shape().elements() * t.dtype().byteSize(), atEnd), t.dtype(), t.shape());
        copy.copyFrom(t);
        return copy;
    }

    /** {@return zeros} */
    public Tensor zeros(DType dtype, Shape shape, boolean atEnd) {
        return Tensor.wrap(allocate(shape.elements() * dtype.byteSize(), atEnd), dtype, shape);
    }

    /** {@return bytes of which the last, or the first, lies at a page that can't be touched} */
    public MemorySegment allocate(long bytes, boolean atEnd) {
        long room = Math.max(1, Math.ceilDiv(bytes, PAGE)) * PAGE;
        try {
            long begin = (long) find("mmap", FunctionDescriptor.of(ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG,
                    ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT,
                    ValueLayout.JAVA_LONG)).invokeExact(0L, room + 2 * PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0L);
            if (begin == -1) {
                throw new OutOfMemoryError("mmap of " + room + " bytes");
            }
            MethodHandle protect = find("mprotect", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG,
                    ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT));
            int failed = (int) protect.invokeExact(begin, PAGE, NONE);
            failed |= (int) protect.invokeExact(begin + PAGE + room, PAGE, NONE);
            if (failed != 0) {
                throw new IllegalStateException("mprotect failed");
            }
            return MemorySegment.ofAddress(begin + PAGE + (atEnd ? room - bytes : 0)).reinterpret(bytes, arena, s -> {
                try {
                    int ignored = (int) find("munmap", FunctionDescriptor.of(ValueLayout.JAVA_INT,
                            ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG)).invokeExact(begin, room + 2 * PAGE);
                } catch (Throwable e) {
                    throw new IllegalStateException(e);
                }
            });
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void close() {
        arena.close();
    }
}
