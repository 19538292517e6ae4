package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.safetensors.SafetensorsWriter;
import dev.octet.fp8.Checkpoint;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MlaWeightsTest {
    private static final MlaConfig V3 = new MlaConfig(200, 1, 2, 256, 128, 64, 32, 32, 1e-6f, MlaConfig.V3.rope());
    private static final MlaConfig LITE = new MlaConfig(200, 1, 4, 0, 128, 64, 32, 32, 1e-6f, MlaConfig.V2_LITE.rope());
    private static final String PREFIX = "model.layers.7.self_attn.";

    @TempDir
    Path folder;

    private static Map<String, Tensor> named(MlaFloatWeights w) {
        Map<String, Tensor> tensors = new HashMap<>();
        tensors.put(PREFIX + (w.qB() == null ? "q_proj" : "q_a_proj") + ".weight", w.qA());
        if (w.qB() != null) {
            tensors.put(PREFIX + "q_a_layernorm.weight", w.qNorm());
            tensors.put(PREFIX + "q_b_proj.weight", w.qB());
        }
        tensors.put(PREFIX + "kv_a_proj_with_mqa.weight", w.kvA());
        tensors.put(PREFIX + "kv_a_layernorm.weight", w.kvNorm());
        tensors.put(PREFIX + "kv_b_proj.weight", w.kvB());
        tensors.put(PREFIX + "o_proj.weight", w.o());
        return tensors;
    }

    private Checkpoint written(Map<String, Tensor> tensors) throws IOException {
        Path file = folder.resolve("model.safetensors");
        SafetensorsWriter.write(file, tensors, Map.of());
        return Checkpoint.open(file);
    }

    /** The same weights as FP8, each matrix quantised by itself, as checkpoints have them. */
    private Checkpoint writtenFp8(MlaFloatWeights w, ScaleFormat format) throws IOException {
        Map<String, ScaledTensor> quantized = new HashMap<>();
        Map<String, Tensor> others = new HashMap<>();
        named(w).forEach((name, t) -> {
            if (t.shape().rank() == 1) {
                others.put(name, t);
            } else {
                quantized.put(name, Fp8.auto().quantize(t, DType.F8_E4M3,
                        new Scaling(Scaling.WEIGHT.granularity(), format)));
            }
        });
        Checkpoint.write(folder.resolve("model.safetensors"), quantized, others);
        if (format == ScaleFormat.POWER_OF_TWO) {
            Files.writeString(folder.resolve("config.json"), "{\"quantization_config\":{\"quant_method\":\"fp8\","
                    + "\"fmt\":\"e4m3\",\"weight_block_size\":[128,128],\"scale_fmt\":\"ue8m0\"}}");
        }
        quantized.values().forEach(ScaledTensor::close);
        return Checkpoint.open(folder);
    }

    private static void assertSame(ScaledTensor expected, ScaledTensor actual) {
        assertEquals(expected.codes().shape(), actual.codes().shape());
        assertEquals(expected.scaling(), actual.scaling());
        assertArrayEquals(expected.codes().copy().segment().toArray(ValueLayout.JAVA_BYTE),
                actual.codes().copy().segment().toArray(ValueLayout.JAVA_BYTE));
        assertArrayEquals(expected.scales().toFloatArray(), actual.scales().toFloatArray());
    }

    private static void assertSame(MlaWeights expected, MlaWeights actual) {
        assertEquals(expected.config(), actual.config());
        assertSame(expected.qkvA(), actual.qkvA());
        assertSame(expected.kvB(), actual.kvB());
        assertSame(expected.o(), actual.o());
        assertArrayEquals(expected.kvNorm().toFloatArray(), actual.kvNorm().toFloatArray());
        if (expected.config().compressesQueries()) {
            assertSame(expected.qB(), actual.qB());
            assertArrayEquals(expected.qNorm().toFloatArray(), actual.qNorm().toFloatArray());
        } else {
            assertNull(actual.qB());
            assertNull(actual.qNorm());
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void checkpointsGiveWhatQuantisingGives(boolean compressed) throws IOException {
        MlaConfig config = compressed ? V3 : LITE;
        try (MlaFloatWeights floats = MlaFloatWeights.random(config, 1)) {
            for (ScaleFormat format : new ScaleFormat[] {ScaleFormat.F32, ScaleFormat.POWER_OF_TWO}) {
                try (MlaWeights expected = MlaWeights.quantize(config, floats, format);
                        Checkpoint fp8 = writtenFp8(floats, format);
                        MlaWeights read = MlaWeights.read(fp8, config, 7)) {
                    assertSame(expected, read);
                    assertTrue(read.o().codes().segment().isMapped(), "in place");
                }
                try (MlaWeights expected = MlaWeights.quantize(config, floats, format);
                        Checkpoint bf16 = written(named(floats)); MlaWeights read = MlaWeights.read(bf16, config, 7)) {
                    assertSame(expected, read);
                }
            }
        }
    }

    /** The rows of the fused matrix are those of its parts. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void fusedRowsAreThePartsRows(boolean compressed) {
        MlaConfig config = compressed ? V3 : LITE;
        try (MlaFloatWeights floats = MlaFloatWeights.random(config, 2);
                MlaWeights w = MlaWeights.quantize(config, floats, ScaleFormat.F32);
                Tensor fused = Fp8.on("reference").dequantize(w.qkvA(), DType.F32)) {
            assertRows(floats.qA(), fused.slice(0, 0, config.queryRows()));
            assertRows(floats.kvA(), fused.slice(0, config.queryRows(), fused.dim(0)));
        }
    }

    private static void assertRows(Tensor floats, Tensor part) {
        try (ScaledTensor q = Fp8.on("reference").quantize(floats, DType.F8_E4M3, Scaling.WEIGHT);
                Tensor expected = Fp8.on("reference").dequantize(q, DType.F32)) {
            assertArrayEquals(expected.toFloatArray(), part.copy().toFloatArray());
        }
    }

    /** Rows of queries that are no multiple of 128: what lies in one block shares its scale, from whatever source. */
    @ParameterizedTest
    @ValueSource(strings = {"BF16", "F32", "FP8"})
    void blocksThatDoNotLineUpAreQuantisedTogether(String kind) throws IOException {
        MlaConfig config = Configs.odd(3, 72);
        try (MlaFloatWeights floats = MlaFloatWeights.random(config, 3)) {
            Map<String, Tensor> tensors = named(floats);
            if (kind.equals("F32")) {
                tensors.replaceAll((name, t) -> Tensor.of(t.toFloatArray(), t.shape().toArray()));
            }
            try (Checkpoint c = kind.equals("FP8") ? writtenFp8(floats, ScaleFormat.F32) : written(tensors);
                    MlaWeights w = MlaWeights.read(c, config, 7);
                    Tensor both = Tensor.allocate(DType.F32, Shape.of(72 + 140, 200))) {
                fill(both.slice(0, 0, 72), floats.qA(), kind);
                fill(both.slice(0, 72, 212), floats.kvA(), kind);
                try (ScaledTensor expected = Fp8.auto().quantize(both, DType.F8_E4M3, Scaling.WEIGHT)) {
                    assertSame(expected, w.qkvA());
                }
            }
        }
    }

    private static void fill(Tensor part, Tensor floats, String kind) {
        if (kind.equals("FP8")) {
            try (ScaledTensor q = Fp8.auto().quantize(floats, DType.F8_E4M3, Scaling.WEIGHT)) {
                Fp8.auto().dequantize(q, part);
            }
        } else {
            part.copyFrom(floats.toFloatArray());
        }
    }

    @Test
    void missingAndIllShapedTensorsAreRefusedByName() throws IOException {
        try (MlaFloatWeights floats = MlaFloatWeights.random(V3, 4);
                MlaFloatWeights lite = MlaFloatWeights.random(LITE, 4)) {
            for (String name : named(floats).keySet()) {
                Map<String, Tensor> some = named(floats);
                some.remove(name);
                refused(some, V3, name);
                Map<String, Tensor> wrong = named(floats);
                Tensor t = wrong.get(name);
                wrong.put(name, t.slice(0, 0, t.dim(0) - 1).copy());
                refused(wrong, V3, name);
                wrong.put(name, Tensor.allocate(DType.U8, t.shape()));
                refused(wrong, V3, name);
                if (t.shape().rank() == 2) {
                    wrong.put(name, Tensor.allocate(DType.F8_E4M3, t.shape()));
                    refused(wrong, V3, name + "_scale_inv");
                    wrong.put(name + "_scale_inv", Tensor.allocate(DType.F32, Shape.of(1, 1)));
                    refused(wrong, V3, name + "_scale_inv");
                }
            }
            refused(named(floats), LITE, PREFIX + "q_proj.weight");
            refused(named(lite), V3, PREFIX + "q_a_proj.weight");
            assertThrows(IllegalArgumentException.class, () -> MlaWeights.quantize(V3, lite, ScaleFormat.F32));
            try (Checkpoint c = written(named(floats))) {
                assertTrue(assertThrows(IllegalArgumentException.class, () -> MlaWeights.read(c, V3, 6)).getMessage()
                        .contains("model.layers.6.self_attn.q_a_proj.weight"));
                assertThrows(IllegalArgumentException.class, () -> MlaWeights.read(c, V3, -1));
            }
        }
    }

    private void refused(Map<String, Tensor> tensors, MlaConfig config, String name) throws IOException {
        try (Checkpoint c = written(tensors)) {
            String message = assertThrows(IllegalArgumentException.class, () -> MlaWeights.read(c, config, 7))
                    .getMessage();
            assertTrue(message.contains("'" + name + "'"), message);
        }
    }

    @Test
    void recordChecksItsParts() {
        try (MlaWeights w = MlaWeights.random(V3, 5); MlaWeights lite = MlaWeights.random(LITE, 5)) {
            refused("qkvA", () -> new MlaWeights(V3, lite.qkvA(), w.qNorm(), w.qB(), w.kvNorm(), w.kvB(), w.o()));
            refused("qNorm", () -> new MlaWeights(V3, w.qkvA(), null, w.qB(), w.kvNorm(), w.kvB(), w.o()));
            refused("qNorm", () -> new MlaWeights(LITE, lite.qkvA(), w.qNorm(), null, w.kvNorm(), w.kvB(), w.o()));
            refused("qNorm", () -> new MlaWeights(V3, w.qkvA(), w.kvNorm(), w.qB(), w.kvNorm(), w.kvB(), w.o()));
            refused("qB", () -> new MlaWeights(V3, w.qkvA(), w.qNorm(), w.kvB(), w.kvNorm(), w.kvB(), w.o()));
            refused("kvNorm", () -> new MlaWeights(V3, w.qkvA(), w.qNorm(), w.qB(), w.qNorm(), w.kvB(), w.o()));
            refused("kvB", () -> new MlaWeights(V3, w.qkvA(), w.qNorm(), w.qB(), w.kvNorm(), w.o(), w.o()));
            refused("o", () -> new MlaWeights(V3, w.qkvA(), w.qNorm(), w.qB(), w.kvNorm(), w.kvB(), w.kvB()));
        }
    }

    private static void refused(String name, Runnable construction) {
        String message = assertThrows(IllegalArgumentException.class, construction::run).getMessage();
        assertTrue(message.startsWith(name + " "), message);
    }

    @Test
    void closingFreesWhatTheWeightsOwnAndNothingElse() throws IOException {
        try (MlaFloatWeights floats = MlaFloatWeights.random(V3, 6)) {
            MlaWeights w = MlaWeights.quantize(V3, floats, ScaleFormat.F32);
            w.close();
            w.close();
            assertFalse(w.qkvA().codes().isOpen());
            assertFalse(w.o().scales().isOpen());
            assertTrue(floats.kvNorm().isOpen());
            try (Checkpoint c = writtenFp8(floats, ScaleFormat.F32)) {
                MlaWeights.read(c, V3, 7).close();
                MlaWeights.read(c, V3, 7).close();
            }
        }
    }

    @Test
    void bytes() {
        try (MlaWeights w = MlaWeights.random(LITE, 7)) {
            long qkvA = (4 * 96 + 160) * 200 + 4 * 5 * 2;
            long kvB = 4 * 96 * 128 + 4 * 3;
            assertEquals(qkvA + kvB + 200 * 4 * 32 + 4 * 2 + 128 * 4, w.byteSize());
        }
    }

    @Test
    void randomWeightsAreNormalAndRepeatable() {
        try (MlaFloatWeights a = MlaFloatWeights.random(V3, 8); MlaFloatWeights b = MlaFloatWeights.random(V3, 8);
                MlaFloatWeights c = MlaFloatWeights.random(V3, 9)) {
            float[] values = a.qA().toFloatArray();
            assertArrayEquals(values, b.qA().toFloatArray());
            double sum = 0;
            double squares = 0;
            double fourth = 0;
            double correlation = 0;
            float[] other = c.qA().toFloatArray();
            for (int i = 0; i < values.length; i++) {
                double x = values[i] * Math.sqrt(200);
                sum += x;
                squares += x * x;
                fourth += x * x * x * x;
                correlation += x * other[i] * Math.sqrt(200);
            }
            double n = values.length; // five deviations of each mean; of 65,536 values drawn from, those of the table
            assertEquals(0, sum / n, 5 / Math.sqrt(1 << 16));
            assertEquals(1, squares / n, 5 * Math.sqrt(2) / Math.sqrt(1 << 16));
            assertEquals(3, fourth / n, 5 * Math.sqrt(96) / Math.sqrt(1 << 16));
            assertEquals(0, correlation / n, 5 / Math.sqrt(n));
        }
    }

    /** The matrices of a head, element by element. */
    @Test
    @SuppressWarnings("try") // closed once more at the end, which is harmless
    void absorbedMatricesAreThoseOfKvB() {
        try (MlaWeights w = MlaWeights.random(V3, 10); AbsorbedWeights absorbed = AbsorbedWeights.of(w);
                Tensor kvB = Fp8.on("reference").dequantize(w.kvB(), DType.BF16)) {
            assertEquals(Shape.of(2, 128, 64), absorbed.keys().shape());
            assertEquals(Shape.of(2, 32, 128), absorbed.values().shape());
            float[] keys = absorbed.keys().copy().toFloatArray();
            float[] values = absorbed.values().copy().toFloatArray();
            for (int i = 0; i < 2 * 96 * 128; i++) {
                int h = i / 128 / 96;
                int row = i / 128 % 96;
                int c = i % 128;
                float actual = row < 64 ? keys[(h * 128 + c) * 64 + row] : values[(h * 32 + row - 64) * 128 + c];
                assertEquals(kvB.getFloat(h * 96 + row, c), actual);
            }
            absorbed.close();
            assertFalse(absorbed.keys().isOpen());
            assertFalse(absorbed.values().isOpen());
        }
    }
}
