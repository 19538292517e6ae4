package dev.octet.benchmarks.peer;

import dev.octet.core.DType;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.openblas.global.openblas;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * LibTorch, called through JavaCPP: its BF16 products run in oneDNN, its FP32 products in OpenBLAS. Nothing of it is
 * loaded before the first call.
 *
 * <p>A peer is given its best chance: variables in the environment that override what OpenBLAS finds out about the
 * processor are removed before it is loaded. One that names an older processor was seen to cost it half its speed on
 * one thread, and on two nine tenths.
 */
public final class LibTorch {
    private static final List<String> OVERRIDES = List.of("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
            "OPENBLAS_NUM_THREADS", "OPENBLAS_DEFAULT_NUM_THREADS", "OMP_NUM_THREADS");

    static {
        OVERRIDES.forEach(Environment::remove);
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
     * Sets the number of threads of LibTorch and of the BLAS library below it, which has threads of its own.
     *
     * @param threads how many
     */
    public static void useThreads(int threads) {
        useThreads(threads, threads);
    }

    /**
     * Sets both numbers apart: threads of either wait for their next work in a loop, so that an operation that needs
     * both in turns is faster if the cores belong to one of them.
     *
     * @param own threads of LibTorch and of oneDNN
     * @param blas threads of the BLAS library
     */
    static void useThreads(int own, int blas) {
        torch.set_num_threads(own);
        openblas.blas_set_num_threads(blas);
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
