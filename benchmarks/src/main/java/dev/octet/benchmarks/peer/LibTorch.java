package dev.octet.benchmarks.peer;

import dev.octet.core.DType;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import jdk.incubator.vector.FloatVector;
import org.bytedeco.openblas.global.openblas;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * LibTorch, called through JavaCPP: its BF16 products run in oneDNN, its FP32 products in OpenBLAS. Nothing of it is
 * loaded before the first call.
 *
 * <p>A peer is given its best chance. This OpenBLAS chooses kernels by a list of processors and takes AVX2 for one that
 * is not on it, which costs it a third of its speed on an AVX-512 machine; so where the processor has AVX-512, OpenBLAS is
 * told to use it, unless the environment already says otherwise.
 */
public final class LibTorch {
    private static final String BLAS_KERNELS = "OPENBLAS_CORETYPE";

    static {
        if (System.getenv(BLAS_KERNELS) == null && FloatVector.SPECIES_MAX.vectorBitSize() == 512) {
            Environment.set(BLAS_KERNELS, "SkylakeX");
        }
    }

    private LibTorch() {}

    /** {@return empty if LibTorch can be used here, else the reason; never throws for that} */
    public static Optional<String> unavailable() {
        try {
            torch.get_num_threads();
            return Optional.empty();
        } catch (LinkageError | RuntimeException e) {
            return Optional.of(String.valueOf(e));
        }
    }

    /** {@return LibTorch's version and what it runs on, or why it can't be loaded} */
    public static String describe() {
        Optional<String> reason = unavailable();
        if (reason.isPresent()) {
            return "not available: " + reason.get();
        }
        String config = torch.show_config().getString();
        return find("TORCH_VERSION=([^,]+)", config) + " (oneDNN " + find("MKL-DNN v(\\S+)", config)
                + ", OpenBLAS, CPU capability " + find("CPU capability usage: (\\S+)", config) + ")";
    }

    private static String find(String regex, String text) {
        Matcher m = Pattern.compile(regex).matcher(text);
        return m.find() ? m.group(1) : "unknown";
    }

    /**
     * Sets the number of threads of an operation. Products in F32 run on the threads of OpenBLAS, everything else on
     * LibTorch's own; both at once spin against each other, which makes a product on two cores five times slower than
     * on one.
     *
     * @param threads how many
     * @param blas whether the work is a product in F32
     */
    public static void useThreads(int threads, boolean blas) {
        torch.set_num_threads(blas ? 1 : threads);
        openblas.blas_set_num_threads(blas ? threads : 1);
    }

    static TensorOptions options(DType dtype) {
        return new TensorOptions(switch (dtype) {
            case F32 -> ScalarType.Float;
            case BF16 -> ScalarType.BFloat16;
            case F8_E4M3 -> ScalarType.Float8_e4m3fn;
            default -> throw new IllegalArgumentException("dtype is " + dtype + ", it must be F32, BF16 or F8_E4M3");
        });
    }
}
