package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** What cuBLASLt is asked for, by a library that writes it down: which operand is its A, and what is refused before. */
@Tag("standin")
class CublasLtTest {
    private static final int M = 8;
    private static final int N = 256;
    private static final int K = 384;
    private static StandIn library;

    @BeforeAll
    static void build() throws Exception {
        library = StandIn.build();
    }

    private final CudaDevice gpu = Cuda.device(0);

    @Test
    void productWithBlockScales() {
        assertEquals(Optional.empty(), CublasLt.unavailable());
        List<String> before = gpu.openResources();
        try (Tensor x = filled(0x11, M, K); Tensor w = filled(0x22, N, K); CudaStream stream = gpu.newStream();
                Tensor xs = Tensor.allocateStrided(Device.cuda(0), DType.F32, Shape.of(M, 3), 1, M);
                Tensor ws = Tensor.allocateStrided(Device.cuda(0), DType.F32, Shape.of(2, 3), 4, 1);
                Tensor unpadded = Tensor.allocate(Device.cuda(0), DType.F32, Shape.of(2, 3));
                Tensor d = Tensor.allocate(Device.cuda(0), DType.BF16, Shape.of(M, N));
                CublasLt lt = CublasLt.open(gpu)) {
            library.takeLog();
            CublasLt.Matmul matmul = lt.prepare(CublasLt.Inputs.FP8_1X128_128X128, DType.BF16, M, N, K);
            assertEquals("""
                    cublasLtMatmulDescCreate 68 0
                    cublasLtMatrixLayoutCreate 28 384 256 384
                    cublasLtMatrixLayoutCreate 28 384 8 384
                    cublasLtMatrixLayoutCreate 14 256 8 256
                    cublasLtMatmulDescSetAttribute 0x80000000200 3 = 1 of 4 bytes
                    cublasLtMatmulDescSetAttribute 0x80000000200 31 = 5 of 4 bytes
                    cublasLtMatmulDescSetAttribute 0x80000000200 32 = 4 of 4 bytes
                    cublasLtMatmulDescSetAttribute 0x80000000200 17 = 1048576 of 8 bytes
                    cublasLtMatmulDescSetAttribute 0x80000000200 18 = 1048576 of 8 bytes
                    cublasLtMatmulPreferenceCreate
                    cublasLtMatmulPreferenceSetAttribute 0x80000000300 1 = 67108864 of 8 bytes
                    cublasLtMatmulAlgoGetHeuristic 0x80000000100 0x80000000200 A B D D 0x80000000300 requested 1
                    cublasLtMatmulPreferenceDestroy 0x80000000300
                    cuMemAlloc 12345
                    """, library.takeLog());
            matmul.run(x, xs, w, ws, d, stream);
            assertEquals("cublasLtMatmulDescSetAttribute 0x80000000200 17 = " + ws.address() + " of 8 bytes\n"
                    + "cublasLtMatmulDescSetAttribute 0x80000000200 18 = " + xs.address() + " of 8 bytes\n"
                    + "cublasLtMatmul 0x80000000100 0x80000000200 alpha 1 beta 0 first of A 34 of B 17 in D A B D D"
                    + " algo 4711 workspace there 12345 on 0x" + Long.toHexString(stream.handle()) + "\n",
                    library.takeLog());
            assertTrue(assertThrows(IllegalArgumentException.class, () -> matmul.run(x, xs, w, unpadded, d, stream))
                    .getMessage().contains("strides 4, 1"), "wrong numbers without an error, if it were let through");
            assertThrows(IllegalArgumentException.class, () -> matmul.run(w, xs, x, ws, d, stream));
            assertThrows(IllegalArgumentException.class, () -> matmul.run(x, w, d, stream));
            assertEquals("", library.takeLog());
            library.fail("cublasLtMatmul", 7);
            assertEquals("CUBLAS_STATUS_INVALID_VALUE", assertThrows(CudaException.class,
                    () -> matmul.run(x, xs, w, ws, d, stream)).statusName());
            matmul.close();
            matmul.close();
            assertThrows(IllegalArgumentException.class, () -> matmul.run(x, xs, w, ws, d, stream));
        }
        assertEquals(before, gpu.openResources());
    }

    @Test
    void whatItHasNot() {
        List<String> before = gpu.openResources();
        try (CublasLt lt = CublasLt.open(gpu)) {
            library.fail("cublasLtMatmulAlgoGetHeuristic", 15);
            assertThrows(UnsupportedOperationException.class,
                    () -> lt.prepare(CublasLt.Inputs.FP8_1X128_1X128, DType.F32, M, N, K));
            assertThrows(IllegalArgumentException.class,
                    () -> lt.prepare(CublasLt.Inputs.FP8_1X128_1X128, DType.F32, 7, N, K));
            assertThrows(IllegalArgumentException.class,
                    () -> lt.prepare(CublasLt.Inputs.BF16, DType.F16, M, N, K));
        }
        assertEquals(before, gpu.openResources());
    }

    private static Tensor filled(int value, long rows, long columns) {
        try (Tensor host = Tensor.allocate(DType.F8_E4M3, Shape.of(rows, columns))) {
            host.segment().fill((byte) value);
            return host.to(Device.cuda(0));
        }
    }
}
