package dev.octet.cuda;

/** Numbers that the driver knows about a GPU. */
public enum DeviceAttribute {
    /** Threads that a block may have. */
    THREADS_PER_BLOCK(1),
    /** The clock of the multiprocessors at its highest, in kHz. */
    CLOCK_KHZ(13),
    /** Streaming multiprocessors. */
    MULTIPROCESSORS(16),
    /** The clock of the memory at its highest, in kHz. */
    MEMORY_CLOCK_KHZ(36),
    /** The width of the memory's bus in bits. */
    MEMORY_BUS_BITS(37),
    /** The second-level cache in bytes. */
    L2_BYTES(38),
    /** Threads that a multiprocessor holds. */
    THREADS_PER_MULTIPROCESSOR(39),
    /** The first number of the compute capability. */
    CAPABILITY_MAJOR(75),
    /** The second number of the compute capability. */
    CAPABILITY_MINOR(76),
    /** Shared memory of a multiprocessor in bytes. */
    SHARED_MEMORY_PER_MULTIPROCESSOR(81),
    /** 32-bit registers of a multiprocessor. */
    REGISTERS_PER_MULTIPROCESSOR(82),
    /** Shared memory in bytes that one block can have if its kernel asks for it. */
    SHARED_MEMORY_PER_BLOCK(97);

    /** The number of this attribute in {@code CUdevice_attribute}. */
    final int code;

    DeviceAttribute(int code) {
        this.code = code;
    }
}
