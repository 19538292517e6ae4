package dev.octet.fp8;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What a GEMM does with its FP32 sums before the final cast, in this order:
 * {@code D = cast(activation(sum + addend + bias))}, all in FP32.
 *
 * @param addend a matrix {@code [M, N]} of F32 or BF16 (the C of a BLAS GEMM), or null. It may be the output tensor
 *     itself, which then accumulates; any other overlap with the output gives an undefined result
 * @param bias a vector {@code [N]} of F32 or BF16, added to each row, or null
 * @param activation the function applied last
 */
public record Epilogue(@Nullable Tensor addend, @Nullable Tensor bias, Activation activation) {
    /** Nothing but the cast. */
    public static final Epilogue NONE = new Epilogue(null, null, Activation.IDENTITY);

    /**
     * Checks ranks and dtypes; the extents are checked against the GEMM.
     *
     * @throws IllegalArgumentException if a rank or dtype does not fit
     */
    public Epilogue {
        Objects.requireNonNull(activation, "activation");
        check("addend", addend, 2);
        check("bias", bias, 1);
    }

    private static void check(String name, @Nullable Tensor t, int rank) {
        if (t == null) {
            return;
        }
        if (t.dtype() != DType.F32 && t.dtype() != DType.BF16) {
            throw new IllegalArgumentException(name + " is " + t.dtype() + ", it must be F32 or BF16");
        }
        if (t.shape().rank() != rank) {
            throw new IllegalArgumentException(name + " has shape " + t.shape() + ", its rank must be " + rank);
        }
    }

    /**
     * {@return this epilogue with a matrix to add}
     *
     * @param tensor {@code [M, N]} of F32 or BF16
     */
    public Epilogue withAddend(Tensor tensor) {
        return new Epilogue(Objects.requireNonNull(tensor, "tensor"), bias, activation);
    }

    /**
     * {@return this epilogue with a vector to add to each row}
     *
     * @param tensor {@code [N]} of F32 or BF16
     */
    public Epilogue withBias(Tensor tensor) {
        return new Epilogue(addend, Objects.requireNonNull(tensor, "tensor"), activation);
    }

    /**
     * {@return this epilogue with another activation}
     *
     * @param function the activation
     */
    public Epilogue with(Activation function) {
        return new Epilogue(addend, bias, function);
    }
}
