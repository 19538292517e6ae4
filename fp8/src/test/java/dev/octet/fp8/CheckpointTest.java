package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.safetensors.SafetensorsWriter;
import dev.octet.core.safetensors.TensorSource;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class CheckpointTest {
    private static final String NAME = "model.layers.0.mlp.down_proj.weight";

    @TempDir
    Path folder;

    /** Random codes without NaN, and scales that differ from block to block. */
    private static ScaledTensor weight(long rows, long columns, ScaleFormat format) {
        ScaledTensor w = ScaledTensor.allocate(DType.F8_E4M3, rows, columns,
                new Scaling(Granularity.BLOCK_128X128, format));
        Random random = new Random(rows);
        for (long i = 0; i < rows * columns; i++) {
            w.codes().segment().set(ValueLayout.JAVA_BYTE, i, (byte) (random.nextInt(127) | random.nextInt(2) << 7));
        }
        for (long i = 0; i < w.scales().shape().elements(); i++) {
            int exponent = random.nextInt(20) - 15;
            switch (format) {
                case F32 -> w.scales().segment().set(ValueLayout.JAVA_FLOAT, 4 * i, random.nextFloat() + 0.1f);
                case POWER_OF_TWO -> w.scales().segment().set(ValueLayout.JAVA_FLOAT, 4 * i, Math.scalb(1f, exponent));
                case E8M0 -> w.scales().segment().set(ValueLayout.JAVA_BYTE, i, (byte) (127 + exponent));
            }
        }
        return w;
    }

    private static void assertValues(ScaledTensor expected, ScaledTensor actual) {
        assertEquals(expected.codes().shape(), actual.codes().shape());
        Fp8 reference = Fp8.on("reference");
        try (Tensor a = reference.dequantize(expected, DType.F32); Tensor b = reference.dequantize(actual, DType.F32)) {
            assertArrayEquals(a.toFloatArray(), b.toFloatArray());
        }
    }

    private Path write(Map<String, Tensor> tensors) throws IOException {
        Path file = folder.resolve("model.safetensors");
        SafetensorsWriter.write(file, tensors, Map.of());
        return file;
    }

    private void config(String text) throws IOException {
        Files.writeString(folder.resolve("config.json"), text);
    }

    private static void refused(Checkpoint checkpoint, String... parts) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> checkpoint.weight(NAME));
        for (String part : parts) {
            assertTrue(e.getMessage().contains(part), e.getMessage());
        }
    }

    @ParameterizedTest
    @EnumSource
    void weightsComeBack(ScaleFormat format) throws IOException {
        Path file = folder.resolve("model.safetensors");
        try (ScaledTensor w = weight(129, 300, format); ScaledTensor t = weight(260, 127, format);
                Tensor norm = Tensor.of(new float[] {1, 2, 3}, 3)) {
            Checkpoint.write(file, Map.of(NAME, w, "t.weight", t.transpose()), Map.of("norm.weight", norm));
            try (Checkpoint c = Checkpoint.open(file)) {
                assertEquals(ScaleFormat.F32, c.scaleFormat());
                assertEquals(List.of(NAME, "t.weight"), c.weights().stream().sorted().toList());
                ScaledTensor read = c.weight(NAME);
                assertEquals(Scaling.WEIGHT, read.scaling());
                assertEquals(Shape.of(2, 3), read.scales().shape());
                assertTrue(read.codes().segment().isMapped() && read.scales().segment().isMapped(), "no copy");
                assertValues(w, read);
                assertValues(t.transpose(), c.weight("t.weight"));
                assertArrayEquals(new float[] {1, 2, 3}, c.source().tensor("norm.weight").toFloatArray());
            }
            if (format.isPowerOfTwo()) {
                config("{\"quantization_config\":{\"scale_fmt\":\"ue8m0\",\"weight_block_size\":[128,128]}}");
                try (Checkpoint c = Checkpoint.open(folder)) {
                    assertEquals(ScaleFormat.POWER_OF_TWO, c.weight(NAME).scaling().format());
                    assertValues(w, c.weight(NAME));
                }
            }
        }
    }

    /** One byte in front of the scales, as no writer of ours would put it: no FP32 number is aligned. */
    private Path writeUnaligned(ScaledTensor w) throws IOException {
        String header = "{\"pad\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                + "\"" + NAME + "_scale_inv\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[1,17]},"
                + "\"" + NAME + "\":{\"dtype\":\"F8_E4M3\",\"shape\":[130,200],\"data_offsets\":[17,26017]}}";
        header += " ".repeat(Math.floorMod(-header.length(), 8));
        byte[] file = new byte[8 + header.length() + 26017];
        file[0] = (byte) header.length();
        file[1] = (byte) (header.length() >> 8);
        System.arraycopy(header.getBytes(StandardCharsets.US_ASCII), 0, file, 8, header.length());
        w.scales().segment().asByteBuffer().get(file, 8 + header.length() + 1, 16);
        w.codes().segment().asByteBuffer().get(file, 8 + header.length() + 17, 26000);
        return Files.write(folder.resolve("unaligned.safetensors"), file);
    }

    @ParameterizedTest
    @Tag("backend")
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void unalignedWeightsAreDequantizedInPlace(String backend) throws IOException {
        try (ScaledTensor w = weight(130, 200, ScaleFormat.F32); Checkpoint c = Checkpoint.open(writeUnaligned(w));
                Tensor a = Fp8.on(backend).dequantize(c.weight(NAME), DType.F32);
                Tensor b = Fp8.on("reference").dequantize(w, DType.F32)) {
            assertEquals(1, c.weight(NAME).scales().address() % 4);
            assertArrayEquals(b.toFloatArray(), a.toFloatArray());
        }
    }

    @ParameterizedTest
    @Tag("backend")
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void unalignedWeightsAreMultipliedInPlace(String backend) throws IOException {
        float[] values = new float[600];
        for (int i = 0; i < values.length; i++) {
            values[i] = i % 17 - 8;
        }
        try (ScaledTensor w = weight(130, 200, ScaleFormat.F32); Checkpoint c = Checkpoint.open(writeUnaligned(w));
                Tensor x = Tensor.of(values, 3, 200);
                ScaledTensor q = Fp8.on("reference").quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                Tensor d = Fp8.on(backend).gemm(q, c.weight(NAME), DType.F32);
                Tensor e = Fp8.on(backend).gemm(q, w, DType.F32)) {
            assertArrayEquals(e.toFloatArray(), d.toFloatArray());
        }
    }

    @Test
    void whatDoesNotFitIsRefusedByName() throws IOException {
        try (ScaledTensor w = weight(130, 200, ScaleFormat.F32); ScaledTensor other = weight(128, 200, ScaleFormat.F32);
                Tensor bf16 = Tensor.allocate(DType.BF16, Shape.of(130, 200));
                Tensor half = Tensor.allocate(DType.BF16, Shape.of(2, 2));
                Tensor e5m2 = Tensor.allocate(DType.F8_E5M2, Shape.of(130, 200))) {
            try (Checkpoint c = Checkpoint.open(write(Map.of(NAME, w.codes())))) {
                refused(c, "'" + NAME + "' has no scales", NAME + "_scale_inv");
                assertEquals(List.of(), c.weights());
                assertThrows(IllegalArgumentException.class, () -> c.weight("nope"));
            }
            Map<String, Tensor> tensors = new HashMap<>(Map.of(NAME, w.codes(), NAME + "_scale_inv", other.scales()));
            try (Checkpoint c = Checkpoint.open(write(tensors))) {
                refused(c, NAME + "_scale_inv", "F32 [1, 2]", "[130, 200]", "F32 [2, 2]");
            }
            tensors.put(NAME + "_scale_inv", half);
            try (Checkpoint c = Checkpoint.open(write(tensors))) {
                refused(c, NAME + "_scale_inv", "BF16 [2, 2]");
            }
            for (Tensor codes : new Tensor[] {bf16, e5m2, w.codes().slice(0, 0, 1).reshape(200)}) {
                tensors.put(NAME, codes);
                try (Checkpoint c = Checkpoint.open(write(tensors))) {
                    refused(c, "'" + NAME + "' is " + codes.dtype(), "matrix of F8_E4M3");
                }
            }
        }
    }

    @Test
    void promisedPowersOfTwoAreChecked() throws IOException {
        Path file = folder.resolve("model.safetensors");
        config("{\"quantization_config\":{\"weight_block_size\":[128,128],\"scale_fmt\":\"ue8m0\"}}");
        try (ScaledTensor w = weight(130, 200, ScaleFormat.POWER_OF_TWO)) {
            for (float bad : new float[] {0.75f, 3f, 0f, -2f, Float.NEGATIVE_INFINITY, Math.nextUp(1f)}) {
                w.scales().segment().set(ValueLayout.JAVA_FLOAT, 8, bad);
                Checkpoint.write(file, Map.of(NAME, w), Map.of());
                try (Checkpoint c = Checkpoint.open(folder)) {
                    refused(c, NAME + "_scale_inv", "the scale " + bad + " at [1, 0]", "powers of two");
                }
            }
            w.scales().segment().set(ValueLayout.JAVA_FLOAT, 8, Float.NaN);
            Checkpoint.write(file, Map.of(NAME, w), Map.of());
            try (Checkpoint c = Checkpoint.open(folder)) {
                assertTrue(Float.isNaN(c.weight(NAME).scales().getFloat(1, 0)), "a NaN stays one");
            }
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "{} | F32",
        "{\"quantization_config\":null} | F32",
        "{\"x\":[1.5,{}],\"quantization_config\":{\"activation_scheme\":\"dynamic\",\"fmt\":\"e4m3\","
            + "\"quant_method\":\"fp8\",\"weight_block_size\":[128,128]},\"y\":-1e9} | F32",
        "{\"quantization_config\":{\"weight_block_size\":[128,128],\"scale_fmt\":null}} | F32",
        "{\"quantization_config\":{\"scale_fmt\":\"ue8m0\",\"weight_block_size\":[128,128]}} | POWER_OF_TWO",
    })
    void configurationsAreHonoured(String text, ScaleFormat format) throws IOException {
        config(text);
        write(Map.of());
        try (Checkpoint c = Checkpoint.open(folder)) {
            assertEquals(format, c.scaleFormat());
        }
        try (Checkpoint c = Checkpoint.open(folder.resolve("model.safetensors"))) {
            assertEquals(format, c.scaleFormat());
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "`` | byte 0",
        "[] | byte 0",
        "{\"quantization_config\":[]} | an object",
        "{\"quantization_config\":{}} | weight_block_size is missing",
        "{\"quantization_config\":{\"weight_block_size\":[64,64]}} | is [64, 64]; Octet reads [128, 128]",
        "{\"quantization_config\":{\"weight_block_size\":[128]}} | is [128]",
        "{\"quantization_config\":{\"weight_block_size\":null}} | an array",
        "{\"quantization_config\":{\"weight_block_size\":[128,128],\"fmt\":\"e5m2\"}} | fmt is 'e5m2'",
        "{\"quantization_config\":{\"quant_method\":\"gptq\"}} | quant_method is 'gptq'",
        "{\"quantization_config\":{\"weight_block_size\":[128,128],\"scale_fmt\":\"e5m2\"}} | scale_fmt is 'e5m2'",
        "{\"quantization_config\":{\"fmt\":\"e4m3\",\"fmt\":\"e4m3\"}} | fmt occurs twice",
        "{\"quantization_config\":{\"weight_block_size\":[128,128]},\"quantization_config\":{}} | occurs twice",
        "{} {} | something follows",
    })
    void otherConfigurationsAreRefused(String text, String fault) throws IOException {
        config(text);
        write(Map.of());
        IOException e = assertThrows(IOException.class, () -> Checkpoint.open(folder).close());
        assertTrue(e.getMessage().startsWith(folder.resolve("config.json").toString()), e.getMessage());
        assertTrue(e.getMessage().contains(fault), e.getMessage());
    }

    @Test
    void otherWeightsAreNotWritten() {
        Path file = folder.resolve("none.safetensors");
        try (ScaledTensor rows = ScaledTensor.allocate(DType.F8_E4M3, 2, 2, Scaling.ACTIVATION);
                ScaledTensor e5m2 = ScaledTensor.allocate(DType.F8_E5M2, 2, 2, Scaling.WEIGHT);
                ScaledTensor good = ScaledTensor.allocate(DType.F8_E4M3, 2, 2, Scaling.WEIGHT)) {
            assertThrows(IllegalArgumentException.class, () -> Checkpoint.write(file, Map.of("a", rows), Map.of()));
            assertThrows(IllegalArgumentException.class, () -> Checkpoint.write(file, Map.of("a", e5m2), Map.of()));
            assertTrue(assertThrows(IllegalArgumentException.class, () -> Checkpoint.write(file, Map.of("a", good),
                    Map.of("a_scale_inv", good.scales()))).getMessage().contains("a_scale_inv"));
            assertFalse(Files.exists(file));
        }
    }

    @Test
    void useAfterCloseThrows() throws IOException {
        Path file = folder.resolve("model.safetensors");
        ScaledTensor read;
        Checkpoint c;
        try (ScaledTensor w = weight(130, 200, ScaleFormat.F32)) {
            Checkpoint.write(file, Map.of(NAME, w), Map.of());
            c = Checkpoint.open(file);
            read = c.weight(NAME);
        }
        c.close();
        c.close();
        assertThrows(IllegalStateException.class, () -> read.codes().segment());
        assertThrows(IllegalStateException.class, () -> c.weight(NAME));
        assertThrows(IllegalStateException.class, c::weights);
    }

    @Test
    void checkpointsHaveNoE8m0() throws IOException {
        try (TensorSource source = TensorSource.open(write(Map.of()))) {
            assertThrows(IllegalArgumentException.class, () -> new Checkpoint(source, ScaleFormat.E8M0));
        }
    }
}
