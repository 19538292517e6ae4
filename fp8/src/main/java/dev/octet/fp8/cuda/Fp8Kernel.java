package dev.octet.fp8.cuda;

/** The kernels, each with the file it stands in and the size of its parameter. */
enum Fp8Kernel {
    CAST("fp8_cast.cu", "octet_cast", ParameterBlock.CAST_BYTES),
    QUANTIZE_1X128("fp8_quantize_1x128.cu", "octet_quantize_1x128", ParameterBlock.QUANTIZE_BYTES),
    QUANTIZE_128X1("fp8_quantize_128x1.cu", "octet_quantize_128x1", ParameterBlock.QUANTIZE_BYTES),
    QUANTIZE_128X128("fp8_quantize_128x128.cu", "octet_quantize_128x128", ParameterBlock.QUANTIZE_BYTES),
    QUANTIZE_ROW("fp8_quantize_row.cu", "octet_quantize_row", ParameterBlock.QUANTIZE_BYTES),
    QUANTIZE_COLUMN("fp8_quantize_column.cu", "octet_quantize_column", ParameterBlock.QUANTIZE_BYTES),
    AMAX_TENSOR("fp8_quantize_tensor.cu", "octet_amax_tensor", ParameterBlock.QUANTIZE_BYTES),
    QUANTIZE_TENSOR("fp8_quantize_tensor.cu", "octet_quantize_tensor", ParameterBlock.QUANTIZE_BYTES),
    DEQUANTIZE("fp8_dequantize.cu", "octet_dequantize", ParameterBlock.DEQUANTIZE_BYTES),
    STAGE("fp8_stage.cu", "octet_stage", ParameterBlock.STAGE_BYTES),
    GEMM_MMA_64("fp8_gemm_mma.cu", "octet_gemm_mma_64", ParameterBlock.GEMM_BYTES),
    GEMM_FMA_64("fp8_gemm_fma.cu", "octet_gemm_fma_64", ParameterBlock.GEMM_BYTES),
    GEMM_FMA_8("fp8_gemm_fma.cu", "octet_gemm_fma_8", ParameterBlock.GEMM_BYTES);

    /** Threads of a block, of every kernel. */
    static final int THREADS = 256;
    /** What {@link Launcher#scratch} has room for: a word for each block that looks for the largest magnitude. */
    static final int SCRATCH_BYTES = 4096;

    private final String file;
    private final String function;
    private final int parameterBytes;

    Fp8Kernel(String file, String function, int parameterBytes) {
        this.file = file;
        this.function = function;
        this.parameterBytes = parameterBytes;
    }

    /** {@return the resource that it stands in} */
    String file() {
        return file;
    }

    /** {@return its name there} */
    String function() {
        return function;
    }

    /** {@return the size of its parameter} */
    int parameterBytes() {
        return parameterBytes;
    }
}
