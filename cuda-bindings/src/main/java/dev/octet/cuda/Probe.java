package dev.octet.cuda;

import dev.octet.cuda.driver.Driver;
import dev.octet.cuda.driver.NativeDriver;
import dev.octet.cuda.driver.PresetDriver;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What came of the one attempt to reach a driver.
 *
 * @param devices the GPUs
 * @param reason null, or why there are none
 */
record Probe(List<CudaDevice> devices, @Nullable String reason) {
    /** Made when somebody first asks. */
    static final Probe RESULT = probe();

    private static Probe probe() {
        if (Boolean.getBoolean("octet.cuda.disable")) {
            return none("the system property octet.cuda.disable is set");
        }
        try {
            return of(driver());
        } catch (CudaException e) {
            return none("the NVIDIA driver is there but does not start: " + e.getMessage());
        } catch (LinkageError | RuntimeException | ReflectiveOperationException e) {
            return none(rootMessage(e));
        }
    }

    /** {@return the devices of a driver} */
    static Probe of(Driver driver) {
        int count = driver.deviceCount();
        if (count == 0) {
            return none("the NVIDIA driver reports no device: see nvidia-smi and CUDA_VISIBLE_DEVICES");
        }
        List<CudaDevice> devices = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            devices.add(new CudaDevice(driver, i));
        }
        return new Probe(List.copyOf(devices), null);
    }

    private static Driver driver() throws ReflectiveOperationException {
        String name = System.getProperty("octet.cuda.driver");
        if (name != null) {
            return (Driver) Class.forName(name).getDeclaredConstructor().newInstance();
        }
        String binding = System.getProperty("octet.cuda.binding", hasPresets() ? "presets, or foreign" : "foreign");
        return switch (binding) {
            case "presets" -> new PresetDriver();
            case "foreign" -> new NativeDriver();
            case "presets, or foreign" -> presetsOrForeign();
            default -> throw new IllegalArgumentException("the system property octet.cuda.binding is " + binding
                    + ", takes presets or foreign");
        };
    }

    /** {@return whether JavaCPP's classes are there; their native library is not touched} */
    private static boolean hasPresets() {
        try {
            Class.forName("org.bytedeco.cuda.global.cudart", false, Probe.class.getClassLoader());
            return true;
        } catch (ClassNotFoundException | LinkageError e) {
            return false;
        }
    }

    private static Driver presetsOrForeign() {
        try {
            return new PresetDriver();
        } catch (LinkageError e) {
            Driver driver;
            try {
                driver = new NativeDriver();
            } catch (NoClassDefFoundError again) {
                throw e; // both need the driver's own library, and the first attempt has said why it does not open
            }
            System.getLogger(Probe.class.getName()).log(System.Logger.Level.WARNING,
                    "JavaCPP''s CUDA presets are on the class path and do not load, so the driver is called through"
                            + " java.lang.foreign. They need libcudart.so.13 of CUDA''s toolkit on the loader''s path,"
                            + " and their jar for this platform: {0}", rootMessage(e));
            return driver;
        }
    }

    private static Probe none(String reason) {
        return new Probe(List.of(), reason);
    }

    /** A failed class initialiser wraps what happened. */
    private static String rootMessage(Throwable e) {
        Throwable root = e;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        return root.getMessage() == null ? root.toString() : root.getMessage();
    }
}
