package dev.octet.cuda;

import dev.octet.cuda.driver.Driver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Machine code that is loaded on a GPU. Safe for use by several threads. */
public final class CudaModule extends Resource {
    private final String name;
    private final Map<String, CudaKernel> kernels = new ConcurrentHashMap<>();

    private CudaModule(CudaDevice device, long handle, String name) {
        super(device, handle);
        this.name = name;
    }

    static CudaModule load(CudaDevice device, String name, byte[] cubin) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment image = arena.allocate(cubin.length + 1L, 16); // text, such as PTX, ends with a 0
            MemorySegment.copy(cubin, 0, image, java.lang.foreign.ValueLayout.JAVA_BYTE, 0, cubin.length);
            return new CudaModule(device, device.enter().loadModule(image.address()), name);
        }
    }

    /** {@return what it is called in messages} */
    public String name() {
        return name;
    }

    /**
     * {@return a kernel; the same object for the same name}
     *
     * @param kernel its name, declared {@code extern "C"}
     * @throws IllegalArgumentException if there is no such kernel
     */
    public CudaKernel kernel(String kernel) {
        return kernels.computeIfAbsent(kernel, k -> {
            Driver driver = gpu().enter();
            try {
                return new CudaKernel(this, k, driver.function(handle(), k));
            } catch (CudaException e) {
                if (e.statusName().equals("CUDA_ERROR_NOT_FOUND")) {
                    throw new IllegalArgumentException(name + " has no kernel '" + k + "'; is it extern \"C\"?", e);
                }
                throw e;
            }
        });
    }

    /**
     * {@return the device address of a variable}
     *
     * @param variable its name, declared {@code extern "C"}
     * @throws CudaException if there is no such variable
     */
    public long address(String variable) {
        return gpu().enter().variable(handle(), variable);
    }

    @Override
    void release(long handle) {
        gpu().enter().unloadModule(handle);
    }

    /** {@return the name and the device} */
    @Override
    public String toString() {
        return "module " + name + " on " + gpu().device();
    }
}
