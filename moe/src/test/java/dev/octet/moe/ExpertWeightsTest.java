package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Checkpoint;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class ExpertWeightsTest {
    private static final String MLP = "model.layers." + ExpertLayer.LAYER + ".mlp.";

    @TempDir
    Path folder;

    /** A checkpoint in FP8 gives the very codes and scales that are in it. */
    @Test
    void readsTheExpertsAskedForFromAnFp8Checkpoint() throws Exception {
        Map<String, ScaledTensor> stored = new HashMap<>();
        Scaling scaling = new Scaling(Granularity.BLOCK_128X128, ScaleFormat.POWER_OF_TWO);
        try (ExpertLayer layer = new ExpertLayer(200, 130, 3, 256, 1)) {
            layer.tensors().forEach((name, t) -> stored.put(name, Fp8.auto().quantize(t, DType.F8_E4M3, scaling)));
            Path file = folder.resolve("model.safetensors");
            Checkpoint.write(file, stored, Map.of());
            Files.writeString(folder.resolve("config.json"), """
                    {"quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                     "weight_block_size": [128, 128], "scale_fmt": "ue8m0"}}""");
            BitSet held = new BitSet();
            held.set(0);
            held.set(2);
            ExpertWeights weights;
            try (Checkpoint checkpoint = Checkpoint.open(folder)) {
                weights = ExpertWeights.read(checkpoint, ExpertLayer.LAYER, 3, held);
            }
            try (weights) {
                assertEquals(200, weights.hidden());
                assertEquals(130, weights.inter());
                assertEquals(ScaleFormat.POWER_OF_TWO, weights.scaleFormat());
                assertTrue(weights.holds(0) && weights.holds(2));
                assertFalse(weights.holds(1));
                assertThrows(IllegalArgumentException.class, () -> weights.expert(1));
                assertEquals(512, weights.expert(2).gateUp().rows());
                var two = ExpertLayer.dequantized(weights.expert(2));
                rowsEqual(stored.get(MLP + "experts.2.gate_proj.weight"), two.gate());
                rowsEqual(stored.get(MLP + "experts.2.up_proj.weight"), two.up());
                rowsEqual(stored.get(MLP + "experts.2.down_proj.weight"), two.down());
                var shared = ExpertLayer.dequantized(Objects.requireNonNull(weights.shared()));
                rowsEqual(stored.get(MLP + "shared_experts.up_proj.weight"), shared.up());
                try (Tensor x = Tensor.allocate(DType.F32, Shape.of(1, 200)); Routing r = Routing.allocate(1, 1);
                        Tensor out = Tensor.allocate(DType.F32, Shape.of(1, 200))) {
                    ExpertMlp mlp = new ExpertMlp(weights, RoutingWeight.AFTER_DOWN);
                    mlp.run(x, r, out);
                    try (Routing elsewhere = Routings.of(new int[][] {{1}})) {
                        refused("routing names expert 1, whose weights are not held here",
                                () -> mlp.run(x, elsewhere, out));
                    }
                }
            }
        } finally {
            stored.values().forEach(ScaledTensor::close);
        }
    }

    private static void rowsEqual(ScaledTensor expected, float[][] actual) {
        assertArrayEquals(ExpertLayer.rows(expected), actual);
    }

    @Test
    void randomWeights() {
        try (ExpertWeights w = ExpertWeights.random(130, 100, 2, 0, 1);
                ExpertWeights again = ExpertWeights.random(130, 100, 2, 0, 1)) {
            assertNull(w.shared());
            assertEquals(-1, w.expert(1).down().codes().segment().mismatch(again.expert(1).down().codes().segment()));
            assertTrue(w.expert(0).down().codes().segment().mismatch(w.expert(1).down().codes().segment()) >= 0);
            float[][] gateUp = ExpertLayer.rows(w.expert(0).gateUp());
            assertEquals(256, gateUp.length);
            for (int i = 0; i < 256; i++) {
                double energy = 0;
                for (float f : gateUp[i]) {
                    energy += f * f;
                }
                assertTrue(i % 128 < 100 ? energy > 0.3 && energy < 3 : energy == 0, "row " + i + ": " + energy);
            }
        }
    }

    private static void refused(String message, Executable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call);
        assertTrue(e.getMessage().startsWith(message), e.getMessage());
    }

    @Test
    void refusals() {
        refused("hidden is 0", () -> ExpertWeights.random(0, 1, 1, 0, 1));
        refused("sharedInter is -1", () -> ExpertWeights.random(1, 1, 1, -1, 1));
        try (ExpertLayer layer = new ExpertLayer(128, 128, 2, 0, 1)) {
            Checkpoint c = new Checkpoint(layer, ScaleFormat.F32);
            refused("experts is 0", () -> ExpertWeights.read(c, ExpertLayer.LAYER, 0));
            BitSet held = new BitSet();
            refused("held is {}", () -> ExpertWeights.read(c, ExpertLayer.LAYER, 2, held));
            held.set(2);
            refused("held is {2}, it must name at least one of the 2 experts", () -> ExpertWeights.read(c,
                    ExpertLayer.LAYER, 2, held));
            refused("no tensor 'model.layers.3.mlp.experts.2.gate_proj.weight'",
                    () -> ExpertWeights.read(c, ExpertLayer.LAYER, 3));
            String up = MLP + "experts.1.up_proj.weight";
            layer.tensors().put(up, layer.tensor(up).slice(0, 0, 100));
            refused("'" + up + "' has shape [100, 128], it must be [128, 128]",
                    () -> ExpertWeights.read(c, ExpertLayer.LAYER, 2));
        }
    }
}
