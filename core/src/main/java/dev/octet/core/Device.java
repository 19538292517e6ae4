package dev.octet.core;

/**
 * Where a tensor's memory lies.
 *
 * @param kind the kind of device
 * @param index which one of its kind, from 0; always 0 for the CPU
 */
public record Device(Kind kind, int index) {
    /** The kinds of device that Octet knows. */
    public enum Kind {
        /** Memory that the JVM addresses directly. */
        CPU,
        /** Memory of an NVIDIA GPU. */
        CUDA
    }

    /** The host. */
    public static final Device CPU = new Device(Kind.CPU, 0);

    /**
     * Checks the index.
     *
     * @throws IllegalArgumentException if the index is negative, or not 0 for the CPU
     */
    public Device {
        java.util.Objects.requireNonNull(kind, "kind");
        if (index < 0 || (kind == Kind.CPU && index != 0)) {
            throw new IllegalArgumentException("index " + index + " names no " + kind + " device");
        }
    }

    /**
     * {@return the NVIDIA GPU of that number}
     *
     * @param index its number in the order of the CUDA driver
     */
    public static Device cuda(int index) {
        return new Device(Kind.CUDA, index);
    }

    /** {@return {@code cpu} or, for example, {@code cuda:0}} */
    @Override
    public String toString() {
        return kind == Kind.CPU ? "cpu" : "cuda:" + index;
    }
}
