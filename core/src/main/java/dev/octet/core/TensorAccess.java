package dev.octet.core;

import java.lang.foreign.MemorySegment;

/**
 * What has to be so before a kernel goes by addresses, where nothing notices that memory is gone, belongs to another
 * thread or must not be written; a write to a mapping that is read-only would end the process.
 */
public final class TensorAccess {
    private TensorAccess() {}

    /**
     * Checks that the calling thread may read a tensor.
     *
     * @param name what the caller calls it, for the message
     * @param t the tensor
     * @throws IllegalStateException if it is closed
     * @throws WrongThreadException if its memory is that of a confined arena of another thread
     */
    public static void readable(String name, Tensor t) {
        if (!t.isOpen()) {
            throw new IllegalStateException(name + " is closed: " + t);
        }
        if (t.device().kind() == Device.Kind.CPU && !memory(t).isAccessibleBy(Thread.currentThread())) {
            throw new WrongThreadException(
                    name + " is in the memory of a confined arena, which belongs to another thread");
        }
    }

    /**
     * Checks that the calling thread may write a tensor, and that its elements lie in places of their own.
     *
     * @param name what the caller calls it, for the message
     * @param t the tensor
     * @throws IllegalStateException if it is closed
     * @throws WrongThreadException if its memory is that of a confined arena of another thread
     * @throws IllegalArgumentException if its memory is read-only, or a stride is 0 over several elements
     */
    public static void writable(String name, Tensor t) {
        readable(name, t);
        if (t.device().kind() == Device.Kind.CPU && memory(t).isReadOnly()) {
            throw new IllegalArgumentException(name + " is read-only, it is to be written");
        }
        for (int d = 0; d < t.shape().rank(); d++) {
            if (t.stride(d) == 0 && t.dim(d) > 1 && t.shape().elements() > 0) {
                throw new IllegalArgumentException(name + " is " + t + " with stride 0 in dimension " + d
                        + ", its elements must lie in places of their own");
            }
        }
    }

    /** All of the storage: a slice would be an object for each check. */
    private static MemorySegment memory(Tensor t) {
        return t.storage().segment();
    }
}
