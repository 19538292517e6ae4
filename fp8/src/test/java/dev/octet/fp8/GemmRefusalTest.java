package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Elsewhere;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What a GEMM refuses: with which message, and with its outputs untouched. */
@Tag("backend")
class GemmRefusalTest {
    private static final Scaling A = Scaling.ACTIVATION;
    private static final Scaling W = Scaling.WEIGHT;

    private final Arena arena = Arena.ofShared();

    @AfterEach
    void free() {
        arena.close();
    }

    private ScaledTensor zeros(long rows, long columns, Scaling scaling) {
        ScaledTensor t = Matrices.place(arena, Layout.CONTIGUOUS, DType.F8_E4M3, rows, columns, scaling);
        t.codes().segment().fill((byte) 0);
        t.scales().segment().fill((byte) 0);
        return t;
    }

    private Layout.Placed output(DType dtype, long rows, long columns) {
        return Layout.CONTIGUOUS.place(arena, dtype, rows, columns);
    }

    private void refused(Class<? extends RuntimeException> type, String message, ScaledTensor a, ScaledTensor b,
            Layout.Placed d, Epilogue epilogue) {
        for (String backend : TestedBackends.names().toList()) {
            RuntimeException e = assertThrows(type, () -> Fp8.on(backend).gemm(a, b, d.view(), epilogue), backend);
            assertTrue(e.getMessage().startsWith(message), e.getMessage());
            untouched(d.memory());
        }
        RuntimeException e = assertThrows(type, () -> Fp8.auto().gemm(a, b, d.view(), epilogue));
        assertTrue(e.getMessage().startsWith(message), e.getMessage());
        untouched(d.memory());
    }

    private static void untouched(MemorySegment memory) {
        for (long i = 0; i < memory.byteSize(); i++) {
            assertEquals(-1, memory.get(ValueLayout.JAVA_BYTE, i), "byte " + i);
        }
    }

    private void illegal(String message, ScaledTensor a, ScaledTensor b, Layout.Placed d, Epilogue epilogue) {
        refused(IllegalArgumentException.class, message, a, b, d, epilogue);
    }

    @Test
    void shapes() {
        ScaledTensor a = zeros(4, 200, A);
        ScaledTensor b = zeros(6, 200, W);
        illegal("a is [4, 200] and b [6, 201]", a, zeros(6, 201, W), output(DType.F32, 4, 6), Epilogue.NONE);
        illegal("d has shape [6, 4], it must be [4, 6]", a, b, output(DType.F32, 6, 4), Epilogue.NONE);
        illegal("d has shape [4, 5], it must be [4, 6]", a, b, output(DType.BF16, 4, 5), Epilogue.NONE);
        Layout.Placed d = output(DType.F32, 4, 6);
        illegal("d has shape [4, 6, 1], it must be a matrix", a, b,
                new Layout.Placed(d.view().reshape(4, 6, 1), d.memory()), Epilogue.NONE);
        illegal("epilogue.addend has shape [4, 7], it must be [4, 6]", a, b, d,
                Epilogue.NONE.withAddend(output(DType.F32, 4, 7).view()));
        illegal("epilogue.bias has shape [4], it must be [6]", a, b, d,
                Epilogue.NONE.withBias(output(DType.F32, 1, 4).view().reshape(4)));
    }

    @Test
    void dtypes() {
        ScaledTensor a = zeros(4, 200, A);
        ScaledTensor b = zeros(6, 200, W);
        for (DType dtype : DType.values()) {
            if (dtype != DType.F32 && dtype != DType.BF16) {
                illegal("d is " + dtype, a, b, output(dtype, 4, 6), Epilogue.NONE);
                IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                        () -> Fp8.auto().gemm(a, b, dtype));
                assertTrue(e.getMessage().startsWith("dtype is " + dtype), e.getMessage());
                e = assertThrows(IllegalArgumentException.class,
                        () -> Epilogue.NONE.withAddend(output(dtype, 4, 6).view()));
                assertTrue(e.getMessage().startsWith("addend is " + dtype), e.getMessage());
                e = assertThrows(IllegalArgumentException.class,
                        () -> Epilogue.NONE.withBias(output(dtype, 1, 6).view().reshape(6)));
                assertTrue(e.getMessage().startsWith("bias is " + dtype), e.getMessage());
            }
        }
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> Epilogue.NONE.withBias(output(DType.F32, 1, 6).view()));
        assertTrue(e.getMessage().startsWith("bias has shape [1, 6]"), e.getMessage());
    }

    @Test
    void scaleGrids() {
        Tensor codes = zeros(6, 200, W).codes();
        for (Granularity g : Granularity.values()) {
            Shape right = g.scaleShape(6, 200);
            Tensor scales = output(DType.F32, right.dim(0) + 1, right.dim(1)).view();
            IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                    () -> new ScaledTensor(codes, scales, new Scaling(g, ScaleFormat.F32)));
            assertTrue(e.getMessage().startsWith("scales have shape " + scales.shape()), e.getMessage());
            assertTrue(e.getMessage().contains(right.toString()), e.getMessage());
            e = assertThrows(IllegalArgumentException.class, () -> new ScaledTensor(codes,
                    output(DType.F32, right.dim(0), right.dim(1)).view(), new Scaling(g, ScaleFormat.E8M0)));
            assertTrue(e.getMessage().startsWith("scales are F32"), e.getMessage());
        }
    }

    /** Each of the 25 pairs of granularities is either supported or refused by name. */
    @Test
    void granularities() {
        for (Granularity ga : Granularity.values()) {
            for (Granularity gb : Granularity.values()) {
                boolean supported = ga == Granularity.BLOCK_1X128
                        && (gb == Granularity.BLOCK_1X128 || gb == Granularity.BLOCK_128X128)
                        || ga == gb && (ga == Granularity.ROW || ga == Granularity.TENSOR);
                if (!supported) {
                    illegal("a has granularity " + ga + " and b " + gb, zeros(4, 200, new Scaling(ga, ScaleFormat.F32)),
                            zeros(6, 200, new Scaling(gb, ScaleFormat.F32)), output(DType.F32, 4, 6), Epilogue.NONE);
                }
            }
        }
        ScaledTensor d = Matrices.place(arena, Layout.CONTIGUOUS, DType.F8_E4M3, 4, 6, W);
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> Fp8.auto().gemm(zeros(4, 200, A), zeros(6, 200, W), d, Epilogue.NONE));
        assertTrue(e.getMessage().startsWith("d has granularity BLOCK_128X128"), e.getMessage());
        untouched(d.codes().segment());
        ScaledTensor rows = zeros(4, 200, new Scaling(Granularity.ROW, ScaleFormat.F32));
        e = assertThrows(IllegalArgumentException.class, rows::transpose);
        assertTrue(e.getMessage().contains("ROW"), e.getMessage());
    }

    @Test
    void quantizedOutput() {
        ScaledTensor d = Matrices.place(arena, Layout.CONTIGUOUS, DType.F8_E4M3, 4, 7, A);
        for (String backend : TestedBackends.names().toList()) {
            IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                    () -> Fp8.on(backend).gemm(zeros(4, 200, A), zeros(6, 200, W), d, Epilogue.NONE));
            assertTrue(e.getMessage().startsWith("d.codes has shape [4, 7], it must be [4, 6]"), e.getMessage());
            untouched(d.codes().segment());
            untouched(d.scales().segment());
        }
    }

    @Test
    void closed() {
        Layout.Placed d = output(DType.F32, 4, 6);
        ScaledTensor a = zeros(4, 200, A);
        ScaledTensor b = zeros(6, 200, W);
        ScaledTensor goneA = ScaledTensor.allocate(DType.F8_E4M3, 4, 200, A);
        goneA.close();
        goneA.close();
        refused(IllegalStateException.class, "a.codes is closed", goneA, b, d, Epilogue.NONE);
        ScaledTensor goneB = ScaledTensor.allocate(DType.F8_E4M3, 6, 200, W);
        goneB.scales().close();
        refused(IllegalStateException.class, "b.scales is closed", a, goneB, d, Epilogue.NONE);
        goneB.close();
        Tensor goneD = Tensor.allocate(DType.F32, Shape.of(4, 6));
        goneD.close();
        refused(IllegalStateException.class, "epilogue.addend is closed", a, b, d, Epilogue.NONE.withAddend(goneD));
        IllegalStateException e = assertThrows(IllegalStateException.class,
                () -> Fp8.auto().gemm(a, b, goneD, Epilogue.NONE));
        assertTrue(e.getMessage().startsWith("d is closed"), e.getMessage());
        Tensor goneBias = Tensor.allocate(DType.F32, Shape.of(6));
        goneBias.close();
        refused(IllegalStateException.class, "epilogue.bias is closed", a, b, d, Epilogue.NONE.withBias(goneBias));
        ScaledTensor dead;
        try (Arena shortLived = Arena.ofShared()) {
            dead = Matrices.place(shortLived, Layout.CONTIGUOUS, DType.F8_E4M3, 6, 200, W);
        }
        refused(IllegalStateException.class, "b.codes is closed", a, dead, d, Epilogue.NONE);
    }

    @Test
    void mixedDevices() {
        ScaledTensor a = zeros(4, 200, A);
        ScaledTensor b = zeros(6, 200, W);
        Layout.Placed d = output(DType.F32, 4, 6);
        ScaledTensor far = new ScaledTensor(Elsewhere.tensor(DType.F8_E4M3, 6, 200),
                Elsewhere.tensor(DType.F32, 1, 2), W);
        illegal("b is on cuda:0, it must be on cpu", a, far, d, Epilogue.NONE);
        illegal("epilogue.addend is on cuda:0, it must be on cpu", a, b, d,
                Epilogue.NONE.withAddend(Elsewhere.tensor(DType.F32, 4, 6)));
        illegal("epilogue.bias is on cuda:0, it must be on cpu", a, b, d,
                Epilogue.NONE.withBias(Elsewhere.tensor(DType.F32, 1, 6).reshape(6)));
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> Fp8.auto().gemm(a, b, Elsewhere.tensor(DType.F32, 4, 6), Epilogue.NONE));
        assertTrue(e.getMessage().startsWith("d is on cuda:0, it must be on cpu"), e.getMessage());
        e = assertThrows(IllegalArgumentException.class, () -> new ScaledTensor(far.codes(), b.scales(), W));
        assertTrue(e.getMessage().startsWith("scales are on cpu, codes on cuda:0"), e.getMessage());
    }

    /** Tensors that all lie on a device which a named CPU backend does not take. */
    @ParameterizedTest
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void wrongBackend(String backend) {
        ScaledTensor a = new ScaledTensor(Elsewhere.tensor(DType.F8_E4M3, 4, 200),
                Elsewhere.tensor(DType.F32, 4, 2), A);
        ScaledTensor b = new ScaledTensor(Elsewhere.tensor(DType.F8_E4M3, 6, 200),
                Elsewhere.tensor(DType.F32, 1, 2), W);
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> Fp8.on(backend).gemm(a, b, Elsewhere.tensor(DType.F32, 4, 6), Epilogue.NONE));
        assertTrue(e.getMessage().startsWith("backend " + backend + " takes tensors on CPU"), e.getMessage());
    }

    @Test
    void saysHowItWasMade() {
        assertEquals("Fp8.auto()", Fp8.auto().toString());
        assertEquals("Fp8.on(\"reference\")", Fp8.on("reference").toString());
    }

    @Test
    void unknownBackend() {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> Fp8.on("abacus"));
        assertTrue(e.getMessage().startsWith("backend 'abacus' is not there; found: "), e.getMessage());
    }
}
