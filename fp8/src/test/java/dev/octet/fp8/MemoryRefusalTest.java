package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Outputs in a file that is mapped read-only: kernels go by addresses, and a write there would end the process. */
@Tag("backend")
class MemoryRefusalTest {
    @ParameterizedTest
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void readOnlyOutputsAreRefused(String backend, @TempDir Path folder) throws Exception {
        Fp8 fp8 = Fp8.on(backend);
        Path file = Files.write(folder.resolve("zeros"), new byte[1 << 16]);
        try (Arena arena = Arena.ofConfined(); FileChannel channel = FileChannel.open(file);
                Tensor x = Tensor.allocate(DType.F32, Shape.of(4, 128));
                ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                ScaledTensor b = fp8.quantize(x, DType.F8_E4M3, Scaling.WEIGHT)) {
            MemorySegment mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, 1 << 16, arena);
            Tensor d = Tensor.wrap(mapped, DType.F32, Shape.of(4, 4));
            Tensor wide = Tensor.wrap(mapped, DType.F32, Shape.of(4, 128));
            Tensor codes = Tensor.wrap(mapped, DType.F8_E4M3, Shape.of(4, 128));
            ScaledTensor noCodes = new ScaledTensor(codes, a.scales(), a.scaling());
            ScaledTensor noScales = new ScaledTensor(a.codes(),
                    Tensor.wrap(mapped, DType.F32, a.scales().shape()), a.scaling());
            refused("d", () -> fp8.gemm(a, b, d, Epilogue.NONE));
            refused("d", () -> fp8.groupedGemm(a, new long[] {0, 4}, List.of(b), d));
            refused("target", () -> fp8.dequantize(a, wide));
            refused("target.codes", () -> fp8.quantize(x, noCodes));
            refused("target.scales", () -> fp8.quantize(x, noScales));
            refused("target.codes", () -> fp8.requantize(a, noCodes));
            refused("target", () -> fp8.cast(x, codes, Overflow.SATURATE));
            refused("target", () -> fp8.cast(a.codes(), wide, Overflow.SATURATE));
        }
    }

    private static void refused(String name, Runnable operation) {
        Exception e = assertThrows(IllegalArgumentException.class, operation::run);
        assertEquals(name + " is read-only, it is to be written", e.getMessage());
    }
}
